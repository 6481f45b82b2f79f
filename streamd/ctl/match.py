"""Addresses with wildcards, such as `studio-*/youtube`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from streamd.route.name import NAME_PATTERN

_WILD: Final = re.compile(r"[*?[]")
_PATTERN: Final = re.compile(r"[a-z0-9_*?!\[\]-]{1,255}")


def is_address(text: str) -> bool:
    """Return whether this is ROUTE or ROUTE/OUTPUT."""
    names = text.split("/")
    return len(names) <= 2 and all(NAME_PATTERN.fullmatch(name) for name in names)


def is_pattern(text: str) -> bool:
    """Return whether this is ROUTE or ROUTE/OUTPUT with at least one wildcard in it."""
    names = text.split("/")
    return len(names) <= 2 and _WILD.search(text) is not None and all(_PATTERN.fullmatch(name) for name in names)


def matches(pattern: str, address: str) -> bool:
    """Return whether a pattern, or an address, means this address; a `*` never stands for the slash."""
    wanted, names = pattern.split("/"), address.split("/")
    return len(wanted) == len(names) and all(map(fnmatchcase, names, wanted))


def expand(patterns: Sequence[str], addresses: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the addresses meant, each once, and the patterns that match none.

    Args:
        patterns: in the order in which the result is wanted. Those without wildcards stand for themselves.
        addresses: all that there are.
    """
    known = list(addresses)
    chosen: dict[str, None] = {}
    missed = []
    for pattern in patterns:
        found = [address for address in known if matches(pattern, address)] if is_pattern(pattern) else [pattern]
        if not found:
            missed.append(pattern)
        chosen.update(dict.fromkeys(found))
    return list(chosen), missed

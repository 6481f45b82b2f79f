"""The body of a request: JSON taken strictly, so that what is written is what was meant. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final, NoReturn

from streamd.route.diagnostic import nearest
from streamd.route.name import NAME_PATTERN
from streamd.web.problem import Problem

_DEEPEST: Final = 8
_LARGEST: Final = (1 << 63) - 1


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is. Raises: Problem."""
    try:
        found = json.loads(
            body.decode("utf-8"), parse_constant=_no_number, parse_float=_number, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as error:
        text = "the body is nested too deep" if isinstance(error, RecursionError) else f"the body is no JSON: {error}"
        raise Problem(400, "malformed", text) from error
    if not isinstance(found, dict):
        raise Problem(400, "malformed", "the body is no JSON object")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _number(text: str) -> int | float:
    value = float(text)
    # JSON knows one kind of number: 200.0 is 200.
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def check_table(table: dict[str, Any], *, may_remove: bool = False) -> dict[str, Any]:
    """Return a table that a route's file may have, as it is. Raises: Problem.

    Args:
        table: what came.
        may_remove: whether null takes a key away, at the top and in `input`.
    """
    for key, value in table.items():
        _check_text(key)  # what is wrong with its value is told with it
        if value is None and may_remove:
            continue
        if key == "input" and may_remove and isinstance(value, dict):
            for name in value:
                _check_text(name)
            _check({name: inner for name, inner in value.items() if inner is not None}, key, 1)
        else:
            _check(value, key, 1)
    return table


def _check(value: Any, where: str, depth: int) -> None:  # noqa: ANN401 (any value that JSON has)
    if depth > _DEEPEST:
        raise _invalid(f"{where}: it is nested too deep")
    match value:
        case bool():
            pass
        case int():
            if abs(value) > _LARGEST:
                raise _invalid(f"{where}: the number is too large")
        case str():
            _check_text(value)
        case list():
            for item in value:
                _check(item, where, depth + 1)
        case dict():
            for key, item in value.items():
                _check_text(key)
                _check(item, f"{where}.{key}", depth + 1)
        case None:
            raise _invalid(f"{where}: null is no value here")
        case _:
            raise _invalid(f"{where}: a number with a fraction is no value of any key")


def _check_text(text: str) -> None:
    if "\0" in text or (not text.isascii() and _has_surrogates(text)):
        raise _invalid("a text has a character that no file can hold")


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _invalid(text: str) -> Problem:
    return Problem(422, "invalid-configuration", text)


def take_id(table: dict[str, Any], what: str) -> str:
    """Take the name of a new thing out of its table. Raises: Problem."""
    name = table.pop("id", None)
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        rule = "1 to 63 of a to z, 0 to 9, - and _, with a letter or a digit at both ends"
        raise _invalid(f"id: the name of {what} is {rule}")
    return name


def take_text(table: dict[str, Any], key: str, most: int) -> str:
    """Return the one text that an object has. Raises: Problem."""
    only_keys(table, (key,))
    value = table.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise Problem(422, "malformed", f"{key}: a text of 1 to {most} characters is needed")
    _check_text(value)
    return value


def only_keys(table: dict[str, Any], known: Collection[str]) -> None:
    """Refuse keys that mean nothing. Raises: Problem."""
    for key in table:
        if key not in known:
            raise Problem(422, "malformed", f"there is no key {key[:64]!r}{nearest(key[:64], known)}")

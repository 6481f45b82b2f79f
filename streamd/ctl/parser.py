"""A parser that takes options between positional arguments, as people type them. Pure."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Final

_NEGATIVE: Final = re.compile(r"-\d+|-\d*\.\d+")


class VerbParser(argparse.ArgumentParser):
    """Puts the options first: for argparse an argument that may be missing, or be many, is over at the next option.

    Every option takes one value or none.
    """

    def parse_known_args(  # type: ignore[override]  # there it may be a namespace of any kind
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as the base class does; a verb's own arguments come here from those of streamctl."""
        return super().parse_known_args(self._options_first(sys.argv[1:] if args is None else list(args)), namespace)

    def _options_first(self, words: list[str]) -> list[str]:
        """Return the words with all positional arguments behind a --; as they are, where an option lacks its value."""
        options: list[str] = []
        others: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                others += rest
            elif not self._is_option(word):
                others.append(word)
            elif not self._wants_value(word):
                options.append(word)
            else:
                value = next(rest, "--")
                if value == "--" or self._is_option(value):
                    return words
                options += [word, value]
        return [*options, "--", *others] if others else options

    def _is_option(self, word: str) -> bool:
        if len(word) < 2 or not word.startswith("-") or _NEGATIVE.fullmatch(word):
            return False
        known = self._option_string_actions
        return word.partition("=")[0] in known or word[:2] in known or " " not in word

    def _wants_value(self, word: str) -> bool:
        """Tell whether the value of an option is the next word; some short options may stand in one word."""
        if word.startswith("--"):
            return self._takes_value(word)
        for place, letter in enumerate(word[1:], start=2):
            if self._takes_value(f"-{letter}"):
                return place == len(word)
        return False

    def _takes_value(self, option: str) -> bool:
        action = self._option_string_actions.get(option)
        return action is not None and action.nargs != 0

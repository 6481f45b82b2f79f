"""What is wrong with files is logged once, when it appears, and not again at every pass."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from streamd.host import journal
from streamd.route.diagnostic import Diagnostic

_LOG: Final = logging.getLogger(__name__)


class Complaints:
    """Remembers what has been told."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._told: frozenset[str] = frozenset()
        self._unkept: frozenset[str] = frozenset()
        """Paths of files of our own that could not be read or written when that was told last."""

    def tell_errors(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Log what is wrong with the configuration, each once for as long as it is there."""
        texts = {str(found): found for found in diagnostics}
        for text in texts.keys() - self._told:
            _LOG.error("%s", text, extra=journal.error_fields(texts[text]))
        self._told = frozenset(texts)

    def tell_unkept(self, problems: Iterable[Diagnostic]) -> None:
        """Log once of each file of our own that it cannot be read or written, and when it could be again."""
        found = {problem.path: problem for problem in problems}
        for path in sorted(found.keys() - self._unkept):
            _LOG.error("%s: %s", path, found[path].message, extra=journal.unkept_fields(found[path]))
        for path in sorted(self._unkept - found.keys()):
            _LOG.info("%s could be written again", path)
        self._unkept = frozenset(found)

"""How streamctl ends: the exit statuses that streamctl(1) documents, and the failure that carries one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
"""The route or output asked for does not run, as `systemctl status` says it."""
NO_SUCH_THING: Final = 4
DENIED: Final = 5
NO_DAEMON: Final = 69
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class Failure(Exception):  # noqa: N818 (carries an exit status, not an error)
    """Ends the command with a sentence and an exit status; what is wrong with which line may stand before it."""

    def __init__(self, text: str, status: int, diagnostics: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.diagnostics = tuple(diagnostics)

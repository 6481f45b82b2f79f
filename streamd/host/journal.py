"""The journal: log records as structured entries with the fields STREAMD_ROUTE, STREAMD_OUTPUT and MESSAGE_ID.

What each MESSAGE_ID means, and what to do then, stands in units/catalog/streamd.catalog; a test compares the two.
"""

from __future__ import annotations

import atexit
import logging
import queue
import sys
from collections.abc import Mapping
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Final

from systemd import journal

from streamd.plan.address import Address
from streamd.plan.hooks import Event
from streamd.plan.status import State
from streamd.plan.transition import Transition
from streamd.route.diagnostic import Diagnostic

UNIT_PLANNED: Final = "5e1bb2f0c0f94a4a9d5ea3b3c4f1a7d1"
"""A unit is started, stopped, restarted or adjusted by the plan."""
UNIT_REFUSED: Final = "b0c86d3d7a0e4c4f8f4b8f0e6c2d9a52"
"""systemd, or a credential, refused what the plan wanted."""
OPERATOR_STOPPED: Final = "d2a4c9b17e6d4f0b8a7e1c5f3b9d6e83"
"""An operator stopped a unit; it stays stopped until started."""
CONFIGURATION_ERROR: Final = "3f7c1e9ab5d2486f9c0d7a6b2e8f4c14"
"""A file has an error; what ran on it keeps running."""
HOOK_CALLED: Final = "8f0f6fbd6b3f4c5ca2a3f1e0b7d59c46"
"""A hook's unit was started, or a webhook told."""
HOOK_FAILED: Final = "c7be1d2f94a14de3a6a85b0d3c7f2e91"
"""A hook's unit could not be started, or a webhook not be told."""
STATE_NOT_KEPT: Final = "4b6d0f2c8e914f7db35a1c9e70d8264a"
"""A file of streamd's own, such as its allocation of ports, can be read or written no more."""

STATE_CHANGED: Final[Mapping[State, str]] = {
    State.STARTING: "062eac54d39349e7bcec5d281d76d0fe",
    State.RUNNING: "30722db2e928437098cdc70691348a35",
    State.STALLED: "163c07b5d2b44021a7746639b64a8e86",
    State.STARVED: "6fc96a7fcc764e93b3f4dbfc8acc9bfc",
    State.WAITING: "83655ebe4d014a5d80edd247558e8c63",
    State.BACKOFF: "cd2d0ce1004f4670a58b834bfd86404c",
    State.STOPPING: "99ea740498ff49b28447fe8e9cc8a25d",
    State.STOPPED: "b1893f71c19f4c4aad024a1bb2d34396",
    State.DISABLED: "5295dab3ec094aa982870e6e9b38be60",
    State.BLOCKED: "266627723eac4bc3940d0ecda47bf927",
    State.FAILED: "6ca0fb8b1b7c49b78e99bbb0b12987b5",
}
"""An input or output came into this state."""

_SOCKET: Final = Path("/run/systemd/journal/socket")
_MOST_LINES: Final = 10_000
"""Lines that wait for the journal."""
_LAST_WORDS: Final = 2.0
"""Seconds that a process which ends waits for the journal to take what is left."""
_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalHandler(logging.Handler):
    """Sends the finished text alone: systemd's own handler would store the arguments as a field too."""

    def __init__(self, identifier: str) -> None:
        super().__init__()
        self._identifier = identifier

    def emit(self, record: logging.LogRecord) -> None:
        extra = {key: _sendable(value) for key, value in getattr(record, "fields", {}).items()}
        try:
            journal.send(
                _sendable(record.getMessage()),  # with the traceback, where there is one
                PRIORITY=_PRIORITIES.get(record.levelno, 6),
                SYSLOG_IDENTIFIER=self._identifier,
                LOGGER=record.name,
                **extra,
            )
        except OSError:
            # A journal that was stopped. The thread goes on, for the lines after it comes back.
            self.handleError(record)


def _sendable(text: str) -> str:
    """Return a text with what is no Unicode in it replaced: a file's name may be any bytes."""
    return text.encode(errors="replace").decode()


def fields(message_id: str, address: Address | None = None, **more: str) -> Mapping[str, object]:
    """Return the `extra` argument of a logging call that carries these journal fields; empty ones are left out."""
    found = {"MESSAGE_ID": message_id}
    if address is not None:
        found |= {"STREAMD_ADDRESS": str(address), "STREAMD_UNIT": address.unit, "STREAMD_ROUTE": address.route}
        if address.output:
            found["STREAMD_OUTPUT"] = str(address)
    return {"fields": found | {key: value for key, value in more.items() if value}}


def error_fields(diagnostic: Diagnostic) -> Mapping[str, object]:
    """Return the same for an error in a file."""
    return fields(CONFIGURATION_ERROR, STREAMD_PATH=diagnostic.path)


def unkept_fields(diagnostic: Diagnostic) -> Mapping[str, object]:
    """Return the same for a file of streamd's own that cannot be read or written."""
    return fields(STATE_NOT_KEPT, STREAMD_PATH=diagnostic.path)


def transition_fields(transition: Transition) -> Mapping[str, object]:
    """Return the same for a change of state."""
    return fields(
        STATE_CHANGED[transition.new],
        transition.address,
        STREAMD_OLD_STATE=transition.old,
        STREAMD_NEW_STATE=transition.new,
        # The catalog names these fields, so they are never missing.
        STREAMD_CAUSE=transition.cause or "nothing to say",
        STREAMD_ADVICE=transition.advice or "see below",
        STREAMD_REASON=transition.reason,
        STREAMD_LAST_ERROR=transition.last_error,
    )


def event_fields(message_id: str, event: Event, **more: str) -> Mapping[str, object]:
    """Return the same for a hook that was called for an event, or not."""
    return fields(message_id, event.address, STREAMD_EVENT=event.kind, **more)


class Aside(QueueHandler):
    """Hands records to a thread that sends them, so that nobody waits where the journal is busy or hangs."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[logging.LogRecord] = queue.Queue(_MOST_LINES)
        super().__init__(self._waiting)
        # The text alone: the configuration of logging gives a formatter with more to a handler that has none.
        self.setFormatter(logging.Formatter())
        self._lost = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        """Have a record sent; where too many wait, it is lost, and counted."""
        try:
            if self._lost:
                text = f"{self._lost} lines were lost, for the journal did not take them"
                self.queue.put_nowait(logging.LogRecord(__name__, logging.WARNING, "", 0, text, None, None))
                self._lost = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost += 1

    def drain(self, seconds: float) -> None:
        """Wait until all was sent, for that long at the most."""
        with self._waiting.all_tasks_done:
            self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, seconds)


def set_up(level: int = logging.INFO, identifier: str = "streamd") -> None:
    """Send all log records to the journal, under this identifier, or to standard error where no journal listens."""
    handler: logging.Handler
    if _SOCKET.exists():
        handler = Aside()
        QueueListener(handler.queue, _JournalHandler(identifier)).start()
        # Its thread ends with the process: to stop it as one should waits for a journal that hangs for ever.
        atexit.register(handler.drain, _LAST_WORDS)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)

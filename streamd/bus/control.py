"""What the bus asks of the daemon: the one interface between the D-Bus service and the reconciler."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol

from streamd.plan.status import LogLine, Moving, Statistics, Status, StepView
from streamd.plan.viewers import MediaView
from streamd.route.change import Change
from streamd.route.diagnostic import Diagnostic

FEW: Final = 8
"""Statistics of so many are counted at once, and not in a thread for which others wait too."""


class ControlError(Exception):
    """A request that cannot be met; its text is one sentence for a person."""

    name = "Failed"
    """The last part of the D-Bus error name, org.streamd1.Error.NAME."""

    def __init__(self, text: str, diagnostics: Sequence[Diagnostic] = ()) -> None:
        """Take the text, and what is wrong with which file where that is the reason."""
        super().__init__(text)
        self.diagnostics = tuple(diagnostics)


class NotFoundError(ControlError):
    """No such route or output."""

    name = "NotFound"


class BusyError(ControlError):
    """Try again later."""

    name = "Busy"


class InvalidConfigurationError(ControlError):
    """The configuration refuses it."""

    name = "InvalidConfiguration"


class DisabledError(ControlError):
    """The file says enabled = false, or what it needs is not there."""

    name = "Disabled"


class ExistsError(ControlError):
    """There is one of that name already."""

    name = "AlreadyExists"


class ByHandError(ControlError):
    """A file that a person wrote stands in the way."""

    name = "WrittenByHand"


class Control(Protocol):
    """Implemented by the reconciler. Addresses are ROUTE (all of its units) or ROUTE/OUTPUT."""

    @property
    def status(self) -> Status:
        """The latest status; replaced as a whole, never changed in place."""

    async def reload(self) -> Status:
        """Read all files again, carry out the plan, and return what came of it."""

    async def plan(self) -> tuple[StepView, ...]:
        """Read all files again and return what a reload would do, without doing it."""

    async def plan_change(self, change: Change) -> tuple[StepView, ...]:
        """Read all files again and return what a change would do, without making it. Raises: ControlError."""

    async def plan_file(self, path: str, text: str) -> tuple[StepView, ...]:
        """Return what would follow if a file of the configuration said this. Raises: ControlError."""

    async def log(self, address: str, lines: int) -> tuple[LogLine, ...]:
        """Return the last lines of the log of a route's input or of an output, the oldest first.

        Raises:
            ControlError: there is no such thing, or the journal cannot be read.
        """

    async def statistics(self, addresses: Collection[str] = ()) -> tuple[Statistics, ...]:
        """Return the moving counters of these outputs and ingests, of all of them where none is named.

        Raises:
            NotFoundError: there is no such thing.
        """

    def meter(self, address: str) -> Moving:
        """Return what moves of one of them, without asking anybody."""

    async def start(self, address: str, *, wait: bool) -> None:
        """Start what is stopped, and forget that an operator stopped it.

        With `wait`, return when systemd's job has ended; otherwise when it is asked for.

        Raises:
            ControlError: there is no such thing, or it did not start.
        """

    async def stop(self, address: str, *, wait: bool) -> None:
        """Stop it, and remember over reboots that an operator stopped it. Raises: ControlError."""

    async def change(self, change: Change) -> None:
        """Change the configuration on disk and carry out what follows.

        Raises:
            ControlError: nothing was changed.
        """

    async def set_credential(self, name: str, secret: str) -> None:
        """Put a secret into the credential store, replacing one of that name. Raises: ControlError."""

    async def viewers(self) -> MediaView:
        """Return who watches what, or why that cannot be told."""

    async def kick(self, viewer: str) -> None:
        """End the connection of a viewer, by his id. Raises: ControlError."""

    async def restart(self, address: str, *, wait: bool) -> None:
        """Stop it and start it again. Raises: ControlError."""

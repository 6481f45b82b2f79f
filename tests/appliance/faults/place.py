"""Where a fault happens: names, ports and networks of its own, so that many can happen at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.appliance.host import write_route
from tests.appliance.media import Sender


@dataclass(frozen=True)
class Place:
    """The place of fault number `number`."""

    number: int
    stream: Path
    stack: ExitStack
    """What is entered here is undone at the end."""

    @property
    def route(self) -> str:
        return f"fault-{self.number}"

    @property
    def output(self) -> str:
        return f"{self.route}/x"

    @property
    def into(self) -> int:
        """Return the UDP port of the input."""
        return 5040 + self.number

    @property
    def out(self) -> int:
        """Return the port of the receiver, or of the listener."""
        return 6100 + self.number

    @property
    def http(self) -> int:
        """Return one more port."""
        return 6200 + self.number

    @property
    def namespace(self) -> str:
        """Return the name of a network behind a link of its own."""
        return f"far{self.number}"

    @property
    def near(self) -> str:
        """Return the address of this end of the link."""
        return f"192.0.2.{4 * self.number + 1}"

    @property
    def far(self) -> str:
        """Return the address of the other end."""
        return f"192.0.2.{4 * self.number + 2}"

    def write(self, url: str, *more: str) -> None:
        """Write the route, with one output."""
        lines = ["[input]", f'url = "udp://127.0.0.1:{self.into}"', "[output.x]", f'url = "{url}"', *more]
        write_route(self.route, "\n".join(lines) + "\n")

    def encoder(self) -> Switch:
        """Return an encoder that runs."""
        switch = Switch(self.stack, lambda: Sender(self.stream, "127.0.0.1", self.into, bitrate=1_500_000))
        switch.on()
        return switch


class Switch:
    """Something that a `with` starts and stops, switched by hand; off at the end."""

    def __init__(self, stack: ExitStack, make: Callable[[], object]) -> None:
        self._make = make
        self._inner = stack.enter_context(ExitStack())
        self.thing: object = None

    def on(self) -> None:
        """Start it."""
        self.thing = self._inner.enter_context(self._make())  # type: ignore[arg-type]

    def off(self) -> None:
        """Stop it."""
        self._inner.close()

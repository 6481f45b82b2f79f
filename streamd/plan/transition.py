"""What changed from one status to the next, in words for the journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streamd.plan.address import Address
from streamd.plan.status import FAILING, OutputStatus, RouteStatus, State, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """An input or output came from one state to another."""

    address: Address
    old: State
    new: State
    cause: str
    reason: str = ""
    """One word of streamd.plan.cause, or nothing."""
    advice: str = ""
    last_error: str = ""

    @property
    def is_bad(self) -> bool:
        """Tell whether somebody may have to do something."""
        return self.new in FAILING

    def __str__(self) -> str:
        """Return the line for the journal."""
        what = str(self.address) if self.address.output else f"{self.address} (input)"
        return f"{what}: {self.old} -> {self.new}{f', {self.cause}' if self.cause else ''}"


def transitions(old: Status, new: Status) -> Iterator[Transition]:
    """Yield what changed its state; what came and what went is told by the steps of the plan."""
    before = {route.name: route for route in old.routes}
    for route in new.routes:
        was = before.get(route.name)
        if was is None:
            continue
        if was is route:
            continue
        yield from _of(Address(route.name), was, route)
        outputs = {output.name: output for output in was.outputs}
        for output in route.outputs:
            if output.name in outputs:
                yield from _of(Address(route.name, output.name), outputs[output.name], output)


def _of(address: Address, old: RouteStatus | OutputStatus, new: RouteStatus | OutputStatus) -> Iterator[Transition]:
    if old.state is new.state:
        return
    yield Transition(
        address=address,
        old=old.state,
        new=new.state,
        cause=new.cause,
        reason=new.trouble.reason,
        advice=new.trouble.advice,
        last_error=new.trouble.last_error if new.trouble.reason else "",
    )

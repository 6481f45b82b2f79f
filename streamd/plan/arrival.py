"""What waits for its next try while MediaMTX has its stream by now: it need not wait any longer. Pure.

systemd alone would begin with the next try, which may be half a minute away. But MediaMTX tells when an encoder has
come, or when it has the stream again after a death of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from streamd.plan.cause import Cause
from streamd.plan.status import OutputStatus, RouteStatus, State, Status
from streamd.plan.unit import Address
from streamd.plan.viewers import PathView
from streamd.route.model import Relay

SOON: Final = 1_000_000
"""µs: whose next try is not farther away is left to systemd."""
_LATE: Final = 2_000_000
"""µs that a process may need to end, after it was told that the stream is not there."""
_NOT_THERE: Final = frozenset({Cause.ABSENT.value, Cause.INPUT_LOST.value, Cause.REFUSED.value})
"""Reasons that are over when MediaMTX has the stream."""


def waiting(status: Status, now: int) -> dict[Address, int]:
    """Return what reads from MediaMTX and waits, with the time since which the stream would have to be there.

    Times are µs since 1970. Whatever failed again although the stream was there has another trouble, and is not helped
    by a try at once.
    """
    return {address: since for route in status.routes for address, since in _waiting(route, now)}


def arrived(waits: dict[Address, int], paths: Iterable[PathView]) -> dict[str, str]:
    """Return which units are to be started now, each with the reason."""
    since = {path.route: path.since for path in paths if path.ready}
    return {
        address.unit: "its stream has come"
        for address, after in waits.items()
        if address.route in since and since[address.route] >= after
    }


def _waiting(route: RouteStatus, now: int) -> Iterator[tuple[Address, int]]:
    is_by_mediamtx = route.relay == Relay.MEDIAMTX.value
    if route.input_kind == "publish":
        refused = route.state is State.BACKOFF and route.trouble.reason == Cause.REFUSED.value
        if not route.unit.pid and (route.state is State.WAITING or refused):
            yield Address(route.name), 0
    elif is_by_mediamtx and not route.group and _is_put_off(route, now):
        yield Address(route.name), route.trouble.last_error_at - _LATE
    for output in route.outputs:
        if is_by_mediamtx and _is_put_off(output, now):
            yield Address(route.name, output.name), output.trouble.last_error_at - _LATE


def _is_put_off(thing: RouteStatus | OutputStatus, now: int) -> bool:
    trouble = thing.trouble
    return (
        thing.state is State.BACKOFF
        and not thing.unit.pid
        and trouble.reason in _NOT_THERE
        and trouble.next_try - now > SOON
    )

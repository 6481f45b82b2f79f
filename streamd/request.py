"""What a request names: the units that its address means, and why these cannot be acted upon. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from streamd.bus.control import (
    BusyError,
    ByHandError,
    ControlError,
    DisabledError,
    ExistsError,
    InvalidConfigurationError,
    NotFoundError,
)
from streamd.plan.address import Address
from streamd.plan.status import RouteStatus, State
from streamd.route.change import Kind, Refusal

_REFUSALS: Final[Mapping[Kind, type[ControlError]]] = {
    Kind.NOT_FOUND: NotFoundError,
    Kind.EXISTS: ExistsError,
    Kind.INVALID: InvalidConfigurationError,
    Kind.BY_HAND: ByHandError,
    Kind.BUSY: BusyError,
    Kind.FAILED: ControlError,
}


def resolve(routes: Iterable[RouteStatus], address: str) -> list[Address]:
    """Return the units that an address means: a route's are its ingest and all its outputs. Raises: NotFoundError."""
    name, slash, output = address.partition("/")
    for route in routes:
        if route.name != name:
            continue
        if not slash:
            return [Address(name), *(Address(name, found.name) for found in route.outputs)]
        if any(found.name == output for found in route.outputs):
            return [Address(name, output)]
        raise NotFoundError(f'route "{name}" has no output "{output}"')
    raise NotFoundError(f'there is no route "{name}"')


def refuse_what_cannot_run(routes: Iterable[RouteStatus], addresses: Iterable[Address], *, explicit: bool) -> None:
    """Refuse to start what its file forbids.

    Args:
        routes: all, as they are told.
        addresses: what is to be started.
        explicit: an output was named itself; where its whole route was, a disabled output just stays so.

    Raises:
        DisabledError: it is disabled.
        InvalidConfigurationError: the route has never had a good definition.
    """
    wanted = list(addresses)
    for route in routes:
        outputs = {Address(route.name, output.name): output.state for output in route.outputs}
        states = {Address(route.name): route.state, **outputs}
        for address in wanted:
            if states.get(address) is State.DISABLED and (explicit or not address.output):
                raise DisabledError(f"{address} is disabled, set enabled = true in {route.path}")
            if route.name == address.route and route.broken and not route.input_kind:
                raise InvalidConfigurationError(f"{route.path} is broken, see: streamctl check {route.path}")


def raise_problems(routes: Iterable[RouteStatus], addresses: Iterable[Address], problems: Mapping[str, str]) -> None:
    """Tell whoever asked what has gone wrong.

    Args:
        routes: all, as they are told since.
        addresses: what was asked for.
        problems: why a step could not be carried out, by unit.

    Raises:
        ControlError: something has, or is blocked.
    """
    wanted = {str(address): address for address in addresses}
    tried = ((text, problems.get(address.unit)) for text, address in wanted.items())
    found = [f"{text}: {problem}" for text, problem in tried if problem]
    for route in routes:
        states = [(route.name, route.state, route.cause)]
        states += [(output.address, output.state, output.cause) for output in route.outputs]
        found += [f"{text}: {cause}" for text, state, cause in states if text in wanted and state is State.BLOCKED]
    if found:
        raise ControlError("; ".join(found))


def refused(refusal: Refusal) -> ControlError:
    """Return the error of a change that was refused, with all that is wrong with it."""
    text = "\n".join((refusal.message, *map(str, refusal.diagnostics)))
    return _REFUSALS[refusal.kind](text, refusal.diagnostics)

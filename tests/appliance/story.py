"""What should be after any sequence of calls, edits and kills: a model of routes, pure, and simpler than streamd.

Each act leads from a world to the worlds that may come of it, each with the reply that it goes with. There are several
where nobody can say, as when the daemon is killed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

OK = ""
NOT_FOUND = "NotFound"
EXISTS = "AlreadyExists"
INVALID = "InvalidConfiguration"
BY_HAND = "WrittenByHand"
DISABLED = "Disabled"


@dataclass(frozen=True)
class Output:
    """An output to 127.0.0.1."""

    port: int
    description: str = ""
    enabled: bool = True


@dataclass(frozen=True)
class Route:
    """A route that listens on UDP."""

    port: int
    outputs: dict[str, Output] = field(default_factory=dict)
    own: bool = True
    """Whether its main file is streamd's."""
    written: str = ""
    """The description in its main file."""
    dropin: str = ""
    """The description in a person's drop-in, which wins."""
    broken: bool = False

    @property
    def description(self) -> str:
        return self.dropin or self.written


@dataclass(frozen=True)
class World:
    """All routes, what an operator stopped, and which processes may be others than when one last looked."""

    routes: dict[str, Route] = field(default_factory=dict)
    stopped: frozenset[str] = frozenset()
    touched: frozenset[str] = frozenset()

    def addresses(self, route: str) -> list[str]:
        found = self.routes.get(route)
        return [route, *(f"{route}/{name}" for name in found.outputs)] if found else []

    def output(self, address: str) -> Output | None:
        route, _slash, name = address.partition("/")
        found = self.routes.get(route)
        return found.outputs.get(name) if found else None

    def is_disabled(self, address: str) -> bool:
        output = self.output(address)
        return output is not None and not output.enabled

    @property
    def everything(self) -> list[str]:
        return [address for route in sorted(self.routes) for address in self.addresses(route)]

    @property
    def running(self) -> set[str]:
        return {found for found in self.everything if found not in self.stopped and not self.is_disabled(found)}

    def with_route(self, name: str, route: Route, *touched: str) -> World:
        return replace(self, routes={**self.routes, name: route}, touched=self.touched.union(touched))

    def with_output(self, address: str, output: Output | None, *, touch: bool = True) -> World:
        name, _slash, key = address.partition("/")
        route = self.routes[name]
        outputs = {**route.outputs, key: output} if output else {k: v for k, v in route.outputs.items() if k != key}
        after = self.with_route(name, replace(route, outputs=outputs), *([address] if touch else []))
        return after if output else replace(after, stopped=self.stopped - {address})

    def without(self, name: str) -> World:
        gone = frozenset(self.addresses(name))
        routes = {key: route for key, route in self.routes.items() if key != name}
        return World(routes, self.stopped - gone, self.touched | gone)


Outcome = tuple[str, World]
"""The last part of an error's name, or nothing, and what is then."""
Act = Callable[[World], Outcome]


def add_route(name: str, port: int) -> Act:
    def act(world: World) -> Outcome:
        if name in world.routes:
            return EXISTS, world
        return OK, world.with_route(name, Route(port), name)

    return act


def remove_route(name: str) -> Act:
    def act(world: World) -> Outcome:
        route = world.routes.get(name)
        if route is None:
            return NOT_FOUND, world
        if not route.own or route.broken or route.dropin:
            return BY_HAND, world
        return OK, world.without(name)

    return act


def _change(address: str, change: Callable[[World, Output | None], Outcome]) -> Act:
    def act(world: World) -> Outcome:
        route = world.routes.get(address.partition("/")[0])
        if route is None:
            return NOT_FOUND, world
        if route.broken:
            return INVALID, world
        return change(world, world.output(address))

    return act


def add_output(address: str, port: int) -> Act:
    def change(world: World, output: Output | None) -> Outcome:
        return (EXISTS, world) if output else (OK, world.with_output(address, Output(port)))

    return _change(address, change)


def remove_output(address: str) -> Act:
    def change(world: World, output: Output | None) -> Outcome:
        return (OK, world.with_output(address, None)) if output else (NOT_FOUND, world)

    return _change(address, change)


def redirect(address: str, port: int) -> Act:
    def change(world: World, output: Output | None) -> Outcome:
        return (OK, world.with_output(address, replace(output, port=port))) if output else (NOT_FOUND, world)

    return _change(address, change)


def describe(address: str, text: str) -> Act:
    def change(world: World, output: Output | None) -> Outcome:
        if output is None:
            return NOT_FOUND, world
        return OK, world.with_output(address, replace(output, description=text), touch=False)

    return _change(address, change)


def enable(address: str, enabled: bool) -> Act:
    def change(world: World, output: Output | None) -> Outcome:
        if output is None:
            return NOT_FOUND, world
        return OK, world.with_output(address, replace(output, enabled=enabled), touch=output.enabled is not enabled)

    return _change(address, change)


def _meant(world: World, address: str) -> list[str]:
    everything = world.addresses(address.partition("/")[0])
    return [found for found in everything if found == address or "/" not in address]


def start(address: str) -> Act:
    def act(world: World) -> Outcome:
        meant = _meant(world, address)
        if not meant:
            return NOT_FOUND, world
        if world.is_disabled(address):
            return DISABLED, world
        touched = world.touched.union(world.stopped.intersection(meant))
        return OK, replace(world, stopped=world.stopped.difference(meant), touched=touched)

    return act


def stop(address: str) -> Act:
    def act(world: World) -> Outcome:
        meant = _meant(world, address)
        if not meant:
            return NOT_FOUND, world
        return OK, replace(world, stopped=world.stopped.union(meant), touched=world.touched.union(meant))

    return act


def restart(address: str) -> Act:
    def act(world: World) -> Outcome:
        meant = _meant(world, address)
        if not meant:
            return NOT_FOUND, world
        if world.is_disabled(address):
            return DISABLED, world
        return OK, replace(world, stopped=world.stopped.difference(meant), touched=world.touched.union(meant))

    return act


def nothing(world: World) -> Outcome:
    return OK, world


def orders(first: Act, second: Act, world: World) -> Iterator[tuple[str, str, World]]:
    """Yield the two replies and what is then, for both orders of two acts that were asked for at once."""
    reply, between = first(world)
    other, after = second(between)
    yield reply, other, after
    other, between = second(world)
    reply, after = first(between)
    yield reply, other, after

"""Builders of desired and observed things, so that a test says only what it is about."""

from __future__ import annotations

from streamd.plan.address import Address
from streamd.plan.allocation import Allocation, allocate
from streamd.plan.desired import Desired, HostFacts, desire
from streamd.plan.observed import Observed, ObservedUnit
from streamd.route.model import Input, Output, Route, Settings, Source, Target, UdpSource, UdpTarget

SETTINGS = Settings()


def udp_output(name: str, port: int = 6000, **more: object) -> Output:
    target: Target = more.pop("target", UdpTarget(host="192.0.2.1", port=port))  # type: ignore[assignment]
    return Output(name=name, url=f"udp://192.0.2.1:{port}", target=target, **more)  # type: ignore[arg-type]


def route(name: str, *outputs: Output, port: int | None = 5000, source: Source | None = None, **more: object) -> Route:
    made = source or UdpSource(host="0.0.0.0", port=port)
    url = f"udp://0.0.0.0:{port or 'auto'}"
    return Route(name=name, input=Input(url=url, source=made), outputs=outputs, **more)  # type: ignore[arg-type]


def desired(
    *routes: Route, facts: HostFacts | None = None, stopped: tuple[str, ...] = (), held: tuple[str, ...] = ()
) -> Desired:
    groups = {it.name: f"239.255.0.{number}" for number, it in enumerate(routes, 1)}
    allocation = allocate(Allocation(groups=groups), routes, SETTINGS, ())
    return desire(
        routes, allocation=allocation, settings=SETTINGS, facts=facts or HostFacts(), stopped=stopped, held=held
    )


def running(wanted: Desired) -> Observed:
    """Return what systemd has when all that is wanted runs."""
    units = {name: ObservedUnit(name=name, description=unit.description) for name, unit in wanted.units.items()}
    return Observed(units=units, slices=slices(*{unit.address.route for unit in wanted.units.values()}))


def slices(*routes: str) -> dict[str, ObservedUnit]:
    from streamd.plan.address import route_slice
    from streamd.plan.unit import ROOT_SLICE

    names = [ROOT_SLICE, *(route_slice(name) for name in routes)]
    return {name: ObservedUnit(name=name, sub="active") for name in names}


def unit_of(address: str) -> str:
    name, _, output = address.partition("/")
    return Address(name, output).unit

"""From routes to the units that should run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from streamd.plan.address import Address
from streamd.plan.allocation import Allocation
from streamd.plan.ffmpeg import Command, Endpoint, MediaPath, ingest_command, output_command, watch_command
from streamd.plan.srt import srt_command
from streamd.plan.status import State
from streamd.plan.unit import BY_MEDIAMTX, DesiredUnit
from streamd.route.claims import Claim, input_claim, output_claim, with_port
from streamd.route.mask import without_secrets
from streamd.route.model import (
    Credential,
    Engine,
    Limits,
    Output,
    PublishSource,
    PullSource,
    Relay,
    Route,
    Settings,
    SrtTarget,
    UdpSource,
    UdpTarget,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What the core must know of the machine."""

    digests: Mapping[str, str] = field(default_factory=dict)
    """Credential name to the keyed digest of its secret, for those that can be used."""
    interfaces: Mapping[str, str] = field(default_factory=dict)
    """Network interface to its IPv4 address."""
    plain: frozenset[str] = frozenset()
    """Credentials that can be passwords for encoders."""
    mediamtx: str = ""
    """Why MediaMTX cannot be used, empty where it can."""
    mediamtx_copies: str = ""
    """Why MediaMTX cannot read from the direct relay, empty where it can."""
    srt_live_transmit: str = ""
    """Why srt-live-transmit cannot be used, empty where it can."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a unit that the files know is not to run."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """All that should run, and what should not and why."""

    units: Mapping[str, DesiredUnit] = field(default_factory=dict)
    """By unit name."""
    absent: Mapping[str, Absent] = field(default_factory=dict)
    """By unit name: disabled, stopped by an operator, or blocked."""
    held: frozenset[str] = frozenset()
    """Routes whose file cannot be understood and of which no good definition is known: hands off their units."""


def desire(
    routes: Iterable[Route],
    *,
    allocation: Allocation,
    settings: Settings,
    facts: HostFacts,
    stopped: Collection[str] = (),
    held: Collection[str] = (),
) -> Desired:
    """Return what should run.

    Args:
        routes: the good definitions.
        allocation: the relay group and automatic port of each route.
        settings: from streamd.toml.
        facts: of this machine.
        stopped: addresses (ROUTE or ROUTE/OUTPUT) that an operator stopped.
        held: names of routes that are not to be touched.
    """
    units: dict[str, DesiredUnit] = {}
    absent: dict[str, Absent] = {}
    for route in routes:
        for address, made in _units_of(route, allocation, settings, facts):
            if str(address) in stopped and not (isinstance(made, Absent) and made.state is State.DISABLED):
                absent[address.unit] = Absent(State.STOPPED, "stopped by an operator")
            elif isinstance(made, Absent):
                absent[address.unit] = made
            else:
                units[made.name] = made
    return Desired(units=units, absent=absent, held=frozenset(held))


def _units_of(
    route: Route, allocation: Allocation, settings: Settings, facts: HostFacts
) -> Iterator[tuple[Address, DesiredUnit | Absent]]:
    ingest = Address(route.name)
    disabled = Absent(State.DISABLED, "enabled = false in its route")
    group = allocation.groups.get(route.name)
    endpoint = Endpoint(group, settings.relay_port) if group else None
    if not route.enabled:
        yield ingest, disabled
    elif endpoint is None:
        yield ingest, Absent(State.BLOCKED, f"no relay group is free in {settings.relay_groups}")
    else:
        progress = Endpoint(allocation.channels[str(ingest)], settings.progress_port)
        port = allocation.ports.get(route.name)
        yield ingest, _ingest(route, endpoint, progress, port, settings=settings, facts=facts)
    for output in route.outputs:
        address = Address(route.name, output.name)
        if not route.enabled:
            yield address, disabled
        elif not output.enabled:
            yield address, Absent(State.DISABLED, "enabled = false")
        elif endpoint is None:
            yield address, Absent(State.BLOCKED, f"no relay group is free in {settings.relay_groups}")
        else:
            progress = Endpoint(allocation.channels[str(address)], settings.progress_port)
            yield address, _output(route, output, endpoint, progress, settings=settings, facts=facts)


def _ingest(
    route: Route, group: Endpoint, progress: Endpoint, port: int | None, *, settings: Settings, facts: HostFacts
) -> DesiredUnit | Absent:
    source = route.input.source
    if isinstance(source, PublishSource):
        if missing := _unpublishable(source, facts):
            return missing
        source = PullSource(url=_media_path(route, settings).url)
    address = Address(route.name)
    if route.comes_by_mediamtx:
        return _watch(route, progress, settings=settings, facts=facts)
    if isinstance(source, UdpSource):
        if source.port is None and port is None:
            return Absent(State.BLOCKED, "no input port is free, see input_ports in streamd.toml")
        if missing := _missing_interface(source.interface, facts):
            return missing
    command = ingest_command(
        source, port=port, group=group, progress=progress, addresses=facts.interfaces, unit=address.unit
    )
    url = input_url(route, port)
    return _unit(
        address,
        command,
        facts,
        title=f"streamd input {address} from {without_secrets(url)}",
        limits=route.input.limits,
        claim=input_claim(with_port(route, {} if port is None else {route.name: port}).input.source),
    )


def _media_path(route: Route, settings: Settings) -> MediaPath:
    return MediaPath(f"rtsp://{settings.mediamtx.rtsp.reached_at}/{route.name}")


def _watch(route: Route, progress: Endpoint, *, settings: Settings, facts: HostFacts) -> DesiredUnit | Absent:
    """Return the unit that stands for the input of a route whose stream goes to the outputs without an ingest."""
    if facts.mediamtx:
        return _without_mediamtx(facts)
    command = watch_command(_media_path(route, settings), progress)
    title = f"streamd input {route.name} from {without_secrets(route.input.url)}{BY_MEDIAMTX}"
    return _unit(Address(route.name), command, facts, title=title, limits=route.input.limits, claim=None)


def _without_mediamtx(facts: HostFacts) -> Absent:
    return Absent(State.BLOCKED, f"{facts.mediamtx}; to install it, as root: streamctl install-mediamtx")


def _unpublishable(source: PublishSource, facts: HostFacts) -> Absent | None:
    if facts.mediamtx:
        return _without_mediamtx(facts)
    if source.password.name not in facts.digests:
        return Absent(State.BLOCKED, f'credential "{source.password.name}" is missing or cannot be used')
    if source.password.name not in facts.plain:
        return Absent(
            State.BLOCKED,
            f'credential "{source.password.name}" cannot be an encoder\'s password, which is 64 letters, digits and'
            " . _ ~ ! * + - at most",
        )
    return None


def _output(
    route: Route, output: Output, group: Endpoint, progress: Endpoint, *, settings: Settings, facts: HostFacts
) -> DesiredUnit | Absent:
    address = Address(route.name, output.name)
    by_mediamtx = route.relay is Relay.MEDIAMTX
    if by_mediamtx and facts.mediamtx:
        return _without_mediamtx(facts)
    if by_mediamtx and facts.mediamtx_copies and not route.comes_by_mediamtx:
        return Absent(State.BLOCKED, facts.mediamtx_copies)
    if isinstance(output.target, UdpTarget) and (missing := _missing_interface(output.target.interface, facts)):
        return missing
    if isinstance(output.target, SrtTarget) and output.target.engine is Engine.SRT_LIVE_TRANSMIT:
        if facts.srt_live_transmit:
            return Absent(State.BLOCKED, facts.srt_live_transmit)
        command = srt_command(output.target, relay=group, progress=progress)
    else:
        command = output_command(
            output.target,
            relay=_media_path(route, settings) if by_mediamtx else group,
            progress=progress,
            addresses=facts.interfaces,
            unit=address.unit,
        )
    return _unit(
        address,
        command,
        facts,
        title=f"streamd output {address} to {without_secrets(output.url)}{BY_MEDIAMTX if by_mediamtx else ''}",
        limits=_merged(output.limits, settings.output_limits),
        claim=output_claim(output.target),
    )


def _unit(
    address: Address, command: Command, facts: HostFacts, *, title: str, limits: Limits, claim: Claim | None
) -> DesiredUnit | Absent:
    names = sorted({line.value.name for line in command.preset if isinstance(line.value, Credential)})
    for name in names:
        if name not in facts.digests:
            return Absent(State.BLOCKED, f'credential "{name}" is missing or cannot be used')
    return DesiredUnit(
        address=address,
        title=title,
        command=command,
        secret_digests={name: facts.digests[name] for name in names},
        limits=limits,
        has_claim=claim is not None,
        is_listener=bool(address.output) and claim is not None,
    )


def input_url(route: Route, port: int | None) -> str:
    """Return the input's URL with an `auto` port replaced by the one allocated."""
    url = route.input.url
    return url.removesuffix(":auto") + f":{port}" if port and url.endswith(":auto") else url


def _missing_interface(name: str | None, facts: HostFacts) -> Absent | None:
    if name is None or name in facts.interfaces:
        return None
    return Absent(State.BLOCKED, f'network interface "{name}" is missing or has no IPv4 address')


def _merged(own: Limits, default: Limits) -> Limits:
    return Limits(
        memory=default.memory if own.memory is None else own.memory,
        cpu=default.cpu if own.cpu is None else own.cpu,
        tasks=default.tasks if own.tasks is None else own.tasks,
    )

"""What is watched: units, and what has to be known of each to judge it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from streamd.plan.address import Address
from streamd.plan.overview import source_kind, target_kind
from streamd.route.model import Engine, PublishSource, PullSource, Relay, Route, Settings, SrtMode, SrtSource, SrtTarget

PULL_TIMEOUT: Final = 20_000_000
"""µs for which what is fetched from a server may give nothing. An RTSP server that lives and sends no media holds
FFmpeg for ever; to an encoder that calls, or sends by itself, a restart would only close the door."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A unit that is watched."""

    address: Address
    channel: str
    """The loopback address that it reports to."""
    kind: str
    """Of its source or target: udp, srt, rtmp, …"""
    is_listener: bool
    stall_timeout: int
    """µs for which it may be stuck; 0 for ever."""
    is_by_mediamtx: bool = False
    """It reads from MediaMTX."""
    engine: Engine = Engine.FFMPEG


def patients(routes: Iterable[Route], channels: Mapping[str, str], settings: Settings) -> Iterator[Patient]:
    """Yield every ingest and output of these routes that has a channel.

    Args:
        routes: the good definitions.
        channels: ROUTE and ROUTE/OUTPUT to loopback address (see streamd.plan.allocation).
        settings: for what an output does not say itself.
    """
    for route in routes:
        source = route.input.source
        if route.name in channels:
            yield Patient(
                address=Address(route.name),
                channel=channels[route.name],
                kind=source_kind(source),
                is_listener=isinstance(source, PublishSource)
                or (isinstance(source, SrtSource) and source.mode is SrtMode.LISTENER),
                stall_timeout=PULL_TIMEOUT if isinstance(source, PullSource | PublishSource) else 0,
            )
        for output in route.outputs:
            address = Address(route.name, output.name)
            timeout = settings.stall_timeout if output.stall_timeout is None else output.stall_timeout
            if str(address) in channels:
                yield Patient(
                    address=address,
                    channel=channels[str(address)],
                    kind=target_kind(output),
                    is_listener=isinstance(output.target, SrtTarget) and output.target.mode is SrtMode.LISTENER,
                    stall_timeout=timeout * 1000,
                    is_by_mediamtx=route.relay is Relay.MEDIAMTX,
                    engine=output.engine,
                )

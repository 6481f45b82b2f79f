"""The survey: what the files say and what systemd has, and what should run by that. It changes nothing that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypedDict

from streamd.complaints import Complaints
from streamd.host.confd import CREDENTIALS_DIRECTORY, NOTHING, Configuration, Reader, Supposition
from streamd.host.credentials import publishers
from streamd.host.engine import srt_live_transmit_problem
from streamd.host.mediamtx import MediaMtx
from streamd.host.network import interface_addresses, udp_ports_in_use
from streamd.host.store import Store, Texts
from streamd.host.systemd import Systemd
from streamd.plan.address import Address
from streamd.plan.allocation import Allocation, allocate
from streamd.plan.desired import Desired, HostFacts, desire
from streamd.plan.mediamtx import fetched_by, kept_names, paths_of, published_to
from streamd.plan.observed import Observed
from streamd.route.model import Route, Settings
from streamd.route.settings import parse_settings
from streamd.stops import Stops

_LONGEST: Final = 300.0
"""Seconds after which systemd is asked again in any case."""


class Circumstances(TypedDict):
    """What a change is judged by."""

    incumbents: Mapping[str, Route]
    ports: Mapping[str, int]
    last_settings: Settings | None


class Survey:
    """Looks at files and systemd, and holds what is gone by until it looks again."""

    def __init__(
        self, systemd: Systemd, store: Store, stops: Stops, mediamtx: MediaMtx, complaints: Complaints
    ) -> None:
        """Take the edges, and what is told of what it finds."""
        self._systemd = systemd
        self._store = store
        self._stops = stops
        self._mediamtx = mediamtx
        self._complaints = complaints
        self._reader = Reader("/", store.digest_key())
        self.settings: Settings | None = None
        """None before the first look."""
        self.configuration = Configuration()
        self._last_read: tuple[Configuration, HostFacts] | None = None
        self._looked_at = 0.0
        before, errors = parse_settings("", store.settings)
        self._last_settings = before if store.settings and not errors else None
        """Those of the daemon before, for as long as streamd.toml is broken; another version may not know them."""
        self.good = dict(_remembered(self._reader, store.routes, self._last_settings or Settings()))
        """The good definition of each route that has one; at first as it was known to the daemon before."""

    def circumstances(self) -> Circumstances:
        """Return what a change is judged by."""
        return {
            "incumbents": dict(self.good),
            "ports": self._store.allocation.ports,
            "last_settings": self.settings,
        }

    async def look(self, *, remember: bool, suppose: Supposition = NOTHING) -> tuple[Desired, Observed, Allocation]:
        """Read the files and look at systemd. Raises: SystemdError.

        Args:
            remember: what was found becomes what is gone by from now on.
            suppose: as for Reader.read.
        """
        configuration, facts = read = await self._read(suppose)
        observed = await self._systemd.observe()
        stopped = self._stops.seen(observed, remember=remember)
        there = {address.route for address in map(Address.of_unit, observed.units) if address}
        known = there | self.good.keys() | {address.partition("/")[0] for address in stopped}
        configuration = configuration.with_missing(known)
        good = {
            file.name: route
            for file in configuration.files
            if (route := file.route or self.good.get(file.name)) is not None
        }
        # A port that is in use by the route's own input has gone to nobody else.
        listening = {name for name in good if (unit := observed.units.get(Address(name).unit)) and unit.is_up}
        returning = good.keys() - self.good.keys() - listening if self.settings else ()
        allocation = allocate(
            self._store.allocation,
            good.values(),
            configuration.settings,
            udp_ports_in_use(),
            returning=returning,
        )
        desired = desire(
            good.values(),
            allocation=allocation,
            settings=configuration.settings,
            facts=facts,
            stopped=stopped,
            held={file.name for file in configuration.files if file.name not in good},
        )
        if remember:
            self._last_read = read
            self._looked_at = time.monotonic()
            self.good = good
            self.settings = configuration.settings
            if not configuration.settings_broken:
                self._store.keep_settings(configuration.settings_text)
            self.configuration = configuration
            self._keep_texts()
            self._complaints.tell_errors(configuration.diagnostics)
            self._stops.settle(stopped, (file.name for file in configuration.files), good)
            self._stops.adopt(observed)
            await self._mediamtx.renew(
                paths_of(good.values(), desired, allocation.groups),
                configuration.settings,
                publishers=publishers(published_to(good.values(), desired), Path("/") / CREDENTIALS_DIRECTORY),
                fetched=fetched_by(good.values(), desired, observed),
                held=kept_names(good.values(), desired),
            )
        return desired, observed, allocation

    def _keep_texts(self) -> None:
        found = {file.name: file for file in self.configuration.files if file.route is not None}
        texts = {name: tuple((it.path, it.text) for it in file.pieces) for name, file in found.items()}
        # Of a route whose file is broken now, what it said before.
        self._store.keep_routes(
            {name: text for name, text in (self._store.routes | texts).items() if name in self.good}
        )

    async def is_current(self) -> bool:
        """Tell whether files and host are as they were at the last look, which was not too long ago.

        systemd is not asked: it tells by itself what changes, and to ask it is what costs the most.
        """
        if time.monotonic() - self._looked_at > _LONGEST:
            return False
        # What may be no good definition any more is judged beside the good ones, which are no others than then.
        return await self._read() == self._last_read

    async def _read(self, suppose: Supposition = NOTHING) -> tuple[Configuration, HostFacts]:
        configuration = self._reader.read(
            incumbents=self.good,
            ports=self._store.allocation.ports,
            last_settings=self.settings or self._last_settings,
            suppose=suppose,
        )
        facts = HostFacts(
            digests=configuration.credentials.digests,
            plain=configuration.credentials.plain,
            interfaces=interface_addresses(),
            mediamtx=(await self._mediamtx.probe()).problem,
            mediamtx_copies=self._mediamtx.installed.copies_problem,
            srt_live_transmit=srt_live_transmit_problem(),
        )
        return configuration, facts


def _remembered(reader: Reader, routes: Mapping[str, Texts], settings: Settings) -> Iterator[tuple[str, Route]]:
    """Yield the routes in these texts; another version may have written them, and to this one they may be none."""
    for name, texts in routes.items():
        found = reader.recall(texts, settings)
        if found.route is not None and found.name == name:
            yield name, found.route

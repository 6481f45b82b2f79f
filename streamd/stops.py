"""What an operator stopped, by streamctl or behind the daemon's back, is remembered over restarts and reboots."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from streamd.host import journal
from streamd.host.store import Store
from streamd.plan.address import Address
from streamd.plan.observed import Observed, operator_stops
from streamd.route.model import Route

_LOG: Final = logging.getLogger(__name__)


class Stops:
    """Keeps two sets in the store: the addresses that were stopped, and the units that run and were started by us.

    A unit of the second that is gone without anybody having asked the daemon was stopped by `systemctl stop`.
    """

    def __init__(self, store: Store) -> None:
        """Take what keeps them."""
        self._store = store

    def add(self, addresses: Iterable[Address]) -> None:
        """Remember that an operator stopped these."""
        self._store.keep_stopped(self._store.stopped | set(map(str, addresses)))

    def forget(self, addresses: Collection[Address]) -> None:
        """Forget that an operator stopped these, also where systemd was asked to just now and nobody has looked yet."""
        self._store.keep_stopped(self._store.stopped - set(map(str, addresses)))
        self._store.keep_started(self._store.started - {found.unit for found in addresses})

    def seen(self, observed: Observed, *, remember: bool) -> frozenset[str]:
        """Return all addresses that an operator stopped; with `remember`, tell of those that are new."""
        units = operator_stops(self._store.started, observed)
        addresses = [address for address in map(Address.of_unit, sorted(units)) if address]
        if remember:
            for address in addresses:
                _LOG.info(
                    "%s was stopped by an operator; start it again with: streamctl start %s",
                    address,
                    address,
                    extra=journal.fields(journal.OPERATOR_STOPPED, address),
                )
            self._store.keep_started(self._store.started - units)
        return self._store.stopped | frozenset(map(str, addresses))

    def settle(self, stopped: frozenset[str], names: Iterable[str], good: Mapping[str, Route]) -> None:
        """Keep of what was stopped only what some file still knows; of a broken file all is kept.

        Args:
            stopped: the addresses.
            names: the routes that have a file.
            good: their last good definitions.
        """
        known: set[str] = set()
        for name in names:
            route = good.get(name)
            if route is None:
                known |= {address for address in stopped if address.partition("/")[0] == name}
            else:
                known |= {name, *(f"{name}/{output.name}" for output in route.outputs)}
        self._store.keep_stopped(stopped & known)

    def adopt(self, observed: Observed) -> None:
        """Mark what runs, and forget marks of what was stopped along with its slice."""
        running = frozenset(name for name, unit in observed.units.items() if unit.is_up and Address.of_unit(name))
        leaving = frozenset(name for name, unit in observed.units.items() if unit.is_leaving)
        if not observed.system_stopping:
            self._store.keep_started(running | (self._store.started & leaving))

"""Calling hooks: units are started through systemd, webhooks by a unit of their own that may speak to the network.

The daemon waits for none of them with anything that it does for the streams: calls stand in queues of a bounded length,
and a bounded number is under way.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamd.host import journal
from streamd.host.credentials import read_secret
from streamd.host.outbox import Outbox
from streamd.host.store import Store, write_atomically
from streamd.host.systemd import Systemd, SystemdError
from streamd.plan.address import Address
from streamd.plan.hooks import (
    Event,
    Kind,
    Ledger,
    advance,
    environment_file,
    event_document,
    hook_unit,
    unit_instance,
)
from streamd.plan.status import Status
from streamd.route.hooks import shown_url, url_fault
from streamd.route.model import Credential, Hooks, UnitHook, WebHook

_LOG: Final = logging.getLogger(__name__)

_LONGEST_QUEUE: Final = 500
_UNITS_AT_ONCE: Final = 2
_WEBHOOK_UNITS: Final = 3
"""Units at once that call webhooks: while one waits for a server that does not answer, others call others."""
_WEBHOOK_BATCH: Final = 20
"""Webhooks that one such unit calls; its time-out is made for that many."""
WEBHOOK_UNIT: Final = "streamd-webhook@{}.service"


@dataclass(frozen=True, slots=True)
class _UnitCall:
    unit: str
    event: Event


@dataclass(frozen=True, slots=True)
class _WebCall:
    url: str | Credential
    event: Event


class Herald:
    """Looks at the status, and calls the hooks of what fails and of what is well again."""

    def __init__(
        self, systemd: Systemd, store: Store, runtime: Path, credentials: Path, hooks_of: Callable[[str], Hooks]
    ) -> None:
        """Take the edges, /run/streamd, the directory of the secrets, and what tells the hooks of a route."""
        self._systemd = systemd
        self._store = store
        self._events = runtime / "events"
        self._calls = runtime / "webhooks"
        self._credentials = credentials
        self._hooks_of = hooks_of
        self._ledger = Ledger(store.told)
        self._seen: Status | None = None
        self._units = Outbox(self._start_units, _tell_full, longest=_LONGEST_QUEUE, at_once=_UNITS_AT_ONCE, batch=1)
        self._webhooks = Outbox(
            self._call_webhooks, _tell_full, longest=_LONGEST_QUEUE, at_once=_WEBHOOK_UNITS, batch=_WEBHOOK_BATCH
        )
        self._told: set[str] = {path.name for path in _files(self._events)}
        for left in _files(self._calls):
            _remove(left)  # of a daemon that was killed: the URLs are secrets, and whoever called them has read them

    def look(self, status: Status) -> None:
        """Find out what is to be told now, and have it told. To be called each second; it does not wait."""
        if status is self._seen and not self._ledger.episodes:
            return
        now, clock = time.monotonic_ns() // 1000, time.time_ns() // 1000
        self._ledger, events = advance(self._ledger, status, self._patience, now, clock)
        # First: were the daemon killed in between, a call is rather missed than made again at each start.
        self._store.keep_told(self._ledger.told)
        if status is not self._seen:
            self._seen = status
            self._forget_gone()
        for event in events:
            self._tell(event)

    async def close(self) -> None:
        """End what is under way, but not the units that were started."""
        await self._units.close()
        await self._webhooks.close()

    def _patience(self, route: str) -> int:
        return (self._hooks_of(route).delay or 0) * 1000

    def _tell(self, event: Event) -> None:
        hooks = self._hooks_of(event.address.route)
        wanted = hooks.on_failure if event.kind is Kind.FAILURE else hooks.on_recovery
        if not wanted:
            return
        self._write_event(event)
        for hook in wanted:
            match hook:
                case UnitHook(name):
                    self._units.put(_UnitCall(hook_unit(name, event.address), event))
                case WebHook(url):
                    self._webhooks.put(_WebCall(url, event))

    def _write_event(self, event: Event) -> None:
        """Write what hook units read by EnvironmentFile=; it holds no secret."""
        path = self._events / f"{unit_instance(event.address)}.env"
        content = environment_file(event_document(event, socket.gethostname()))
        try:
            self._events.mkdir(exist_ok=True)
            self._events.chmod(0o755)
            write_atomically(path, content.encode(errors="replace"), 0o644)
        except OSError as error:
            _LOG.error("cannot write %s: %s", path, error.strerror)
        else:
            self._told.add(path.name)

    def _forget_gone(self) -> None:
        known = {f"{unit_instance(Address(*name.split('/')))}.env" for name in self._ledger.states}
        for name in self._told - known:
            _remove(self._events / name)
        self._told &= known

    async def _start_units(self, calls: list[_UnitCall]) -> None:
        for call in calls:
            event = call.event
            extra = journal.event_fields(journal.HOOK_CALLED, event, STREAMD_HOOK=call.unit)
            try:
                await self._systemd.start_installed(call.unit, wait=False)
            except SystemdError as error:
                extra = journal.event_fields(journal.HOOK_FAILED, event, STREAMD_HOOK=call.unit)
                _LOG.error(
                    "cannot start %s for the %s of %s: %s", call.unit, event.kind, event.address, error, extra=extra
                )
            else:
                _LOG.info("started %s for the %s of %s", call.unit, event.kind, event.address, extra=extra)

    async def _call_webhooks(self, calls: list[_WebCall]) -> None:
        """Hand the calls to a unit and wait until it has made them."""
        host = socket.gethostname()
        found = [document for call in calls if (document := self._web_document(call, host))]
        if not found:
            return
        name = str(time.time_ns())
        path = self._calls / f"{name}.json"
        try:
            write_atomically(path, json.dumps(found).encode())
            await self._systemd.start_installed(WEBHOOK_UNIT.format(name), wait=True)
        except OSError as error:
            _LOG.error("cannot write %s: %s", path, error.strerror)
        except SystemdError as error:
            for call in calls:
                extra = journal.event_fields(journal.HOOK_FAILED, call.event)
                _LOG.error("webhook for the %s of %s: %s", call.event.kind, call.event.address, error, extra=extra)
        # Not where this was cancelled: the unit may not have read it yet, and the next daemon deletes it.
        _remove(path)

    def _web_document(self, call: _WebCall, host: str) -> dict[str, Any] | None:
        url = call.url
        if isinstance(url, Credential):
            secret, problem = read_secret(self._credentials / url.name)
            problem = problem or url_fault(secret)
            if problem:
                event = call.event
                extra = journal.event_fields(journal.HOOK_FAILED, event, STREAMD_HOOK=f"credential {url.name}")
                _LOG.error(
                    'no webhook for the %s of %s: the URL in credential "%s" %s',
                    *(event.kind, event.address, url.name, problem),
                    extra=extra,
                )
                return None
            url = secret
        return {"url": url, "shown": shown_url(url), "body": event_document(call.event, host)}


def _tell_full() -> None:
    extra = journal.fields(journal.HOOK_FAILED)
    _LOG.error("more than %d hooks wait to be called: the oldest are dropped", _LONGEST_QUEUE, extra=extra)


def _files(directory: Path) -> Iterable[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _LOG.warning("cannot delete %s: %s", path, error.strerror)

"""The daemon: the only place that wires things together, and the loop that waits for something to stir."""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import logging
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from streamd import __version__
from streamd.bus.connection import BusError, connect_system_bus
from streamd.bus.service import Service
from streamd.host import journal, notify
from streamd.host.confd import CREDENTIALS_DIRECTORY
from streamd.host.hooks import Herald
from streamd.host.logs import Logs
from streamd.host.progress import ProgressChannel
from streamd.host.store import Store
from streamd.host.systemd import Systemd, SystemdError
from streamd.host.vitals import Ward
from streamd.host.watcher import Watcher
from streamd.host.webhook import silence
from streamd.plan.status import Status
from streamd.reconciler import Reconciler

_LOG: Final = logging.getLogger(__name__)
_BUS_NAME: Final = "org.streamd1"
_STATE: Final = Path("/var/lib/streamd")
_RUNTIME: Final = Path("/run/streamd")
_WATCHED: Final = {
    "/etc/streamd": False,
    "/etc/streamd/conf.d": True,
    "/etc/streamd/credentials": False,
    "/run/streamd/conf.d": True,
    "/usr/lib/streamd/conf.d": True,
}
"""Each with whether all below it counts."""

_DEBOUNCE_FILES: Final = 0.2
"""Seconds: a thousand files written at once are read once."""
_DEBOUNCE_UNITS: Final = 0.05
_RESCAN: Final = 30.0
"""Seconds: whatever inotify lost, and whatever failed, is looked at again after that."""
_TICK: Final = 1.0
"""Seconds between two looks at what the FFmpegs report, which they do once a second."""
_TEND: Final = 3
"""Ticks between two questions whether MediaMTX hangs."""
_PATIENCE: Final = 30.0
"""Seconds between two requests to systemd to wait on for the start: in a storm of restarts it answers slowly."""
_LAST_STEPS: Final = 15.0
"""Seconds in which what is being made anew at the end is to run again: a stop takes 3 s at most, and for the whole of
the end systemd waits for 25."""
_AFTER_FAILURE: Final = 2.0
"""Seconds between passes while systemd does not answer."""


class _Stir:
    """The "dirty" flag: says that something stirred, never what, and how long to wait for more of it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._delay = _DEBOUNCE_FILES

    def files(self) -> None:
        self._set(_DEBOUNCE_FILES)

    def units(self) -> None:
        self._set(_DEBOUNCE_UNITS)

    def now(self) -> None:
        self._set(0.0)

    def _set(self, delay: float) -> None:
        self._delay = max(self._delay, delay) if self._event.is_set() else delay
        self._event.set()

    async def wait(self, longest: float) -> bool:
        """Return when something stirred and has settled, or when `longest` seconds are over; tell whether it did."""
        try:
            async with asyncio.timeout(longest):
                await self._event.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(self._delay)
        self._event.clear()
        return True


async def _serve() -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    stir = _Stir()
    connection = await connect_system_bus()
    systemd = Systemd(connection, stir.units)
    await systemd.open()
    store = Store(_STATE, _RUNTIME)
    service: Service | None = None

    def publish(status: Status) -> None:
        notify.status(status.summary())
        if service is not None:
            service.publish(status)

    logs = Logs()
    logs.open()
    ward = Ward(ProgressChannel(), logs)
    reconciler = Reconciler(systemd, store, ward, publish)
    service = Service(connection, reconciler, check=reconciler.check)
    patience = loop.create_task(_ask_for_patience())
    await reconciler.adopt()
    patience.cancel()
    herald = Herald(systemd, store, _RUNTIME, Path("/") / CREDENTIALS_DIRECTORY, reconciler.hooks)
    await service.open()
    watcher = Watcher(_WATCHED, stir.files)
    watcher.open()
    spare_collector()
    # Before this there is nothing to put in order, and a daemon that waits for systemd ends as any process.
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    notify.ready(reconciler.status.summary())
    _LOG.info("streamd %s is ready: %s", __version__, reconciler.status.summary())

    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(reconciler))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    tasks = [
        loop.create_task(_reconcile_for_ever(reconciler, watcher, stir)),
        loop.create_task(_tick_for_ever(reconciler, herald)),
        loop.create_task(reconciler.watch_losses()),
        loop.create_task(_tend_for_ever(reconciler)),
        loop.create_task(_feed_watchdog()),
        loop.create_task(connection.wait_closed()),
        loop.create_task(stop.wait()),
    ]
    stir.now()
    done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    notify.stopping()
    watcher.close()
    if stop.is_set():
        await reconciler.close(_LAST_STEPS)
    for task in (*tasks, *reloads):
        task.cancel()
    await asyncio.gather(*tasks, *reloads, return_exceptions=True)
    await herald.close()
    if stop.is_set():
        await service.close()
        await connection.close()
        return 0
    _tell_end(done)
    return 1


def _tell_end(done: Iterable[asyncio.Task[object]]) -> None:
    """Tell why the daemon ends without having been asked to."""
    for task in done:
        if error := task.exception():
            _LOG.critical("streamd ends: %s", error, exc_info=error)
        else:
            _LOG.critical("streamd ends: %s", task.result())


async def _ask_for_patience() -> None:
    """Tell systemd that the start goes on; if it does not answer the calls of which it consists, they end it."""
    while True:
        await asyncio.sleep(_PATIENCE)
        notify.patience(3 * _PATIENCE)


def spare_collector() -> None:
    """Have the garbage collector look no more at what is there now: modules, and the state of all units.

    It looks for rings of objects that nothing else refers to, and with a thousand outputs it takes some 50 ms to go
    through everything, in which no call is answered. What is replaced later is freed all the same.
    """
    gc.collect()
    gc.freeze()


async def _reconcile_for_ever(reconciler: Reconciler, watcher: Watcher, stir: _Stir) -> None:
    while True:
        stirred = await stir.wait(min(_RESCAN, reconciler.retry_after or _RESCAN))
        # Before the files are read: what changes after this is told by the new watch.
        watcher.renew()
        try:
            await reconciler.reconcile(unless_current=not stirred)
        except (SystemdError, OSError) as error:
            _LOG.error("%s; trying again", error)
            await asyncio.sleep(_AFTER_FAILURE)
            stir.now()


async def _tick_for_ever(reconciler: Reconciler, herald: Herald) -> None:
    while True:
        await asyncio.sleep(_TICK)
        try:
            await reconciler.tick()
        except SystemdError as error:
            _LOG.error("%s; trying again", error)
        herald.look(reconciler.status)


async def _tend_for_ever(reconciler: Reconciler) -> None:
    for number in itertools.count(1):
        await asyncio.sleep(_TICK)
        try:
            await reconciler.welcome()
            if number % _TEND == 0:
                await reconciler.tend()
        except SystemdError as error:
            _LOG.error("cannot look after MediaMTX: %s; trying again", error)


async def _reload(reconciler: Reconciler) -> None:
    try:
        await reconciler.reload()
    except Exception as error:  # noqa: BLE001 (a task of its own: this is its edge)
        _LOG.error("reload failed: %s", error)


async def _feed_watchdog() -> None:
    period = notify.watchdog_seconds()
    while True:
        if period:
            notify.alive()
        await asyncio.sleep(period or 3600)


def main(argv: list[str] | None = None) -> int:
    """Run the daemon; return its exit status."""
    parser = argparse.ArgumentParser(prog="streamd", description="Distributes live streams; see streamd(8).")
    parser.add_argument("--version", action="version", version=f"streamd {__version__}")
    parser.add_argument("--debug", action="store_true", help="log more")
    options = parser.parse_args(argv)
    journal.set_up(logging.DEBUG if options.debug else logging.INFO)
    silence()  # MediaMTX is asked every few seconds
    try:
        return asyncio.run(_serve())
    except (BusError, SystemdError) as error:
        _LOG.critical("streamd ends: %s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())

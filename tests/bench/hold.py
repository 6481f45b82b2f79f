"""Two hundred outputs of 2 Mbit/s for ten minutes: what is lost, and what it takes.

Run by `tests/run bench SUITE hold`. Ten routes with twenty outputs by UDP each, every one to a port of its own; the
number of each datagram is checked. CPU is that of whole control groups; the senders and the receiver, which are not
streamd's, take their part of the same processors. Printed, never asserted.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.host import CONF, our_units, run, show, status, wait_until, write_route
from tests.appliance.media import Sender, make_stream
from tests.bench.cost import pss_of, used
from tests.bench.sink import Sink

ROUTES, OUTPUTS = 10, 20
BITRATE = 2e6
SECONDS = 600.0
SETTLE = 10.0
FIRST_PORT = 19000
SERVICE = "streamd.service"
SLICE = "streamd.slice"


def text_of(number: int) -> str:
    ports = range(FIRST_PORT + number * OUTPUTS, FIRST_PORT + (number + 1) * OUTPUTS)
    outputs = "".join(f'[output.o{port}]\nurl = "udp://127.0.0.1:{port}"\n' for port in ports)
    return f'[input]\nurl = "udp://127.0.0.1:{5000 + number}"\n{outputs}'


def running() -> int:
    return sum(output["state"] == "running" for route in status()["routes"] for output in route["outputs"])


def idle() -> tuple[int, int]:
    """Return the ticks that all processors were idle, and all their ticks."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


@contextlib.contextmanager
def routes() -> Iterator[None]:
    """Have the routes, and take them away one by one."""
    try:
        for number in range(ROUTES):
            write_route(f"r{number}", text_of(number))
        yield
    finally:
        for path in CONF.iterdir():
            path.unlink()
            run("streamctl", "reload", seconds=120)
        wait_until(lambda: not our_units(), 120, "all is gone")


def main() -> None:
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    stream = make_stream(Path("/var/tmp/stream.ts"))
    for path in CONF.iterdir():
        path.unlink()
    run("streamctl", "reload")
    ports = range(FIRST_PORT, FIRST_PORT + ROUTES * OUTPUTS)
    with Sink(ports) as sink, ExitStack() as senders:
        for number in range(ROUTES):
            senders.enter_context(Sender(stream, "127.0.0.1", 5000 + number, bitrate=BITRATE))
        with routes():
            wait_until(lambda: running() == ROUTES * OUTPUTS, 300, "all outputs run")
            time.sleep(SETTLE)  # what is measured is a time in which nothing begins or ends
            sink.take()
            before, began, rested = [used((name,)) for name in (SLICE, SERVICE)], time.monotonic(), idle()
            time.sleep(SECONDS)
            found, seconds = sink.take(), time.monotonic() - began
            after, rested_now = [used((name,)) for name in (SLICE, SERVICE)], idle()
            media, daemon = ((late - early) / seconds for early, late in zip(before, after, strict=True))
            restarts = sum(int(show(unit, "NRestarts")["NRestarts"]) for unit in our_units())
            pids = [show(unit, "MainPID")["MainPID"] for unit in our_units()]
            memory = sum(map(pss_of, pids)) / len(pids)
            own = pss_of(show(SERVICE, "MainPID")["MainPID"])
    counts = [each.datagrams for each in found.values()]
    free = (rested_now[0] - rested[0]) / (rested_now[1] - rested[1])
    print(f"{ROUTES * OUTPUTS} outputs of {BITRATE / 1e6:.0f} Mbit/s for {seconds:.0f} s on {os.cpu_count()} cores:")
    for what, value in (
        ("datagrams that arrived", f"{sum(counts):,} ({min(counts):,} to {max(counts):,} an output)"),
        ("lost", f"{sum(each.lost for each in found.values()):,}"),
        ("repeated", f"{sum(each.repeated for each in found.values()):,}"),
        ("restarts of units", str(restarts)),
        ("CPU of all inputs and outputs", f"{100 * media:.1f} % of a core"),
        ("CPU of the daemon", f"{100 * daemon:.2f} % of a core"),
        ("all processors idle", f"{100 * free:.0f} %"),
        ("PSS of a unit, mean", f"{memory:.1f} MiB"),
        ("PSS of the daemon", f"{own:.1f} MiB"),
    ):
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()

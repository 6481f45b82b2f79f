"""How much later a packet leaves an output than it came to the input.

Run by `tests/run bench SUITE latency`. A datagram carries the time at which it was sent. The floor is a second sender
of the same stream, straight to the same receiver: what it takes is the sender's and the receiver's. Printed, never
asserted.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.host import CONF, run, wait_state, wait_until, write_route
from tests.appliance.media import Sender, make_stream
from tests.bench.sink import Sink

SECONDS = 60.0
SETTLE = 5.0
FIRST_PORT = 19000
STRAIGHT = 19900
SIZES = (1, 20)
HEAD = '[input]\nurl = "udp://127.0.0.1:5000"\n'


def told(ages: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the 99th of 100, and the slowest, in ms."""
    ordered = sorted(ages)
    return statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000, ordered[-1] * 1000


def measure(stream: Path, outputs: int) -> None:
    ports = [FIRST_PORT + number for number in range(outputs)]
    tables = "".join(f'[output.o{port}]\nurl = "udp://127.0.0.1:{port}"\n' for port in ports)
    with (
        Sink([STRAIGHT, *ports], ages=True) as sink,
        Sender(stream, "127.0.0.1", 5000),
        Sender(stream, "127.0.0.1", STRAIGHT),
    ):
        write_route("bench", HEAD + tables)
        for port in ports:
            wait_state(f"bench/o{port}", "running", 60)
        time.sleep(SETTLE)  # what is measured is a time in which nothing begins or ends
        sink.take()
        time.sleep(SECONDS)
        found = sink.take()
    straight = told(found[STRAIGHT].ages)
    through = told([age for port in ports for age in found[port].ages])
    lost = sum(found[port].lost for port in ports)
    cells = [f"{value:.2f}" for value in (*straight, *through)]
    print(f"| {outputs} | {' | '.join(cells)} | {through[0] - straight[0]:.2f} | {lost} |", flush=True)


def clear() -> None:
    for path in CONF.iterdir():
        path.unlink()
    run("streamctl", "reload")
    wait_until(lambda: not run("systemctl", "list-units", "-q", "streamd-*@*").stdout.strip(), 30, "all is gone")


def main() -> None:
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    stream = make_stream(Path("/var/tmp/stream.ts"))
    clear()
    print(f"ms from sending to arrival of a datagram, over {SECONDS:.0f} s of 5 Mbit/s, UDP in and UDP out:")
    print("| outputs | straight: median | p99 | slowest | by streamd: median | p99 | slowest | added, median | lost |")
    print("| --- " * 9 + "|")
    for outputs in SIZES:
        measure(stream, outputs)
        clear()


if __name__ == "__main__":
    main()

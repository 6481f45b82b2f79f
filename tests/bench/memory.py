"""What memory a raw output takes, by how many there are: what FFmpegs share counts for each by its part in it.

Run by `tests/run bench SUITE memory`. Routes of twenty outputs at 0.5 Mbit/s each, by UDP to ports where nobody
listens and by SRT to a receiver each, which is not counted. "Its own" is anonymous memory: what no other process has.
"Libraries" is that part of it that the dynamic linker and the libraries themselves wrote into. Printed, never asserted.
"""

from __future__ import annotations

import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.host import CONF, our_units, run, show, unit_of, wait_state, wait_until, write_route
from tests.appliance.media import Sender, make_stream
from tests.bench.cost import pss_of, transient

COUNTS = {"udp": (10, 20, 50, 200), "srt": (10, 20, 50)}
"""Two hundred by SRT, and their receivers, are more than two processors can do."""
OUTPUTS = 20
"""Of a route."""
ROUTES = max(COUNTS["udp"]) // OUTPUTS
FIRST_PORT = {"udp": 21000, "srt": 22000}
BITRATE = 5e5
MIB = 1 << 10
"""KiB."""


def text_of(kind: str, number: int, count: int) -> str:
    """Return a route's file, with its part of so many outputs."""
    numbers = range(number * OUTPUTS, min(count, (number + 1) * OUTPUTS))
    outputs = "".join(f'[output.o{n}]\nurl = "{kind}://127.0.0.1:{FIRST_PORT[kind] + n}"\n' for n in numbers)
    return f'[input]\nurl = "udp://127.0.0.1:{5000 + number}"\n{outputs}'


def own_of(pid: str) -> tuple[float, float]:
    """Return the MiB of anonymous memory of a process, and how much of it is of libraries."""
    found = libraries = 0
    is_library = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            is_library = ".so" in line
        elif first == "Anonymous:":
            found += int(rest[0])
            libraries += int(rest[0]) if is_library else 0
    return found / MIB, libraries / MIB


def measure(kind: str, count: int) -> None:
    """Print a row."""
    names = [f"r{n // OUTPUTS}/o{n}" for n in range(count)]
    for number in range((count + OUTPUTS - 1) // OUTPUTS):
        write_route(f"r{number}", text_of(kind, number, count))
    for name in names:
        wait_state(name, "running", 120)
    pids = [show(unit_of(name), "MainPID")["MainPID"] for name in names]
    pss = statistics.mean(map(pss_of, pids))
    own, libraries = (statistics.mean(each) for each in zip(*map(own_of, pids), strict=True))
    print(f"| {kind.upper()} | {count} | {pss:.1f} | {pss * 1.048576:.1f} | {own:.1f} | {libraries:.1f} |", flush=True)
    for path in CONF.iterdir():
        path.unlink()
    run("streamctl", "reload", seconds=120)
    wait_until(lambda: not our_units(), 120, "all are gone")


def main() -> None:
    stream = make_stream(Path("/var/tmp/stream.ts"))
    for path in CONF.iterdir():
        path.unlink()
    with ExitStack() as stack:
        for number in range(ROUTES):
            stack.enter_context(Sender(stream, "127.0.0.1", 5000 + number, bitrate=BITRATE))
        for number in range(max(COUNTS["srt"])):
            listener = f"srt://127.0.0.1:{FIRST_PORT['srt'] + number}?mode=listener"
            argv = ("/usr/bin/srt-live-transmit", "-q", listener, f"udp://127.0.0.1:{23000 + number}")
            stack.enter_context(transient(f"receiver-{number}", *argv))
        print(f"of one, mean:\n| protocol | outputs | PSS, MiB | in MB | its own, MiB | libraries |\n{'| --- ' * 6}|")
        for kind, counts in COUNTS.items():
            for count in counts:
                measure(kind, count)


if __name__ == "__main__":
    main()

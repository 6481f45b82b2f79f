"""What an output by SRT costs: by FFmpeg, by srt-live-transmit as an engine, and by a bare srt-live-transmit.

Run by `tests/run bench SUITE srt`. Ten callers of one stream of 5 Mbit/s, each to a receiver of its own, which is not
counted. The bare tool reads the same group and stands in a plain transient unit, without sandbox and statistics. CPU is
that of whole control groups. Three rounds of each, in turn; printed, never asserted.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.host import CONF, run, status, unit_of, wait_state, wait_until, write_route
from tests.appliance.media import Sender, make_stream
from tests.bench.cost import Cost, cost, transient

OUTPUTS = 10
ROUNDS = 3
SECONDS = 20.0
FIRST_PORT = 19000
HEAD = '[input]\nurl = "udp://127.0.0.1:5000"\n'
NUMBERS = range(OUTPUTS)


def of_engine(engine: str) -> Cost:
    outputs = "".join(
        f'[output.o{number}]\nurl = "srt://127.0.0.1:{FIRST_PORT + number}"\nengine = "{engine}"\n'
        for number in NUMBERS
    )
    write_route("bench", HEAD + outputs)
    names = [f"bench/o{number}" for number in NUMBERS]
    for name in names:
        wait_state(name, "running", 60)
    found = cost([unit_of(name) for name in names], OUTPUTS, SECONDS)
    write_route("bench", HEAD)
    wait_until(lambda: not any(status(name) for name in names), 30, "the outputs are gone")
    return found


def of_bare() -> Cost:
    group = status("bench")["group"]
    with ExitStack() as stack:
        units = [
            stack.enter_context(
                transient(
                    f"bare-{number}",
                    *("/usr/bin/srt-live-transmit", "-q", f"udp://{group}?adapter=127.0.0.1"),
                    f"srt://127.0.0.1:{FIRST_PORT + number}?mode=caller",
                )
            )
            for number in NUMBERS
        ]
        return cost(units, OUTPUTS, SECONDS)


WAYS: dict[str, Callable[[], Cost]] = {
    "FFmpeg": lambda: of_engine("ffmpeg"),
    "engine srt-live-transmit": lambda: of_engine("srt-live-transmit"),
    "bare srt-live-transmit": of_bare,
}


def main() -> None:
    stream = make_stream(Path("/var/tmp/stream.ts"))
    for path in CONF.iterdir():
        path.unlink()
    with ExitStack() as stack:
        stack.enter_context(Sender(stream, "127.0.0.1", 5000))
        for number in NUMBERS:
            receiver = f"srt://127.0.0.1:{FIRST_PORT + number}?mode=listener"
            argv = ("/usr/bin/srt-live-transmit", "-q", receiver, f"udp://127.0.0.1:{FIRST_PORT + 500}")
            stack.enter_context(transient(f"receiver-{number}", *argv))
        write_route("bench", HEAD)
        wait_state("bench", "running", 30)
        found: dict[str, list[Cost]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, measure in WAYS.items():
                found[way].append(measure())
    bare = statistics.median(each.cpu for each in found["bare srt-live-transmit"])
    print(f"of one output, median of {ROUNDS} rounds of {SECONDS:.0f} s (least, most):")
    print("| way | CPU, of a core | against the bare tool | PSS | threads |\n| --- | --- | --- | --- | --- |")
    for way, costs in found.items():
        cpu = sorted(100 * each.cpu for each in costs)
        middle = statistics.median(cpu)
        print(
            f"| {way} | {middle:.2f} % ({cpu[0]:.2f}, {cpu[-1]:.2f}) | {middle / 100 / bare:.2f} |"
            f" {statistics.median(each.pss for each in costs):.1f} MiB |"
            f" {statistics.median(each.threads for each in costs):.0f} |"
        )
    write_route("bench", HEAD).unlink()
    run("streamctl", "reload")


if __name__ == "__main__":
    main()

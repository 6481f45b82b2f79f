"""How long until each fault is noticed, and until it is mended after its end: a row each, for the README's table.

Run by `tests/run bench SUITE health`. Times count from the moment that the fault is made, and from the moment that it
is over, with the status asked for twenty times a second.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.faults import FAULTS, Fault, begin, happen, over
from tests.appliance.host import CONF, CREDENTIALS, our_units, run, wait_until
from tests.appliance.media import make_stream

ROUNDS = 3


def clear() -> None:
    for directory in (CONF, CREDENTIALS):
        for path in directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    run("streamctl", "reload")
    wait_until(lambda: not our_units(), 60, "no unit is left")


def measure(fault: Fault, stream: Path) -> tuple[float, float, str]:
    """Return after how many seconds it was noticed and mended, and as what it was told."""
    with ExitStack() as stack:
        stage = fault.stage(stack, stream)
        begin(stage)
        seen = happen(fault, stage)
        mended = over(fault, stage)
    clear()
    told = seen.status["state"] + (f", {seen.status['reason']}" if seen.status["reason"] else "")
    return seen.seconds, mended.seconds, told


def span(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s ({max(seconds):.1f} s)"


def main() -> None:
    clear()
    stream = make_stream(Path("/var/tmp/stream.ts"))
    print(f"median and (slowest) of {ROUNDS}")
    print("| fault | told as | noticed after | mended after its end |\n| --- | --- | --- | --- |", flush=True)
    for fault in FAULTS:
        found = [measure(fault, stream) for _ in range(ROUNDS)]
        noticed, mended, told = zip(*found, strict=True)
        words = " or ".join(sorted(set(told)))
        print(f"| {fault.name} | {words} | {span(list(noticed))} | {span(list(mended))} |", flush=True)


if __name__ == "__main__":
    main()

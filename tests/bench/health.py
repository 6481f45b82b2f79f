"""How long until each fault is noticed, and until it is mended after its end: a row each, for the README's table.

Run by `tests/run bench SUITE health`. Times count from the moment that the fault is made, and from the moment that it
is over, with the status asked for several times a second.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.faults import FAULTS, Board, Fault, Outcome, happen
from tests.appliance.host import CONF, CREDENTIALS, our_units, run, wait_until
from tests.appliance.media import make_stream

ROUNDS = 3
AT_ONCE = 3


def clear() -> None:
    for directory in (CONF, CREDENTIALS):
        for path in directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    run("streamctl", "reload")
    wait_until(lambda: not our_units(), 60, "no unit is left")


def span(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s ({max(seconds):.1f} s)"


def row(fault: Fault, found: list[Outcome]) -> str:
    words = " or ".join(sorted({outcome.told for outcome in found}))
    noticed, mended = [outcome.noticed for outcome in found], [outcome.mended for outcome in found]
    return f"| {fault.name} | {words} | {span(noticed)} | {span(mended)} |"


def main() -> None:
    clear()
    stream = make_stream(Path("/var/tmp/stream.ts"))
    found: dict[str, list[Outcome]] = {fault.name: [] for fault in FAULTS}
    for _ in range(ROUNDS):
        with Board() as board, ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            numbered = enumerate(FAULTS, 1)
            futures = {fault.name: pool.submit(happen, fault, number, stream, board) for number, fault in numbered}
        for name, future in futures.items():
            found[name].append(future.result())
        clear()
    print(f"median and (slowest) of {ROUNDS}, {AT_ONCE} faults at a time")
    print("| fault | told as | noticed after | mended after its end |\n| --- | --- | --- | --- |")
    for fault in FAULTS:
        print(row(fault, found[fault.name]))


if __name__ == "__main__":
    main()

"""Fuzzes for some seconds: `python -m tests.fuzz.run SECONDS [routes|bus] [--seed N]`; `tests/run fuzz` is this.

What breaks something is printed and kept beside the corpus as NAME/HASH.found, and the exit status is 1. What shows
something new becomes part of the corpus at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Hashable
from hashlib import sha256
from pathlib import Path
from random import Random

from tests.fuzz import bus, routes
from tests.fuzz.corpus import FOLDER, LARGEST, Pool, read_corpus, write_corpus
from tests.fuzz.mutate import Mutator

Target = routes.Target | bus.Target
TARGETS = {"routes": routes.Target, "bus": bus.Target}

MOST_FOUND = 20
"""Different failures after which it ends."""
REPORT_EVERY = 60.0


def fault_of(target: Target, case: bytes) -> tuple[str, frozenset[Hashable]]:
    """Return what a case breaks, or nothing, and what it showed."""
    try:
        return "", target.check(case)
    except Exception as error:  # noqa: BLE001 (whatever is raised is what is looked for)
        frames = traceback.extract_tb(error.__traceback__)
        place = next((frame for frame in reversed(frames) if "/streamd/" in frame.filename), frames[-1])
        where = f"{Path(place.filename).name}:{place.lineno}"
        return f"{type(error).__name__} at {where}: {error}", frozenset()


def kind_of(fault: str) -> str:
    """Return a fault without what differs between cases."""
    return fault[:70] if not fault.startswith("BrokenError") else fault[:60]


def shrunk(target: Target, case: bytes, still: object, *, seconds: float = 5.0) -> bytes:
    """Return the case with lines left out for as long as it is `still` so: a function of a case."""
    end = time.monotonic() + seconds
    lines = case.split(b"\n")
    size = max(1, len(lines) // 2)
    while size and time.monotonic() < end:
        at = 0
        while at < len(lines) and time.monotonic() < end:
            shorter = lines[:at] + lines[at + size :]
            if shorter and still(b"\n".join(shorter)):  # type: ignore[operator]
                lines = shorter
            else:
                at += size
        size //= 2
    return b"\n".join(lines)


class Fuzzer:
    """One search on one target."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.dice = Random(seed)
        self.mutator = Mutator(self.dice)
        self.pool = Pool()
        self.found: dict[str, bytes] = {}
        self.count = 0

    def begin(self) -> None:
        """Take the seeds and the corpus in."""
        for case in (*self.target.seeds(), *read_corpus(self.target.name)):
            self.try_case(case)

    def try_case(self, case: bytes) -> None:
        """Judge one case, and keep it if it showed something, or showed it in fewer bytes."""
        self.count += 1
        fault, features = fault_of(self.target, case)
        if fault:
            self.note(fault, case)
        else:
            self.pool.take(case, features)

    def note(self, fault: str, case: bytes) -> None:
        """Keep what broke something, once for each kind."""
        kind = kind_of(fault)
        if kind in self.found:
            return
        case = shrunk(self.target, case, lambda shorter: kind_of(fault_of(self.target, shorter)[0]) == kind)
        self.found[kind] = case
        path = FOLDER / self.target.name / f"{sha256(case).hexdigest()[:12]}.found"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case)
        print(f"FOUND {fault}\n  kept as {path}\n{case[:1500]!r}", flush=True)

    def search(self, seconds: float) -> None:
        """Make cases for so long."""
        begin = told = time.monotonic()
        while time.monotonic() - begin < seconds and len(self.found) < MOST_FOUND:
            cases = self.pool.cases()
            for _ in range(200):
                case = self.dice.choice(cases)
                self.try_case(self.target.mutated(case, self.mutator, cases, self.dice))
                if time.monotonic() - begin > seconds:
                    break
            if time.monotonic() - told > REPORT_EVERY:
                told = time.monotonic()
                self.report(told - begin)

    def report(self, seconds: float) -> None:
        rate = self.count / max(seconds, 0.001)
        print(
            f"{seconds:.0f} s: {self.count} cases ({rate:.0f} a second), {self.pool.shown} things shown, "
            f"{len(self.found)} faults",
            flush=True,
        )

    def keep(self) -> int:
        """Shrink what showed something, write the corpus, and return how many cases it has."""
        small = Pool()
        missing: set[Hashable] = set()
        for case in self.pool.cases():
            _fault, features = fault_of(self.target, case)
            missing |= features
        for case in sorted(self.pool.cases(), key=len):
            _fault, features = fault_of(self.target, case)
            fresh = features & missing
            if not fresh or len(case) > 20 * LARGEST:
                continue

            def still(shorter: bytes, fresh: frozenset[Hashable] = fresh) -> bool:
                return fresh <= fault_of(self.target, shorter)[1]

            short = shrunk(self.target, case, still, seconds=1)
            if len(short) <= LARGEST:
                small.take(short, fresh)
                missing -= fault_of(self.target, short)[1]
        return write_corpus(self.target.name, small.worth_keeping())


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/run fuzz", description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("target", nargs="?", choices=list(TARGETS), default="routes")
    parser.add_argument("--seed", type=int, default=None, help="another one each time, if not given")
    options = parser.parse_args()
    os.nice(19)
    seed = options.seed if options.seed is not None else time.time_ns() % (1 << 32)
    print(f"seed {seed}", flush=True)
    target = TARGETS[options.target]()
    target.open()
    try:
        fuzzer = Fuzzer(target, seed)
        begin = time.monotonic()
        fuzzer.begin()
        fuzzer.search(options.seconds)
        fuzzer.report(time.monotonic() - begin)
        print(f"the corpus has {fuzzer.keep()} cases", flush=True)
    finally:
        target.close()
    return 1 if fuzzer.found else 0


if __name__ == "__main__":
    sys.exit(main())

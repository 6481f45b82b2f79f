"""Inputs that showed something, as files: one a case, named by its content."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
LARGEST = 2000
"""Bytes of a case that is kept."""


def read_corpus(name: str) -> list[bytes]:
    """Return all cases of a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((FOLDER / name).glob("*.case"))]


def write_corpus(name: str, cases: Iterable[bytes]) -> int:
    """Make these the cases of a target, and return how many they are."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{sha256(case).hexdigest()[:12]}.case": case for case in cases}
    for path in folder.glob("*.case"):
        if path.name not in wanted:
            path.unlink()
    for file, case in wanted.items():
        (folder / file).write_bytes(case)
    return len(wanted)


class Pool:
    """The shortest case known for each thing that an input can show."""

    def __init__(self) -> None:
        self._best: dict[Hashable, bytes] = {}

    @property
    def shown(self) -> int:
        """Return how many different things were shown."""
        return len(self._best)

    def take(self, case: bytes, features: Iterable[Hashable]) -> frozenset[Hashable]:
        """Note what a case showed; return what it is now the shortest case of."""
        won = frozenset(
            feature for feature in features if feature not in self._best or len(case) < len(self._best[feature])
        )
        for feature in won:
            self._best[feature] = case
        return won

    def cases(self) -> list[bytes]:
        """Return the distinct cases."""
        return sorted(set(self._best.values()))

    def worth_keeping(self) -> list[bytes]:
        """Return few short cases that show, together, all that short cases are known to show."""
        short = {feature: case for feature, case in self._best.items() if len(case) <= LARGEST}
        return sorted(set(short.values()))

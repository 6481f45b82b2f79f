"""A minute of what `tests/run soak` does for hours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.appliance.media import make_stream
from tests.appliance.soak import Soak, soak

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def stream() -> Path:
    return make_stream(Path("/var/tmp/stream.ts"))


def test_a_minute_of_anything_loses_nothing_and_leaves_nothing(stream: Path) -> None:
    results = soak(60, 1, stream)
    print(results.table())
    assert not results.faults()
    assert results.done.total() >= 8


class Sabotage(Soak):
    """Kills an output that, as it says, nobody touches."""

    def sabotage(self) -> set[str]:
        self.kill_unit("s1/u3")
        return set()

    def operations(self) -> Iterator[Callable[[], set[str] | None]]:
        yield self.sabotage


def test_a_loss_is_noticed(stream: Path) -> None:
    with ExitStack() as stack:
        results = Sabotage(60, 1, stream, stack).run()
    (lost,) = results.lost
    assert lost.startswith("sabotage: s1/u3 lost ")
    assert results.replaced == ["sabotage: s1/u3 was started anew"]
    assert not results.left

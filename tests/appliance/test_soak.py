"""A minute of what `tests/run soak` does for hours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.appliance.media import make_stream
from tests.appliance.soak import soak

pytestmark = pytest.mark.once


def test_a_minute_of_anything_loses_nothing_and_leaves_nothing() -> None:
    results = soak(60, 1, make_stream(Path("/var/tmp/stream.ts")))
    print(results.table())
    assert not results.faults()
    assert results.done.total() >= 8

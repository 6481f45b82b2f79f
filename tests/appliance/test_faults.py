"""Each fault is told as a person would tell it, restarts nobody else, and mends itself when it is over."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.appliance.faults import FAULTS, Fault, begin, happen, over
from tests.appliance.host import journal
from tests.appliance.media import make_stream


@pytest.fixture(scope="module")
def stream() -> Path:
    return make_stream(Path("/var/tmp/stream.ts"))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault(stream: Path, fault: Fault) -> None:
    with ExitStack() as stack:
        stage = fault.stage(stack, stream)
        begin(stage)
        seen = happen(fault, stage)
        print(f"noticed after {seen.seconds:.1f} s: {seen.status}")
        mended = over(fault, stage)
        print(f"mended after {mended.seconds:.1f} s")
        print(journal("STREAMD_ENGINE=ffmpeg", "-n", "40"))

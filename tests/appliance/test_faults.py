"""Each fault is told as a person would tell it, and mends itself when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.appliance.faults import FAULTS, Board, Fault, Outcome, happen
from tests.appliance.media import make_stream


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, Future[Outcome]]]:
    """Let all happen, some at a time, and wait for none: each test waits for its own."""
    stream = make_stream(Path("/var/tmp/stream.ts"))
    with Board() as board, ThreadPoolExecutor(max_workers=4) as pool:
        numbered = enumerate(FAULTS, 1)
        futures = {fault.name: pool.submit(happen, fault, number, stream, board) for number, fault in numbered}
        try:
            # Before the first test, which would begin with a clean configuration.
            for future in futures.values():
                future.exception()
            yield futures
        finally:
            pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault(outcomes: dict[str, Future[Outcome]], fault: Fault) -> None:
    outcome = outcomes[fault.name].result()
    print(f"noticed after {outcome.noticed:.1f} s as {outcome.told}, mended after {outcome.mended:.1f} s")
    found = outcome.status
    assert found["cause"] or found["last-error"], "there is a sentence for a person"
    if found["state"] == "backoff":
        assert found["last-error"]

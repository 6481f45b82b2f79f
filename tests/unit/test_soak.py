"""What counts as a fault at the end of a soak."""

from __future__ import annotations

from tests.appliance.soak import GROWTH, Results, Sample


def results(*memory: int, descriptors: tuple[int, ...] = (30,), **more: object) -> Results:
    samples = [
        Sample(at=20.0 * at, pid=1, descriptors=descriptors[at % len(descriptors)], threads=5, memory=size)
        for at, size in enumerate(memory)
    ]
    return Results(1, packets=1, samples=samples, **more)  # type: ignore[arg-type]


FLAT = (30_000,) * 40


def test_nothing_is_wrong_with_a_daemon_that_stays_as_it_is() -> None:
    assert results(*FLAT).faults() == []
    assert "| the daemon's own memory | 29.3 MiB, then 29.3 MiB |" in results(*FLAT).table()


def test_growth_is_a_fault_and_warming_up_is_none() -> None:
    assert results(10_000, 20_000, *FLAT).faults() == []
    assert results(*(30_000 + 200 * at for at in range(40))).faults() == [
        "the daemon's memory grew from 31400 to 37000"
    ]
    assert results(*(30_000 + at * GROWTH["memory"] // 40 for at in range(40))).faults() == []
    # One that is open for a moment, as a connection to MediaMTX is, is no leak; one for each operation soon is more.
    assert results(*FLAT, descriptors=tuple(30 + at // 20 for at in range(40))).faults() == []
    rising = tuple(30 + at // 4 for at in range(40))
    assert results(*FLAT, descriptors=rising).faults() == ["the daemon's descriptors grew from 31 to 38"]


def test_only_the_last_process_is_measured() -> None:
    found = results(*FLAT)
    found.samples[:0] = [Sample(at=-20.0, pid=7, descriptors=1, threads=1, memory=1)] * 40
    assert found.faults() == []


def test_whatever_was_noted_is_a_fault() -> None:
    for name in ("lost", "replaced", "left", "told"):
        assert results(*FLAT, **{name: ["it"]}).faults() == ["it"]
    silent = results(*FLAT)
    silent.packets = 0
    assert silent.faults() == ["no packet was counted"]

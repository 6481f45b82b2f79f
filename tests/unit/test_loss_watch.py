"""The watch for losses: whose turn it is, what it remembers, and whom it warns of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from streamd.host import losses
from streamd.host.losses import LossWatch
from streamd.plan.continuity import Tally
from streamd.plan.health import Verdict
from streamd.plan.losses import Losses
from streamd.plan.status import RouteStatus, State, Status, UnitStatus
from tests.unit.make import unit_of

BAD = Tally(packets=3325, continuity_errors=3)


def route(name: str, *, invocation: str = "1", state: State = State.RUNNING) -> RouteStatus:
    return RouteStatus(
        name=name,
        path=f"/etc/{name}.toml",
        enabled=True,
        relay="direct",
        input_kind="udp",
        input_url="udp://0.0.0.0:5000",
        group=f"239.255.0.{ord(name)}:20000",
        broken=False,
        state=state,
        cause="",
        since=0,
        unit=UnitStatus(unit=unit_of(name), pid=1, invocation=invocation),
    )


class World:
    """What the watch sees; each sample and each pause is written down, and ends at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *routes: RouteStatus) -> None:
        self.status = Status(version="1", routes=routes)
        self.watch = LossWatch(lambda: self.status)
        self.heard: list[str] = []
        self.during: Callable[[], None] = lambda: None
        self.counts: dict[str, int] = {}
        monkeypatch.setattr(losses, "sample", self._sample)
        monkeypatch.setattr(losses, "_drops", lambda _units: self.counts)

    async def _sample(self, group: str, port: int) -> Tally | None:
        self.heard.append(f"{group}:{port}")
        self.during()
        return BAD

    def turns(self, number: int) -> None:
        """Let so many samples be taken, and what they told be taken in."""
        self.run_until(lambda: len(self.heard) > number)

    def run_until(self, done: Callable[[], bool]) -> None:
        """Let it watch."""

        async def run() -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(losses, "SECONDS", 0)
                patch.setattr(losses, "_ROUND", 0)
                task = asyncio.create_task(self.watch.run())
                async with asyncio.timeout(5):
                    while not done():
                        await asyncio.sleep(0)
                        assert not task.done()
                task.cancel()

        asyncio.run(run())

    def counted(self, name: str) -> Losses:
        return self.watch.counted(unit_of(name))

    def packets(self, name: str) -> int | None:
        total = self.counted(name).total
        return total.packets if total else None


def test_running_inputs_have_their_turns_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, route("c"), route("a"), route("s", state=State.STARVED), route("b"))
    world.turns(4)
    assert world.heard[:4] == [f"239.255.0.{number}:20000" for number in (97, 98, 99, 97)]


def test_a_route_without_a_group_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, route("a"), replace(route("b"), group=""))
    world.turns(3)
    assert set(world.heard) == {"239.255.0.97:20000"}


def test_samples_are_counted_and_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, route("a"))
    assert world.counted("a") == Losses()
    assert not world.watch.tick()
    world.turns(1)
    found = world.counted("a").total
    assert found
    assert found.packets
    assert found.continuity_errors == found.packets * 3 // 3325
    assert world.watch.tick()
    assert not world.watch.tick(), "nothing has changed since"
    verdicts = {
        unit_of("a"): Verdict(state=State.RUNNING, cause="it sends at 0.80 of real time"),
        unit_of("a/x"): Verdict(state=State.RUNNING),
    }
    warned = world.watch.warn(verdicts)
    assert warned[unit_of("a")].cause.startswith("packets are lost before they get here")
    assert warned[unit_of("a/x")] == verdicts[unit_of("a/x")]
    stuck = {unit_of("a"): Verdict(state=State.STARVED, cause="nothing arrives")}
    assert world.watch.warn(stuck) == stuck


def test_a_new_process_begins_at_nought(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, route("a"))
    world.turns(10)
    world.status = Status(version="1", routes=(route("a", invocation="2"),))
    world.heard.clear()
    world.turns(1)
    assert 0 < (world.packets("a") or 0) <= 3325 * len(world.heard)
    world.status = Status(version="1", routes=(route("a", invocation="3"),))
    world.watch.tick()
    assert world.packets("a") is None


def test_a_sample_over_two_processes_counts_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, route("a"))

    def start_anew() -> None:
        world.status = Status(version="1", routes=(route("a", invocation=str(len(world.heard) + 1)),))

    world.during = start_anew
    world.turns(2)
    assert world.packets("a") is None


def test_what_the_kernel_dropped_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, route("a"))
    world.counts = {unit_of("a"): 5}
    world.run_until(lambda: world.counted("a").drops is not None)
    assert world.counted("a").drops == 5


def test_a_failure_is_told_once_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(monkeypatch, route("a"))

    def fail() -> None:
        raise OSError(98, "Address already in use")

    world.during = fail
    world.turns(3)
    assert caplog.text.count("cannot look at samples of a's stream on 239.255.0.97:20000: Address already in use") == 1

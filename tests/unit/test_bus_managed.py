"""What is kept of GetManagedObjects' reply is, byte for byte, what would be made from nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.bus.managed import ManagedObjects
from streamd.bus.wire import Counters, Entries, dictionary, entries, joined, object_entry

COUNTERS = Counters({"Bytes": "t", "Uptime": "t"})
PATHS = [f"/o/{'x' * number}" for number in range(1, 12)]


class World:
    """Objects with a text and, but for every third, with counters."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.count = 0
        self.asked = 0
        self.made = 0
        self.managed = ManagedObjects(COUNTERS, self._entry, self._moving)

    def _moving(self, path: str) -> dict[str, int] | None:
        self.asked += 1
        return None if PATHS.index(path) % 3 == 0 else {"Bytes": self.count, "Uptime": len(path)}

    def _entry(self, path: str) -> bytes:
        self.made += 1
        kept = entries({"Text": ("s", self.texts[path])})
        values = self._moving(path)
        found = kept if values is None else Entries(joined((kept, COUNTERS.entries(values))))
        return object_entry(path, {"i": found})

    def change(self, path: str, text: str | None) -> None:
        if text is None:
            self.texts.pop(path, None)
        else:
            self.texts[path] = text
        self.managed.change(path)

    def from_nothing(self) -> bytes:
        return dictionary(joined(self._entry(path) for path in self.texts))


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(PATHS), st.one_of(st.none(), st.text("ab", max_size=9))), max_size=4),
        max_size=8,
    )
)
@settings(deadline=None)
def test_after_any_changes(rounds: list[list[tuple[str, str | None]]]) -> None:
    world = World()
    for number, changes in enumerate(rounds):
        for path, text in changes:
            world.change(path, text)
        world.count += 1
        assert world.managed.reply(list(world.texts), 100 + 10.0 * number) == world.from_nothing()


def test_only_what_is_new_is_made_anew() -> None:
    world = World()
    for path in PATHS:
        world.change(path, "text")
    first = world.managed.reply(PATHS, 100.0)
    assert world.made == len(PATHS)
    world.count = 1
    world.change(PATHS[4], "another")
    second = world.managed.reply(PATHS, 100.001)
    assert world.made == len(PATHS) + 1
    assert first != second
    assert world.managed.reply(PATHS, 100.002) is second, "nothing is new"


def test_counters_are_renewed_once_a_second_and_not_all_at_once() -> None:
    world = World()
    for path in PATHS:
        world.change(path, "text")
    world.managed.reply(PATHS, 100.0)
    most = 0
    for step in range(1, 3001):
        world.asked = 0
        world.count = step
        world.managed.reply(PATHS, 100 + step / 1000)
        most = max(most, world.asked)
    assert 0 < most < len(PATHS) / 2
    world.asked = 0
    for step in range(3001, 4003):
        world.managed.reply(PATHS, 100 + step / 1000)
    assert len(PATHS) <= world.asked <= 2 * len(PATHS)
    assert world.managed.reply(PATHS, 104.002) is world.managed.reply(PATHS, 104.002)

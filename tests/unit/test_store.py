"""What streamd remembers lasts, also where a disk is full, read-only or broken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamd.host.store import Store, write_atomically
from streamd.plan.allocation import Allocation

NAMES = ("allocation.json", "stopped.json", "digest.key", "streamd.toml", "routes.json")
OLD = Allocation(groups={"a": "239.255.1.1"}, ports={"a": 5000}, channels={"a": "127.64.0.1"})
NEW = Allocation(groups={"a": "239.255.1.1"}, ports={"a": 5007}, channels={"a": "127.64.0.1"})
STOPPED = frozenset({"a/x"})
SETTINGS = b"max_outputs = 3\n"
ROUTES = {"a": (("/etc/streamd/conf.d/a.toml", '[input]\nurl = "test:"\n'), ("/run/x.toml", "enabled = false\n"))}
KEY = bytes(range(32))


@dataclass
class Host:
    """A state directory and a runtime directory."""

    state: Path
    runtime: Path

    def daemon(self) -> Store:
        """Start a daemon: what it knows it has read."""
        return Store(self.state, self.runtime, patience=0)

    def reboot(self) -> None:
        for path in self.fallback.iterdir():
            path.unlink()

    @property
    def fallback(self) -> Path:
        return self.runtime / "fallback"

    @contextmanager
    def unwritable(self) -> Iterator[None]:
        """Let every write into the state directory fail, for root too: a directory is in the way."""
        ways = [self.state / f".{name}.{os.getpid()}.new" for name in NAMES]
        for way in ways:
            way.mkdir()
        yield
        for way in ways:
            way.rmdir()

    @contextmanager
    def unreadable(self, name: str) -> Iterator[None]:
        """Let a file be there and not be readable, for root too."""
        path, aside = self.state / name, self.state / "aside"
        path.rename(aside)
        path.mkdir()
        yield
        path.rmdir()
        aside.rename(path)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    found = Host(tmp_path / "state", tmp_path / "runtime")
    found.state.mkdir()
    found.runtime.mkdir()
    return found


@pytest.fixture
def used(host: Host) -> Host:
    """Return a host on which a daemon has run for long."""
    store = host.daemon()
    store.keep_allocation(OLD)
    store.keep_stopped(STOPPED)
    store.keep_settings(SETTINGS)
    store.keep_routes(ROUTES)
    path = host.state / "digest.key"
    path.touch(0o600)
    path.write_bytes(KEY)
    assert store.digest_key() == KEY
    return host


def test_all_is_remembered_over_a_reboot_and_only_root_may_read_it(used: Host) -> None:
    used.reboot()
    store = used.daemon()
    assert (store.allocation, store.stopped, store.digest_key()) == (OLD, STOPPED, KEY)
    assert (store.settings, store.routes) == (SETTINGS, ROUTES)
    assert store.problems == ()
    files = [used.state / name for name in NAMES] + [used.fallback / name for name in NAMES]
    assert [oct(path.stat().st_mode & 0o777) for path in files] == ["0o600"] * len(files)
    assert used.fallback.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in used.state.iterdir()) == sorted(NAMES)


def test_without_a_state_that_can_be_written_the_key_and_the_ports_stay_over_restarts(host: Host) -> None:
    with host.unwritable():
        store = host.daemon()
        key = store.digest_key()
        store.keep_allocation(OLD)
        store.keep_stopped(STOPPED)
        for _ in range(2):
            again = host.daemon()
            assert (again.allocation, again.stopped, again.digest_key()) == (OLD, STOPPED, key)
    assert list(host.state.iterdir()) == []
    assert host.daemon().digest_key() == key


def test_what_could_not_be_written_is_told_and_written_when_it_can_be(used: Host) -> None:
    store = used.daemon()
    with used.unwritable():
        store.keep_allocation(NEW)
        assert not store.retry()
        (problem,) = store.problems
        assert str(problem) == (
            f"{used.state}/allocation.json:1:1: the file cannot be written: Is a directory;"
            " mend that before the next reboot, which would undo changes"
        )
    assert store.retry()
    assert store.problems == ()
    assert not store.retry(), "nothing is left to do"
    used.reboot()
    assert used.daemon().allocation == NEW


def test_the_next_change_writes_what_could_not_be_written(used: Host) -> None:
    store = used.daemon()
    with used.unwritable():
        store.keep_allocation(NEW)
    store.keep_stopped(frozenset())
    assert store.problems == ()
    used.reboot()
    again = used.daemon()
    assert (again.allocation, again.stopped) == (NEW, frozenset())


def test_a_restarted_daemon_writes_what_the_one_before_could_not(used: Host) -> None:
    with used.unwritable():
        used.daemon().keep_allocation(NEW)
        assert used.daemon().problems, "the next one tells it, too"
    assert used.daemon().allocation == NEW
    used.reboot()
    assert used.daemon().allocation == NEW


def test_tries_are_not_made_every_moment(used: Host) -> None:
    store = Store(used.state, used.runtime, patience=3600)
    with used.unwritable():
        store.keep_allocation(NEW)
    assert not store.retry()
    assert store.problems


def test_a_copy_that_was_written_is_no_newer_than_the_file(used: Host) -> None:
    with used.unwritable():
        used.daemon().keep_allocation(NEW)
    used.daemon()
    (used.state / "allocation.json").write_text('{"ports": {"a": 5099}}')
    assert used.daemon().allocation.ports == {"a": 5099}, "somebody restored a backup"


def test_a_daemon_that_is_killed_between_two_writes_has_the_newest_win(used: Host) -> None:
    with used.unwritable():
        used.daemon().keep_allocation(NEW)
    newest = (used.fallback / "allocation.json.unsaved").read_bytes()
    used.daemon()
    assert not (used.fallback / "allocation.json.unsaved").exists()
    (used.fallback / "allocation.json.unsaved").write_bytes(newest.replace(b"5007", b"5008"))
    assert used.daemon().allocation.ports == {"a": 5008}
    used.reboot()
    assert used.daemon().allocation.ports == {"a": 5008}


def test_a_state_directory_that_goes_away_changes_nothing(used: Host) -> None:
    for path in used.state.iterdir():
        path.unlink()
    store = used.daemon()
    assert (store.allocation, store.stopped, store.digest_key()) == (OLD, STOPPED, KEY)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_read_is_served_by_its_copy_and_never_written(used: Host, name: str) -> None:
    before = (used.state / name).read_bytes()
    with used.unreadable(name):
        store = used.daemon()
        assert (store.allocation, store.stopped, store.digest_key()) == (OLD, STOPPED, KEY)
        assert (store.settings, store.routes) == (SETTINGS, ROUTES)
        (problem,) = store.problems
        assert problem.path == str(used.state / name)
        assert problem.message == (
            "the file cannot be read: Is a directory, and is left as it is; mend or delete it, then:"
            " systemctl restart streamd"
        )
    # It can be read again now; this daemon never has.
    store.keep_allocation(NEW)
    store.keep_stopped(frozenset())
    store.keep_settings(b"")
    store.keep_routes({})
    store.retry()
    assert (used.state / name).read_bytes() == before
    again = used.daemon()
    assert (again.allocation, again.stopped, again.digest_key(), again.settings) == (NEW, frozenset(), KEY, b"")
    assert again.routes == {}
    assert again.problems == ()


def test_a_good_key_outlives_a_boot_on_which_it_could_not_be_read(used: Host) -> None:
    used.reboot()
    with used.unreadable("digest.key"):
        other = used.daemon().digest_key()
        assert len(other) == 32
        assert other != KEY
        assert used.daemon().digest_key() == other, "no output restarts with the daemon"
    assert used.daemon().digest_key() == KEY


def test_a_key_of_a_wrong_length_is_none(host: Host) -> None:
    (host.state / "digest.key").write_bytes(KEY[:7])
    key = host.daemon().digest_key()
    assert len(key) == 32
    assert (host.state / "digest.key").read_bytes() == key
    (host.state / "digest.key").write_bytes(b"")
    assert host.daemon().digest_key() == key, "the copy has it"


@pytest.mark.parametrize("damaged", [b"", b"\xff", b"{", b"null"])
def test_a_damaged_file_is_served_by_its_copy(used: Host, damaged: bytes) -> None:
    path = used.state / "allocation.json"
    before = path.read_bytes()
    path.write_bytes(damaged)
    assert used.daemon().allocation == OLD
    assert path.read_bytes() == before
    path.write_bytes(damaged)
    used.reboot()
    assert used.daemon().allocation == Allocation()


def test_without_room_anywhere_it_goes_on_and_forgets_nothing_that_is_newer(used: Host) -> None:
    store = used.daemon()
    in_the_way = used.fallback / f".allocation.json.unsaved.{os.getpid()}.new"
    in_the_way.mkdir()
    with used.unwritable():
        store.keep_allocation(NEW)
    in_the_way.rmdir()
    assert store.allocation == NEW
    assert store.retry()
    assert used.daemon().allocation == NEW


def test_files_in_memory_are_written_when_they_can_be(host: Host) -> None:
    way = host.runtime / f".started.json.{os.getpid()}.new"
    way.mkdir()
    store = host.daemon()
    store.keep_started(frozenset({"streamd-ingest@a.service"}))
    assert [found.message for found in store.problems] == [
        "the file cannot be written: Is a directory; mend that before streamd is restarted, which would undo changes"
    ]
    way.rmdir()
    assert store.retry()
    assert host.daemon().started == {"streamd-ingest@a.service"}


@pytest.mark.parametrize(
    "damaged",
    [
        b"[]",
        b"1",
        b'{"a": 1}',
        b'{"a": []}',
        b'{"a": [["/p", 1]]}',
        b'{"a": [["/p"]]}',
        b'{"a": [["/p", "t"], 3]}',
        b"{",
    ],
)
def test_routes_that_are_none_are_not_remembered(host: Host, damaged: bytes) -> None:
    (host.state / "routes.json").write_bytes(damaged)
    assert host.daemon().routes == {}


def test_a_file_is_not_written_through_a_link_that_somebody_else_made(tmp_path: Path) -> None:
    """As where root writes metrics into a directory of node_exporter's."""
    victim, place = tmp_path / "victim", tmp_path / "place"
    victim.write_text("untouched")
    place.mkdir()
    (place / f".metrics.prom.{os.getpid()}.new").symlink_to(victim)
    write_atomically(place / "metrics.prom", b"streamd_up 1", 0o644)
    assert victim.read_text() == "untouched"
    assert (place / "metrics.prom").read_text() == "streamd_up 1"
    assert [path.name for path in place.iterdir()] == ["metrics.prom"]
    assert not (place / "metrics.prom").is_symlink()

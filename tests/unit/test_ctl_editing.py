"""`edit` with a scripted editor, without a daemon: what is asked, what is saved, and that nothing typed is lost."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from streamd.ctl.editing import editor_argv
from streamd.ctl.exits import FAILURE, INTERRUPTED, NO_SUCH_THING, OK, Failure

ROOT: Final = Path(__file__).parents[2]
GOOD: Final = '[input]\nurl = "udp://0.0.0.0:5000"\n'
BAD: Final = '[input]\nurll = "udp://0.0.0.0:5000"\n'
SCRIPT: Final = """
import fcntl, sys, termios
from streamd.ctl import main, verbs
from streamd.ctl.editing import run_edit
if sys.stdin.isatty():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C arrives
root = sys.argv.pop(1)
verbs.RUN["edit"] = lambda options: run_edit(options, root)
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.fixture
def route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A route's file, and an editor that writes what the file `wanted` says, in turns where there are several."""
    path = tmp_path / "root/etc/streamd/conf.d/a.toml"
    path.parent.mkdir(parents=True)
    path.write_text(GOOD)
    editor = tmp_path / "an editor"
    editor.write_text(
        f'#!/bin/sh -e\n[ "$1" = --wait ]\necho "$2" >> "{tmp_path}/edited"\n'
        f'cp "{tmp_path}/wanted" "$2"\n[ ! -e "{tmp_path}/next" ] || mv "{tmp_path}/next" "{tmp_path}/wanted"\n'
    )
    editor.chmod(0o755)
    monkeypatch.setenv("SUDO_EDITOR", f"'{editor}' --wait")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    return path


def edit(route: Path, *argv: str, wanted: str) -> subprocess.CompletedProcess[str]:
    """Run `streamctl edit` with an editor that writes this; nobody is at a terminal."""
    (route.parents[4] / "wanted").write_text(wanted)
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(route.parents[3]), "edit", *argv],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "Traceback" not in found.stderr
    return found


def copies(route: Path) -> list[Path]:
    return list(route.parents[4].glob("streamctl-edit-*/*"))


def test_what_is_good_is_saved(route: Path) -> None:
    found = edit(route, "a", wanted=GOOD.replace("5000", "5001"))
    assert (found.returncode, found.stderr) == (OK, "")
    assert found.stdout.startswith(f"{route}: saved; it takes effect when streamd runs")
    assert "5001" in route.read_text()
    assert copies(route) == []
    edited = Path((route.parents[4] / "edited").read_text().strip())
    assert edited.name == "a.toml"


def test_what_stays_as_it_is_writes_nothing(route: Path) -> None:
    before = route.stat().st_ino
    found = edit(route, "a", wanted=GOOD)
    assert (found.returncode, found.stdout) == (OK, f"{route}: nothing was changed\n")
    assert route.stat().st_ino == before
    assert copies(route) == []


def test_a_drop_in_and_the_settings(route: Path) -> None:
    assert edit(route, "--drop-in", "a", wanted="enabled = false\n").returncode == OK
    assert (route.parent / "a.toml.d/50-local.toml").read_text() == "enabled = false\n"
    assert edit(route, wanted="max_outputs = 7\n").returncode == OK
    assert (route.parents[1] / "streamd.toml").read_text() == "max_outputs = 7\n"
    assert edit(route, "--drop-in", "b", wanted="").returncode == NO_SUCH_THING


def test_a_drop_in_that_says_nothing_is_not_made(route: Path) -> None:
    assert edit(route, "--drop-in", "a", wanted="# nothing\n").returncode == OK
    assert not (route.parent / "a.toml.d").exists()


def test_where_nobody_can_be_asked_errors_are_not_saved(route: Path) -> None:
    found = edit(route, "a", wanted=BAD)
    assert found.returncode == FAILURE
    assert route.read_text() == GOOD
    assert f"{route}:2:1: input.urll: " in found.stderr
    assert '\n  urll = "udp://0.0.0.0:5000"\n  ^~~~\n' in found.stderr
    (copy,) = copies(route)
    assert copy.read_text() == BAD
    assert str(copy) in found.stderr
    assert [path.stat().st_mode & 0o777 for path in (copy, copy.parent)] == [0o600, 0o700]


def test_json(route: Path) -> None:
    found = edit(route, "--json", "a", wanted=GOOD + "# more\n")
    assert json.loads(found.stdout) == {"path": str(route), "saved": True, "diagnostics": [], "steps": []}


def test_an_editor_that_fails_loses_nothing(route: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_EDITOR", "sh -c 'echo more >> \"$0\"; exit 3'")
    found = edit(route, "a", wanted="")
    assert found.returncode == FAILURE
    assert "status 3" in found.stderr
    assert str(copies(route)[0]) in found.stderr
    assert route.read_text() == GOOD
    monkeypatch.setenv("SUDO_EDITOR", "/nonexistent/editor")
    copies(route)[0].unlink()
    found = edit(route, "a", wanted="")
    assert (found.returncode, found.stderr.count("\n"), copies(route)) == (FAILURE, 1, [])


def test_a_file_that_changed_meanwhile_is_not_overwritten(route: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_EDITOR", f'sh -c \'echo "# mine" >> "$0"; echo "# theirs" >> {route}\'')
    found = edit(route, "a", wanted="")
    assert found.returncode == FAILURE
    assert route.read_text() == GOOD + "# theirs\n"
    (copy,) = copies(route)
    assert copy.read_text() == GOOD + "# mine\n"
    assert f"{route} was changed by somebody else meanwhile" in found.stderr
    assert str(copy) in found.stderr


class Person:
    """Somebody at a terminal who runs `streamctl edit a`."""

    def __init__(self, route: Path) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            # A shell starts what it runs in the background with SIGINT ignored, and that is inherited.
            ["env", "--default-signal=INT", sys.executable, "-c", SCRIPT, str(route.parents[3]), "edit", "a"],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> str:
        deadline = time.monotonic() + 20
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, self.seen
            self.seen += os.read(self.master, 4096).decode()
        before, _, self.seen = self.seen.partition(text)
        return re.sub("\033\\[[0-9]*m", "", before).replace("\r", "")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def status(self) -> int:
        return self.process.wait(timeout=20)


@pytest.fixture
def person(route: Path) -> Iterator[Person]:
    (route.parents[4] / "wanted").write_text(BAD)
    it = Person(route)
    yield it
    it.process.kill()
    it.process.wait()
    os.close(it.master)


ASKED: Final = "[DANGER]: "


@pytest.mark.parametrize("answer", ["x\n", "\x04"])
def test_a_person_leaves_without_saving(person: Person, route: Path, answer: str) -> None:
    assert "  urll = " in person.until(ASKED)
    person.type("q\n")
    person.until("Options are")
    person.until(ASKED)
    person.type(answer)
    person.until("nothing was saved")
    assert person.status() == FAILURE
    assert route.read_text() == GOOD
    assert copies(route) == []


def test_a_person_edits_again(person: Person, route: Path) -> None:
    person.until(ASKED)
    (route.parents[4] / "wanted").write_text(GOOD + "# better\n")
    person.type("e\n")
    person.until(": saved")
    assert person.status() == OK
    assert route.read_text() == GOOD + "# better\n"


def test_a_person_saves_all_the_same(person: Person, route: Path) -> None:
    person.until(ASKED)
    person.type("Q\n")
    person.until(": saved")
    assert person.status() == FAILURE
    assert route.read_text() == BAD


def test_a_person_interrupts(person: Person, route: Path) -> None:
    person.until(ASKED)
    person.type("\x03")
    person.until("interrupted")
    assert person.status() == INTERRUPTED
    assert route.read_text() == GOOD
    assert copies(route)[0].read_text() == BAD


@pytest.mark.parametrize(
    ("environment", "argv"),
    [
        ({"SUDO_EDITOR": "a -b", "VISUAL": "c", "EDITOR": "d"}, ["a", "-b"]),
        ({"SUDO_EDITOR": " ", "VISUAL": "'my editor' $HOME", "EDITOR": "d"}, ["my editor", "$HOME"]),
        ({"EDITOR": "d;e"}, ["d;e"]),
        ({}, ["/bin/nano"]),
    ],
)
def test_which_editor(environment: dict[str, str], argv: list[str]) -> None:
    def which(name: str) -> str | None:
        return f"/bin/{name}" if name in {"nano", "vi"} else None

    assert editor_argv(environment, which) == argv


def test_no_editor() -> None:
    with pytest.raises(Failure, match="EDITOR"):
        editor_argv({}, lambda _name: None)
    with pytest.raises(Failure, match="VISUAL"):
        editor_argv({"VISUAL": "'open"}, lambda _name: None)

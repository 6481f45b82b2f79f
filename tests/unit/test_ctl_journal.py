"""The end of a log, as `status` shows it: whatever goes wrong is one line of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.ctl import journal
from streamd.ctl.journal import last_lines


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "journalctl"
    path.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal, and a caller that is not root."""
    folder = tmp_path / "journal"
    (folder / "id").mkdir(parents=True)
    (folder / "id/system.journal").touch()
    monkeypatch.setattr(journal, "_JOURNALS", (tmp_path / "none", folder))
    monkeypatch.setattr(journal.os, "geteuid", lambda: 1000)
    return folder


def test_the_last_lines(program: Path) -> None:
    assert last_lines([str(program), "--lines=3", "A=b"]) == [
        *("--no-pager", "--quiet", "--output=short", "--lines=3", "A=b")
    ]


def test_who_may_not_read_the_journal_is_told_so(program: Path, machine: Path) -> None:
    (machine / "id/system.journal").unlink()
    (line,) = last_lines([str(program)])
    assert "systemd-journal" in line


def test_failures_are_one_line(tmp_path: Path, program: Path) -> None:
    (line,) = last_lines([str(tmp_path / "none")])
    assert "cannot run" in line
    program.write_text("#!/bin/sh\necho broken >&2\necho more >&2\nexit 1\n")
    assert last_lines([str(program)]) == ["The log is not shown: broken"]

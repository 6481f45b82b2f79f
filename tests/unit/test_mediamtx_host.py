"""Which MediaMTX is installed, and when its document is written."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamd.host.mediamtx import Installed, MediaMtx, api_password, look
from streamd.route.model import Settings

SETTINGS = Settings()


def binary(path: Path, script: str = "echo v1.20.1", mode: int = 0o755) -> Path:
    """Write a program; renamed into place, so that nothing runs it half written."""
    new = path.with_suffix(".new")
    new.write_text(f"#!/bin/sh\n{script}\n")
    new.chmod(mode)
    return new.rename(path)


def test_the_first_one_is_taken(tmp_path: Path) -> None:
    second = binary(tmp_path / "second", '[ "$1" = --version ] && echo v1.9.0')
    missing, plain = tmp_path / "missing", binary(tmp_path / "plain", mode=0o644)
    assert look([missing, plain, tmp_path, second]) == Installed(second, (1, 9, 0), "")


def test_there_may_be_none(tmp_path: Path) -> None:
    assert look([tmp_path / "missing"]) == Installed(None, None, "MediaMTX is not installed")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo v1.8.5", "is MediaMTX 1.8.5, and streamd needs 1.9.0 or newer"),
        ("echo v0.0.0", "is MediaMTX 0.0.0, and streamd needs 1.9.0 or newer"),
        ("echo hello", "tells no version, and streamd needs 1.9.0 or newer"),
        ("exit 3", "cannot be asked for its version: Command"),
    ],
)
def test_one_that_cannot_be_used(tmp_path: Path, script: str, problem: str) -> None:
    path = binary(tmp_path / "mediamtx", script)
    found = look([path])
    assert found.version is None
    assert found.problem.startswith(f"{path} {problem}")


class Desk:
    """A MediaMTX whose document lies in a folder, and a way to wait for what is written late."""

    def __init__(self, folder: Path, *, spacing: float = 0.0) -> None:
        self.binary = binary(folder / "mediamtx")
        self.document = folder / "run/mediamtx.yml"
        self.document.parent.mkdir()
        self.mediamtx = MediaMtx("x", binaries=(self.binary,), document=self.document, spacing=spacing)

    async def renew(self, *names: str) -> None:
        await self.mediamtx.renew(dict.fromkeys(names, "239.255.0.1"), SETTINGS)

    def paths(self) -> set[str]:
        return set(json.loads(self.document.read_text())["paths"])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - nothing tells of a file
                await asyncio.sleep(0.01)


def test_the_document_is_replaced_in_one_move_and_only_when_it_changes(tmp_path: Path) -> None:
    async def act() -> None:
        desk = Desk(tmp_path)
        await desk.renew("a")
        assert desk.paths() == {"a"}
        assert desk.document.stat().st_mode & 0o777 == 0o640
        first = desk.document.stat()
        await desk.renew("a")
        assert desk.document.stat().st_mtime_ns == first.st_mtime_ns
        await desk.renew("a", "b")
        assert desk.document.stat().st_ino != first.st_ino
        assert desk.paths() == {"a", "b"}
        assert [path.name for path in desk.document.parent.iterdir()] == ["mediamtx.yml"]

    asyncio.run(act())


def test_a_change_soon_after_another_waits_and_the_last_one_counts(tmp_path: Path) -> None:
    async def act() -> None:
        desk = Desk(tmp_path, spacing=2.0)
        await desk.renew("a")
        written = desk.document.stat().st_mtime
        for names in (("a", "b"), ("c",), ("c", "d")):
            await desk.renew(*names)
            assert desk.paths() == {"a"}
        await desk.until(lambda: desk.paths() != {"a"})
        assert desk.paths() == {"c", "d"}
        # A file's times are those of the last tick of the kernel's clock, up to 10 ms ago.
        assert desk.document.stat().st_mtime - written >= 1.98

    asyncio.run(act())


def test_another_daemon_has_just_written(tmp_path: Path) -> None:
    async def act() -> None:
        desk = Desk(tmp_path, spacing=0.5)
        desk.document.write_text("{}")
        before = time.time()
        await desk.renew("a")
        assert desk.document.read_text() == "{}"
        await desk.until(lambda: desk.document.read_text() != "{}")
        assert time.time() - before >= 0.4

    asyncio.run(act())


def test_it_follows_the_binary(tmp_path: Path) -> None:
    async def act() -> None:
        desk = Desk(tmp_path)
        await desk.renew("a")
        assert "moq" in json.loads(desk.document.read_text())
        binary(desk.binary, "echo v1.13.1")
        await desk.renew("a")
        assert "moq" not in json.loads(desk.document.read_text())
        binary(desk.binary, "echo v1.8.0")
        await desk.renew("a")
        assert not desk.document.exists(), "it would exit on a key that it does not know"
        desk.binary.unlink()
        await desk.renew("a")
        assert not desk.document.exists()
        assert desk.mediamtx.installed.problem == "MediaMTX is not installed"

    asyncio.run(act())


def test_it_is_asked_for_its_version_once(tmp_path: Path) -> None:
    async def act() -> None:
        desk = Desk(tmp_path)
        count = tmp_path / "count"
        binary(desk.binary, f"echo >> {count}; echo v1.20.1")
        for _ in range(3):
            await desk.renew("a")
        assert count.read_text() == "\n"

    asyncio.run(act())


def test_a_document_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        desk = Desk(tmp_path)
        os.rmdir(desk.document.parent)
        desk.document.parent.write_text("no folder")
        await desk.renew("a")

    asyncio.run(act())
    assert "cannot write" in caplog.text


def test_the_password_is_the_same_at_every_start() -> None:
    assert api_password(b"k") == api_password(b"k") != api_password(b"l")


def silent_for_once(folder: Path) -> str:
    """Return a program that cannot be asked the first time."""
    return f"[ -e {folder}/asked ] && exec echo v1.20.1; touch {folder}/asked; exit 3"


def test_one_that_could_not_be_asked_at_first_is_asked_again(tmp_path: Path) -> None:
    async def act() -> None:
        script = binary(tmp_path / "mediamtx", silent_for_once(tmp_path))
        document = tmp_path / "mediamtx.yml"
        mediamtx = MediaMtx("x", binaries=(script,), document=document, spacing=0.0, pauses=(0.0, 0.0))
        await mediamtx.renew({}, SETTINGS)
        assert "cannot be asked" in mediamtx.installed.problem
        assert not mediamtx.has_returned
        assert await mediamtx.probe() == Installed(script, (1, 20, 1), "")
        assert not mediamtx.has_returned, "what waits for its document would wait on"
        await mediamtx.renew({}, SETTINGS)
        assert document.exists()
        assert mediamtx.has_returned
        mediamtx.welcome()
        assert not mediamtx.has_returned

    asyncio.run(act())


def test_one_that_cannot_be_asked_for_a_while_keeps_its_document(tmp_path: Path) -> None:
    async def act() -> None:
        desk = Desk(tmp_path)
        await desk.renew("a")
        binary(desk.binary, "exit 3")
        await desk.renew("a", "b")
        assert desk.mediamtx.installed.version == (1, 20, 1)
        assert desk.paths() == {"a", "b"}
        # Too busy to answer a daemon that has just started, whose document is of the one before.
        again = MediaMtx("x", binaries=(desk.binary,), document=desk.document, spacing=0.0)
        await again.renew({"a": "239.255.0.1"}, SETTINGS)
        assert again.installed.version is None
        assert desk.paths() == {"a", "b"}

    asyncio.run(act())

"""Installing MediaMTX: from a server and from a file, and whatever may go wrong with either."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streamd.host import release
from streamd.host.mediamtx import SERVICE
from streamd.host.release import Done, ReleaseError

NAME = "mediamtx_v1.20.1_linux_amd64.tar.gz"
VERSION = (1, 20, 1)
PROGRAM = b"#!/bin/sh\necho v1.20.1\n"


def archive(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


GOOD = archive(("mediamtx.yml", b"x"), ("mediamtx", PROGRAM), ("LICENSE", b"y"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listing(content: bytes, name: str = NAME) -> bytes:
    return f"{sha256(b'another')} *mediamtx_v1.20.1_linux_armv7.tar.gz\n{sha256(content)} *{name}\n".encode()


@dataclass
class Server:
    """Serves what is put into it."""

    files: dict[str, bytes | str] = field(default_factory=dict)
    """By path: the content, or where to be sent to."""
    url: str = ""
    cut: int = 0
    """Bytes that are promised and never sent."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = found.files.get(self.path)
            if isinstance(content, str):
                self.send_response(302)
                self.send_header("Location", content)
                self.end_headers()
            elif content is None:
                self.send_error(404)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content) + found.cut))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        found.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        http.shutdown()
        thread.join()


def fetch(server: Server, folder: Path, **more: str) -> Path:
    return release.download(VERSION, machine="x86_64", base=server.url, folder=folder, **more)


def test_it_is_fetched_and_checked_against_the_list_of_the_release(server: Server, tmp_path: Path) -> None:
    server.files = {
        "/v1.20.1/checksums.sha256": listing(GOOD),
        f"/v1.20.1/{NAME}": "/elsewhere",
        "/elsewhere": GOOD,
    }
    assert fetch(server, tmp_path).read_bytes() == GOOD


def test_a_checksum_that_is_known_needs_no_list(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = {f"/v1.20.1/{NAME}": GOOD}
    assert fetch(server, tmp_path, sha256=sha256(GOOD).upper()).read_bytes() == GOOD
    monkeypatch.setattr(release, "PINS", {NAME: sha256(GOOD)})
    assert fetch(server, tmp_path).read_bytes() == GOOD
    monkeypatch.setattr(release, "PINS", {NAME: sha256(b"")})
    with pytest.raises(ReleaseError, match=f"should have {sha256(b'')}: it was not installed"):
        fetch(server, tmp_path)


@pytest.mark.parametrize(
    ("files", "cut", "problem"),
    [
        ({}, 0, "checksums.sha256: the server answers 404 Not Found"),
        ({"checksums.sha256": listing(GOOD)}, 0, f"{NAME}: the server answers 404 Not Found"),
        ({"checksums.sha256": listing(GOOD), NAME: GOOD + b"x"}, 0, f"{NAME} has the SHA-256 "),
        ({"checksums.sha256": listing(GOOD), NAME: GOOD[:100]}, 0, f"{NAME} has the SHA-256 "),
        ({"checksums.sha256": listing(GOOD, "other"), NAME: GOOD}, 0, f"checksums.sha256 does not list {NAME}"),
        ({"checksums.sha256": b"\xff\x00<html>", NAME: GOOD}, 0, f"does not list {NAME}"),
        ({"checksums.sha256": b"x" * (2 << 20), NAME: GOOD}, 0, "checksums.sha256 is larger than 1 MB"),
        ({"checksums.sha256": listing(GOOD)}, 10, "without internet use --file"),
    ],
    ids=["no list", "no archive", "changed", "truncated", "not listed", "no text", "large", "cut off"],
)
def test_what_a_server_may_do(server: Server, tmp_path: Path, files: dict[str, bytes], cut: int, problem: str) -> None:
    server.files = {f"/v1.20.1/{name}": content for name, content in files.items()}
    server.cut = cut
    with pytest.raises(ReleaseError) as caught:
        fetch(server, tmp_path)
    assert problem in str(caught.value)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="without internet use --file"):
        release.download(VERSION, machine="x86_64", base="http://127.0.0.1:1", folder=tmp_path)


def test_a_release_without_a_list_needs_a_checksum(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"1\.12\.0 was released without checksums\.sha256, give --sha256"):
        release.download((1, 12, 0), machine="x86_64", base="http://127.0.0.1:1", folder=tmp_path)


@pytest.mark.parametrize(
    ("version", "machine", "name"),
    [
        (VERSION, "x86_64", NAME),
        (VERSION, "aarch64", "mediamtx_v1.20.1_linux_arm64.tar.gz"),
        ((1, 12, 0), "aarch64", "mediamtx_v1.12.0_linux_arm64v8.tar.gz"),
        (VERSION, "armv7l", "mediamtx_v1.20.1_linux_armv7.tar.gz"),
        (VERSION, "armv6l", "mediamtx_v1.20.1_linux_armv6.tar.gz"),
    ],
)
def test_names(version: tuple[int, int, int], machine: str, name: str) -> None:
    assert release.archive_name(version, machine) == name


@pytest.mark.parametrize(
    ("version", "machine", "problem"),
    [(VERSION, "riscv64", "there is no MediaMTX for riscv64"), ((1, 8, 0), "x86_64", r"needs MediaMTX 1\.9\.0")],
)
def test_no_name(version: tuple[int, int, int], machine: str, problem: str) -> None:
    with pytest.raises(ReleaseError, match=problem):
        release.archive_name(version, machine)


def put(folder: Path, content: bytes) -> Path:
    path = folder / NAME
    path.write_bytes(content)
    return path


def test_a_file_is_checked_too(tmp_path: Path) -> None:
    path = put(tmp_path, GOOD)
    with pytest.raises(ReleaseError, match=f"no checksum is known for {NAME}: give --sha256"):
        release.checked_file(path)
    assert release.checked_file(path, sha256(GOOD)) == sha256(GOOD)
    with pytest.raises(ReleaseError, match="it was not installed"):
        release.checked_file(path, sha256(b""))
    with pytest.raises(ReleaseError, match="64 hexadecimal digits"):
        release.checked_file(path, "abc")
    (tmp_path / "checksums.sha256").write_bytes(listing(GOOD))
    assert release.checked_file(path) == sha256(GOOD)
    put(tmp_path, GOOD[:-20])
    with pytest.raises(ReleaseError, match="it was not installed"):
        release.checked_file(path)
    with pytest.raises(ReleaseError, match="missing: No such file"):
        release.checked_file(tmp_path / "missing")


def test_the_program_is_put_into_its_place(tmp_path: Path) -> None:
    target = tmp_path / "bin/mediamtx"
    target.parent.mkdir()
    path = put(tmp_path, GOOD)
    assert release.install(path, "d", target) == Done(version=VERSION, path=target, sha256="d", changed=True)
    assert target.read_bytes() == PROGRAM
    assert target.stat().st_mode & 0o7777 == 0o755
    inode = target.stat().st_ino
    assert not release.install(path, "d", target).changed
    assert target.stat().st_ino == inode
    target.write_bytes(b"#!/bin/sh\necho v1.9.0\n")
    assert release.install(path, "d", target).changed
    assert [entry.name for entry in target.parent.iterdir()] == ["mediamtx"]


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "no archive": (lambda: b"<html>not found</html>", "is damaged"),
    "empty": (lambda: b"", "is damaged"),
    "truncated": (lambda: archive(("mediamtx", bytes(range(256)) * 4096))[:3000], "is damaged"),
    "other bytes": (lambda: GOOD[:40] + b"\xff\xff\xff\xff" + GOOD[44:], "is damaged"),
    "without it": (lambda: archive(("LICENSE", b"x")), "has no program called mediamtx in it"),
    "elsewhere": (lambda: archive(("../mediamtx", PROGRAM), ("/mediamtx", PROGRAM)), "has no program called mediamtx"),
    "a link": (lambda: archive(("mediamtx", b""), kind=tarfile.SYMTYPE), "has no program called mediamtx"),
    "a hard link": (lambda: archive(("mediamtx", b""), kind=tarfile.LNKTYPE), "has no program called mediamtx"),
    "no program": (lambda: archive(("mediamtx", b"hello")), "cannot be used on this machine"),
    "another program": (lambda: archive(("mediamtx", b"#!/bin/sh\nexit 1\n")), "cannot be used on this machine"),
    "too old": (lambda: archive(("mediamtx", b"#!/bin/sh\necho v1.8.0\n")), "streamd needs 1.9.0 or newer"),
}


@pytest.mark.parametrize("kind", BAD)
def test_the_old_one_is_untouched(tmp_path: Path, kind: str) -> None:
    make, problem = BAD[kind]
    target = tmp_path / "bin/mediamtx"
    target.parent.mkdir()
    target.write_bytes(b"the old one")
    with pytest.raises(ReleaseError, match=problem):
        release.install(put(tmp_path, make()), "d", target)
    assert target.read_bytes() == b"the old one"
    assert [entry.name for entry in target.parent.iterdir()] == ["mediamtx"]
    assert not (tmp_path / "mediamtx").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"cannot write .*missing/mediamtx: No such file or directory"):
        release.install(put(tmp_path, GOOD), "d", tmp_path / "missing/mediamtx")


@pytest.mark.parametrize(
    ("states", "changed", "words", "running"),
    [
        ({"mtx": "active", "daemon": "active"}, True, ["stop mtx", "reload daemon", "start mtx"], True),
        ({"mtx": "active", "daemon": "active"}, False, [], True),
        ({"mtx": "active", "daemon": "inactive"}, True, ["stop mtx", "start mtx"], True),
        ({"mtx": "inactive", "daemon": "active", "enabled": "enabled"}, True, ["reload daemon", "start mtx"], True),
        ({"mtx": "inactive", "daemon": "active", "enabled": "enabled"}, False, ["reload daemon", "start mtx"], True),
        ({"mtx": "inactive", "daemon": "active", "enabled": "disabled"}, True, [], False),
        ({"mtx": "inactive", "daemon": "active", "enabled": ""}, True, [], False),
    ],
)
def test_the_service_runs_the_new_one(states: dict[str, str], changed: bool, words: list[str], running: bool) -> None:
    names = {SERVICE: "mtx", "streamd.service": "daemon"}
    done: list[str] = []

    def ask(verb: str, unit: str) -> str:
        if verb == "is-active":
            return states[names[unit]]
        if verb == "is-enabled":
            return states["enabled"]
        done.append(f"{verb} {names[unit]}")
        states[names[unit]] = {"stop": "inactive", "start": "active"}.get(verb, states[names[unit]])
        return ""

    assert release.restart(changed=changed, ask=ask) is running
    assert done == words

"""MediaMTX beside the daemon: viewers of every route, at no cost to any output."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamd.host.mediamtx import api_password
from tests.appliance.host import (
    incarnations,
    journal,
    kill_daemon,
    restart_daemon,
    run,
    show,
    wait_active,
    wait_until,
    write_route,
)
from tests.appliance.media import Sender, UdpReceiver, make_stream

BINARY = Path("/usr/local/bin/mediamtx")
UNIT = "streamd-mediamtx.service"
DOCUMENT = Path("/run/streamd/mediamtx/mediamtx.yml")
SETTINGS = Path("/etc/streamd/streamd.toml")
TEST = '[input]\nurl = "test:"\n'
PER_SECOND = 475

pytestmark = [
    pytest.mark.skipif(not BINARY.exists(), reason="no mediamtx was on the host's PATH: nothing of it was tested"),
    pytest.mark.once,
]


def api(path: str, *, password: str | None = None) -> Any:
    """Return what the API answers; None where nobody answers."""
    known = api_password(Path("/var/lib/streamd/digest.key").read_bytes())
    token = base64.b64encode(f"streamd:{known if password is None else password}".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:9997/v3/{path}", headers={"Authorization": f"Basic {token}"} if password != "" else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def paths() -> dict[str, Any]:
    found = api("paths/list")
    return {path["name"]: path for path in found["items"]} if isinstance(found, dict) else {}


def wait_ready(name: str, seconds: float = 30) -> Any:
    return wait_until(lambda: paths().get(name, {}).get("ready") and paths()[name], seconds, f"{name} is ready")


def incarnation() -> dict[str, str]:
    return show(UNIT, "MainPID", "InvocationID")


@contextmanager
def viewer(name: str) -> Iterator[subprocess.Popen[str]]:
    """Watch a route by RTSP until the block ends."""
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i", f"rtsp://127.0.0.1:8554/{name}"]
    with subprocess.Popen([*argv, "-c", "copy", "-f", "null", "-"], text=True) as process:
        try:
            wait_until(lambda: readers(name) or process.poll() is not None, 30, f"a viewer of {name}")
            yield process
        finally:
            process.kill()


def readers(name: str) -> list[Any]:
    found: list[Any] = paths().get(name, {}).get("readers", [])
    return found


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """Leave settings, binary and service as they were."""
    text = SETTINGS.read_text()
    kept = Path("/var/tmp/mediamtx")
    if not kept.exists():
        shutil.copy2(BINARY, kept)
    run("systemctl", "start", UNIT)
    yield
    SETTINGS.write_text(text)
    if not BINARY.exists():
        shutil.copy2(kept, BINARY)
    run("streamctl", "reload")


@pytest.fixture(scope="module")
def stream() -> Path:
    return make_stream(Path("/var/tmp/stream.ts"))


def test_it_was_started_at_boot_as_a_user_who_may_do_nothing() -> None:
    found = show(UNIT, "ActiveState", "UnitFileState", "User")
    assert found == {"ActiveState": "active", "UnitFileState": "enabled", "User": "streamd-mediamtx"}
    score = run("systemd-analyze", "security", UNIT).stdout.splitlines()[-1]
    assert float(score.split(": ")[1].split()[0]) <= 1.5, score
    status = DOCUMENT.stat()
    assert f"{status.st_mode & 0o777:o}" == "640"
    assert DOCUMENT.group() == "streamd-mediamtx"
    assert DOCUMENT.owner() == "root"
    # Later tests may have killed it, and others before.
    first, _api, _rest = journal("-b", "-u", UNIT).partition("[API] ")
    assert "[RTSP] " in first
    assert "ERR" not in first


def test_it_listens_on_the_loopback_interface_alone_and_its_api_asks_for_a_password() -> None:
    pid = show(UNIT, "MainPID")["MainPID"]
    lines = [line for line in run("ss", "-Hlntup").stdout.splitlines() if f"pid={pid}," in line]
    assert sorted(line.split()[4] for line in lines) == ["127.0.0.1:8554", "127.0.0.1:9997", "127.0.0.1:9998"]
    assert api("paths/list", password="") == 401
    assert api("paths/list", password="guessed") == 401
    assert api("paths/list")["items"] == []


def test_a_viewer_watches_while_routes_come_and_go() -> None:
    write_route("a", TEST)
    path = wait_ready("a")
    assert sorted(path["tracks"]) == ["H264", "MPEG-4 Audio"]
    with viewer("a") as process:
        (reader,) = readers("a")
        ours = incarnation()
        # Both within the second in which MediaMTX looks at no change of its file.
        write_route("b", TEST)
        wait_until(lambda: "b" in paths(), 10, "the path of b")
        write_route("c", TEST)
        wait_until(lambda: "c" in paths(), 10, "the path of c")
        wait_ready("c")
        Path("/etc/streamd/conf.d/b.toml").unlink()
        wait_until(lambda: "b" not in paths(), 10, "the path of b is gone")
        assert readers("a") == [reader]
        assert process.poll() is None
        assert incarnation() == ours
    wait_until(lambda: not readers("a"), 10, "nobody watches")


def test_the_daemon_goes_and_comes_and_touches_no_viewer() -> None:
    write_route("a", TEST)
    # It may have a path of this name from the test before until the document is written, which it is not too often.
    wait_until(lambda: json.loads(DOCUMENT.read_text())["paths"].keys() == {"a"}, 10, "the document")
    wait_ready("a")
    with viewer("a") as process:
        (reader,) = readers("a")
        before, written = incarnation(), DOCUMENT.stat().st_mtime_ns
        kill_daemon()
        restart_daemon()
        run("streamctl", "reload")
        assert readers("a") == [reader]
        assert process.poll() is None
        assert incarnation() == before
        assert DOCUMENT.stat().st_mtime_ns == written
        assert DOCUMENT.group() == "streamd-mediamtx"


def test_it_is_killed_and_comes_back_without_the_daemon_and_outputs_lose_nothing(stream: Path) -> None:
    write_route("a", '[input]\nurl = "udp://127.0.0.1:5000"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n')
    write_route("b", TEST)
    wait_active(("a", "a/x", "b"))
    wait_ready("b")
    with UdpReceiver(stream, (6001,)) as receiver, Sender(stream, "127.0.0.1", 5000):
        receiver.wait_for(PER_SECOND)
        before = incarnations(("a", "a/x", "b"))
        receiver.reset()
        run("systemctl", "stop", "streamd.service")
        pid = incarnation()["MainPID"]
        run("kill", "-9", pid)
        wait_until(lambda: incarnation()["MainPID"] not in (pid, "0") and "b" in paths(), 5, "it is back")
        wait_ready("b", 10)
        receiver.wait_for(3 * PER_SECOND, seconds=30)
        count = receiver.report()[6001]
        run("systemctl", "start", "streamd.service")
        assert incarnations(("a", "a/x", "b")) == before
    assert count.intact


def test_a_protocol_is_opened_to_the_network() -> None:
    write_route("a", TEST)
    wait_ready("a")
    before = incarnation()
    with viewer("a"):
        (reader,) = readers("a")
        SETTINGS.write_text('[mediamtx]\nhls = "0.0.0.0:8888"\n')
        playlist = wait_until(lambda: fetch("http://127.0.0.1:8888/a/index.m3u8"), 30, "the playlist")
        assert "#EXTM3U" in playlist
        assert readers("a")[:1] == [reader] or reader in readers("a"), "a viewer by another protocol was not disturbed"
    assert incarnation() == before
    SETTINGS.write_text("")
    wait_until(lambda: fetch("http://127.0.0.1:8888/a/index.m3u8") is None, 10, "it is closed again")


def fetch(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def test_viewers_are_shown_and_kicked() -> None:
    write_route("a", TEST)
    wait_ready("a")
    SETTINGS.write_text('[mediamtx]\nsrt = "127.0.0.1:8890"\n')
    srt = ["srt-live-transmit", "-a:no", "srt://127.0.0.1:8890?streamid=read:a", "udp://127.0.0.1:6009"]
    wait_until(lambda: ":8890" in run("ss", "-Hlnu").stdout, 10, "SRT is on")
    with viewer("a") as process, subprocess.Popen(srt, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as caller:
        try:
            wait_until(lambda: len(watching("a")) == 2, 20, f"two watch; {watching('a')}")
            found = {each["kind"]: each for each in watching("a")}
            assert found.keys() == {"rtsp", "srt"}
            assert "rtt" in found["srt"]
            assert found["rtsp"]["address"].startswith("127.0.0.1:")
            assert found["rtsp"]["since"] > 1_700_000_000_000_000
            wait_until(lambda: {each["kind"]: each for each in watching("a")}["srt"]["sent"] > 0, 10, "SRT sends")
            assert "a: H264, MPEG-4 Audio; 2 viewers" in run("streamctl", "viewers").stdout
            run("streamctl", "kick", found["rtsp"]["id"])
            process.wait(20)
            wait_until(lambda: [each["kind"] for each in watching("a")] == ["srt"], 10, "one is left")
            gone = run("streamctl", "kick", found["rtsp"]["id"], check=False)
            assert (gone.returncode, gone.stderr) == (
                1,
                f'streamctl: nobody watches who is called "{found["rtsp"]["id"]}"\n',
            )
        finally:
            caller.kill()


def watching(name: str) -> list[Any]:
    found = json.loads(run("streamctl", "viewers", "--json", name).stdout)
    return list(found["paths"][0]["viewers"]) if found["paths"] else []


def test_one_that_hangs_is_noticed_and_restarted(stream: Path) -> None:
    write_route("a", '[input]\nurl = "udp://127.0.0.1:5000"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n')
    write_route("b", TEST)
    wait_active(("a", "a/x", "b"))
    wait_ready("b")
    with UdpReceiver(stream, (6001,)) as receiver, Sender(stream, "127.0.0.1", 5000):
        receiver.wait_for(PER_SECOND)
        receiver.reset()
        before = incarnation()
        run("kill", "-STOP", before["MainPID"])
        hung = run("streamctl", "viewers", check=False)
        assert (hung.returncode, hung.stderr) == (1, "streamctl: MediaMTX does not answer\n")
        wait_until(lambda: incarnation()["InvocationID"] not in ("", before["InvocationID"]), 40, "it was restarted")
        wait_ready("b")
        assert "MediaMTX did not answer, so it was restarted" in journal("-u", "streamd.service")
        assert receiver.report()[6001].intact


def test_what_prevents_viewers_is_told() -> None:
    run("systemctl", "stop", UNIT)
    stopped = run("streamctl", "viewers", check=False)
    assert (stopped.returncode, stopped.stderr) == (
        1,
        "streamctl: MediaMTX does not run, see: systemctl status streamd-mediamtx\n",
    )
    BINARY.unlink()
    run("streamctl", "reload")
    missing = run("streamctl", "viewers", check=False)
    assert (missing.returncode, missing.stderr) == (
        1,
        "streamctl: MediaMTX is not installed; to install it, as root: streamctl install-mediamtx\n",
    )


def test_without_it_the_unit_is_skipped_and_nothing_fails() -> None:
    write_route("a", TEST)
    wait_active(("a",))
    before = incarnations(("a",))
    BINARY.unlink()
    run("streamctl", "reload")
    assert not DOCUMENT.exists()
    run("systemctl", "restart", UNIT)
    found = show(UNIT, "ActiveState", "Result", "ConditionResult")
    assert found == {"ActiveState": "inactive", "Result": "success", "ConditionResult": "no"}
    restart_daemon()
    assert show("streamd.service", "ActiveState")["ActiveState"] == "active"
    assert incarnations(("a",)) == before


def packed(folder: Path, *members: Path) -> tuple[Path, str]:
    """Make an archive as a release has it, and return it with its SHA-256."""
    path = folder / "mediamtx_v1.20.1_linux_amd64.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for member in members:
            tar.add(member, member.name)
    return path, run("sha256sum", str(path)).stdout.split()[0]


def test_it_is_installed_from_a_file_and_runs(tmp_path: Path) -> None:
    write_route("a", TEST)
    wait_active(("a",))
    before = incarnations(("a",))
    archive, digest = packed(tmp_path, BINARY)
    inode = BINARY.stat().st_ino
    BINARY.unlink()
    run("systemctl", "stop", UNIT)
    run("streamctl", "reload")
    assert not DOCUMENT.exists()
    unknown = run("streamctl", "install-mediamtx", "--file", str(archive), check=False)
    assert (unknown.returncode, BINARY.exists()) == (1, False)
    assert unknown.stderr == (
        f"streamctl: no checksum is known for {archive.name}: give --sha256, or put the checksums.sha256 of its release"
        " beside it\n"
    )
    (tmp_path / "checksums.sha256").write_text(f"{digest} *{archive.name}\n")
    done = json.loads(run("streamctl", "install-mediamtx", "--json", "--file", str(archive)).stdout)
    assert {"path": str(BINARY), "sha256": digest, "changed": True, "running": True}.items() <= done.items()
    assert BINARY.stat().st_ino != inode
    wait_ready("a")
    ours = incarnation()
    again = run("streamctl", "install-mediamtx", "--file", str(archive)).stdout
    assert again.endswith("was installed already, and streamd-mediamtx.service runs it\n")
    assert incarnation() == ours
    assert incarnations(("a",)) == before


def test_a_full_disk_or_a_wrong_checksum_leaves_the_old_one(tmp_path: Path) -> None:
    archive, digest = packed(tmp_path, BINARY)
    run("mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", str(BINARY.parent))
    try:
        BINARY.write_text("the old one")
        full = run("streamctl", "install-mediamtx", "--file", str(archive), "--sha256", digest, check=False)
        assert (full.returncode, full.stderr) == (1, f"streamctl: cannot write {BINARY}: No space left on device\n")
        wrong = run("streamctl", "install-mediamtx", "--file", str(archive), "--sha256", "0" * 64, check=False)
        assert wrong.returncode == 1
        assert "it was not installed" in wrong.stderr
        assert BINARY.read_text() == "the old one"
        assert [path.name for path in BINARY.parent.iterdir()] == ["mediamtx"]
    finally:
        run("umount", str(BINARY.parent))


def test_root_alone_installs_and_what_cannot_be_fetched_is_told() -> None:
    anybody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    denied = run(*anybody, "streamctl", "install-mediamtx", check=False)
    assert (denied.returncode, denied.stderr) == (5, "streamctl: only root may install /usr/local/bin/mediamtx\n")
    offline = run("streamctl", "install-mediamtx", "--version", "1.19.3", check=False)
    assert offline.returncode == 1
    assert "without internet use --file" in offline.stderr.splitlines()[-1]

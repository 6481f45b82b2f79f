"""`streamctl -H HOST` through a real sshd."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.host import CREDENTIALS, is_active, run, status, wait_active, wait_until, write_route
from tests.appliance.people import OPERATOR, operator

pytestmark = pytest.mark.once

PORT = 2222
HOST = "there"
CONFIG = Path.home() / ".ssh/config"
TEXT = '[input]\nurl = "udp://0.0.0.0:5000"\n\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'
SECRET = "sesame-over-ssh-42"


@pytest.fixture(scope="module", autouse=True)
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run sshd on the loopback interface, which lets root's key in as root and as the operator."""
    home = tmp_path_factory.mktemp("ssh")
    home.chmod(0o755)
    for name in ("host", "me"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name))
    # sshd trusts only files in folders that nobody else may write to, which /tmp is not.
    keys = Path("/etc/ssh/streamd-test-keys")
    keys.write_text((home / "me.pub").read_text())
    Path("/run/sshd").mkdir(exist_ok=True)
    server = home / "sshd_config"
    server.write_text(
        f"Port {PORT}\nListenAddress 127.0.0.1\nHostKey {home}/host\nPidFile none\nUsePAM no\nPermitRootLogin yes\n"
        f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nAuthorizedKeysFile {keys}\n"
    )
    (home / "known").write_text(f"[127.0.0.1]:{PORT} {(home / 'host.pub').read_text()}")
    before = CONFIG.read_text() if CONFIG.exists() else None
    CONFIG.parent.mkdir(mode=0o700, exist_ok=True)
    CONFIG.write_text(
        f"Host {HOST} *@{HOST}\n  HostName 127.0.0.1\n  Port {PORT}\n  IdentityFile {home}/me\n  BatchMode yes\n"
        f"  UserKnownHostsFile {home}/known\n  StrictHostKeyChecking yes\n"
    )
    CONFIG.chmod(0o600)
    log = home / "sshd.log"
    with subprocess.Popen(["/usr/sbin/sshd", "-D", "-E", str(log), "-f", str(server)]) as sshd:
        try:
            wait_until(lambda: run("ssh", HOST, "true", check=False).returncode == 0, 20, f"sshd: {log}")
            with operator():
                run("usermod", "--password", "*", OPERATOR)  # locked, by its first password: sshd lets nobody in
                yield
        finally:
            sshd.terminate()
            keys.unlink()
            CONFIG.unlink()
            if before is not None:
                CONFIG.write_text(before)


@pytest.fixture(autouse=True)
def _route(_clean: None) -> None:
    write_route("a", TEXT)
    wait_active(("a", "a/x"))


def there(*words: str, host: str = HOST, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return run("streamctl", "-H", host, *words, check=False, text=text)


def still(text: str) -> object:
    """Return what was printed without the counters, which move between any two calls."""
    try:
        found = json.loads(text, object_hook=lambda value: {k: v for k, v in value.items() if k != "statistics"})
    except ValueError:
        return text
    return found


def is_the_same(words: tuple[str, ...]) -> bool:
    here, remote = run("streamctl", *words, check=False), there(*words)
    return (remote.returncode, still(remote.stdout), remote.stderr) == (
        here.returncode,
        still(here.stdout),
        here.stderr,
    )


def test_reading_over_there_is_reading_here() -> None:
    for words in (
        ("list", "--names"),
        ("list", "--json"),
        ("status", "--json"),
        ("show", "a/x", "--json", "-p", "State,Cause,URL,Unit"),
        ("show", "a/x", "-p", "URL", "--value"),
        ("show", "a", "--json", "-p", "Name,Path"),
        ("check",),
        ("diff",),
        ("cat", "a"),
    ):
        # States may change between the two, until all is starved.
        wait_until(lambda words=words: is_the_same(words), 20, f"{words} over there is {words} here")  # type: ignore[misc]
    assert json.loads(there("status", "--json").stdout)["routes"][0]["route"] == "a"
    assert json.loads(there("status", "a/x", "--json").stdout)["address"] == "a/x"  # its counters move
    assert there("logs", "a/x", "-n", "1").returncode == 0


def test_the_host_may_stand_behind_the_command() -> None:
    assert run("streamctl", "list", "--names", "-H", HOST).stdout == "a\na/x\n"
    assert run("streamctl", "list", "--names", "-H", f"root@{HOST}").stdout == "a\na/x\n"


def test_control_and_change_over_there() -> None:
    assert there("stop", "a/x").returncode == 0
    assert not is_active("a/x")
    assert there("start", "a/x").returncode == 0
    assert is_active("a/x")
    assert there("restart", "a/*").returncode == 0
    assert there("add", "b", "--input", "udp://0.0.0.0:5010").returncode == 0
    added = there("add", "b/y", "udp://127.0.0.1:6002", "description=Two words, 'quotes' and $HOME;x")
    assert added.returncode == 0, added.stderr
    assert status("b/y")["description"] == "Two words, 'quotes' and $HOME;x"
    assert there("set", "b/y", "url=udp://127.0.0.1:6003").returncode == 0
    assert there("disable", "b/y").returncode == 0
    assert not is_active("b/y")
    assert there("enable", "b/y").returncode == 0
    assert is_active("b/y")
    assert there("reload").returncode == 0
    assert there("rm", "b").returncode == 0
    assert status("b") is None


def test_exit_statuses_and_errors_come_back() -> None:
    for words in (
        ("status", "a/none"),
        ("stop", "nothing"),
        ("status", "a/x"),
        ("add", "a/x", "udp://127.0.0.1:6009"),
        ("check", "/nowhere.toml"),
    ):
        here, remote = run("streamctl", *words, check=False), there(*words)
        assert remote.returncode == here.returncode, words
        assert remote.stderr == here.stderr, words
    assert there("status", "a/none").returncode == 4
    there("stop", "a/x")
    assert there("status", "a/x").returncode == 3


def test_who_is_asked_is_the_user_over_there() -> None:
    somebody = f"{OPERATOR}@{HOST}"
    assert there("list", "--names", host=somebody).stdout == "a\na/x\n"
    assert there("stop", "a/x", host=somebody).returncode == 0
    assert not is_active("a/x")
    refused = there("rm", "a/x", host=somebody)
    assert refused.returncode == 5, refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert status("a/x")["state"] == "stopped"


def argvs() -> str:
    """Return the arguments of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended
    return "\n".join(found)


def test_a_secret_goes_through_standard_input_alone() -> None:
    argv = ["streamctl", "-H", HOST, "add", "a/tube", "rtmp://127.0.0.1/live", "--key-file", "-"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # Until it is given the secret the command waits over there, where all can look at its arguments.
        wait_until(lambda: "streamctl add --key-file=- -- a/tube" in argvs().replace("/usr/bin/", ""), 20, "it asks")
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(f"{SECRET}\n")
        process.stdin.close()
        deadline = time.monotonic() + 30
        while process.poll() is None:
            assert SECRET not in argvs()
            assert time.monotonic() < deadline
        assert process.returncode == 0, process.stderr.read()
    assert (CREDENTIALS / "a.tube.key").read_text().strip() == SECRET
    assert SECRET not in argvs()
    assert SECRET not in run("journalctl", "--no-pager", "--boot").stdout


def test_a_secret_in_a_file_is_that_of_the_host_over_there(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    done = there("add", "a/tube", "rtmp://127.0.0.1/live", "--key-file", str(file))
    assert done.returncode == 0, done.stderr
    assert (CREDENTIALS / "a.tube.key").read_text().strip() == SECRET
    missing = there("add", "a/two", "rtmp://127.0.0.1/live", "--key-file", str(tmp_path / "none"))
    assert missing.returncode == 1
    assert missing.stderr.count("\n") == 1
    assert status("a/two") is None


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1:1", f"stranger@{HOST}"])
def test_a_host_that_is_not_there_is_told_in_one_sentence(host: str) -> None:
    done = there("list", host=host)
    assert done.returncode == 255
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_host_is_refused_here() -> None:
    for host in ("-oProxyCommand=touch /tmp/x", "", "two words"):
        done = run("streamctl", f"--host={host}", "list", check=False)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr

"""`streamctl edit` with a scripted editor, and the other verbs that change a route, against the daemon."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.appliance.host import (
    CONF,
    incarnations,
    run,
    state,
    status,
    wait_active,
    wait_state,
    wait_until,
    write_route,
)

pytestmark = pytest.mark.once

ROUTE = """
[input]
url = "udp://0.0.0.0:5000"

[output.x]
url = "udp://127.0.0.1:6001"

[output.y]
url = "udp://127.0.0.1:6002"
"""
ALL = ("a", "a/x", "a/y")


@pytest.fixture
def path() -> Path:
    """The file of a route that runs."""
    found = write_route("a", ROUTE)
    wait_active(ALL)
    return found


def edit(*argv: str, script: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """Run `streamctl edit` with `sh -c script FILE` as the editor; with an answer at a terminal, else at none."""
    environment = {**os.environ, "EDITOR": f'sh -c "{script}"', "TERM": "dumb"}
    for name in ("SUDO_EDITOR", "VISUAL"):
        environment.pop(name, None)
    if not answer:
        return subprocess.run(
            ["streamctl", "edit", *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    master, slave = pty.openpty()
    with subprocess.Popen(["streamctl", "edit", *argv], env=environment, stdin=slave, stdout=slave, stderr=slave) as it:
        os.close(slave)
        seen = ""
        while "[DANGER]" not in seen:
            seen += os.read(master, 4096).decode()
        os.write(master, f"{answer}\n".encode())
        while True:
            try:
                seen += os.read(master, 4096).decode()
            except OSError:  # EIO: nobody has the other end any more
                break
        os.close(master)
        return subprocess.CompletedProcess([], it.wait(), seen.replace("\r\n", "\n"))


def test_what_is_saved_takes_effect_and_the_plan_is_told(path: Path) -> None:
    before = incarnations(ALL)
    path.chmod(0o640)
    done = edit("a", script="sed -i s/6001/6011/ $0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: saved\n")
    assert "restart  a/x  " in done.stdout
    assert "2 units stay as they are." in done.stdout
    wait_until(lambda: status("a/x")["url"] == "udp://127.0.0.1:6011", 10, "the new address is in effect")
    wait_active(ALL)
    after = incarnations(ALL)
    assert {name for name in ALL if before[name] != after[name]} == {"a/x"}
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_is_wrong_and_answered_x_changes_nothing(path: Path) -> None:
    before = incarnations(ALL), path.read_bytes()
    done = edit("a", script="sed -i s/6001/99999/ $0", answer="x")
    assert done.returncode == 1
    assert f"{path}:6:7: output.x.url: " in done.stdout
    assert '  url = "udp://127.0.0.1:99999"\n        ^' in done.stdout
    assert "nothing was saved" in done.stdout
    assert (incarnations(ALL), path.read_bytes()) == before
    assert status()["diagnostics"] == []


def test_where_nobody_can_be_asked_nothing_is_saved(path: Path) -> None:
    before = path.read_bytes()
    done = edit("a", script="echo nonsense >> $0")
    assert done.returncode == 1
    assert "nothing was saved" in done.stderr
    assert path.read_bytes() == before


def test_a_port_that_another_route_has_is_told(path: Path) -> None:
    del path
    write_route("b", ROUTE.replace("5000", "5001").replace("127.0.0.1:6", "127.0.0.2:6"))
    wait_active(("b",))
    done = edit("b", script="sed -i s/5001/5000/ $0")
    assert done.returncode == 1
    assert f"{CONF}/b.toml:3:7: input.url: " in done.stderr


def test_a_file_that_changed_meanwhile_keeps_what_the_other_wrote(path: Path) -> None:
    done = edit("a", script=f"sed -i s/6001/6011/ $0; echo '# theirs' >> {path}")
    assert done.returncode == 1
    assert path.read_text() == ROUTE + "# theirs\n"
    copy = Path(done.stderr.strip().rpartition(" ")[2])
    assert "6011" in copy.read_text()


def test_a_drop_in_a_new_route_and_the_settings(path: Path) -> None:
    done = edit("--drop-in", "a", script="printf '[output.y]\\nenabled = false\\n' > $0")
    assert done.returncode == 0, done.stderr
    assert "stop  a/y  " in done.stdout
    assert wait_state("a/y", "disabled")
    assert path.read_text() == ROUTE
    done = edit("new", script="sed -i 's/^#url = .test:.$/url = \\\"test:\\\"/' $0")
    assert done.returncode == 0, done.stderr
    wait_active(("new",))
    settings = Path("/etc/streamd/streamd.toml")
    before = settings.read_bytes()
    done = edit(script="sed -i s/^#max_outputs.*/max_outputs=1/ $0")
    assert done.returncode == 1
    assert f"{path}:8:9: output.y: " in done.stderr
    assert settings.read_bytes() == before


def test_it_needs_no_daemon(path: Path) -> None:
    run("systemctl", "stop", "streamd.service")
    try:
        done = edit("a", script="sed -i s/6001/6011/ $0")
        assert done.returncode == 0, done.stderr
        assert "systemctl start streamd" in done.stdout
    finally:
        run("systemctl", "start", "streamd.service")
    wait_until(lambda: status("a/x")["url"] == "udp://127.0.0.1:6011", 10, "the new address is in effect")
    assert path.exists()
    assert state("a/x")


def test_who_may_not_write_is_told_before_the_editor_opens(path: Path) -> None:
    del path
    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "streamctl", "edit", "a", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "sudo" in done.stderr


def test_a_whole_route_is_disabled_and_enabled(path: Path) -> None:
    done = run("streamctl", "disable", "a")
    assert done.stdout.startswith("a: disabled")
    assert [state(name) for name in ALL] == ["disabled"] * 3
    assert path.read_text() == ROUTE
    assert run("streamctl", "enable", "a").stdout.startswith("a: ")
    wait_active(ALL)
    assert not path.with_name("a.toml.d").exists()


def test_keys_of_a_route_are_set_beside_the_persons_file(path: Path) -> None:
    before = incarnations(ALL)
    run("streamctl", "set", "a", "description=Programme")
    assert status("a")["description"] == "Programme"
    assert incarnations(ALL) == before, "a description restarts nothing"
    assert path.read_text() == ROUTE
    done = run("streamctl", "set", "a", "input.url=nonsense", check=False)
    assert done.returncode == 1
    assert "input.url" in done.stderr
    assert status("a")["description"] == "Programme"
    assert incarnations(ALL) == before


def test_status_shows_what_is_known_and_the_end_of_the_log(path: Path) -> None:
    del path
    text = run("streamctl", "status", "a/x", check=False).stdout
    assert "      Output: udp, udp://127.0.0.1:6001\n" in text
    assert "      Uptime: " in text
    fields, _, log = text.partition("\n\n")
    assert "Unit: streamd-output@a:x.service" in fields
    assert "Started streamd-output@a:x.service" in log
    assert len(log.splitlines()) <= 10
    assert "\n\n" not in run("streamctl", "status", "-n0", "a/x", check=False).stdout
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    text = run(*nobody, "streamctl", "status", "a/x", check=False).stdout
    assert text.splitlines()[-1].startswith("The log is not shown: ")
    assert "statistics" in status("a/x")

"""Routes made and changed by streamctl and by clients that are not ours."""

from __future__ import annotations

import pytest

from tests.appliance.host import (
    CONF,
    CREDENTIALS,
    incarnations,
    is_active,
    kill_daemon,
    our_units,
    run,
    state,
    status,
    wait_active,
    wait_state,
    write_route,
)
from tests.appliance.media import RtmpServer

PERSON = '# mine\n[input]\nurl = "udp://0.0.0.0:5000"\n\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'


def test_two_commands_make_a_stream_that_arrives() -> None:
    with RtmpServer() as rtmp:
        run("streamctl", "add", "show", "--input", "test:")
        run("streamctl", "add", "show/nginx", f"{rtmp.url}", "--key-file", "-", text="hidden-key-1\n")
        rtmp.wait_for("hidden-key-1", seconds=30)
    assert (CREDENTIALS / "show.nginx.key").stat().st_mode & 0o777 == 0o600
    assert "hidden-key-1" not in (CONF / "show.toml").read_text()
    run("streamctl", "rm", "show")
    assert our_units() == []
    assert not (CONF / "show.toml").exists()


@pytest.mark.once
def test_a_persons_file_is_never_rewritten() -> None:
    path = write_route("a", PERSON)
    wait_active(("a", "a/x"))
    before = incarnations(("a", "a/x"))
    run("streamctl", "add", "a/y", "udp://127.0.0.1:6002", 'limits={memory="100M"}')
    assert is_active("a/y")
    assert path.read_text() == PERSON
    assert (CONF / "a.toml.d/50-streamctl.toml").exists()
    run("streamctl", "set", "a/y", "url=udp://127.0.0.1:6003")
    assert status("a/y")["url"] == "udp://127.0.0.1:6003"
    run("streamctl", "disable", "a/x")
    assert state("a/x") == "disabled"
    run("streamctl", "enable", "a/x")
    wait_active(("a/x",))
    wait_state("a/x", "starved")  # there is no encoder
    run("streamctl", "rm", "a/y", "a/x")
    assert our_units() == ["streamd-ingest@a.service"]
    assert path.read_text() == PERSON
    assert incarnations(("a",))["a"] == before["a"]
    refused = run("streamctl", "rm", "a", check=False)
    assert refused.returncode != 0
    assert str(path) in refused.stderr
    shown = run("streamctl", "cat", "a").stdout
    assert f"# {path}" in shown
    assert "# merged" in shown


@pytest.mark.once
def test_what_is_wrong_is_told_and_changes_nothing() -> None:
    write_route("a", PERSON)
    wait_active(("a/x",))
    bad = run("streamctl", "add", "a/y", "srt://192.0.2.1:9000", "latancy=200ms", check=False)
    assert bad.returncode == 1
    assert 'did you mean "latency"' in bad.stderr
    assert "Traceback" not in bad.stderr
    assert not (CONF / "a.toml.d").exists()
    assert status()["diagnostics"] == []


@pytest.mark.once
def test_changes_survive_the_daemon() -> None:
    run("streamctl", "add", "b", "--input", "udp://0.0.0.0:5010")
    run("streamctl", "add", "b/x", "udp://127.0.0.1:6001")
    before = incarnations(("b", "b/x"))
    kill_daemon()
    assert incarnations(("b", "b/x")) == before
    run("streamctl", "rm", "b/x")
    kill_daemon()
    assert our_units() == ["streamd-ingest@b.service"]


def call(*argv: str, user: str = "root") -> tuple[int, str]:
    """Call the manager with busctl as somebody; return its status and what it printed."""
    prefix = () if user == "root" else ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    busctl = ("busctl", "--json=short", "call", "org.streamd1", "/org/streamd1", "org.streamd1.Manager")
    done = run(*prefix, *busctl, *argv, check=False)
    return done.returncode, done.stdout + done.stderr


def test_busctl_as_root_and_as_nobody() -> None:
    add = ("AddRoute", "sa{sv}a{sv}", "c", "1", "input", "a{sv}", "1", "url", "s", "udp://0.0.0.0:5020", "0")
    assert call(*add, user="nobody")[0] != 0
    assert not (CONF / "c.toml").exists()
    assert call(*add)[0] == 0
    assert is_active("c")
    for refused in (
        ("SetCredential", "ssa{sv}", "name", "secret", "0"),
        ("RemoveRoute", "sa{sv}", "c", "0"),
        ("StopRoute", "sa{sv}", "c", "0"),
        ("Reload", "a{sv}", "0"),
    ):
        code, text = call(*refused, user="nobody")
        assert code != 0, refused
        assert "Traceback" not in text
    assert call("Plan", "a{sv}", "0", user="nobody")[0] == 0, "reading is open to all"
    assert is_active("c")

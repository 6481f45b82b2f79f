"""streamctl's command line without a daemon: usage, check, exit statuses, journalctl's arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamd.ctl import main as ctl
from streamd.ctl.logs import journalctl

ROOT = Path(__file__).parents[2]
GOOD = '[input]\nurl = "udp://0.0.0.0:5000"\n\n[output.rack]\nurl = "udp://192.0.2.1:5004"\n'
BAD = '[input]\nurll = "udp://0.0.0.0:5000"\n'


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.toml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.toml"
    path.write_text(BAD)
    return path


def streamctl(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamd.ctl.main", *argv],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nothing"],
        ["start"],
        ["status", "Not A Name"],
        ["status", "a/b/c"],
        ["status", "../etc"],
        ["stop", "a/"],
        ["list", "--nothing"],
    ],
)
def test_wrong_usage_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ctl.main(argv)
    assert caught.value.code == ctl.USAGE
    assert "usage: streamctl" in capsys.readouterr().err


def test_check_of_a_good_file(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["check", str(good)]) == ctl.OK
    assert capsys.readouterr().out == "1 route file, no errors\n"


def test_check_of_a_bad_file(good: Path, bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["check", str(good), str(bad)]) == ctl.FAILURE
    out = capsys.readouterr().out
    assert f"{bad}:2:1: " in out
    assert "  urll = " in out
    assert "\n  ^~~~\n" in out
    assert "\033" not in out
    assert out.splitlines()[-1].startswith("2 route files, ")


def test_check_as_json(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["check", "--json", str(bad)]) == ctl.FAILURE
    found = json.loads(capsys.readouterr().out)
    assert set(found[0]) == {"path", "line", "column", "length", "key", "message", "text"}
    assert (str(bad), 2, "urll") in {(it["path"], it["line"], it["text"][:4]) for it in found}


def test_check_of_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["check", str(tmp_path / "no\033.toml")]) == ctl.FAILURE
    out = capsys.readouterr().out
    assert "does not exist" in out
    assert "\033" not in out


def test_check_needs_no_bus(good: Path) -> None:
    script = "import sys; from streamd.ctl.main import main; main(sys.argv[1:]); print('dbus_next' in sys.modules)"
    argv = [sys.executable, "-c", script, "check", str(good)]
    found = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "False"


def test_names_that_are_no_unicode_are_printed_all_the_same(tmp_path: Path) -> None:
    found = streamctl("check", os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml"), PYTHONIOENCODING="ascii")
    assert found.returncode == ctl.FAILURE
    assert not found.stderr


@pytest.mark.parametrize("verb", [["list"], ["status"], ["diff"], ["reload"], ["start", "a/b"], ["stop", "a"]])
def test_without_a_bus_one_line_says_so(verb: list[str], tmp_path: Path) -> None:
    pytest.importorskip("dbus_next")
    found = streamctl(*verb, DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={tmp_path}/none")
    assert found.returncode == ctl.NO_DAEMON
    assert not found.stdout
    assert found.stderr.startswith("streamctl: ")
    assert found.stderr.count("\n") == 1


def test_a_broken_pipe_is_silent(good: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        process = subprocess.run(
            [sys.executable, "-m", "streamd.ctl.main", "check", str(good)],
            cwd=ROOT,
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
            timeout=30,
        )
    assert process.returncode == ctl.BROKEN_PIPE
    assert process.stderr == b""


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ctl.main(["--help"])
    assert caught.value.code == ctl.OK
    out = capsys.readouterr().out
    for verb in ("list", "status", "check", "diff", "reload", "start", "stop", "restart", "logs"):
        assert f"\n    {verb} " in out


def test_logs_of_an_output() -> None:
    assert journalctl("studio-a/youtube", []) == [
        "journalctl",
        "STREAMD_OUTPUT=studio-a/youtube",
        "+",
        "UNIT=streamd-output@studio-a:youtube.service",
    ]


def test_logs_of_a_route_are_those_of_all_its_units() -> None:
    argv = journalctl("a", ["streamd-output@a:x.service"], follow=True, lines="5", since="-1h", until="now", json=True)
    assert argv == [
        *("journalctl", "--follow", "--lines=5", "--since=-1h", "--until=now", "--output=json"),
        *("STREAMD_ROUTE=a", "+", "UNIT=streamd-ingest@a.service", "+", "UNIT=streamd-output@a:x.service"),
    ]

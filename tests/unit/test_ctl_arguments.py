"""The command line as parsed, written out again, and carried over ssh."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from streamd.ctl import main as ctl
from streamd.ctl.arguments import VERBS, make_parser, words
from streamd.ctl.remote import is_host, ssh
from streamd.ctl.verbs import RUN

ROOT = Path(__file__).parents[2]


def test_every_verb_is_declared_and_carried_out() -> None:
    assert VERBS.keys() == RUN.keys()


@pytest.mark.parametrize(
    ("argv", "written"),
    [
        (["list"], []),
        (["-H", "h", "list"], []),
        (["list", "-Hh", "--json"], ["--json"]),
        (["--host=h", "stop", "--no-block", "a/*", "b"], ["--no-block", "--", "a/*", "b"]),
        (["logs", "-fHh", "-n5", "--since=-1h", "a"], ["--follow", "--lines=5", "--since=-1h", "--", "a"]),
        (
            ["show", "-p", "PID,Unit", "--property", "State", "a"],
            ["--property=PID,Unit", "--property=State", "--", "a"],
        ),
        (["check", "--", "-H", "a b.toml"], ["--", "-H", "a b.toml"]),
        (["top", "-bn1", "-s", "cpu"], ["--sort=cpu", "--batch", "--iterations=1"]),
        (["top", "-d", "1"], ["--delay=1.0"]),
        (["diff", "-H", "h"], []),
        (["status", "-n0", "a"], ["--lines=0", "--", "a"]),
        (["edit", "-H", "h"], []),
        (["edit", "a", "--drop-in"], ["--drop-in", "--", "a"]),
        (["set", "a", "input.url=test:"], ["--", "a", "input.url=test:"]),
        (["start", "a", "--no-block", "b"], ["--no-block", "--", "a", "b"]),
        (["start", "a", "-H", "h", "b", "--no-block", "c"], ["--no-block", "--", "a", "b", "c"]),
        (["status", "a", "--json", "-n5", "b"], ["--json", "--lines=5", "--", "a", "b"]),
        (
            ["add", "studio", "--input", "srt://0.0.0.0:5001", "mode=listener"],
            ["--input=srt://0.0.0.0:5001", "--", "studio", "mode=listener"],
        ),
        (["add", "a/b", "--ask-key", "rtmps://a/b", "ttl=1"], ["--ask-key", "--", "a/b", "rtmps://a/b", "ttl=1"]),
        (["set", "a/b", "--ask-passphrase", "latency=1s"], ["--ask-passphrase", "--", "a/b", "latency=1s"]),
        (["web", "key", "add", "--role", "admin", "wall"], ["--role=admin", "--", "key", "add", "wall"]),
        (["top", "a", "-bn1", "b", "-d", "1"], ["--delay=1.0", "--batch", "--iterations=1", "--", "a", "b"]),
        (["check", "a.toml", "--json", "--", "-H", "--", "b"], ["--json", "--", "a.toml", "-H", "--", "b"]),
        (["check", "-", "-5", "--json", "- a"], ["--json", "--", "-", "-5", "- a"]),
    ],
)
def test_what_was_parsed_is_written_out(argv: list[str], written: list[str]) -> None:
    options = make_parser().parse_args(argv)
    found = words(options)
    assert found == ["streamctl", options.verb, *written]
    again = make_parser().parse_args(found[1:])
    assert vars(again) | {"host": "", "actions": 0} == vars(options) | {"host": "", "actions": 0}


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["status", "a", "--lines"], "argument -n/--lines: expected one argument"),
        (["status", "a", "--lines", "--json"], "argument -n/--lines: expected one argument"),
        (["status", "a", "-n", "--", "b"], None),
        (["status", "a", "--wrong", "b"], "unrecognized arguments: --wrong"),
        (["status", "a", "--json=1", "b"], "argument --json: ignored explicit argument '1'"),
        (["start", "--no-block"], "the following arguments are required: ROUTE[/OUTPUT]"),
        (
            ["start", "a", "--no-block", "b//"],
            'argument ROUTE[/OUTPUT]: "b//" is no ROUTE or ROUTE/OUTPUT, and no pattern',
        ),
        (["cat", "a", "--json", "b"], "unrecognized arguments: b"),
    ],
)
def test_what_is_wrong_is_told_wherever_it_stands(
    argv: list[str], told: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args(argv)
    error = capsys.readouterr().err
    assert caught.value.code == ctl.USAGE
    assert error.startswith("usage: streamctl")
    assert told is None or told in error


def test_the_last_host_counts_wherever_it_stands() -> None:
    parser = make_parser()
    assert parser.parse_args(["list"]).host is None
    assert parser.parse_args(["-H", "a", "list"]).host == "a"
    assert parser.parse_args(["-H", "a", "list", "-H", "b"]).host == "b"


def test_ssh_gets_one_word_that_a_shell_reads_back_as_the_command() -> None:
    evil = ["streamctl", "check", "--", 'it\'s; $(rm -rf x) `id` \\ "q"\n*']
    argv = ssh("root@h", evil, terminal=True)
    assert argv[:-1] == ["ssh", "-o", "LogLevel=ERROR", "-t", "--", "root@h"]
    assert shlex.split(argv[-1]) == evil
    echoed = subprocess.run(["sh", "-c", "printf '%s\\0' " + argv[-1]], capture_output=True, text=True, check=True)
    assert echoed.stdout.split("\0")[:-1] == evil


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b", "a\nb", "a\0"])
def test_what_is_no_host(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_host(host)
    with pytest.raises(SystemExit) as caught:
        ctl.main([f"--host={host}", "list"])
    assert caught.value.code == ctl.USAGE
    assert "Traceback" not in capsys.readouterr().err


FAKE_SSH = """#!/bin/sh
printf '%s\\n' "$@" > "$0.argv"
while [ "$1" != -- ]; do shift; done
exec sh -c "$3"
"""


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A directory for PATH with an ssh that runs the command here, and a streamctl that shows its arguments."""
    for name, text in (
        ("ssh", FAKE_SSH),
        ("streamctl", '#!/bin/sh\nprintf "<%s>" "$@"\necho oops >&2\nexit 3\n'),
    ):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def remote(there: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamd.ctl.main", *argv],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{there}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("verb", ["list", "status", "diff", "reload", "check", "monitor", "show"])
def test_over_ssh_status_and_output_are_those_of_the_other_side(there: Path, verb: str) -> None:
    found = remote(there, verb, "-H", "me@studio", "--json")
    assert (found.returncode, found.stdout, found.stderr) == (3, f"<{verb}><--json>", "oops\n")
    assert (there / "ssh.argv").read_text().splitlines()[:5] == ["-o", "LogLevel=ERROR", "-T", "--", "me@studio"]


def test_over_ssh_a_wrong_command_line_is_seen_here(there: Path) -> None:
    assert remote(there, "-H", "h", "start").returncode == ctl.USAGE
    assert not (there / "ssh.argv").exists()


def test_over_ssh_patterns_and_file_names_arrive_as_they_were(there: Path) -> None:
    assert remote(there, "-H", "h", "stop", "studio-*/[ab]").stdout == "<stop><--><studio-*/[ab]>"
    assert remote(there, "-H", "h", "check", "a b'c$d").stdout == "<check><--><a b'c$d>"


def test_without_ssh_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = subprocess.run(
        [sys.executable, "-m", "streamd.ctl.main", "-H", "h", "list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == ctl.FAILURE
    assert found.stderr == "streamctl: cannot run ssh: No such file or directory\n"

"""Completion, by the shells themselves, compared with what argparse takes."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from streamd.bus.schema import interfaces
from streamd.ctl.arguments import ROLES, SORT_KEYS, VERBS, make_parser

ROOT = Path(__file__).parents[2]
NAMES = ["studio-a", "studio-a/youtube", "studio-a/1st_rack", "pub", "pub/youtube"]
FAKE = f"""#!/bin/sh
if [ "$1 $2" = "list --names" ]; then
    printf '%s\\n' {" ".join(NAMES)} '$(touch pwned)'
else
    printf '<%s>' "$@"
    echo ' END'
fi
"""


def shipped(name: str) -> Path:
    """Return a file of the tree, or of the package where only that is there."""
    path = ROOT / "units" / name
    return path if path.exists() else Path("/usr/share") / name


BASH = shipped("bash-completion/completions/streamctl")
ZSH = shipped("zsh/vendor-completions/_streamctl")


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A streamctl that knows some names, in the path and as the working directory."""
    program = tmp_path / "streamctl"
    program.write_text(FAKE)
    program.chmod(0o755)
    (tmp_path / "a b.toml").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


SCRIPT = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_streamctl 2>/dev/null
(( ${#COMPREPLY[@]} )) && printf '%s\\n' "${COMPREPLY[@]}"
exit 0
"""


def complete(*words: str) -> list[str]:
    """Return what bash offers for the last of these words."""
    argv = ["bash", "--norc", "-uc", SCRIPT, "bash", str(BASH), "streamctl", *words]
    found = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20)
    assert found.stderr == ""
    return found.stdout.splitlines()


NEEDS = {
    verb: ["a/b"] for verb in ("start", "stop", "restart", "logs", "enable", "disable", "add", "set", "rm", "kick")
}
NEEDS["cat"] = ["a"]
NEEDS["web"] = ["key", "list"]


def long_options(verb: str) -> set[str]:
    actions = make_parser().parse_args([verb, *NEEDS.get(verb, [])]).actions
    longs = {action.option_strings[-1] for action in actions if action.option_strings}
    return longs | {"--help", "--host"}


def test_verbs() -> None:
    assert set(complete("")) == set(VERBS)
    assert set(complete("st")) == {"start", "status", "stop"}
    assert set(complete("-")) == {"--help", "--host", "--version"}


@pytest.mark.parametrize("verb", VERBS)
def test_options_are_those_that_the_verb_takes(verb: str) -> None:
    assert set(complete(verb, "-")) == long_options(verb)
    assert verb in VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_zsh_knows_the_options_too(verb: str) -> None:
    text = ZSH.read_text()
    assert re.search(rf"^        '{verb}:", text, re.MULTILINE)
    arrays = dict(re.findall(r"^    (\w+)=\((.*?)\)$", text, re.MULTILINE | re.DOTALL))
    branches = re.split(r"^ {16}([\w|-]+)\)", text, flags=re.MULTILINE)
    (branch,) = [body for names, body in zip(branches[1::2], branches[2::2], strict=True) if verb in names.split("|")]
    for _ in arrays:  # one may stand in another
        for name, body in arrays.items():
            branch = branch.replace(f"${name}", body)
    own = set(re.findall(r"--[a-z0-9-]+", branch))
    assert own == long_options(verb)


@pytest.mark.parametrize("verb", ["status", "show", "start", "stop", "restart", "logs", "monitor", "top"])
def test_names(verb: str, path: Path) -> None:
    assert complete(verb, "")[:5] == NAMES
    assert complete(verb, "studio-a/") == ["studio-a/youtube", "studio-a/1st_rack"]
    assert complete(verb, "x") == []
    assert complete("--host", "h", verb, "") == []
    assert not (path / "pwned").exists()


def test_a_name_is_offered_once() -> None:
    assert complete("stop", "pub", "p") == ["pub/youtube"]
    assert complete("logs", "pub", "") == []
    assert complete("logs", "--follow", "pub") == ["pub", "pub/youtube"]
    assert complete("diff", "") == []


def test_values_of_options() -> None:
    assert tuple(complete("top", "--sort", "")) == SORT_KEYS
    assert tuple(complete("top", "--sort", "=")) == SORT_KEYS
    assert complete("top", "--sort", "=", "c") == ["cpu"]
    ours = {name: it for name, it in interfaces().items() if name.startswith("org.streamd1.")}
    properties = {name for interface in ours.values() for name in interface.properties}
    assert set(complete("show", "-p", "")) == properties
    assert properties <= set(re.findall(r"[A-Z]\w+", ZSH.read_text()))
    assert complete("logs", "--since", "") == []
    assert tuple(complete("web", "key", "add", "wall", "--role", "")) == ROLES
    assert complete("web", "") == ["key"]
    assert complete("web", "key", "") == ["add", "list", "revoke"]


def test_files() -> None:
    assert sorted(complete("check", "")) == ["a b.toml", "folder"]


def test_a_person_presses_tab(path: Path) -> None:
    master, slave = pty.openpty()
    pending = ""
    environment = {**os.environ, "PS1": "ready> ", "TERM": "dumb", "INPUTRC": os.devnull, "HISTFILE": ""}
    argv = ["bash", "--norc", "--noprofile", "-i"]
    shell = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
    os.close(slave)

    def until(text: str) -> str:
        nonlocal pending
        deadline = time.monotonic() + 20
        while text not in pending:
            ready, _, _ = select.select([master], [], [], max(0, deadline - time.monotonic()))
            assert ready, pending
            pending += os.read(master, 4096).decode()
        seen, _, pending = pending.partition(text)
        return seen + text

    try:
        until("ready> ")
        os.write(master, f"source '{BASH}'; echo sour''ced\n".encode())
        until("sourced")
        until("ready> ")
        os.write(master, b"streamctl res\tstudio-a/y\tpub/\t--no-b\t\n")
        assert "<restart><studio-a/youtube><pub/youtube><--no-block>" in until("<--no-block>")
        os.write(master, b"streamctl check a\t\n")
        until("<check><a b.toml>")
    finally:
        shell.kill()
        shell.wait()
        os.close(master)


@pytest.fixture
def zsh() -> str:
    found = shutil.which("zsh")
    if found is None:
        pytest.skip("zsh is not installed")
    return found


ZSH_SCRIPT = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=(${1:h} \\$fpath); autoload -Uz compinit; compinit -u -D; bindkey -e"
zpty -w shell "PS1=; LISTMAX=1000; zstyle ':completion:*' list-colors ''; print ready''ly"
zpty -r -m shell line "*readyly*"
zpty -n -w shell "$2"$'\\t\\n'
zpty -r -m shell line "*> END*"
print -r -- $line
"""


@pytest.mark.parametrize(
    ("typed", "run"),
    [
        ("streamctl resta", "<restart>"),
        ("streamctl stop studio-a/y", "<stop><studio-a/youtube>"),
        ("streamctl reload --no-", "<reload><--no-ask-password>"),
        ("streamctl top --sort=mem", "<top><--sort=memory>"),
        ("streamctl -H h show -p Inv", "<-H><h><show><-p><Invocation>"),
    ],
)
def test_zsh(zsh: str, typed: str, run: str) -> None:
    argv = [zsh, "-fc", ZSH_SCRIPT, "zsh", str(ZSH), typed]
    found = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL)
    assert run in found.stdout, found.stdout + found.stderr


def test_zsh_reads_it(zsh: str) -> None:
    subprocess.run([zsh, "-n", str(ZSH)], check=True)


@pytest.mark.host
def test_shellcheck() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", str(BASH)], check=True)

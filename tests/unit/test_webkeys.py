"""The keys of streamd-web: what is kept of them, who may read it, and that one taken away is good for nothing."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from streamd.ctl import arguments
from streamd.ctl.main import main
from streamd.host import webkeys
from streamd.host.webkeys import (
    PREFIX,
    KeyFileError,
    KeyRing,
    Role,
    add_key,
    digest_of,
    parse_keys,
    read_keys,
    render_keys,
    revoke_key,
)

GOOD = f'[key.wall]\nrole = "observer"\nsha256 = "{"0" * 64}"\ncreated = 2026-11-25T12:00:00Z\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_a_key_is_kept_as_a_digest_that_its_group_reads(path: Path) -> None:
    secret = add_key("wall", Role.OBSERVER, path)
    assert secret.startswith(PREFIX)
    assert len(secret) == len(PREFIX) + 43
    text = path.read_text()
    assert secret not in text
    assert digest_of(secret) in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_gid == path.parent.stat().st_gid
    assert sorted(each.name for each in path.parent.iterdir()) == ["keys.toml"]
    (key,) = read_keys(path).values()
    assert (key.name, key.role, key.digest) == ("wall", Role.OBSERVER, digest_of(secret))
    assert parse_keys(render_keys({"wall": key})) == {"wall": key}


def test_no_two_keys_are_the_same(path: Path) -> None:
    assert add_key("a", Role.ADMIN, path) != add_key("b", Role.ADMIN, path)
    with pytest.raises(KeyFileError, match="already; revoke it first"):
        add_key("a", Role.OBSERVER, path)
    assert read_keys(path)["a"].role is Role.ADMIN


def test_a_revoked_key_is_good_for_nothing_at_once(path: Path) -> None:
    ring = KeyRing(path)
    assert ring.find("whatever") is None
    secrets = {name: add_key(name, Role.OPERATOR, path) for name in ("a", "b")}
    assert [ring.find(secrets[name]).name for name in secrets] == ["a", "b"]  # type: ignore[union-attr]
    assert revoke_key("a", path)
    assert ring.find(secrets["a"]) is None
    assert ring.named("a") is None
    assert ring.find(secrets["b"]) == ring.named("b")
    assert not revoke_key("a", path)
    path.unlink()
    assert ring.find(secrets["b"]) is None


def test_nothing_but_the_key_itself_is_one(path: Path) -> None:
    secret = add_key("a", Role.ADMIN, path)
    ring = KeyRing(path)
    for other in ("", secret[:-1], secret + "A", secret.upper(), digest_of(secret), "\udcff"):
        assert ring.find(other) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("key = 1", r"something else than tables \[key.NAME\]"),
        ("x = 1", "something else than tables"),
        ("[key", "it is no TOML"),
        (GOOD.replace("wall", "Wall"), "'Wall' is no name of a key"),
        (GOOD.replace("observer", "root"), "needs a role out of observer, operator, admin"),
        (GOOD.replace("0" * 64, "0" * 63), "its sha256"),
        (GOOD.replace("0" * 64, "A" * 64), "its sha256"),
        (GOOD + "more = 1\n", "nothing else"),
        ("[key]\nwall = 1\n", "the key wall needs"),
    ],
)
def test_a_file_that_is_not_right_lets_nobody_in(
    path: Path, text: str, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = add_key("a", Role.ADMIN, path)
    ring = KeyRing(path)
    assert ring.find(secret)
    path.write_text(path.read_text() + text)
    with pytest.raises(KeyFileError):
        read_keys(path)
    with pytest.raises(KeyFileError, match=wrong):
        parse_keys(text)
    assert ring.find(secret) is None
    assert ring.find(secret) is None
    assert caplog.text.count("nobody is let in") == 1, "it is told once, not with each request"


def test_whoever_may_write_the_file_would_be_admin(path: Path) -> None:
    secret = add_key("a", Role.ADMIN, path)
    path.chmod(0o660)
    with pytest.raises(KeyFileError, match="can be written by others than its owner; run: chmod 0640"):
        read_keys(path)
    assert KeyRing(path).find(secret) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_file_must_be_roots(path: Path) -> None:
    add_key("a", Role.ADMIN, path)
    os.chown(path, 65534, -1)
    with pytest.raises(KeyFileError, match="does not belong to root"):
        read_keys(path)


def test_a_name_is_one_of_ours(path: Path) -> None:
    for name in ("", "Wall", "a b", "-a", "a" * 64, "../x"):
        with pytest.raises(KeyFileError, match="no name of a key"):
            add_key(name, Role.OBSERVER, path)
    assert not path.exists()


def test_without_the_package_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="comes with the package streamd-web"):
        add_key("a", Role.OBSERVER, tmp_path / "web/keys.toml")


@pytest.fixture
def command(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(webkeys, "KEY_FILE", path)

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["web", "key", *words])
        found = capsys.readouterr()
        return status, found.out, found.err

    return run


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes keys")
def test_streamctl_makes_lists_and_revokes_keys(command: Any, path: Path) -> None:
    assert command("list") == (
        0,
        "There are no keys. Make one with: streamctl web key add NAME --role observer\n",
        "",
    )
    status, secret, _err = command("add", "wall", "--role", "observer")
    assert status == 0
    ring = KeyRing(path)
    assert ring.find(secret.strip()) == ring.named("wall")
    made = json.loads(command("add", "ops", "--json", "--role=admin")[1])
    assert (made["name"], made["role"]) == ("ops", "admin")
    assert ring.find(made["key"]).role is Role.ADMIN  # type: ignore[union-attr]
    status, listed, _err = command("list")
    assert [line.split()[:2] for line in listed.splitlines()] == [
        ["NAME", "ROLE"],
        ["ops", "admin"],
        ["wall", "observer"],
    ]
    assert made["key"] not in listed
    assert [key["role"] for key in json.loads(command("list", "--json")[1])] == ["admin", "observer"]
    assert command("revoke", "wall") == (0, "", "")
    assert ring.find(secret.strip()) is None
    assert command("revoke", "wall") == (4, "", 'streamctl: there is no key "wall"\n')
    status, _out, err = command("add", "ops", "--role", "admin")
    assert (status, "already" in err) == (1, True)


def test_streamctl_says_how_it_is_written(command: Any) -> None:
    for words in (("add",), ("revoke",), ("list", "x"), ("add", "x"), ("revoke", "x", "--role", "admin")):
        status, out, err = command(*words)
        assert (status, out) == (2, "")
        assert "web key add" in err or "--role" in err


def test_only_root_makes_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["web", "key", "list"]) == 5
    assert "only root may read or change /etc/streamd/web/keys.toml" in capsys.readouterr().err


def test_the_roles_are_those_of_the_command_line() -> None:
    assert tuple(webkeys.ROLES) == arguments.ROLES

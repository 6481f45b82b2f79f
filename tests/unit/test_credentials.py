"""The credential store: what is put into it, and what never leaves it."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamd.host.credentials import publishers, read_secret, scan, set_credential
from streamd.plan.mediamtx import Publisher, password_digest
from streamd.route.model import Credential, PublishSource


def test_a_secret_is_put_where_only_root_reads_it(tmp_path: Path) -> None:
    store = tmp_path / "credentials"
    old = os.umask(0)
    try:
        assert set_credential(store, "youtube", "s3cret") == ""
    finally:
        os.umask(old)
    assert stat.S_IMODE((store / "youtube").stat().st_mode) == 0o600
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert read_secret(store / "youtube") == ("s3cret", "")
    assert sorted(path.name for path in store.iterdir()) == ["youtube"]


def test_a_secret_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "youtube"
    path.write_text("old")
    path.chmod(0o644)
    assert set_credential(tmp_path, "youtube", "new") == ""
    assert read_secret(path) == ("new", "")
    assert scan(tmp_path, b"").problems == {"youtube": ""}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o4755])
def test_one_that_others_may_touch_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "youtube"
    path.write_text("s3cret")
    path.chmod(mode)
    secret, problem = read_secret(path)
    assert (secret, problem) == ("", f"can be read by others (mode {mode:04o}), run: chmod 0600 {path}")
    assert not scan(tmp_path, b"").digests
    path.chmod(0o400)
    assert read_secret(path) == ("s3cret", "")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "a\n", "a b", "é", "-a", "a" * 65])
def test_bad_names(tmp_path: Path, name: str) -> None:
    store = tmp_path / "store"
    assert "letters, digits" in set_credential(store, name, "s3cret")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "empty"),
        ("s3cret\n", "one line"),
        ("s3\0cret", "one line"),
        ("s3cret" * 1000, "longer"),
        ("s3\ud800", "UTF-8"),
    ],
)
def test_bad_secrets_are_not_repeated(tmp_path: Path, secret: str, problem: str) -> None:
    told = set_credential(tmp_path, "youtube", secret)
    assert problem in told
    assert "s3" not in told
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_a_secret_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "file").write_text("")
    assert set_credential(tmp_path, "youtube", "s3cret") == ""
    assert "cannot write" in set_credential(tmp_path / "file", "youtube", "s3cret")
    assert "s3cret" not in caplog.text


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r\n"), min_size=1, max_size=1000))
def test_what_is_put_is_what_is_read(tmp_path: Path, secret: str) -> None:
    assert set_credential(tmp_path, "youtube", secret) == ""
    assert read_secret(tmp_path / "youtube") == (secret, "")


def test_which_can_be_passwords_for_encoders_and_who_may_publish(tmp_path: Path) -> None:
    for name, secret in {"good": "p-4_7~1!", "colon": "a:b", "space": "a b", "long": "x" * 65}.items():
        assert set_credential(tmp_path, name, secret) == ""
    found = scan(tmp_path, b"")
    assert found.plain == {"good"}
    assert found.digests.keys() == {"good", "colon", "space", "long"}
    sources = {name: PublishSource(user="u", password=Credential(name)) for name in ("good", "missing")}
    assert publishers(sources, tmp_path) == {"good": Publisher(user="u", digest=password_digest("p-4_7~1!"))}


def test_a_directory_among_the_secrets_costs_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert scan(tmp_path, b"").problems == {"old": "is no regular file"}
    assert len(os.listdir("/proc/self/fd")) == before

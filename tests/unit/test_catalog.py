"""Each message has its explanation, and each explanation its message."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from streamd.plan.status import State
from streamd.plan.transition import Transition
from streamd.plan.unit import Address
from streamd.route.diagnostic import Diagnostic, Span

CATALOG = Path(__file__).parents[2] / "units/catalog/streamd.catalog"
ENTRY = re.compile(
    r"^-- (?P<id>[0-9a-f]{32})\n(?P<head>(?:[A-Z][A-Za-z-]*: .*\n)+)\n(?P<text>(?:(?!-- ).*\n)+)", re.MULTILINE
)
PLACE = Address("studio-a", "venue")


@pytest.fixture(scope="module")
def journal() -> Any:
    """Return streamd's journal module, also on a host that has no python3-systemd."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("systemd") is None:
            stub = ModuleType("systemd")
            stub.journal = ModuleType("systemd.journal")  # type: ignore[attr-defined]
            patch.setitem(sys.modules, "systemd", stub)
        yield importlib.import_module("streamd.host.journal")


def messages(journal: ModuleType) -> dict[str, Mapping[str, Any]]:
    """Return the fewest fields that each message of the journal module is sent with, by its MESSAGE_ID."""
    wrong = Diagnostic(path="/etc/streamd/conf.d/a.toml", span=Span(1, 1), key="", message="wrong")
    bare = [journal.error_fields(wrong), journal.unkept_fields(wrong)]
    bare += [
        journal.transition_fields(Transition(address=PLACE, old=State.STARTING, new=new, cause=""))
        for new in journal.STATE_CHANGED
    ]
    # All others are of a unit, and sent by `fields` with its address.
    known = {found["fields"]["MESSAGE_ID"] for found in bare}
    bare += [journal.fields(number, PLACE) for number in numbers(journal) if number not in known]
    return {found["fields"]["MESSAGE_ID"]: found["fields"] for found in bare}


def numbers(journal: ModuleType) -> list[str]:
    """Return every MESSAGE_ID that stands in the module."""
    found = []
    for name, value in vars(journal).items():
        if name.isupper():
            found += list(value.values()) if isinstance(value, Mapping) else [value]
    return [text for text in found if isinstance(text, str) and re.fullmatch(r"[0-9a-f]{32}", text)]


def entries() -> list[re.Match[str]]:
    return list(ENTRY.finditer(CATALOG.read_text()))


def test_every_message_has_one_explanation_and_the_reverse(journal: ModuleType) -> None:
    explained = [entry["id"] for entry in entries()]
    assert len(explained) == len(set(explained)) == CATALOG.read_text().count("\n-- ")
    assert sorted(explained) == sorted(numbers(journal))
    assert set(journal.STATE_CHANGED) == set(State)


def test_an_explanation_names_only_fields_that_are_always_sent(journal: ModuleType) -> None:
    sent = messages(journal)
    for entry in entries():
        named = set(re.findall(r"@(\w+)@", entry[0]))
        assert named <= sent[entry["id"]].keys(), entry[0]
        assert all(sent[entry["id"]][name] for name in named)


def test_explanations_have_their_headers_and_lines_that_fit(journal: ModuleType) -> None:
    for entry in entries():
        heads = dict(line.split(": ", 1) for line in entry["head"].splitlines())
        assert list(heads) == ["Subject", "Defined-By", "Support", "Documentation"]
        assert heads["Defined-By"] == "streamd"
        assert max(map(len, entry["text"].splitlines())) <= 82, entry["text"]


def test_what_is_wrong_is_explained_with_a_command(journal: ModuleType) -> None:
    for state in (State.FAILED, State.BLOCKED, State.STALLED, State.BACKOFF, State.STARVED):
        text = next(entry["text"] for entry in entries() if entry["id"] == journal.STATE_CHANGED[state])
        assert re.search(r"^ {4}(streamctl|systemctl) ", text, re.MULTILINE), state
        assert "@STREAMD_CAUSE@" in text
        assert "@STREAMD_ADVICE@" in text


def test_systemd_takes_all_of_it(tmp_path: Path) -> None:
    if not shutil.which("journalctl"):
        pytest.skip("there is no journalctl")
    for directory in ("usr/lib/systemd/catalog", "var/lib/systemd/catalog"):
        (tmp_path / directory).mkdir(parents=True)
    shutil.copy(CATALOG, tmp_path / "usr/lib/systemd/catalog")
    argv = ["journalctl", f"--root={tmp_path}"]
    done = subprocess.run([*argv, "--update-catalog"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    listed = subprocess.run([*argv, "--list-catalog"], capture_output=True, text=True, check=True).stdout
    assert sorted(line.split()[0] for line in listed.splitlines()) == sorted(entry["id"] for entry in entries())

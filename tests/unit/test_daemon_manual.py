"""streamd(8) has every state and every cause, and no text for an operator names a command that is not there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamd.ctl.arguments import VERBS, make_parser
from streamd.plan.cause import Cause
from streamd.plan.status import State

TREE = Path(__file__).parents[2]
PAGE = TREE / "debian/man/streamd.8"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="this is the installed tree")

PAGES = ("streamd.8", "streamd.route.5", "streamd.toml.5")
PLACEHOLDERS = {"ROUTE": "a", "OUTPUT": "b", "NAME": "a", "FILE": "a.toml", "VERSION": "1.20.1", "VIEWER": "x"}
NO_FAILURES = (Cause.CALLER_LEFT, Cause.NO_PUBLISHER)


def section(name: str) -> str:
    return PAGE.read_text().split(f".SH {name}\n")[1].split("\n.SH ")[0].replace("\\-", "-")


@pytest.mark.parametrize(("name", "words"), [("STATES", State), ("CAUSES", Cause)])
def test_every_word_is_explained(name: str, words: type[State] | type[Cause]) -> None:
    assert sorted(re.findall(r"^\.TP\n\.B (\S+)$", section(name), re.MULTILINE)) == sorted(words)


def test_every_state_that_is_none_of_the_good_ones_is_a_symptom() -> None:
    titles = " ".join(re.findall(r"^\.SS (.*)$", section("TROUBLESHOOTING"), re.MULTILINE))
    bold = " ".join(re.findall(r"^\.BR? (\S+)", section("TROUBLESHOOTING"), re.MULTILINE))
    good = (State.STARTING, State.RUNNING, State.STOPPING)
    assert [word for word in State if word not in good and not re.search(rf"\b{word}\b", f"{titles} {bold}")] == []


def test_every_cause_of_a_failure_has_something_to_run() -> None:
    part = section("TROUBLESHOOTING").split("\n.SS An output is in backoff\n")[1].split("\n.SS ")[0]
    tags = re.findall(r"^\.TP\n\.BR? (.*)$", part, re.MULTILINE)
    named = re.findall(r"[a-z][a-z-]+", " ".join(tags))
    assert sorted(named) == sorted(set(Cause) - set(NO_FAILURES))


@pytest.mark.parametrize(
    "name", ["TROUBLESHOOTING", "BACKUP AND RESTORE", "FIREWALL", "LOGS", "UPGRADING", "PRODUCTION CHECKLIST"]
)
def test_an_operator_finds(name: str) -> None:
    assert section(name).strip()


def marked_up(text: str) -> Iterator[str]:
    """Yield what a manual page sets in another font or as an example, line by line, as it is read."""
    example = False
    for line in text.splitlines():
        if line in (".EX", ".nf", ".EE", ".fi"):
            example = line in (".EX", ".nf")
        elif match := re.match(r"\.(BR?I?|IR?|RB|RI|BI) (.*)", line):
            # A quote in a quoted argument is written as \(dq or \(aq.
            words = re.findall(r'"([^"]*)"|(\S+)', match[2])
            joined = ("" if len(match[1]) > 1 else " ").join(a or b for a, b in words)
            yield joined
        elif example:
            yield line


def commands() -> Iterator[tuple[str, str]]:
    """Yield each streamctl command in the texts for operators, with where it stands."""
    for name in PAGES:
        text = (PAGE.parent / name).read_text()
        for line in marked_up(text):
            readable = re.sub(r"\\f.", "", line).replace("\\-", "-").replace("\\(dq", '"').replace("\\(aq", "'")
            for command in re.split(r"; |\||&&", readable):
                if "streamctl " in command:
                    yield name, command[command.index("streamctl ") :].rstrip(" .,;:)")
    texts = ["README.md", "etc/streamd/streamd.toml", "units/catalog/streamd.catalog"]
    for path in (*(TREE / name for name in texts), *sorted((TREE / "etc/examples").iterdir())):
        text = path.read_text()
        found = re.findall(r"`(streamctl [^`]+)`", text)
        found += re.findall(r"^(?:#|    )[# ]*(streamctl [^`\n]*)$", text, re.MULTILINE)
        for command in found:
            yield path.name, re.split(r"   |\||&&|;", " ".join(command.split("\n")))[0].rstrip(" \\.,")


def test_every_command_is_one() -> None:
    found = list(commands())
    assert {name for name, _ in found} >= {*PAGES, "README.md", "demo.toml", "streamd.catalog"}
    parser = make_parser()
    for where, command in found:
        readable = re.sub(r"@[A-Z_]+@|[$]+[A-Z_]+", "a", command)
        for placeholder, value in PLACEHOLDERS.items():
            readable = re.sub(rf"\b{placeholder}\b", value, readable)
        _, *words = shlex.split(readable)
        if len(words) == 1 and words[0] in VERBS:
            continue  # as one speaks of it
        try:
            parser.parse_args(words)
        except SystemExit:
            pytest.fail(f"{where}: {command}")

"""streamctl(1) names the verbs, options and exit statuses that there are, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamd.ctl import exits
from streamd.ctl.arguments import VERBS, make_parser

PAGE = Path(__file__).parents[2] / "debian/man/streamctl.1"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="this is the installed tree")


def section(name: str) -> str:
    """Return a section of the page, its markup for fonts undone."""
    text = PAGE.read_text().split(f"\n.SH {name}\n")[1].split("\n.SH ")[0]
    return re.sub(r'\\f[BIRP]|"', "", text.replace("\\-", "-").replace("\\|", ""))


def tags(name: str) -> list[str]:
    """Return the headlines of the paragraphs in a section."""
    return [line.partition(" ")[2] for line in re.findall(r"^\.TP\n(\..*)$", section(name), re.MULTILINE)]


def actions(verb: str) -> set[str]:
    needs = ["a/b"] if verb in {"start", "stop", "restart", "logs", "enable", "disable", "add", "set", "rm"} else []
    needs = ["a"] if verb in {"cat", "kick"} else needs
    needs = ["key", "list"] if verb == "web" else needs
    found = make_parser().parse_args([verb, *needs]).actions
    return {option for action in found for option in action.option_strings}


def test_verbs() -> None:
    assert {tag.split()[0] for tag in tags("COMMANDS")} == set(VERBS)
    synopsis = section("SYNOPSIS").replace("start | stop | restart", "start\nstreamctl stop\nstreamctl restart")
    assert set(re.findall(r"streamctl ([\w-]+)", synopsis)) == set(VERBS)


def test_options() -> None:
    documented = [option for tag in tags("OPTIONS") for option in re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", tag)]
    taken = set().union(*map(actions, VERBS)) | {"-H", "--host", "-h", "--help", "--version"}
    assert set(documented) == taken


def test_options_stand_with_the_verbs_that_take_them() -> None:
    body = section("OPTIONS")
    general = {"--json"}
    for verb in VERBS:
        for option in actions(verb) - general:
            if option.startswith("--"):
                blocks = [
                    block for block in body.split("\n.TP\n") if re.search(rf"{option}\b(?!-)", block.split("\n")[0])
                ]
                assert any(re.search(rf"^\.BR? {verb}\b", block, re.MULTILINE) for block in blocks), (verb, option)


def test_exit_statuses() -> None:
    documented = {int(tag) for tag in tags("EXIT STATUS")}
    ours = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert documented == ours | {255}


def test_every_verb_has_its_json() -> None:
    documented = " ".join(tags("JSON"))
    for verb in VERBS:
        assert re.search(rf"\b{verb}\b", documented), verb

"""streamd(8) has every state and every cause."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamd.plan.cause import Cause
from streamd.plan.status import State

PAGE = Path(__file__).parents[2] / "debian/man/streamd.8"


@pytest.mark.parametrize(("section", "words"), [("STATES", State), ("CAUSES", Cause)])
def test_every_word_is_explained(section: str, words: type[State] | type[Cause]) -> None:
    if not PAGE.exists():
        pytest.skip("this is the installed tree")
    text = PAGE.read_text().split(f".SH {section}\n")[1].split("\n.SH ")[0].replace("\\-", "-")
    assert sorted(re.findall(r"^\.TP\n\.B (\S+)$", text, re.MULTILINE)) == sorted(words)

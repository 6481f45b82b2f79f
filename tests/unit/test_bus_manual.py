"""org.streamd1(5) is what the XML says, and roff that man reads without a complaint."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from streamd.bus.manual import Comment, page, shipped
from streamd.bus.schema import interfaces

PAGE = Path(__file__).parents[2] / "debian/man/org.streamd1.5"


def test_the_page_is_what_the_xml_gives() -> None:
    if not PAGE.exists():
        pytest.skip("this is the installed tree")
    made = page(shipped())
    assert PAGE.read_text() == made, "run: python3 -m streamd.bus.manual > debian/man/org.streamd1.5"


def test_every_member_is_in_it() -> None:
    made = page(shipped())
    for name, interface in interfaces().items():
        if name.startswith("org.streamd1."):
            text = made.split(f".SH INTERFACE {name}\n")[1].split("\n.SH ")[0]
            assert re.findall(r"^\.BR (\w+) ", text, re.MULTILINE) == list(interface.properties)
            assert re.findall(r"^\\fB(\w+)\\fP\(", text, re.MULTILINE) == [*interface.methods, *signals(interface.xml)]
            for method in interface.methods.values():
                access = method.access.polkit_action
                after = text.split(f"\\fB{method.name}\\fP(")[1].split("\n.TP\n\\fB")[0]
                assert (f"Needs {access}." if access else "Open to all.") in after


def test_comments() -> None:
    comment = Comment.parse(
        """
        Do: Does a thing,
            and more.
        @what: The thing
               itself.
        @options: None.

        It takes time.
        """
    )
    assert comment.paragraphs == ("Does a thing, and more.", "It takes time.")
    assert comment.arguments == (("what", "The thing itself."), ("options", "None."))


def test_what_roff_would_obey_is_guarded() -> None:
    xml = """<!-- How. --><node><!-- X: a\\b "c". --><interface name="org.x">
    <!-- Y: .so /etc/passwd -->
    <property name="Y" type="s" access="readwrite"/>
    <!-- Z: `a-b`'s. -->
    <signal name="Z"><arg name="s_t" type="s"/></signal></interface></node>"""
    made = page([xml])
    assert "\na\\eb \\(dqc\\(dq.\n" in made
    assert "\n\\&.so /etc/passwd\n" in made
    assert '.BR Y " (s, may be set)"' in made
    assert "\\fBa\\-b\\fP's.\n" in made
    assert "\\fBZ\\fP(s \\fIs_t\\fP)\n" in made


def signals(xml: str) -> list[str]:
    return re.findall(r'<signal name="(\w+)"', xml)


@pytest.mark.parametrize("name", ["org.streamd1.5", "streamctl.1", "streamd.8", "streamd.route.5", "streamd.toml.5"])
def test_man_has_no_complaint(name: str) -> None:
    page = PAGE.with_name(name)
    if not shutil.which("man") or not page.exists():
        pytest.skip("there is no man, or no page")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
    argv = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)]
    found = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")

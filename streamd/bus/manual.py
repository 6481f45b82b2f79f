"""org.streamd1(5), made from the comments in the introspection XML. Pure but for `main`.

Run as `python3 -m streamd.bus.manual > debian/man/org.streamd1.5`; a test fails when the page is not what this makes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Final
from xml.dom import minidom

from streamd.bus.names import BUS_NAME, MANAGER, OUTPUT, ROOT, ROUTE

_DATE: Final = "2026-11-24"
_ACTION: Final = "org.streamd1.Action"
_EMITS: Final = "org.freedesktop.DBus.Property.EmitsChangedSignal"
_ACCESS: Final = {
    "read": "Open to all.",
    "control": "Needs org.streamd1.control.",
    "configure": "Needs org.streamd1.configure.",
}
_CHANGES: Final = {"const": "constant", "false": "no signal", "invalidates": "signal without value"}
_CODE: Final = re.compile(r"`([^`]*)`")

_HEAD: Final = rf"""
.\" Made from streamd/bus/*.xml by streamd.bus.manual.
.TH ORG.STREAMD1 5 "{_DATE}" "streamd" "streamd"
.nh
.ad l
.SH NAME
org.streamd1 \- the D\-Bus interface of streamd
.SH SYNOPSIS
.nf
.BI "busctl tree " {BUS_NAME}
.BI "busctl introspect " "{BUS_NAME} {ROOT}"
.BI "busctl call " "{BUS_NAME} {ROOT} {MANAGER} METHOD " [ "SIGNATURE ARGUMENT" \|...]
.BI "busctl monitor " {BUS_NAME}
.fi
.SH DESCRIPTION
.BR streamd (8)
owns the name
.B {BUS_NAME}
on the system bus.
Its object
.B {ROOT}
has org.freedesktop.DBus.ObjectManager, whose GetManagedObjects returns every route and output with all properties, and
whose signals InterfacesAdded and InterfacesRemoved tell when one comes or goes.
Every object tells by org.freedesktop.DBus.Properties.PropertiesChanged what is new.
Whoever wants to follow adds a match for signals from {BUS_NAME} first and asks for all objects then.
.PP
The name is not activated: while streamd is stopped, nothing starts it.
.SH CONVENTIONS
""".lstrip()

_TAIL: Final = rf"""
.SH EXAMPLES
.nf
busctl call {BUS_NAME} {ROOT} {MANAGER} RestartOutput 'sa{{sv}}' studio\-a/youtube 0
busctl call {BUS_NAME} {ROOT} {MANAGER} StopRoute 'sa{{sv}}' studio\-a 1 no\-block b true
busctl get\-property {BUS_NAME} {ROOT}/output/studio_2da/youtube {OUTPUT} State
gdbus monitor \-\-system \-\-dest {BUS_NAME}
.fi
.SH SEE ALSO
.BR streamctl (1),
.BR streamd (8),
.BR streamd.route (5),
.BR busctl (1),
.BR polkit (8)
""".lstrip()


@dataclass(frozen=True, slots=True)
class Comment:
    """What stands before an element: paragraphs, and what is said of each argument."""

    paragraphs: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Comment:
        """Return a comment out of the XML without the name that it begins with."""
        paragraphs: list[str] = []
        arguments: list[tuple[str, str]] = []
        for block in re.split(r"\n\s*\n", text.strip()):
            plain, *described = re.split(r"^\s*@(?=\w+:)", block, flags=re.MULTILINE)
            if plain.strip():
                paragraphs.append(" ".join(plain.split()))
            for one in described:
                name, _colon, meaning = one.partition(":")
                arguments.append((name, " ".join(meaning.split())))
        if paragraphs:
            paragraphs[0] = re.sub(r"^[\w.]+: ", "", paragraphs[0])
        return cls(tuple(paragraphs), tuple(arguments))


def page(files: Iterable[str]) -> str:
    """Return the manual page as roff, from the texts of the XML files; the conventions come out of the first."""
    roots = [_root(text) for text in files]
    _how_to_read, *conventions = Comment.parse(_comment_before(roots[0])).paragraphs
    parts = [_HEAD, *_paragraphs(conventions)]
    for root in roots:
        for interface in root.getElementsByTagName("interface"):
            parts += _interface(interface)
    return "".join([*parts, _TAIL])


def _root(text: str) -> minidom.Element:
    root = minidom.parseString(text).documentElement  # noqa: S318 (a file of our own)
    if root is None:
        raise ValueError("the XML has no element")
    return root


def _interface(interface: minidom.Element) -> Iterator[str]:
    yield f".SH INTERFACE {_text(interface.getAttribute('name'))}\n"
    yield from _paragraphs(Comment.parse(_comment_before(interface)).paragraphs)
    for title, tag, make in (
        ("Properties", "property", _property),
        ("Methods", "method", _method),
        ("Signals", "signal", _method),
    ):
        elements = interface.getElementsByTagName(tag)
        if elements:
            yield f".SS {title}\n"
        for element in elements:
            yield from make(element)


def _property(element: minidom.Element) -> Iterator[str]:
    notes = [element.getAttribute("type")]
    notes += ["may be set"] if "write" in element.getAttribute("access") else []
    notes += [_CHANGES[emits]] if (emits := _annotation(element, _EMITS)) in _CHANGES else []
    yield f'.TP\n.BR {_text(element.getAttribute("name"))} " ({_text(", ".join(notes))})"\n'
    yield from _paragraphs(Comment.parse(_comment_before(element)).paragraphs, between=".IP\n")


def _method(element: minidom.Element) -> Iterator[str]:
    comment = Comment.parse(_comment_before(element))
    arguments = [(arg.getAttribute("direction") or "in", arg) for arg in element.getElementsByTagName("arg")]

    def some(direction: str) -> str:
        return ", ".join(
            f"{arg.getAttribute('type')} \\fI{_text(arg.getAttribute('name'))}\\fP"
            for found, arg in arguments
            if found == direction
        )

    returns = f" \\(-> {some('out')}" if some("out") else ""
    yield f".TP\n\\fB{_text(element.getAttribute('name'))}\\fP({some('in')}){returns}\n"
    access = [_ACCESS[_annotation(element, _ACTION) or "configure"]] if element.tagName == "method" else []
    yield from _paragraphs((*comment.paragraphs, *access), between=".IP\n")
    for name, meaning in comment.arguments:
        yield f".RS\n.TP\n.I {_text(name)}\n{_line(meaning)}.RE\n"


def _paragraphs(paragraphs: Iterable[str], between: str = ".PP\n") -> Iterator[str]:
    for number, paragraph in enumerate(paragraphs):
        yield (between if number else "") + _line(paragraph)


def _line(text: str) -> str:
    """Return a paragraph, a sentence a line, as roff wants it."""
    sentences = re.split(r"(?<=[.:]) (?=[A-Z])", text)
    return "".join(f"{_guarded(_marked(sentence))}\n" for sentence in sentences)


def _marked(text: str) -> str:
    """Return text as roff, with what stands in backquotes in bold."""
    parts = _CODE.split(text)
    return "".join(f"\\fB{_text(part)}\\fP" if number % 2 else _text(part) for number, part in enumerate(parts))


def _text(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("µ", "\\(mc").replace('"', "\\(dq")


def _guarded(line: str) -> str:
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _comment_before(element: minidom.Element) -> str:
    node = element.previousSibling
    while node is not None and node.nodeType != minidom.Node.COMMENT_NODE:
        if node.nodeType == minidom.Node.ELEMENT_NODE:
            return ""
        node = node.previousSibling
    return str(node.data) if node is not None else ""


def _annotation(element: minidom.Element, name: str) -> str:
    for child in element.getElementsByTagName("annotation"):
        if child.getAttribute("name") == name:
            return str(child.getAttribute("value"))
    return ""


def shipped() -> list[str]:
    """Return the texts of the XML files, the Manager's first."""
    folder = resources.files(__package__)
    return [folder.joinpath(f"{name}.xml").read_text(encoding="utf-8") for name in (MANAGER, ROUTE, OUTPUT)]


def main() -> None:
    """Print the page."""
    sys.stdout.write(page(shipped()))


if __name__ == "__main__":
    main()

"""The introspection XML, read: which interfaces there are, and what their methods and properties look like.

The XML files beside this module are the one source of truth. They say what is exported, what arguments a call must have
and what a caller must be authorised for.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Final

from streamd.bus.names import CONFIGURE, CONTROL

_ACTION: Final = "org.streamd1.Action"
_EMITS: Final = "org.freedesktop.DBus.Property.EmitsChangedSignal"
_FILES: Final = (
    "org.freedesktop.DBus.xml",
    "org.streamd1.Manager.xml",
    "org.streamd1.Route.xml",
    "org.streamd1.Output.xml",
)


class Access(StrEnum):
    """Who may call a method."""

    READ = "read"
    CONTROL = "control"
    CONFIGURE = "configure"

    @property
    def polkit_action(self) -> str | None:
        """Return the polkit action to ask for; None where everybody may."""
        return {Access.READ: None, Access.CONTROL: CONTROL, Access.CONFIGURE: CONFIGURE}[self]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of an interface."""

    name: str
    takes: str
    """The signature of its arguments."""
    returns: str
    access: Access


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an interface. All of ours are read-only."""

    name: str
    signature: str
    emits: bool
    """Whether PropertiesChanged tells of it."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface, and the XML that tells of it."""

    name: str
    methods: Mapping[str, Method]
    properties: Mapping[str, Property]
    xml: str
    """The <interface> element, without comments."""


@cache
def interfaces() -> Mapping[str, Interface]:
    """Return all interfaces by name."""
    folder = resources.files(__package__)
    found = {}
    for file in _FILES:
        root = ET.fromstring(folder.joinpath(file).read_text(encoding="utf-8"))  # noqa: S314 (a file of our own)
        for element in root.iter("interface"):
            interface = _interface(element)
            found[interface.name] = interface
    return found


def _interface(element: ET.Element) -> Interface:
    ET.indent(element, level=1)
    return Interface(
        name=element.attrib["name"],
        methods={child.attrib["name"]: _method(child) for child in element.iter("method")},
        properties={child.attrib["name"]: _property(child) for child in element.iter("property")},
        xml=ET.tostring(element, encoding="unicode").strip(),
    )


def _method(element: ET.Element) -> Method:
    def signature(direction: str) -> str:
        return "".join(arg.attrib["type"] for arg in element.iter("arg") if arg.get("direction", "in") == direction)

    return Method(
        name=element.attrib["name"],
        takes=signature("in"),
        returns=signature("out"),
        # Whoever forgets the annotation locks the method rather than opening it.
        access=Access(_annotations(element).get(_ACTION, Access.CONFIGURE)),
    )


def _property(element: ET.Element) -> Property:
    return Property(
        name=element.attrib["name"],
        signature=element.attrib["type"],
        emits=_annotations(element).get(_EMITS, "true") == "true",
    )


def _annotations(element: ET.Element) -> dict[str, str]:
    return {child.attrib["name"]: child.attrib["value"] for child in element.findall("annotation")}

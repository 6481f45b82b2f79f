"""`show`: properties as KEY=value lines, as `systemctl show` prints them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamd.route.diagnostic import nearest

Properties = Mapping[str, Any]
"""Values by name as the bus sends them, without variants."""


def wanted_names(given: Iterable[str] | None) -> list[str] | None:
    """Return the names that -p asks for, which may be given several times and as NAME,NAME; None means all."""
    if given is None:
        return None
    return [name for word in given for name in word.split(",") if name]


def unknown_name(names: Sequence[str] | None, objects: Iterable[Properties]) -> str | None:
    """Return what is wrong with the first name that no object has; None when there is no such name."""
    known = {name for properties in objects for name in properties}
    for name in names or ():
        if name not in known:
            return f'there is no property "{name}"{nearest(name, known)}'
    return None


def pick(properties: Properties, names: Sequence[str] | None) -> dict[str, Any]:
    """Return the properties that are wanted, in the order of the object."""
    return {name: value for name, value in properties.items() if names is None or name in names}


def lines(properties: Properties, *, value_only: bool = False) -> list[str]:
    """Return one line for each property."""
    return [text(value) if value_only else f"{name}={text(value)}" for name, value in properties.items()]


def text(value: Any) -> str:  # noqa: ANN401 (whatever the bus sent)
    r"""Return a value in one line: yes and no, numbers as they are, lists separated by spaces, what has keys as JSON.

    Characters that a terminal or a reader of lines would obey are written as in JSON, such as `\n`, and a backslash is
    doubled.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(map(text, value))
    if isinstance(value, str):
        return "".join(_escaped(character) for character in value)
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def _escaped(character: str) -> str:
    return character if character.isprintable() and character != "\\" else json.dumps(character)[1:-1]

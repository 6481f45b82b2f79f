"""Routes as TOML text: what is written to files, and what `streamctl cat` shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import tomli_w

from streamd.route.mask import MASK, ShownLines, is_secret, redact_url
from streamd.route.merge import REMOVED, Node
from streamd.route.parse import RouteFile
from streamd.route.scanner import KeyPath, dotted, quoted_key

_REFERENCE: Final = re.compile(r"[\w.-]*", re.ASCII)


def render_cat(file: RouteFile) -> str:
    """Return the pieces of a route, each below its path, and the merged whole as TOML; secrets are masked."""
    parts = []
    for piece in file.pieces:
        shown = ShownLines(piece.text.removesuffix("\n"))
        lines = [shown.line(number) for number in range(1, len(shown) + 1)] if piece.text else []
        parts.append("".join(f"{line}\n" for line in (f"# {_printable(piece.path)}", *lines)))
    return "\n".join((*parts, f"# merged\n{render_data(masked(file.merged.data))}"))


def render_data(data: Mapping[str, Any]) -> str:
    """Return a route's data as TOML: [input] and [output.NAME] as headers, whatever is below them in line.

    Raises:
        TypeError: there is a value that TOML has not.
    """
    return render_node(data_node(data))


def data_node(data: Mapping[str, Any], path: KeyPath = ()) -> Node:
    """Return the table of a route at this path as a node; the route, its input and outputs merge, others replace."""
    whole = not (len(path) < 2 or (len(path) == 2 and path[0] == "output"))
    return Node(
        children={
            key: data_node(value, (*path, key)) if isinstance(value, dict) else Node(value=value, whole=True)
            for key, value in data.items()
        },
        whole=whole,
    )


def render_node(root: Node) -> str:
    """Return a document as TOML that reads back as the same node. Raises: TypeError."""
    lines: list[str] = []
    _render_table(root, (), lines)
    return "".join(f"{line}\n" for line in lines)


def masked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a route's data without secrets; what could be one is replaced by `***`."""
    return {redact_url(key): _masked_table(value, (key,)) for key, value in data.items()}


def _masked_table(value: object, path: KeyPath) -> object:
    key = str(path[-1])
    if isinstance(value, dict) and (len(path) == 1 or (len(path) == 2 and path[0] == "output")):
        return {redact_url(str(name)): _masked_table(below, (*path, name)) for name, below in value.items()}
    if is_secret(key) and not _is_reference(value):
        return MASK
    return _masked_inside(value)


def _masked_inside(value: object) -> object:
    if isinstance(value, dict):
        return {
            redact_url(str(key)): MASK if is_secret(str(key)) and not _is_reference(below) else _masked_inside(below)
            for key, below in value.items()
        }
    if isinstance(value, list):
        return [_masked_inside(item) for item in value]
    return redact_url(value) if isinstance(value, str) else value


def _is_reference(value: object) -> bool:
    """Return whether a value is the name of a credential and nothing else."""
    if not isinstance(value, dict) or list(value) != ["credential"]:
        return False
    name = value["credential"]
    return isinstance(name, str) and bool(_REFERENCE.fullmatch(name))


def _render_table(table: Node, path: KeyPath, lines: list[str]) -> None:
    """Add a table's own keys and then the tables below it, each with a header."""
    children = table.children or {}
    below = {key: child for key, child in children.items() if _has_header(child, (*path, key))}
    gone = [key for key, child in children.items() if child.is_gone and key not in below]
    own = [
        f"{quoted_key(key)} = {_literal(_plain(child))}"
        for key, child in children.items()
        if key not in below and not child.is_gone
    ]
    if gone:
        own.append(f"{REMOVED} = {_literal(gone)}")
    if path and (own or not below):
        _add_header(path, lines)
    lines += own
    for key, child in below.items():
        if child.is_gone:
            _add_header((*path, key), lines)
            lines.append(f"{REMOVED} = true")
        else:
            _render_table(child, (*path, key), lines)


def _add_header(path: KeyPath, lines: list[str]) -> None:
    if lines:
        lines.append("")
    lines.append(f"[{dotted(path)}]")


def _has_header(node: Node, path: KeyPath) -> bool:
    """Return whether a value stands below a header of its own: a table that merges, or an output that is gone."""
    if node.is_gone:
        return len(path) == 2 and path[0] == "output"
    return node.children is not None and not node.whole


def _plain(node: Node) -> object:
    if node.children is None:
        return node.value
    return {key: _plain(child) for key, child in node.children.items() if not child.is_gone}


def _literal(value: object) -> str:
    """Return a value in one line, with no character that a terminal would obey."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{quoted_key(str(key))} = {_literal(below)}" for key, below in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return _printable(tomli_w.dumps({"x": value}).removeprefix("x = ").removesuffix("\n"))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""Drop-ins: the pieces of a route, merged key by key as systemd merges its own.

A later piece wins. Tables merge deeply where the later piece spells them with a header or with dotted keys; arrays and
inline tables (`{ credential = ".." }`) replace whole what stood before. In a drop-in `removed = true` takes an output
away, and `removed = ["latency"]` takes keys of an output away. What is merged keeps the place of each key, so that a
diagnostic names the piece where the key stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any, Final, NamedTuple

from streamd.route.diagnostic import Diagnostic, Span, nearest
from streamd.route.document import MAX_ERRORS, Document, make_diagnostic
from streamd.route.mask import PLAIN_KEYS, SECRET_KEYS, ShownLines
from streamd.route.scanner import KeyPath, Place, dotted

REMOVED: Final = "removed"
"""The key that takes something away."""
_START: Final = Place(Span(1, 1), Span(1, 1))


class Origin(NamedTuple):
    """Where a key stands: the number of its piece, counted from 0, and the place in it."""

    piece: int
    place: Place


class Gone:
    """Stands for what a drop-in takes away."""


GONE: Final = Gone()


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document: a table that merges, or a leaf that replaces."""

    value: object = None
    """Of a leaf: what TOML has, an array included, or GONE."""
    children: Mapping[str, Node] | None = None
    """Of a table: its keys."""
    whole: bool = False
    """Whether it replaces what stood before instead of merging into it; true of every leaf."""
    origin: Origin | None = None
    below: Mapping[KeyPath, Origin] = field(default_factory=dict)
    """Of an array: the places inside, by their whole paths."""

    @property
    def is_gone(self) -> bool:
        """Return whether this takes away what stood before."""
        return isinstance(self.value, Gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """One or more documents as one."""

    pieces: tuple[Document, ...]
    """The main file, then its drop-ins in the order in which they are applied."""
    data: dict[str, Any] = field(repr=False)
    origins: Mapping[KeyPath, Origin] = field(repr=False)
    """Of every key: the piece that gives its value; of a table, the first that has it."""
    diagnostics: tuple[Diagnostic, ...] = ()
    """Syntax errors, and what is wrong with `removed`."""

    @property
    def is_complete(self) -> bool:
        """Return whether nothing was left out of any piece; else a key that is missing may only be unreadable."""
        return all(piece.is_complete for piece in self.pieces)

    def origin(self, path: KeyPath) -> Origin:
        """Return where a key stands, or the nearest table around it, or the beginning of the main file."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path[:-1]
        return Origin(0, _START)

    def where(self, path: KeyPath) -> str:
        """Return PATH:LINE of a key, or of the nearest table around it."""
        piece, place = self.origin(path)
        return f"{self.pieces[piece].path}:{place.key.line}"

    def in_order(self, diagnostics: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
        """Return diagnostics in the order of their places, those of the main file first."""
        numbers = {piece.path: number for number, piece in enumerate(self.pieces)}
        return tuple(
            sorted(diagnostics, key=lambda one: (numbers.get(one.path, 0), one.span.line, one.span.column)),
        )


def merge_documents(pieces: Sequence[Document]) -> Merged:
    """Return the main file, which is the first of the pieces, with its drop-ins merged over it."""
    diagnostics = [found for piece in pieces for found in piece.diagnostics]
    nodes = [document_node(piece, number, diagnostics) for number, piece in enumerate(pieces)]
    whole = reduce(merge_nodes, nodes)
    origins: dict[KeyPath, Origin] = {}
    data = _flatten(whole, (), origins)
    merged = Merged(pieces=tuple(pieces), data=data, origins=origins)
    return replace(merged, diagnostics=merged.in_order(diagnostics))


def merge_nodes(below: Node, above: Node) -> Node:
    """Return `above` merged over `below`; associative."""
    if above.whole or above.children is None:
        return above
    if below.children is None:
        return replace(above, whole=True)
    children = dict(below.children)
    for key, node in above.children.items():
        children[key] = merge_nodes(children[key], node) if key in children else node
    return replace(below, children=children)


def node_data(node: Node) -> dict[str, Any]:
    """Return what a table says, without what it takes away."""
    return _flatten(node, (), {})


def document_node(document: Document, number: int, diagnostics: list[Diagnostic]) -> Node:
    """Return a document as the piece of this number; all but the first are drop-ins, which may take things away."""
    reporter = _Reporter(document, diagnostics)

    def walk(value: object, path: KeyPath) -> Node:
        place = document.places.get(path)
        origin = Origin(number, place) if place else None
        if isinstance(value, dict):
            inline = bool(place and place.key != place.value)
            children = {key: walk(below, (*path, key)) for key, below in value.items()}
            table = Node(children=children, whole=inline, origin=origin)
            return _removal(table, path, reporter) if number and len(path) == 2 and path[0] == "output" else table
        below = {
            inner: Origin(number, document.places[inner])
            for inner in _paths_inside(value, path)
            if inner in document.places
        }
        return Node(value=value, whole=True, origin=origin, below=below)

    return walk(document.data, ())


def _flatten(node: Node, path: KeyPath, origins: dict[KeyPath, Origin]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, child in (node.children or {}).items():
        if child.is_gone:
            continue
        here = (*path, key)
        if child.origin:
            origins[here] = child.origin
        origins.update(child.below)
        data[key] = child.value if child.children is None else _flatten(child, here, origins)
    return data


def _paths_inside(value: object, path: KeyPath) -> Iterator[KeyPath]:
    """Return the paths of all that is inside an array."""
    items: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, list):
        items = iter(enumerate(value))
    elif isinstance(value, dict):
        items = iter(value.items())
    for key, below in items:
        yield (*path, key)
        yield from _paths_inside(below, (*path, key))


class _Reporter:
    """Collects what is wrong with `removed` in one document, as many as are told of its syntax."""

    def __init__(self, document: Document, diagnostics: list[Diagnostic]) -> None:
        self._document = document
        self._diagnostics = diagnostics
        self._left = MAX_ERRORS

    @property
    def is_full(self) -> bool:
        """Tell whether no further diagnostic is taken."""
        return not self._left

    @cached_property
    def _shown(self) -> ShownLines:
        return ShownLines(self._document.text)

    def report(self, path: KeyPath, message: str) -> None:
        """Add a diagnostic that points at the key."""
        if self.is_full:
            return
        self._left -= 1
        place = self._document.places.get(path, _START)
        self._diagnostics.append(make_diagnostic(self._document.path, self._shown, place.key, dotted(path), message))


def _removal(table: Node, path: KeyPath, reporter: _Reporter) -> Node:
    """Return an output's table in a drop-in with what its key `removed` means."""
    children = dict(table.children or {})
    mark = children.pop(REMOVED, None)
    if mark is None:
        return table
    if mark.value is True:
        for key in children:
            reporter.report((*path, key), "removed = true takes the whole output away, delete the other keys here")
        return Node(value=GONE, whole=True, origin=table.origin)
    if not isinstance(mark.value, list) or not all(isinstance(key, str) for key in mark.value):
        message = 'must be true, which takes the output away, or a list of keys such as ["latency"]'
        reporter.report((*path, REMOVED), message)
        return replace(table, children=children)
    for number, key in enumerate(mark.value):
        if reporter.is_full:
            break
        here = (*path, REMOVED, number)
        if key in children:
            reporter.report(here, f"{dotted((key,))} is given in this table too, delete one of the two")
        elif key not in _REMOVABLE:
            hint = nearest(key[:64], _REMOVABLE) or ", delete it"
            reporter.report(here, f"unknown key{hint}")
        else:
            children[key] = Node(value=GONE, whole=True)
    return replace(table, children=children)


_REMOVABLE: Final = (PLAIN_KEYS | SECRET_KEYS) - {REMOVED}

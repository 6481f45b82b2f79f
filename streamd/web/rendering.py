"""Routes and outputs as REST shows them. Pure, and quick where many ask for the same at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamd.bus.document import Document
from streamd.bus.metrics import exposition, families
from streamd.web.hub import encode
from streamd.web.mirror import View

Counted = Mapping[str, Document]
"""Counters by address."""


def counters(found: Mapping[str, Any]) -> Document:
    """Return the counters of a thing, without what the thing itself says."""
    return {key: value for key, value in found.items() if key not in {"address", "restarts"}}


def thing_document(view: View, counted: Counted, address: str) -> Document | None:
    """Return a route without its outputs, or an output; None where there is no such thing."""
    thing = view.things.get(address)
    if thing is None:
        return None
    name = address.rpartition("/")[2]
    return {"id": name, **thing, "statistics": counters(counted.get(address, {}))}


def input_document(view: View, counted: Counted, name: str) -> Document | None:
    """Return a route with its outputs; None where there is no such route."""
    found = thing_document(view, counted, name)
    if found is None:
        return None
    outputs = [thing_document(view, counted, each) for each in view.things if each.startswith(f"{name}/")]
    return {**found, "outputs": outputs}


def inputs_document(view: View, counted: Counted) -> list[Document]:
    """Return all routes with their outputs."""
    found: dict[str, Document] = {}
    for address in view.things:
        document = thing_document(view, counted, address) or {}
        route, slash, _output = address.partition("/")
        if slash:
            found[route]["outputs"].append(document)
        else:
            found[route] = {**document, "outputs": []}
    return list(found.values())


class Rendered:
    """What tells of everything, made once for all who ask for the same picture: views and counters are replaced."""

    def __init__(self) -> None:
        self._of: tuple[View, Counted] | None = None
        self._text = b""
        self._metrics_of: tuple[View, Counted] | None = None
        self._metrics = b""

    def inputs(self, view: View, counted: Counted) -> bytes:
        """Return the list as JSON."""
        if self._of is None or self._of[0] is not view or self._of[1] is not counted:
            self._text = encode({"inputs": inputs_document(view, counted)}).encode()
            self._of = (view, counted)
        return self._text

    def metrics(self, view: View, counted: Counted) -> bytes:
        """Return the metrics for Prometheus."""
        if self._metrics_of is None or self._metrics_of[0] is not view or self._metrics_of[1] is not counted:
            status = {
                "version": view.version,
                "routes": inputs_document(view, {}),
                "diagnostics": list(view.diagnostics),
            }
            self._metrics = exposition(families(status, list(counted.values()))).encode()
            self._metrics_of = (view, counted)
        return self._metrics

"""The replies of GetStatus and Statistics on the wire, of which only what changed is made anew. Pure."""

from __future__ import annotations

from functools import lru_cache

from streamd.bus.call import quoted
from streamd.bus.control import NotFoundError
from streamd.bus.document import bare_route_document, diagnostics_document, output_document, statistics_document
from streamd.bus.wire import Entries, dictionary, document_entries, joined, numbers
from streamd.plan.status import OutputStatus, RouteStatus, Statistics, Status

_Known = dict[str, tuple[OutputStatus | RouteStatus, Entries]]
"""By address: what was marshalled, and what came of it."""


class StatusReplies:
    """The replies that tell of one status."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._known: _Known = {}
        self._everything: bytes | None = None

    def replace(self, status: Status) -> None:
        """Tell of this status from now on."""
        self._status = status
        self._everything = None

    def everything(self) -> bytes:
        """Return the reply that tells everything."""
        if self._everything is None:
            known: _Known = {}  # so that what went is forgotten
            routes = [self._route(route, known) for route in self._status.routes]
            self._known = known
            diagnostics = diagnostics_document(self._status.diagnostics)
            whole = {"version": self._status.version, "routes": routes, "diagnostics": diagnostics}
            self._everything = dictionary(document_entries(whole))
        return self._everything

    def part(self, address: str) -> bytes:
        """Return the reply that tells of one route or output. Raises: NotFoundError."""
        name = address.partition("/")[0]
        for route in self._status.routes:
            if route.name == address:
                return dictionary(self._route(route, self._known))
            if route.name == name:
                for output in route.outputs:
                    if output.address == address:
                        return dictionary(self._output(output, self._known))
        what = "output" if "/" in address else "route"
        raise NotFoundError(f"there is no {what} {quoted(address)}")

    def _route(self, route: RouteStatus, known: _Known) -> Entries:
        found = self._known.get(route.name)
        if found is None or found[0] != route:
            outputs = [self._output(output, known) for output in route.outputs]
            found = (route, document_entries({**bare_route_document(route), "outputs": outputs}))
        else:
            for output in route.outputs:
                self._output(output, known)
        known[route.name] = found
        return found[1]

    def _output(self, output: OutputStatus, known: _Known) -> Entries:
        found = self._known.get(output.address)
        if found is None or found[0] != output:
            found = (output, document_entries(output_document(output)))
        known[output.address] = found
        return found[1]


def statistics_entries(statistics: Statistics) -> Entries:
    """Return the moving counters of one output or ingest as an a{sv}."""
    found = statistics_document(statistics)
    return Entries(joined((_address_entry(found.pop("address")), numbers(found))))


@lru_cache(maxsize=8192)
def _address_entry(address: str) -> Entries:
    return document_entries({"address": address})

"""A route file: its text becomes a Route, or diagnostics with positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from streamd.route.diagnostic import Diagnostic
from streamd.route.document import Document, make_diagnostic, read_document, unreadable_document
from streamd.route.fields import Report, Table
from streamd.route.hooks import HOOK_KEYS, parse_hooks
from streamd.route.mask import ShownLines
from streamd.route.merge import Merged, merge_documents
from streamd.route.model import Engine, Output, PullSource, Relay, Route, Settings, default_relay
from streamd.route.name import NAME_PATTERN
from streamd.route.publish import NEVER_PATHS
from streamd.route.pull import media_fault
from streamd.route.scanner import KeyPath, dotted
from streamd.route.source import parse_input
from streamd.route.target import parse_output

SUFFIX: Final = ".toml"

ROUTE_KEYS: Final = ("description", "enabled", "relay", "input", "output", "hooks")
"""All that may stand at the top of a route's file."""
_WITH_URL: Final = ("interface", "source", "allow_visible_password", "tls_verify", "transport")
_BELOW: Final = {
    **dict.fromkeys(("url", "limits"), "stands below [input] or [output.NAME], not at the top of the file"),
    **dict.fromkeys(_WITH_URL, "stands below the url that it belongs to"),
    **dict.fromkeys(("mode", "latency", "passphrase", "streamid"), "stands below the srt url that it belongs to"),
    **dict.fromkeys(HOOK_KEYS, "stands below [hooks]"),
    **dict.fromkeys(("ttl", "key", "engine"), "stands below [output.NAME]"),
    **dict.fromkeys(("user", "password"), "stands below [input]"),
}
NAME_RULE: Final = "1 to 63 of a-z, 0-9, - and _, with a letter or digit first and last"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFile:
    """One route file with its drop-ins, as they were read."""

    path: str
    """Of the main file."""
    name: str
    """Of the route: the file's name without .toml."""
    route: Route | None
    """None where the file or a drop-in has errors."""
    diagnostics: tuple[Diagnostic, ...]
    """Those of the main file first; each names the piece that it is about."""
    merged: Merged = field(repr=False)

    @property
    def pieces(self) -> tuple[Document, ...]:
        """Return the main file, then the drop-ins as applied; a text may contain a secret that somebody wrote there."""
        return self.merged.pieces

    def with_diagnostic(self, path: KeyPath, message: str, *, fatal: bool) -> RouteFile:
        """Return the file with a diagnostic more, at the value of a key; without its route, if that is fatal."""
        number, place = self.merged.origin(path)
        piece = self.pieces[number]
        found = make_diagnostic(piece.path, ShownLines(piece.text), place.value, dotted(path), message)
        diagnostics = self.merged.in_order((*self.diagnostics, found))
        return replace(self, diagnostics=diagnostics, route=None if fatal else self.route)


def route_name(path: str) -> str:
    """Return the name of the route that a file defines."""
    return path.rpartition("/")[2].removesuffix(SUFFIX)


def parse_route(path: str, text: str | bytes, settings: Settings) -> RouteFile:
    """Return the route in one text without drop-ins; see parse_pieces.

    Args:
        path: the file, for its name and for diagnostics.
        text: its content, which may be anything.
        settings: the daemon's settings.
    """
    return parse_pieces([read_document(path, text)], settings)


def unreadable_route(path: str, problem: str) -> RouteFile:
    """Return what stands for a route whose main file cannot be read; the problem is what follows `the file`."""
    merged = merge_documents([unreadable_document(path, problem)])
    return RouteFile(path=path, name=route_name(path), route=None, diagnostics=merged.diagnostics, merged=merged)


def parse_pieces(pieces: Sequence[Document], settings: Settings) -> RouteFile:
    """Return the route in the pieces, or why there is none; never raises.

    Args:
        pieces: the main file, then its drop-ins in the order in which they are applied; at least the first.
        settings: the daemon's settings; ports, groups and the number of outputs are checked against them.
    """
    merged = merge_documents(pieces)
    report = Report(merged)
    path = pieces[0].path
    name = route_name(path)
    if not NAME_PATTERN.fullmatch(name):
        report.at_file(f"a route's file is named NAME.toml, and NAME must be {NAME_RULE}")
    route = _route(report, name, settings) if merged.data or merged.is_complete else None
    diagnostics = report.sorted()
    return RouteFile(
        path=path,
        name=name,
        route=None if diagnostics else route,
        diagnostics=diagnostics,
        merged=merged,
    )


def _route(report: Report, name: str, settings: Settings) -> Route | None:
    table = Table(report, (), report.document.data)
    description = table.text("description") or ""
    enabled = table.boolean("enabled")
    chosen = table.choice("relay", Relay)
    if chosen is Relay.MEDIAMTX and name in NEVER_PATHS:
        table.wrong("relay", f"a route that MediaMTX relays must not be called {name}, which MediaMTX takes for any")
    input_table = table.table("input", instead="[input] and its keys below")
    if not table.has("input"):
        table.missing("input", 'missing, write [input] and url = "udp://0.0.0.0:5000" below it')
    parsed = parse_input(input_table, settings, name) if input_table is not None else None
    relay = chosen or (default_relay(parsed.source) if parsed else Relay.DIRECT)
    output_table = table.table("output", instead="[output.NAME]")
    outputs = _outputs(output_table, settings) if output_table is not None else ()
    hooks = parse_hooks(table.table("hooks", instead="[hooks] and its keys below"))
    for output in outputs if relay is Relay.MEDIAMTX else ():
        if output.engine is Engine.SRT_LIVE_TRANSMIT:
            report.at_value(
                ("output", output.name, "engine"),
                "srt-live-transmit reads from the direct relay, and this route's is MediaMTX,"
                ' write "ffmpeg" here or relay = "direct" at the top of the file',
            )
    table.finish(ROUTE_KEYS, {key: f"{key} {where}" for key, where in _BELOW.items()})
    if parsed is None:
        return None
    source = parsed.source
    if relay is Relay.MEDIAMTX and isinstance(source, PullSource) and not source.tls_verify:
        table.wrong("relay", 'MediaMTX fetches from verified servers only, write "direct" or remove tls_verify')
    if relay is Relay.MEDIAMTX and isinstance(source, PullSource) and (fault := media_fault(source)):
        table.wrong("relay", fault)
    return Route(
        name=name,
        input=parsed,
        outputs=outputs,
        description=description,
        enabled=enabled is not False,
        relay=relay,
        hooks=hooks,
    )


def _outputs(table: Table, settings: Settings) -> tuple[Output, ...]:
    outputs: list[Output] = []
    data: Mapping[str, Any] = table.data
    for number, name in enumerate(data, start=1):
        if number == settings.max_outputs + 1:
            count = f"{settings.max_outputs} output{'' if settings.max_outputs == 1 else 's'}"
            table.misplaced(name, f"a route may have at most {count} (max_outputs in streamd.toml)")
        if not isinstance(data[name], dict) and name in ("url", "description", "enabled", "limits"):
            table.misplaced(name, f"{name} stands below an output with a name, write [output.NAME]")
            continue
        if not NAME_PATTERN.fullmatch(name):
            table.misplaced(name, f"the name of an output must be {NAME_RULE}")
        below = table.table(name, instead="[output.NAME] and its keys below")
        if below is not None and (output := parse_output(below, name, settings)) is not None:
            outputs.append(output)
    return tuple(outputs)

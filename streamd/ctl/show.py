"""`list` and `status` as text, from the documents that the daemon returns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from streamd.ctl.style import Style, bitrate, count, plain, size, span, table
from streamd.route.diagnostic import Diagnostic, Span
from streamd.route.model import Engine

Document = Mapping[str, Any]


def render_list(status: Document, style: Style, now: int) -> str:
    """Return a table with one line for each route and each output; `now` in µs since 1970."""
    things = [thing for route in status["routes"] for thing in (route, *route["outputs"])]
    if not things:
        return "There are no routes. Put one into /etc/streamd/conf.d, see streamd.route(5).\n"
    rows = [("ADDRESS", "STATE", "FOR", "BITRATE", "URL", "CAUSE")]
    rows += [
        (thing["address"], thing["state"], _age(thing, now), _bitrate(thing), thing["url"], _cause(thing))
        for thing in things
    ]
    # What nobody knows, or nothing has, takes no room.
    columns = [number for number in range(len(rows[0])) if number not in (3, 5) or any(row[number] for row in rows[1:])]
    head, *body = table([[row[number] for number in columns] for row in rows], style, indent=2)
    lines = ["  " + style.paint("  ".join(head).rstrip(), "bold")]
    for thing, cells in zip(things, body, strict=True):
        cells[1] = style.paint(cells[1], thing["state"])
        lines.append(f"{style.symbol(thing['state'])} {'  '.join(cells)}".rstrip())
    lines += ["", _totals(status)]
    return "\n".join(lines) + "\n"


def list_document(status: Document) -> list[dict[str, Any]]:
    """Return what `list --json` prints: all routes and outputs in one list, routes without their outputs."""
    return [
        {key: value for key, value in thing.items() if key != "outputs"}
        for route in status["routes"]
        for thing in (route, *route["outputs"])
    ]


def render_status(status: Document, style: Style, now: int) -> str:
    """Return everything: a block for each route, then what is wrong with the files."""
    lines = [f"{style.symbol('running')} {style.paint('streamd', 'bold')} {plain(status['version'])}"]
    lines[0] += f": {_totals(status)}"
    for route in status["routes"]:
        lines += ["", *_route_lines(route, style, now)]
    for diagnostic in diagnostics(status["diagnostics"]):
        lines += ["", render_diagnostic(diagnostic, style)]
    return "\n".join(lines) + "\n"


def render_route(route: Document, style: Style, now: int) -> str:
    """Return one route, in detail, with its outputs."""
    overall = route.get("overall", route["state"])
    title = f"{style.symbol(overall)} {style.paint(route['route'], 'bold')}{_dash(route)}"
    fields = [
        ("File", plain(route["path"]) + (" (has errors; its last good definition is used)" if route["broken"] else "")),
        ("Input", f"{route['input']}, {plain(route['url'])}"),
        ("Relay", f"{route['relay']}, {route['group']}" if route["group"] else route["relay"]),
        *([("Overall", style.paint(overall, overall))] if overall != route["state"] else []),
        *_state_fields(route, style, now),
    ]
    lines = [title, *_field_lines(fields)]
    if route["outputs"]:
        lines += ["", *_output_lines(route["outputs"], style, now)]
    return "\n".join(lines) + "\n"


def render_output(output: Document, style: Style, now: int) -> str:
    """Return one output, in detail."""
    title = f"{style.symbol(output['state'])} {style.paint(output['address'], 'bold')}{_dash(output)}"
    kind = f"{output['kind']} {output['mode']}".strip()
    if output.get("engine", "") not in ("", Engine.FFMPEG):
        kind += f" by {plain(output['engine'])}"
    fields = [("Output", f"{kind}, {plain(output['url'])}"), *_state_fields(output, style, now)]
    return "\n".join([title, *_field_lines(fields)]) + "\n"


def render_thing(thing: Document, style: Style, now: int, log: Iterable[str] = ()) -> str:
    """Return one route or output, in detail, with the last lines of its log."""
    text = (render_output if "output" in thing else render_route)(thing, style, now)
    lines = [plain(line) for line in log]
    return "\n".join([text, *lines]) + "\n" if lines else text


def render_outcome(verb: str, thing: Document, style: Style) -> list[str]:
    """Return what became of a thing after `add`, `set`, `enable` or `disable`, and what to do next."""
    address = thing["address"]
    state = style.paint(thing["state"], thing["state"])
    cause = f": {plain(_cause(thing))}" if _cause(thing) else ""
    # Of a new route its address tells where to send, which may be a port that streamd chose.
    where = f", {plain(thing['url'])}" if verb == "add" and thing["url"] else ""
    lines = [f"{style.paint(address, 'bold')}: {state}{cause}{where}"]
    if thing.get("advice"):
        lines.append(plain(thing["advice"]))
    if thing["state"] not in {"running", "waiting", "stopped", "disabled"}:
        lines.append(f"See how it goes on with: streamctl status {address}")
    elif verb == "add" and "outputs" in thing and not thing["outputs"]:
        lines.append(f"Give it outputs with: streamctl add {address}/NAME URL")
    return lines


def is_well(thing: Document) -> bool:
    """Return whether a route, with what of it is not stopped, or an output does all that it should at this moment.

    Who listens and was not called yet is waiting, and nothing is wrong with that.
    """
    return thing.get("overall", thing["state"]) in {"running", "waiting"}


def render_steps(steps: Iterable[Document], style: Style) -> str:
    """Return what a reload would do; units that stay as they are are only counted."""
    steps = list(steps)
    kept = sum(step["action"] == "keep" for step in steps)
    changing = [step for step in steps if step["action"] != "keep"]
    stays = f"{count(kept, 'unit')} {'stays' if kept == 1 else 'stay'} as {'it is' if kept == 1 else 'they are'}."
    if not changing:
        return f"Nothing would change: {stays}\n"
    colours = {"start": "green", "stop": "red", "restart": "yellow", "adjust": "yellow"}
    lines = []
    for step, cells in zip(
        changing, table([(step["action"], step["address"], step["reason"]) for step in changing], style), strict=True
    ):
        cells[0] = style.paint(cells[0], colours.get(step["action"], ""))
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, "", stays]) + "\n"


def diagnostics(documents: Iterable[Document]) -> list[Diagnostic]:
    """Return diagnostics from their documents."""
    return [
        Diagnostic(
            path=found["path"],
            span=Span(found["line"], found["column"], found["length"]),
            key=found["key"],
            message=found["message"],
            line_text=found["text"],
            mark=found.get("mark", 0),
        )
        for found in documents
    ]


def render_diagnostic(diagnostic: Diagnostic, style: Style) -> str:
    """Return the headline, the line and the caret."""
    head, *rest = (plain(line) for line in str(diagnostic).splitlines())
    return "\n".join([style.paint(head, "red"), *rest])


def _route_lines(route: Document, style: Style, now: int) -> list[str]:
    state = style.paint(route["state"], route["state"])
    age = _age(route, now)
    about = f"{state}{f' for {age}' if age else ''}" + (f", {found}" if (found := _bitrate(route)) else "")
    lines = [
        f"{style.symbol(route.get('overall', route['state']))} {style.paint(route['route'], 'bold')}: {about}",
        "  " + style.fit(f"{plain(route['url'])}{_dash(route)}", 2),
    ]
    if cause := _cause(route):
        lines.append("  " + style.fit(plain(cause), 2))
    return lines + _output_lines(route["outputs"], style, now)


def _output_lines(outputs: Iterable[Document], style: Style, now: int) -> list[str]:
    outputs = list(outputs)
    rows = [
        (found["output"], found["state"], _age(found, now), _bitrate(found), found["url"], _cause(found))
        for found in outputs
    ]
    is_counted = any(row[3] for row in rows)
    shown = [[cell for number, cell in enumerate(row) if number != 3 or is_counted] for row in rows]
    lines = []
    for number, (output, cells) in enumerate(zip(outputs, table(shown, style, indent=7), strict=True), 1):
        branch = style.draw("└─" if number == len(outputs) else "├─")
        cells[1] = style.paint(cells[1], output["state"])
        lines.append(f"  {branch} {style.symbol(output['state'])} {'  '.join(cells)}".rstrip())
    return lines


def _state_fields(thing: Document, style: Style, now: int) -> list[tuple[str, str]]:
    state = style.paint(thing["state"], thing["state"])
    if thing["since"]:
        moment = datetime.fromtimestamp(thing["since"] / 1_000_000, UTC).astimezone()
        state += f" since {moment:%a %Y-%m-%d %H:%M:%S %Z}; {_age(thing, now)} ago"
    fields = [("State", state)]
    if cause := _cause(thing):
        fields.append(("Cause", plain(cause)))
    fields += _trouble_fields(thing, now)
    fields += _counted_fields(thing)
    fields.append(("Unit", plain(thing["unit"])))
    if thing["pid"]:
        again = {0: "", 1: ", restarted once"}.get(thing["restarts"], f", restarted {thing['restarts']} times")
        fields.append(("PID", f"{thing['pid']}{again}"))
    if thing["invocation"]:
        fields.append(("Invocation", plain(thing["invocation"])))
    return fields


def _trouble_fields(thing: Document, now: int) -> list[tuple[str, str]]:
    fields = [(name, plain(thing[key])) for name, key in (("Reason", "reason"), ("Advice", "advice")) if thing.get(key)]
    if at := thing.get("next-try"):
        fields.append(("Next try", f"in {span(at - now)}" if at > now else "now"))
    if thing.get("last-error"):
        at = thing.get("last-error-at")
        fields.append(("Last error", plain(thing["last-error"]) + (f"; {span(now - at)} ago" if at else "")))
    return fields


def _counted_fields(thing: Document) -> list[tuple[str, str]]:
    """Return what is known of what moves."""
    known: Document = thing.get("statistics", {})
    is_output = "output" in thing
    shown: list[tuple[str, str, Callable[[Any], str]]] = [
        ("Bitrate", "bitrate", bitrate),
        ("Sent" if is_output else "Received", "bytes", size),
        ("Uptime", "uptime", span),
        ("Frames", "fps", lambda fps: f"{fps:.4g} a second"),
        ("Speed", "speed", lambda speed: f"{speed:.2f} of real time"),
        ("Dropped", "dropped", lambda frames: count(frames, "frame")),
        ("Duplicated", "duplicated", lambda frames: count(frames, "frame")),
        ("RTT", "srt-rtt", lambda rtt: f"{rtt / 1000:.1f} ms"),
        ("Send rate", "srt-rate", lambda rate: f"{bitrate(rate)}, with headers and what was sent again"),
        ("Bandwidth", "srt-bandwidth", lambda rate: f"{bitrate(rate)} estimated"),
        ("Lost", "srt-lost", lambda packets: _of(packets, known)),
        ("Sent again", "srt-retransmitted", lambda packets: _of(packets, known)),
        ("Too late", "srt-dropped", lambda packets: count(packets, "packet")),
        ("CPU", "cpu", lambda used: f"{used / 1_000_000:.1f}s"),
        ("Memory", "memory", size),
        ("Tasks", "tasks", str),
    ]
    return [(name, told(known[key])) for name, key, told in shown if key in known]


def _of(packets: int, known: Document) -> str:
    """Return a number of packets, and how many of those sent these are."""
    sent = known.get("srt-packets", 0)
    return count(packets, "packet") + (f" ({packets / sent:.2%})" if packets and sent else "")


def _bitrate(thing: Document) -> str:
    found = thing.get("statistics", {}).get("bitrate")
    return "" if found is None else bitrate(found)


def _field_lines(fields: Iterable[tuple[str, str]]) -> list[str]:
    # Never cut: unit names and ids are there to be copied.
    return [f"{name:>12}: {text}" for name, text in fields]


def _dash(thing: Document) -> str:
    return f" - {plain(thing['description'])}" if thing["description"] else ""


def _cause(thing: Document) -> str:
    broken = "its file has errors" if thing.get("broken") else ""
    return "; ".join(part for part in (str(thing["cause"]), broken) if part)


def _age(thing: Document, now: int) -> str:
    return span(now - thing["since"]) if thing["since"] else ""


def _totals(status: Document) -> str:
    outputs = sum(len(route["outputs"]) for route in status["routes"])
    parts = [count(len(status["routes"]), "route"), count(outputs, "output")]
    if status["diagnostics"]:
        parts.append(count(len(status["diagnostics"]), "error"))
    return ", ".join(parts)

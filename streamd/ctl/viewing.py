"""The verbs about MediaMTX's viewers: who watches what, and to end that for one of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

from streamd.ctl.agent import password_agent
from streamd.ctl.asking import chosen, client, run
from streamd.ctl.exits import FAILURE, OK, Failure
from streamd.ctl.match import is_pattern
from streamd.ctl.printing import now, print_result
from streamd.ctl.style import Style, count, plain, size, span, table

_HEAD: Final = ("KIND", "ADDRESS", "FOR", "SENT", "RTT", "LOST", "ID")


def run_viewers(options: argparse.Namespace) -> int:
    """Show who watches these routes, or all."""

    async def ask() -> Any:  # noqa: ANN401
        async with client() as daemon:
            routes = options.routes
            if any(map(is_pattern, routes)):
                routes = chosen(routes, await daemon.status())
            return await daemon.viewers(routes)

    view = run(ask())
    if view["problem"] and not options.json:
        remedy = "" if view["mediamtx"] else "; to install it, as root: streamctl install-mediamtx"
        raise Failure(f"{view['problem']}{remedy}", FAILURE)
    print_result(options, view, lambda style: render_viewers(view, style, now()))
    return FAILURE if view["problem"] else OK


def run_kick(options: argparse.Namespace) -> int:
    """End the connections of viewers."""

    async def ask(*, interactive: bool) -> None:
        async with client(interactive=interactive) as daemon:
            for viewer in options.viewers:
                await daemon.kick(viewer)

    with password_agent(wanted=not options.no_ask_password) as interactive:
        run(ask(interactive=interactive))
    print_result(options, [], lambda _style: "")
    return OK


def render_viewers(view: Mapping[str, Any], style: Style, now: int) -> str:
    """Return a block for each route, with its viewers; `now` in µs since 1970."""
    if not view["paths"]:
        return "There is no route that could be watched.\n"
    lines: list[str] = []
    for path in view["paths"]:
        about = plain(path["tracks"]) if path["ready"] else "nothing arrives"
        viewers, publishers = path["viewers"], path["publishers"]
        state = "running" if path["ready"] else "stopped"
        watching = count(len(viewers), "viewer") if viewers else "nobody watches"
        lines += [f"{style.symbol(state)} {style.paint(plain(path['route']), 'bold')}: {about}; {watching}"]
        if viewers or publishers:
            rows = [_row(found, now, "from ") for found in publishers] + [_row(found, now) for found in viewers]
            head, *body = table([_HEAD, *rows], style, indent=2)
            lines.append("  " + style.paint("  ".join(head).rstrip(), "bold"))
            lines += [f"  {'  '.join(cells)}".rstrip() for cells in body]
    return "\n".join(lines) + "\n"


def _row(viewer: Mapping[str, Any], now: int, side: str = "") -> tuple[str, ...]:
    return (
        side + viewer["kind"],
        viewer["address"] or "-",
        span(now - viewer["since"]) if viewer["since"] else "-",
        size(viewer["sent"]) if "sent" in viewer else "-",
        f"{viewer['rtt']:.0f}ms" if "rtt" in viewer else "-",
        str(viewer["lost"]) if "lost" in viewer else "-",
        viewer["id"] or "-",
    )

"""The verbs that ask once and print; `show` and `properties` make the text."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from streamd.ctl import properties, show
from streamd.ctl.agent import password_agent
from streamd.ctl.asking import ask_measured, ask_status, by_address, chosen, client, failure, one_address, pick, run
from streamd.ctl.exits import FAILURE, NO_DAEMON, NO_SUCH_THING, NOT_RUNNING, OK, Failure
from streamd.ctl.journal import last_lines
from streamd.ctl.logs import journalctl
from streamd.ctl.match import is_pattern
from streamd.ctl.printing import complain, now, print_result
from streamd.ctl.style import Style, count

if TYPE_CHECKING:
    from streamd.bus.client import Client

_AT_ONCE: Final = 8
"""Calls under way, and questions to polkit with them."""
_AT_ONCE_ROOT: Final = 24
"""Calls under way where nobody is asked; the daemon takes 32 of one client."""


_LOG_LINES: Final = 10
_MOST_LOGS: Final = 10
"""Things of which the log is shown unasked: a look into a large journal takes its time."""


def _list(options: argparse.Namespace) -> int:
    status = run(ask_status() if options.names else ask_measured())
    if options.names:
        names = list(by_address(status))
        print_result(options, names, lambda _style: "".join(f"{name}\n" for name in names))
    else:
        print_result(options, show.list_document(status), lambda style: show.render_list(status, style, now()))
    return OK


def _status(options: argparse.Namespace) -> int:
    address = one_address(options.addresses)
    found = run(ask_measured(address))
    if not options.addresses:
        print_result(options, found, lambda style: show.render_status(found, style, now()))
        return OK
    things = [found] if address else pick(options.addresses, found)

    lines = options.lines
    if lines is None:
        lines = _LOG_LINES if len(things) <= _MOST_LOGS else 0

    def render(style: Style) -> str:
        return "\n".join(show.render_thing(it, style, now(), _log(it, lines)) for it in things)

    print_result(options, found if address else things, render)
    return OK if all(map(show.is_well, things)) else NOT_RUNNING


def _log(thing: Mapping[str, Any], lines: int) -> list[str]:
    """Return the last lines of a thing's log, or why there are none."""
    units = [output["unit"] for output in thing.get("outputs", ())]
    return last_lines(journalctl(thing["address"], units, lines=str(lines))) if lines else []


def _show(options: argparse.Namespace) -> int:
    async def ask() -> list[Mapping[str, Any]]:
        async with client() as daemon:
            if not options.addresses:
                return [await daemon.properties()]
            addresses = options.addresses
            if any(map(is_pattern, addresses)):
                addresses = chosen(addresses, await daemon.status())
            return [await daemon.properties(address) for address in addresses]

    objects = run(ask())
    names = properties.wanted_names(options.property)
    if wrong := properties.unknown_name(names, objects):
        raise Failure(wrong, FAILURE)
    picked = [properties.pick(one, names) for one in objects]
    single = not options.addresses or one_address(options.addresses)

    def render(_style: Style) -> str:
        blocks = ["".join(f"{line}\n" for line in properties.lines(one, value_only=options.value)) for one in picked]
        return "\n".join(blocks)

    print_result(options, picked[0] if single else picked, render)
    return OK


def _check(options: argparse.Namespace) -> int:
    from streamd.bus.document import diagnostics_document  # noqa: PLC0415 (only this verb reads files)
    from streamd.host.confd import read_configuration, read_files  # noqa: PLC0415

    configuration = read_files(options.files) if options.files else read_configuration()
    found = configuration.diagnostics
    total = f"{count(len(configuration.files), 'route file')}, {count(len(found), 'error') if found else 'no errors'}"

    def render(style: Style) -> str:
        return "".join(f"{show.render_diagnostic(diagnostic, style)}\n\n" for diagnostic in found) + f"{total}\n"

    print_result(options, diagnostics_document(found), render)
    return FAILURE if found else OK


def _diff(options: argparse.Namespace) -> int:
    async def ask() -> Any:  # noqa: ANN401
        async with client() as daemon:
            return await daemon.plan()

    steps = run(ask())
    print_result(options, steps, lambda style: show.render_steps(steps, style))
    return OK


def _reload(options: argparse.Namespace) -> int:
    async def ask(*, interactive: bool) -> Any:  # noqa: ANN401
        async with client(interactive=interactive) as daemon:
            return await daemon.reload()

    with password_agent(wanted=not options.no_ask_password) as interactive:
        result = run(ask(interactive=interactive))
    found = show.diagnostics(result["diagnostics"])

    def render(style: Style) -> str:
        return "".join(f"{show.render_diagnostic(diagnostic, style)}\n\n" for diagnostic in found)

    print_result(options, result, render)
    return FAILURE if found else OK


def _act(options: argparse.Namespace) -> int:
    async def act(*, interactive: bool) -> tuple[list[Any], list[BaseException]]:
        async with client(interactive=interactive) as daemon:
            addresses = options.addresses
            if any(map(is_pattern, addresses)):
                addresses = chosen(addresses, await daemon.status())
            failed = await _act_on(daemon, options.verb, addresses, wait=not options.no_block)
            if not options.json:
                return [], failed
            things = by_address(await daemon.status())
            return [things[address] for address in addresses if address in things], failed

    with password_agent(wanted=not options.no_ask_password) as interactive:
        shown, failed = run(act(interactive=interactive))
    print_result(options, shown, lambda _style: "")
    failures = [failure(error) for error in failed]
    for one in failures:
        complain(str(one))
    return failures[0].status if failures else OK


async def _act_on(daemon: Client, verb: str, addresses: list[str], *, wait: bool) -> list[BaseException]:
    """Act on some things at once and return the errors; who may not act on the first is not asked for the others."""
    from streamd.bus.client import DeniedError, NotRunningError  # noqa: PLC0415

    root = os.geteuid() == 0
    slots = asyncio.Semaphore(_AT_ONCE_ROOT if root else _AT_ONCE)

    async def act(address: str) -> None:
        async with slots:
            await daemon.act(verb, address, wait=wait)

    # The first by itself, so that somebody types the password once.
    alone = 0 if root else 1
    results = await asyncio.gather(*map(act, addresses[:alone]), return_exceptions=True)
    if not any(isinstance(result, DeniedError | NotRunningError) for result in results):
        results += await asyncio.gather(*map(act, addresses[alone:]), return_exceptions=True)
    return [result for result in results if result is not None]


def _logs(options: argparse.Namespace) -> int:
    units = []
    if "/" not in options.address:
        # Which outputs the route has; without the daemon the journal tells what it can.
        try:
            route = run(ask_status(options.address))
            units = [output["unit"] for output in route["outputs"]]
        except Failure as error:
            if error.status not in {NO_DAEMON, NO_SUCH_THING}:
                raise
    argv = journalctl(
        options.address,
        units,
        follow=options.follow,
        lines=options.lines,
        since=options.since,
        until=options.until,
        json=options.json,
    )
    sys.stdout.flush()
    # Python ignores it, and so would journalctl, which then reads all of the journal for a reader that has gone.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(argv[0], argv)  # noqa: S606


def _of(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """Return what carries a verb out, of a module that is imported when it is needed: all of them take their time."""

    def run_it(options: argparse.Namespace) -> int:
        return int(getattr(import_module(f"streamd.ctl.{module}"), function)(options))

    return run_it


RUN: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "list": _list,
    "status": _status,
    "show": _show,
    "check": _check,
    "diff": _diff,
    "reload": _reload,
    "start": _act,
    "stop": _act,
    "restart": _act,
    "enable": _of("changing", "run_each"),
    "disable": _of("changing", "run_each"),
    "add": _of("changing", "run_add"),
    "set": _of("changing", "run_set"),
    "rm": _of("changing", "run_each"),
    "edit": _of("editing", "run_edit"),
    "cat": _of("changing", "run_cat"),
    "logs": _logs,
    "monitor": _of("live", "run_monitor"),
    "metrics": _of("exporter", "run_metrics"),
    "top": _of("live", "run_top"),
    "viewers": _of("viewing", "run_viewers"),
    "kick": _of("viewing", "run_kick"),
    "web": _of("webbing", "run_web"),
    "install-mediamtx": _of("installing", "run_install"),
}
"""What carries out each verb; returns the exit status. Raises: Failure."""

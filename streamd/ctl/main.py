"""streamctl: the command line. It parses, asks the daemon and prints; `show` makes the text."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from streamd import __version__
from streamd.ctl import show
from streamd.ctl.logs import journalctl
from streamd.ctl.style import Style, count, plain
from streamd.route.model import NAME_PATTERN

if TYPE_CHECKING:
    from streamd.bus.client import Client

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
"""The route or output asked for does not run, as `systemctl status` says it."""
NO_SUCH_THING: Final = 4
DENIED: Final = 5
NO_DAEMON: Final = 69
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

_LEAST_WIDTH: Final = 40


class _Failure(Exception):  # noqa: N818 (carries an exit status, not an error)
    """Ends the command with a sentence and an exit status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(argv)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except _Failure as failure:
        _complain(str(failure))
        return failure.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return FAILURE
    except Exception as error:  # noqa: BLE001 (nobody at a terminal is helped by a traceback)
        _complain(f"this should not have happened: {type(error).__name__}: {error}")
        return FAILURE
    return status


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON, as streamctl(1) documents it")
    parser = argparse.ArgumentParser(prog="streamctl", description="Shows and controls live streams; see streamctl(1).")
    parser.add_argument("--version", action="version", version=f"streamctl {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def verb(name: str, text: str, run: Any) -> argparse.ArgumentParser:  # noqa: ANN401
        found = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common])
        found.set_defaults(run=run, verb=name)
        return found

    verb("list", "list routes and outputs with their states", _list)
    found = verb("status", "show everything, or one route or output in detail", _status)
    found.add_argument("address", nargs="?", type=_address, metavar="ROUTE[/OUTPUT]")
    found = verb("check", "check route files, also without the daemon; status 1 when there are errors", _check)
    found.add_argument("files", nargs="*", metavar="FILE", help="route files (default: all that are installed)")
    verb("diff", "show what a reload would do, and why", _diff)
    verb("reload", "read all files again and carry out what follows", _reload)
    for name, text in (
        ("start", "start routes or outputs"),
        ("stop", "stop routes or outputs; they stay stopped until started"),
        ("restart", "stop routes or outputs and start them again"),
    ):
        found = verb(name, text, _act)
        found.add_argument("addresses", nargs="+", type=_address, metavar="ROUTE[/OUTPUT]")
        found.add_argument("--no-block", action="store_true", help="do not wait until it is done")
    found = verb("logs", "show the journal of a route or an output", _logs)
    found.add_argument("address", type=_address, metavar="ROUTE[/OUTPUT]")
    found.add_argument("-f", "--follow", action="store_true", help="go on with what is logged from now on")
    found.add_argument("-n", "--lines", metavar="N", help="begin with the last N lines")
    found.add_argument("--since", metavar="TIME", help="begin at TIME, as journalctl takes it")
    found.add_argument("--until", metavar="TIME", help="end at TIME, as journalctl takes it")
    return parser


def _address(text: str) -> str:
    names = text.split("/")
    if len(names) > 2 or not all(NAME_PATTERN.fullmatch(name) for name in names):
        raise argparse.ArgumentTypeError(f'"{plain(text)}" is no ROUTE or ROUTE/OUTPUT')
    return text


def _list(options: argparse.Namespace) -> int:
    status = _run(_ask_status(None))
    _print(options, show.list_document(status), lambda style: show.render_list(status, style, _now()))
    return OK


def _status(options: argparse.Namespace) -> int:
    found = _run(_ask_status(options.address))
    if options.address is None:
        _print(options, found, lambda style: show.render_status(found, style, _now()))
        return OK
    render = show.render_output if "/" in options.address else show.render_route
    _print(options, found, lambda style: render(found, style, _now()))
    return OK if found["state"] == "running" else NOT_RUNNING


def _check(options: argparse.Namespace) -> int:
    from streamd.bus.document import diagnostics_document  # noqa: PLC0415 (only this verb reads files)
    from streamd.host.confd import read_configuration, read_files  # noqa: PLC0415

    configuration = read_files(options.files) if options.files else read_configuration()
    found = configuration.diagnostics
    total = f"{count(len(configuration.files), 'route file')}, {count(len(found), 'error') if found else 'no errors'}"

    def render(style: Style) -> str:
        return "".join(f"{show.render_diagnostic(diagnostic, style)}\n\n" for diagnostic in found) + f"{total}\n"

    _print(options, diagnostics_document(found), render)
    return FAILURE if found else OK


def _diff(options: argparse.Namespace) -> int:
    async def ask() -> Any:  # noqa: ANN401
        async with _client() as client:
            return await client.plan()

    steps = _run(ask())
    _print(options, steps, lambda style: show.render_steps(steps, style))
    return OK


def _reload(options: argparse.Namespace) -> int:
    async def ask() -> Any:  # noqa: ANN401
        async with _client() as client:
            return await client.reload()

    result = _run(ask())
    found = show.diagnostics(result["diagnostics"])

    def render(style: Style) -> str:
        return "".join(f"{show.render_diagnostic(diagnostic, style)}\n\n" for diagnostic in found)

    _print(options, result, render)
    return FAILURE if found else OK


def _act(options: argparse.Namespace) -> int:
    async def act() -> tuple[list[Any], list[BaseException]]:
        async with _client() as client:
            results = await asyncio.gather(
                *(client.act(options.verb, address, wait=not options.no_block) for address in options.addresses),
                return_exceptions=True,
            )
            failed = [result for result in results if result is not None]
            wanted = options.addresses if options.json else []
            shown = await asyncio.gather(*(client.status(address) for address in wanted), return_exceptions=True)
            return [document for document in shown if not isinstance(document, BaseException)], failed

    shown, failed = _run(act())
    _print(options, shown, lambda _style: "")
    failures = [_failure(error) for error in failed]
    for failure in failures:
        _complain(str(failure))
    return failures[0].status if failures else OK


def _logs(options: argparse.Namespace) -> int:
    units = []
    if "/" not in options.address:
        # Which outputs the route has; without the daemon the journal tells what it can.
        try:
            route = _run(_ask_status(options.address))
            units = [output["unit"] for output in route["outputs"]]
        except _Failure as failure:
            if failure.status not in {NO_DAEMON, NO_SUCH_THING}:
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
    os.execvp(argv[0], argv)  # noqa: S606


def _client() -> Client:
    # dbus-next takes longer to import than all the rest.
    from streamd.bus.client import Client  # noqa: PLC0415

    return Client(interactive=sys.stdin is not None and sys.stdin.isatty())


async def _ask_status(address: str | None) -> Any:  # noqa: ANN401
    async with _client() as client:
        return await client.status(address)


def _run(work: Coroutine[None, None, Any]) -> Any:  # noqa: ANN401
    """Run a coroutine that asks the daemon. Raises: _Failure."""
    from streamd.bus.client import ClientError  # noqa: PLC0415

    try:
        return asyncio.run(work)
    except ClientError as error:
        raise _failure(error) from error


def _failure(error: BaseException) -> _Failure:
    from streamd.bus.client import ClientError, DeniedError, NoSuchThingError, NotRunningError  # noqa: PLC0415

    if not isinstance(error, ClientError):
        raise error
    statuses = {NotRunningError: NO_DAEMON, NoSuchThingError: NO_SUCH_THING, DeniedError: DENIED}
    return _Failure(str(error), statuses.get(type(error), FAILURE))


def _print(options: argparse.Namespace, document: object, render: Any) -> None:  # noqa: ANN401
    if options.json:
        json.dump(document, sys.stdout, indent=2, ensure_ascii=not _has_unicode())
        sys.stdout.write("\n")
    else:
        sys.stdout.write(render(_style()))


def _style() -> Style:
    terminal = sys.stdout.isatty()
    dumb = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    width = max(_LEAST_WIDTH, shutil.get_terminal_size().columns) if terminal else None
    return Style(colour=terminal and not dumb, unicode=_has_unicode(), width=width)


def _has_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _now() -> int:
    return time.time_ns() // 1000


def _complain(text: str) -> None:
    sys.stderr.write(f"streamctl: {plain(text)}\n")


if __name__ == "__main__":
    sys.exit(main())

"""The command line: every verb with its options, declared once for parsing, ssh, completion and the manual. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, Final

from streamd import __version__
from streamd.ctl.match import is_address, is_pattern
from streamd.ctl.parser import VerbParser
from streamd.ctl.remote import is_host
from streamd.ctl.style import plain

_ADDRESS: Final = "ROUTE[/OUTPUT]"
SORT_KEYS: Final = ("address", "state", "bitrate", "uptime", "restarts", "pid", "cpu", "memory")
"""What `top` sorts by."""
SECRETS: Final = ("key", "passphrase", "streamid")
"""The keys of an output that may name a credential."""
ROLES: Final = ("observer", "operator", "admin")
"""What a key of streamd-web may be good for."""
_HOST_HELP: Final = "run there, over ssh: [USER@]HOST"


class Verb:
    """One command under construction."""

    def __init__(self, parser: argparse.ArgumentParser, name: str) -> None:
        self.parser = parser
        self.actions: list[argparse.Action] = []
        parser.set_defaults(verb=name, actions=self.actions)
        parser.add_argument("-H", "--host", type=_host, default=argparse.SUPPRESS, metavar="HOST", help=_HOST_HELP)
        self.add("--json", action="store_true", help="print JSON, as streamctl(1) documents it")

    def add(self, *names: str, **more: Any) -> Verb:  # noqa: ANN401 (as argparse takes them)
        """Add an option or a positional argument, as argparse.add_argument takes it."""
        self.actions.append(self.parser.add_argument(*names, **more))
        return self

    def password(self) -> None:
        """Add what every verb has for which polkit may ask."""
        self.add("--no-ask-password", action="store_true", help="do not ask for a password")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; what it returns has `verb`, `host` and the verb's own arguments."""
    parser = argparse.ArgumentParser(
        prog="streamctl", description="Shows and controls live streams; see streamctl(1).", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"streamctl {__version__}")
    parser.add_argument("-H", "--host", type=_host, default=None, metavar="HOST", help=_HOST_HELP)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=VerbParser)
    for name, (text, declare) in VERBS.items():
        description = f"{text[0].upper()}{text[1:]}."
        declare(Verb(commands.add_parser(name, help=text, description=description, allow_abbrev=False), name))
    return parser


def words(options: argparse.Namespace) -> list[str]:
    """Return the command line that means what was parsed, but for the host: whatever was abbreviated is written out."""
    found, behind = ["streamctl", options.verb], []
    for action in options.actions:
        value = getattr(options, action.dest)
        if not action.option_strings:
            behind += value if isinstance(value, list) else [value] if value is not None else []
        elif action.nargs == 0:
            found += [action.option_strings[-1]] if value else []
        elif value is not None and value != action.default:
            found += [f"{action.option_strings[-1]}={item}" for item in (value if isinstance(value, list) else [value])]
    return [*found, "--", *behind] if behind else found


def _list(verb: Verb) -> None:
    verb.add("--names", action="store_true", help="print the addresses alone")


def _status(verb: Verb) -> None:
    verb.add("addresses", nargs="*", type=_several, metavar=_ADDRESS)
    verb.add("-n", "--lines", type=_number, metavar="N", help="lines of the log (default: 10)")


def _show(verb: Verb) -> None:
    verb.add("addresses", nargs="*", type=_several, metavar=_ADDRESS)
    verb.add("-p", "--property", action="append", metavar="NAME", help="only this property; may be given again")
    verb.add("--value", action="store_true", help="print values without names")


def _check(verb: Verb) -> None:
    verb.add("files", nargs="*", metavar="FILE", help="route files (default: all that are installed)")


def _nothing(verb: Verb) -> None:
    del verb


def _act(verb: Verb) -> None:
    verb.add("addresses", nargs="+", type=_several, metavar=_ADDRESS)
    verb.add("--no-block", action="store_true", help="do not wait until it is done")
    verb.password()


def _logs(verb: Verb) -> None:
    verb.add("address", type=_address, metavar=_ADDRESS)
    verb.add("-f", "--follow", action="store_true", help="go on with what is logged from now on")
    verb.add("-n", "--lines", metavar="N", help="begin with the last N lines")
    verb.add("--since", metavar="TIME", help="begin at TIME, as journalctl takes it")
    verb.add("--until", metavar="TIME", help="end at TIME, as journalctl takes it")


def _monitor(verb: Verb) -> None:
    verb.add("addresses", nargs="*", type=_several, metavar=_ADDRESS)


def _top(verb: Verb) -> None:
    verb.add("addresses", nargs="*", type=_several, metavar=_ADDRESS)
    verb.add(
        "-s", "--sort", choices=SORT_KEYS, default="address", metavar="KEY", help=f"sort by {', '.join(SORT_KEYS)}"
    )
    verb.add("-d", "--delay", type=_seconds, default=2.0, metavar="SECONDS", help="renew so often (default: 2)")
    verb.add("-b", "--batch", action="store_true", help="print one table after the other, for scripts")
    verb.add("-n", "--iterations", type=_count, metavar="N", help="end after N tables")


def _metrics(verb: Verb) -> None:
    verb.add("--textfile", metavar="FILE", help="write this file in one move, for node_exporter's textfile collector")


def _add(verb: Verb) -> None:
    verb.add("address", type=_address, metavar=_ADDRESS)
    verb.add("url", nargs="?", metavar="URL", help="where an output goes")
    verb.add("keys", nargs="*", metavar="KEY=VALUE", help="further keys, as the file has them")
    verb.add("--input", metavar="URL", help="where a route's stream comes from (default: a UDP port)")
    _secrets(verb)


def _set(verb: Verb) -> None:
    verb.add("address", type=_address, metavar=_ADDRESS)
    verb.add("keys", nargs="*", metavar="KEY=VALUE", help="KEY= takes the key away; input.KEY is of a route's input")
    _secrets(verb)


def _secrets(verb: Verb) -> None:
    for key in SECRETS:
        verb.add(f"--{key}-file", metavar="FILE", help=f"read the {key} from this file, - is the standard input")
        verb.add(f"--ask-{key}", action="store_true", help=f"ask for the {key}")
    verb.password()


def _each(verb: Verb) -> None:
    verb.add("addresses", nargs="+", type=_several, metavar=_ADDRESS)
    verb.password()


def _viewers(verb: Verb) -> None:
    verb.add("routes", nargs="*", type=_routes, metavar="ROUTE")


def _kick(verb: Verb) -> None:
    verb.add("viewers", nargs="+", metavar="VIEWER", help="an ID that streamctl viewers shows")
    verb.password()


def _install_mediamtx(verb: Verb) -> None:
    verb.add("--version", metavar="VERSION", help="this one, not the one that streamd was tested with")
    verb.add("--file", metavar="ARCHIVE", help="install from this file of a release, without internet")
    verb.add("--sha256", metavar="DIGEST", help="what the archive must have")


def _web(verb: Verb) -> None:
    verb.add("subject", choices=("key",), metavar="key", help="what lets somebody in")
    verb.add("action", choices=("add", "list", "revoke"), metavar="add|list|revoke", help="what to do with it")
    verb.add("name", nargs="?", metavar="NAME", help="whose key it is, such as wall or grafana")
    verb.add("--role", choices=ROLES, metavar="ROLE", help=f"what it is good for: {', '.join(ROLES)}")


def _cat(verb: Verb) -> None:
    verb.add("route", type=_route, metavar="ROUTE")


def _edit(verb: Verb) -> None:
    verb.add("route", nargs="?", type=_route, metavar="ROUTE", help="default: the settings, streamd.toml")
    verb.add("--drop-in", action="store_true", help="a file beside it that is merged over it, and is yours")


VERBS: Final[Mapping[str, tuple[str, Callable[[Verb], None]]]] = {
    "list": ("list routes and outputs with their states", _list),
    "status": ("show everything, or routes and outputs in detail", _status),
    "show": ("show all properties of the daemon, a route or an output, for scripts", _show),
    "check": ("check route files, also without the daemon; status 1 when there are errors", _check),
    "diff": ("show what a reload would do, and why", _nothing),
    "reload": ("read all files again and carry out what follows", Verb.password),
    "start": ("start routes or outputs", _act),
    "stop": ("stop routes or outputs; they stay stopped until started", _act),
    "restart": ("stop routes or outputs and start them again", _act),
    "enable": ("let routes or outputs run that are disabled", _each),
    "disable": ("stop routes or outputs and keep them from running, reboots included", _each),
    "add": ("add a route or an output", _add),
    "set": ("set keys of a route or an output, or take them away", _set),
    "rm": ("remove outputs, or routes with all their outputs", _each),
    "edit": ("edit a route's file, or the settings; checked before it takes effect", _edit),
    "cat": ("show the files of a route and what they come to, also without the daemon", _cat),
    "logs": ("show the journal of a route or an output", _logs),
    "monitor": ("print a line for each change as it happens", _monitor),
    "metrics": ("print metrics for Prometheus", _metrics),
    "top": ("show a live table of what runs and what it uses", _top),
    "viewers": ("show who watches which route through MediaMTX", _viewers),
    "kick": ("end the connections of viewers", _kick),
    "web": ("make, list or revoke the keys of streamd-web; also without the daemon", _web),
    "install-mediamtx": ("install MediaMTX, for viewers, or replace it; also without the daemon", _install_mediamtx),
}
"""Every verb, what it does, and what declares its arguments."""


def _address(text: str) -> str:
    if not is_address(text):
        raise argparse.ArgumentTypeError(f'"{plain(text)}" is no ROUTE or ROUTE/OUTPUT')
    return text


def _route(text: str) -> str:
    if "/" in _address(text):
        raise argparse.ArgumentTypeError(f'"{plain(text)}" is no ROUTE')
    return text


def _several(text: str) -> str:
    if not (is_address(text) or is_pattern(text)):
        raise argparse.ArgumentTypeError(f'"{plain(text)}" is no ROUTE or ROUTE/OUTPUT, and no pattern for some')
    return text


def _routes(text: str) -> str:
    if "/" in _several(text):
        raise argparse.ArgumentTypeError(f'"{plain(text)}" is no ROUTE, and no pattern for some')
    return text


def _host(text: str) -> str:
    if not is_host(text):
        raise argparse.ArgumentTypeError(f'"{plain(text)}" is no [USER@]HOST')
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 86400:
        raise argparse.ArgumentTypeError(f'"{plain(text)}" is no number of seconds from 0.1 to 86400')
    return value


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f'"{plain(text)}" is no number from 0 on')
    return int(text[:6])


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:10]) > 0):
        raise argparse.ArgumentTypeError(f'"{plain(text)}" is no number from 1 on')
    return int(text[:10])

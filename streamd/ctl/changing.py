"""The verbs that change routes: what is typed becomes a call; secrets come from a file or a prompt, never from argv."""

from __future__ import annotations

import argparse
import getpass
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamd.ctl.agent import password_agent
from streamd.ctl.arguments import SECRETS
from streamd.ctl.asking import chosen, client, run
from streamd.ctl.exits import FAILURE, NO_SUCH_THING, OK, USAGE, Failure
from streamd.ctl.match import is_pattern
from streamd.ctl.printing import print_result

if TYPE_CHECKING:
    from streamd.bus.client import Client


def keys(words: Sequence[str]) -> dict[str, Any]:
    """Return KEY=VALUE words as keys of a table; KEY= alone stands for None, which takes the key away.

    A value is read as TOML where it is a number, true, false, a list or a table, and is a string otherwise.

    Raises:
        Failure: a word is none, or would put a secret into argv.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not key or not equals:
            raise Failure(f'"{word}" is no KEY=VALUE', USAGE)
        value = _value(text) if text else None
        if key in SECRETS[:2] and isinstance(value, str):
            raise Failure(f"a {key} does not belong on a command line, use --{key}-file or --ask-{key}", USAGE)
        if key == "password" and isinstance(value, str):
            text = (
                'a password does not belong on a command line, write password={credential="NAME"} for one in the store'
            )
            raise Failure(text, USAGE)
        found[key] = value
    return found


def _value(text: str) -> Any:  # noqa: ANN401
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | list | dict) else text


def secrets_of(options: argparse.Namespace) -> dict[str, str]:
    """Return the secrets that the options ask for, by the key that they belong to. Raises: Failure."""
    found: dict[str, str] = {}
    for key in SECRETS:
        path = getattr(options, f"{key}_file")
        if path is not None:
            found[key] = _one_line(sys.stdin.read() if path == "-" else Path(path).read_text(), path)
        elif getattr(options, f"ask_{key}"):
            found[key] = _one_line(getpass.getpass(f"{key}: "), "what was typed")
    return found


def _one_line(text: str, where: str) -> str:
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret or "\n" in secret:
        raise Failure(f"{where}: a secret is one line of text", FAILURE)
    return secret


def run_add(options: argparse.Namespace) -> int:
    """Add a route or an output."""
    route, slash, output = options.address.partition("/")
    # A route has no URL of its own there: what stands in that place is its first key.
    words = options.keys if slash or options.url is None else [options.url, *options.keys]
    table = keys(words)
    if None in table.values():
        raise Failure("KEY= without a value takes a key away, and there is none yet", USAGE)
    secrets = secrets_of(options)
    if (options.url is None or options.input is not None) if slash else bool(secrets):
        raise Failure("write: add ROUTE --input URL [KEY=VALUE…], or: add ROUTE/OUTPUT URL [KEY=VALUE…]", USAGE)

    async def act(daemon: Client) -> None:
        if not slash:
            url = "udp://0.0.0.0:auto" if options.input is None else options.input
            await daemon.add_route(route, {"input": {"url": url, **table}})
            return
        for key, secret in secrets.items():
            name = f"{route}.{output}.{key}"
            await daemon.set_credential(name, secret)
            table[key] = {"credential": name}
        await daemon.add_output(options.address, {"url": options.url, **table})

    return _change(options, act, [options.address])


def run_set(options: argparse.Namespace) -> int:
    """Set or take away keys of an output."""
    table = keys(options.keys)
    secrets = secrets_of(options)
    if not table and not secrets:
        raise Failure("there is nothing to set: write KEY=VALUE", USAGE)

    async def act(daemon: Client) -> None:
        for key, secret in secrets.items():
            name = f"{options.address.replace('/', '.')}.{key}"
            await daemon.set_credential(name, secret)
            table[key] = {"credential": name}
        await daemon.update_output(options.address, table)

    return _change(options, act, [options.address])


def run_each(options: argparse.Namespace) -> int:
    """Remove, enable or disable."""

    async def act(daemon: Client) -> None:
        addresses = options.addresses
        if any(map(is_pattern, addresses)):
            addresses = chosen(addresses, await daemon.status())
        for address in addresses:
            if "/" not in address and options.verb != "rm":
                raise Failure(f"{options.verb} takes outputs, ROUTE/OUTPUT, and {address} is a route", USAGE)
            await daemon.change(options.verb, address)

    return _change(options, act, [])


def _change(options: argparse.Namespace, act: Callable[[Client], Any], shown: Sequence[str]) -> int:
    async def ask(*, interactive: bool) -> list[Mapping[str, Any]]:
        async with client(interactive=interactive) as daemon:
            await act(daemon)
            return [await daemon.status(address) for address in shown] if options.json else []

    with password_agent(wanted=not options.no_ask_password) as interactive:
        found = run(ask(interactive=interactive))
    print_result(options, found, lambda _style: "")
    return OK


def run_cat(options: argparse.Namespace) -> int:
    """Show the files of a route and what they come to; works without the daemon."""
    from streamd.host.confd import read_configuration  # noqa: PLC0415 (only this verb reads files)
    from streamd.route.render import render_cat  # noqa: PLC0415

    files = {file.name: file for file in read_configuration().files}
    if options.route not in files:
        raise Failure(f'there is no route "{options.route}"', NO_SUCH_THING)
    text = render_cat(files[options.route])
    print_result(options, {"route": options.route, "text": text}, lambda _style: text)
    return OK

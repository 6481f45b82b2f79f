"""The verbs that change routes: what is typed becomes a call; secrets come from a file or a prompt, never from argv."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
import tomllib
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streamd.ctl.agent import password_agent
from streamd.ctl.arguments import SECRETS
from streamd.ctl.asking import chosen, client, run
from streamd.ctl.exits import FAILURE, NO_SUCH_THING, OK, USAGE, Failure
from streamd.ctl.match import is_pattern
from streamd.ctl.printing import print_result
from streamd.ctl.show import Document, render_outcome
from streamd.ctl.style import Style

if TYPE_CHECKING:
    from streamd.bus.client import Client

_SETTLING: Final = 3.0
"""Seconds that a change may take until it shows how things go."""
_BETWEEN_LOOKS: Final = 0.2
_ON_THE_WAY: Final = frozenset({"starting", "stopping"})


def keys(words: Sequence[str]) -> dict[str, Any]:
    """Return KEY=VALUE words as keys of a table; KEY= alone stands for None, which takes the key away.

    A value is read as TOML where it is a number, true, false, a list, a table or a string in quotes, and is taken as it
    stands otherwise.

    Raises:
        Failure: a word is none, or would put a secret into argv.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not key or not equals:
            raise Failure(f'"{word}" is no KEY=VALUE', USAGE)
        value = _value(text) if text else None
        secret = key.removeprefix("input.")
        if secret in SECRETS[:2] and isinstance(value, str):
            raise Failure(f"a {secret} does not belong on a command line, use --{secret}-file or --ask-{secret}", USAGE)
        if secret == "password" and isinstance(value, str):  # noqa: S105 (a key)
            text = (
                'a password does not belong on a command line, write password={credential="NAME"} for one in the store'
            )
            raise Failure(text, USAGE)
        found[key] = value
    return found


def _value(text: str) -> Any:  # noqa: ANN401
    if "\n" in text or "\r" in text:
        return text  # what followed the line end would be another key
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | str | list | dict) else text


def secrets_of(options: argparse.Namespace) -> dict[str, str]:
    """Return the secrets that the options ask for, by the key that they belong to. Raises: Failure."""
    found: dict[str, str] = {}
    for key in SECRETS:
        path = getattr(options, f"{key}_file")
        if path is not None:
            found[key] = _one_line(sys.stdin.read() if path == "-" else Path(path).read_text(), path)
        elif getattr(options, f"ask_{key}"):
            found[key] = _one_line(_typed(key), "what was typed")
    return found


def _typed(key: str) -> str:
    try:
        with warnings.catch_warnings():
            # It would go on, and what is typed would be seen.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(f"{key}: ")
    except getpass.GetPassWarning:
        raise Failure(f"there is no terminal to ask on, use --{key}-file", FAILURE) from None
    except EOFError:
        raise Failure(f"no {key} was typed, nothing is changed", FAILURE) from None


def _one_line(text: str, where: str) -> str:
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret or "\n" in secret:
        raise Failure(f"{where}: a secret is one line of text", FAILURE)
    return secret


def of_route(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a route from words: `input.KEY` is one of its input. Raises: Failure."""
    found: dict[str, Any] = {}
    inner: dict[str, Any] = {}
    for key, value in table.items():
        head, dot, below = key.partition(".")
        if dot and head == "output":
            raise Failure("an output is set by itself: set ROUTE/OUTPUT KEY=VALUE", USAGE)
        if dot and head == "input" and below:
            inner[below] = value
        else:
            found[key] = value
    return {**found, "input": inner} if inner else found


async def _store(daemon: Client, address: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Put secrets into the credential store and return the keys that name them."""
    found = {}
    for key, secret in secrets.items():
        name = f"{address.replace('/', '.')}.{key}"
        await daemon.set_credential(name, secret)
        found[key] = {"credential": name}
    return found


async def _refuse_known(daemon: Client, address: str) -> None:
    """Refuse to add what is there: its secret would be replaced before the daemon refuses. Raises: Failure."""
    from streamd.bus.client import NoSuchThingError  # noqa: PLC0415 (see asking)

    try:
        await daemon.status(address)
    except NoSuchThingError:
        return
    raise Failure(f"there is {address} already, see: streamctl cat {address.partition('/')[0]}", FAILURE)


def _for_input(secrets: Mapping[str, str]) -> Mapping[str, str]:
    """Return the secrets of a route's input. Raises: Failure, when it has none of the kind."""
    if secrets.keys() - {"passphrase"}:
        raise Failure("of a route only its input's passphrase is a secret; the others are an output's", USAGE)
    return secrets


def run_add(options: argparse.Namespace) -> int:
    """Add a route or an output."""
    route, slash, _output = options.address.partition("/")
    # A route has no URL of its own there: what stands in that place is its first key.
    words = options.keys if slash or options.url is None else [options.url, *options.keys]
    table = keys(words)
    if None in table.values():
        raise Failure("KEY= without a value takes a key away, and there is none yet", USAGE)
    secrets = secrets_of(options)
    if (options.url is None or options.input is not None) if slash else bool(secrets.keys() - {"passphrase"}):
        raise Failure("write: add ROUTE --input URL [KEY=VALUE…], or: add ROUTE/OUTPUT URL [KEY=VALUE…]", USAGE)

    async def act(daemon: Client) -> Sequence[str]:
        if secrets:
            await _refuse_known(daemon, options.address)
        table.update(await _store(daemon, options.address, secrets))
        if slash:
            await daemon.add_output(options.address, {"url": options.url, **table})
        else:
            url = "udp://0.0.0.0:auto" if options.input is None else options.input
            await daemon.add_route(route, {"input": {"url": url, **table}})
        return [options.address]

    return _change(options, act)


def run_set(options: argparse.Namespace) -> int:
    """Set or take away keys of an output or a route."""
    table = keys(options.keys)
    is_route = "/" not in options.address
    if is_route:
        table = of_route(table)
    secrets = secrets_of(options)
    if not table and not secrets:
        raise Failure("there is nothing to set: write KEY=VALUE", USAGE)
    if is_route:
        secrets = dict(_for_input(secrets))

    async def act(daemon: Client) -> Sequence[str]:
        stored = await _store(daemon, options.address, secrets)
        if is_route and stored:
            table["input"] = {**table.get("input", {}), **stored}
        elif stored:
            table.update(stored)
        await daemon.update(options.address, table)
        return [options.address]

    return _change(options, act)


def run_each(options: argparse.Namespace) -> int:
    """Remove, enable or disable."""

    async def act(daemon: Client) -> Sequence[str]:
        addresses = options.addresses
        if any(map(is_pattern, addresses)):
            addresses = chosen(addresses, await daemon.status())
        for address in addresses:
            await daemon.change(options.verb, address)
        return list(addresses)

    return _change(options, act)


def _change(options: argparse.Namespace, act: Callable[[Client], Awaitable[Sequence[str]]]) -> int:
    """Make a change and tell what came of it. Raises: Failure."""

    async def ask(*, interactive: bool) -> tuple[Sequence[str], list[Document]]:
        async with client(interactive=interactive) as daemon:
            addresses = await act(daemon)
            return addresses, [] if options.verb == "rm" else await _settled(daemon, addresses)

    with password_agent(wanted=not options.no_ask_password) as interactive:
        addresses, found = run(ask(interactive=interactive))

    def render(style: Style) -> str:
        if options.verb == "rm":
            return "".join(f"{style.paint(address, 'bold')}: removed\n" for address in addresses)
        return "".join(f"{line}\n" for thing in found for line in render_outcome(options.verb, thing, style))

    print_result(options, found, render)
    return OK


async def _settled(daemon: Client, addresses: Sequence[str]) -> list[Document]:
    """Return what became of things, when none of them is on its way any more or some seconds are over."""
    from streamd.bus.client import NoSuchThingError  # noqa: PLC0415 (see asking)

    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SETTLING
    while True:
        found: list[Document] = []
        for address in addresses:
            try:
                found.append(await daemon.status(address))
            except NoSuchThingError:  # somebody else took it away
                continue
        if not any(thing["state"] in _ON_THE_WAY for thing in found) or loop.time() > deadline:
            return found
        await asyncio.sleep(_BETWEEN_LOOKS)


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

"""Asking the daemon: a client, and its errors as failures with an exit status.

What talks to the bus is imported only when somebody asks: it takes longer to import than all the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from streamd.ctl.exits import DENIED, FAILURE, NO_DAEMON, NO_SUCH_THING, Failure
from streamd.ctl.match import expand, is_pattern
from streamd.ctl.style import count

if TYPE_CHECKING:
    from streamd.bus.client import Client


def client(*, interactive: bool = False) -> Client:
    """Return a client of the daemon; `interactive` lets polkit ask for a password."""
    from streamd.bus.client import Client  # noqa: PLC0415

    return Client(interactive=interactive)


def run(work: Coroutine[None, None, Any]) -> Any:  # noqa: ANN401
    """Run a coroutine that asks the daemon. Raises: Failure."""
    from streamd.bus.client import ClientError  # noqa: PLC0415

    try:
        return asyncio.run(work)
    except ClientError as error:
        raise failure(error) from error


def failure(error: BaseException) -> Failure:
    """Return the failure that an error of the client is; whatever else it is goes on as it came."""
    from streamd.bus.client import ClientError, DeniedError, NoSuchThingError, NotRunningError  # noqa: PLC0415

    if not isinstance(error, ClientError):
        raise error
    statuses = {NotRunningError: NO_DAEMON, NoSuchThingError: NO_SUCH_THING, DeniedError: DENIED}
    # The text of the daemon is for clients that show nothing else: it has the first diagnostic in it.
    text = f"the change was refused: {count(len(error.diagnostics), 'error')}" if error.diagnostics else str(error)
    return Failure(text, statuses.get(type(error), FAILURE), error.diagnostics)


async def ask_status(address: str | None = None) -> Any:  # noqa: ANN401
    """Return the status of everything, or of one route or output. Raises: ClientError."""
    async with client() as daemon:
        return await daemon.status(address)


async def ask_measured(address: str | None = None) -> Any:  # noqa: ANN401
    """Return the same with what is counted, under `statistics`. Raises: ClientError."""
    from streamd.bus.client import NoSuchThingError  # noqa: PLC0415

    async with client() as daemon:
        status = await daemon.status(address)
        things = [status, *status.get("outputs", ())] if address else list(by_address(status).values())
        try:
            found = await daemon.statistics([thing["address"] for thing in things] if address else ())
        except NoSuchThingError:  # one of them went meanwhile
            found = []
    counted = {each["address"]: each for each in found}
    for thing in things:
        known = counted.get(thing["address"], {})
        # What it counts up all the same is the thing's own.
        thing["statistics"] = {key: value for key, value in known.items() if key not in thing}
    return status


def by_address(status: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return all routes and outputs of a status by address, each route before its outputs."""
    return {thing["address"]: thing for route in status["routes"] for thing in (route, *route["outputs"])}


def one_address(addresses: Sequence[str]) -> str | None:
    """Return the address if exactly one is meant, whatever there is; None where there may be several."""
    return addresses[0] if len(addresses) == 1 and not is_pattern(addresses[0]) else None


def chosen(patterns: Sequence[str], status: Any) -> list[str]:  # noqa: ANN401
    """Return the addresses that patterns mean. Raises: Failure, before anything is done, when one matches nothing."""
    found, missed = expand(patterns, by_address(status))
    if missed:
        raise Failure(f'nothing matches "{missed[0]}"', NO_SUCH_THING)
    return found


def pick(patterns: Sequence[str], status: Any) -> list[Any]:  # noqa: ANN401
    """Return the routes and outputs that patterns and addresses mean. Raises: Failure when there is no such thing."""
    things = by_address(status)
    found = chosen(patterns, status)
    for address in found:
        if address not in things:
            raise Failure(f'there is no {"output" if "/" in address else "route"} "{address}"', NO_SUCH_THING)
    return [things[address] for address in found]

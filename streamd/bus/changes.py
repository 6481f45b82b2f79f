"""The methods that change the configuration: what a caller sends becomes a change, a refusal becomes an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from streamd.bus.call import Call, CallError, Handler, quoted, take_options
from streamd.bus.control import Control
from streamd.bus.names import MANAGER
from streamd.bus.values import unpack
from streamd.route.change import (
    AddOutput,
    AddRoute,
    Change,
    DisableOutput,
    EnableOutput,
    RemoveOutput,
    RemoveRoute,
    UpdateOutput,
)

_LARGEST_TABLE: Final = 1 << 16
"""Characters of a definition, about: the file of a route has no reason to be larger."""


def change_handlers(control: Control) -> dict[tuple[str, str], Handler]:
    """Return the handlers of the manager's methods that change routes and credentials."""
    makers: dict[str, Callable[[list[Any]], Change]] = {
        "AddRoute": lambda given: AddRoute(given[0], _table(given[1])),
        "RemoveRoute": lambda given: RemoveRoute(given[0]),
        "AddOutput": lambda given: AddOutput(*_address(given[0]), _table(given[1])),
        "UpdateOutput": _update,
        "RemoveOutput": lambda given: RemoveOutput(*_address(given[0])),
        "EnableOutput": lambda given: EnableOutput(*_address(given[0])),
        "DisableOutput": lambda given: DisableOutput(*_address(given[0])),
    }
    found: dict[tuple[str, str], Handler] = {
        (MANAGER, member): _handler(control, member, make) for member, make in makers.items()
    }

    async def set_credential(call: Call) -> list[Any]:
        name, secret, options = call.arguments
        take_options(options, {})
        await control.set_credential(name, secret)
        return []

    found[MANAGER, "SetCredential"] = set_credential
    return found


def _handler(control: Control, member: str, make: Callable[[list[Any]], Change]) -> Handler:
    known = {"remove": "as"} if member == "UpdateOutput" else {}

    async def handle(call: Call) -> list[Any]:
        take_options(call.arguments[-1], known)
        await control.change(make(call.arguments))
        return []

    return handle


def _update(given: list[Any]) -> Change:
    address, keys, options = given
    removed: list[str] = options["remove"].value if "remove" in options else []
    table = _table(keys)
    for key in removed:
        if key in table:
            raise CallError.standard("InvalidArgs", f"{quoted(key)} is to be set and to be removed")
    return UpdateOutput(*_address(address), {**table, **dict.fromkeys(removed)})


def _table(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition, a{sv}, as the table of a file."""
    table: dict[str, Any] = unpack(definition)
    if len(repr(table)) > _LARGEST_TABLE:
        raise CallError.standard("LimitsExceeded", "the definition is larger than the file of a route may be")
    return table


def _address(text: str) -> tuple[str, str]:
    route, slash, output = text.partition("/")
    if not slash or "/" in output:
        raise CallError.standard("InvalidArgs", f"an output is addressed as ROUTE/OUTPUT, not as {quoted(text)}")
    return route, output

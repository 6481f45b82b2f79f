"""The methods that change the configuration: what a caller sends becomes a change, a refusal becomes an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from streamd.bus.call import Call, CallError, Handler, quoted, require_short, take_options
from streamd.bus.control import Control
from streamd.bus.document import steps_document
from streamd.bus.names import MANAGER, OUTPUT, ROUTE
from streamd.bus.values import pack_document, unpack
from streamd.route.change import (
    AddOutput,
    AddRoute,
    Change,
    DisableOutput,
    DisableRoute,
    EnableOutput,
    EnableRoute,
    RemoveOutput,
    RemoveRoute,
    UpdateOutput,
    UpdateRoute,
)

_WITH_KEYS: Final = ("add", "update")
_VERBS: Final = (*_WITH_KEYS, "remove", "enable", "disable")
_LARGEST_TABLE: Final = 1 << 16
"""Characters of a definition, about: the file of a route has no reason to be larger."""


def change_handlers(control: Control, address_at: Callable[[str], str]) -> dict[tuple[str, str], Handler]:
    """Return the handlers of the methods that change routes and credentials.

    Args:
        control: what carries them out.
        address_at: returns the address of the object at a path, or raises NotFoundError.
    """
    makers: dict[str, Callable[[list[Any]], Change]] = {
        "AddRoute": lambda given: AddRoute(given[0], _table(given[1])),
        "RemoveRoute": lambda given: RemoveRoute(given[0]),
        "AddOutput": lambda given: AddOutput(*_address(given[0]), _table(given[1])),
        "UpdateRoute": _update_route,
        "EnableRoute": lambda given: EnableRoute(given[0]),
        "DisableRoute": lambda given: DisableRoute(given[0]),
        "UpdateOutput": _update,
        "RemoveOutput": lambda given: RemoveOutput(*_address(given[0])),
        "EnableOutput": lambda given: EnableOutput(*_address(given[0])),
        "DisableOutput": lambda given: DisableOutput(*_address(given[0])),
    }
    found: dict[tuple[str, str], Handler] = {
        (MANAGER, member): _handler(control, member, make) for member, make in makers.items()
    }

    for verb in ("Update", "Enable", "Disable"):
        for interface, noun in ((ROUTE, "Route"), (OUTPUT, "Output")):
            found[interface, verb] = _handler(control, f"{verb}{noun}", makers[f"{verb}{noun}"], address_at)

    async def plan_change(call: Call) -> list[Any]:
        verb, address, keys, options = call.arguments
        is_update = verb == "update"
        take_options(options, {"remove": "as"} if is_update else {})
        if verb not in _VERBS:
            raise CallError.standard("InvalidArgs", f"a change is one of {', '.join(_VERBS)}, not {quoted(verb)}")
        if keys and verb not in _WITH_KEYS:
            raise CallError.standard("InvalidArgs", f"{verb} takes no keys")
        make = makers[f"{verb.capitalize()}{'Output' if '/' in address else 'Route'}"]
        steps = await control.plan_change(make([address, keys, options]))
        return [[pack_document(step) for step in steps_document(steps)]]

    found[MANAGER, "PlanChange"] = plan_change

    async def plan_file(call: Call) -> list[Any]:
        path, text, options = call.arguments
        take_options(options, {})
        require_short(text)
        return [[pack_document(step) for step in steps_document(await control.plan_file(path, text))]]

    found[MANAGER, "PlanFile"] = plan_file

    async def set_credential(call: Call) -> list[Any]:
        name, secret, options = call.arguments
        take_options(options, {})
        await control.set_credential(name, secret)
        return []

    found[MANAGER, "SetCredential"] = set_credential
    return found


def _handler(
    control: Control,
    member: str,
    make: Callable[[list[Any]], Change],
    address_at: Callable[[str], str] | None = None,
) -> Handler:
    """Return what carries out a method of the manager, or of an object where the address is that of the object."""
    known = {"remove": "as"} if member.startswith("Update") else {}

    async def handle(call: Call) -> list[Any]:
        take_options(call.arguments[-1], known)
        given = call.arguments if address_at is None else [address_at(call.path), *call.arguments]
        await control.change(make(given))
        return []

    return handle


def _update(given: list[Any]) -> Change:
    address, keys, options = given
    table = _table(keys)
    for key in _removed(options):
        _take_away(table, key, key)
    return UpdateOutput(*_address(address), table)


def _update_route(given: list[Any]) -> Change:
    """Return the change; `input` is a table, and what goes of it is named `input.KEY`."""
    name, keys, options = given
    table = _table(keys)
    for key in _removed(options):
        head, dot, inner = key.partition(".")
        if not dot or head != "input":
            _take_away(table, key, key)
            continue
        below = table.setdefault("input", {})
        if not isinstance(below, dict):
            raise CallError.standard("InvalidArgs", "input is a table of keys")
        _take_away(below, inner, key)
    return UpdateRoute(name, table)


def _removed(options: Mapping[str, Any]) -> list[str]:
    return options["remove"].value if "remove" in options else []


def _take_away(table: dict[str, Any], key: str, shown: str) -> None:
    if table.get(key) is not None:
        raise CallError.standard("InvalidArgs", f"{quoted(shown)} is to be set and to be removed")
    table[key] = None


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

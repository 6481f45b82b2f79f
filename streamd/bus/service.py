"""org.streamd1 on the bus, from the status that the daemon publishes and the control that it offers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from streamd.bus.backlog import Backlog
from streamd.bus.call import Call, CallError, Handler, quoted, require_short, take_options
from streamd.bus.changes import change_handlers
from streamd.bus.connection import Connection
from streamd.bus.control import FEW, Control, NotFoundError
from streamd.bus.dispatch import Dispatcher
from streamd.bus.document import (
    Document,
    diagnostics_document,
    log_document,
    steps_document,
    view_document,
)
from streamd.bus.gate import Gate
from streamd.bus.names import BUS_NAME, MANAGER, OUTPUT, ROOT, ROUTE
from streamd.bus.objects import Objects
from streamd.bus.replies import StatusReplies, statistics_entries
from streamd.bus.shared import Recent, Shared
from streamd.bus.tree import Builder, addresses
from streamd.bus.values import pack_document
from streamd.bus.wire import Marshalled, documents
from streamd.plan.status import Statistics, Status
from streamd.plan.transition import Transition, transitions
from streamd.route.diagnostic import Diagnostic
from streamd.route.model import Settings
from streamd.route.name import NAME_PATTERN
from streamd.route.parse import SUFFIX, parse_route

_VERBS: Final = ("Start", "Stop", "Restart")
_MAX_DIAGNOSTICS: Final = 100
_MOST_LINES: Final = 1000
_LINES: Final = 20
"""Of a log, where nobody says how many."""
_IN_ONE_GO: Final = 100
"""Statistics that are marshalled before others get a turn."""

Check = Callable[[str, str], Sequence[Diagnostic]]
"""Returns what is wrong with a route file, from its path and its text. It is called in a thread, one at a time."""


def check_alone(path: str, text: str) -> Sequence[Diagnostic]:
    """Judge a route file by itself, with the settings that streamd has by default."""
    return parse_route(path, text, Settings()).diagnostics


class Service:
    """The D-Bus service.

    `publish` may be called at any time with a new status; `open` exports the latest one and takes the name.
    """

    def __init__(
        self, connection: Connection, control: Control, *, gate: Gate | None = None, check: Check = check_alone
    ) -> None:
        """Take the bus, what carries calls out, who decides about callers, and what judges the text of a route."""
        self._connection = connection
        self._control = control
        self._check_text = check
        self._checking = asyncio.Lock()
        self._status: Status | None = None
        self._addresses: dict[str, str] = {}
        """By path."""
        self._known: frozenset[str] = frozenset()
        """All of these."""
        self._builder = Builder()
        self._backlog = Backlog()
        self._objects = Objects(connection, control.meter)
        self._replies = StatusReplies(control.status)
        self._plans = Shared(control.plan)
        self._statistics_of_all = Recent(self._count_all)
        self._counting = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._dispatcher = Dispatcher(connection, gate or Gate(connection), self._objects, self._handlers())

    async def open(self) -> None:
        """Answer calls and own the bus name. Raises: NameTakenError, BusError."""
        self.publish(self._control.status)
        self._dispatcher.open()
        await self._connection.request_name(BUS_NAME)

    async def close(self) -> None:
        """Answer no more. The connection stays open."""
        self._backlog.drop()
        await self._dispatcher.close()
        await self._plans.close()
        await self._statistics_of_all.close()

    def publish(self, status: Status) -> None:
        """Show this status from now on, and tell listeners what is new."""
        if status is self._status:
            return
        old, self._status = self._status, status
        self._replies.replace(status)
        self._addresses = addresses(status)
        self._known = frozenset(self._addresses.values())
        self._statistics_of_all.forget()
        self._backlog.do(self._objects.replace(self._builder.build(status), self._addresses))
        self._backlog.do(partial(self._tell, found) for found in (transitions(old, status) if old else ()))

    def _tell(self, found: Transition) -> None:
        body = [str(found.address), str(found.old), str(found.new), found.reason]
        self._connection.emit(ROOT, MANAGER, "StateChanged", "ssss", body)

    def _handlers(self) -> dict[tuple[str, str], Handler]:
        found: dict[tuple[str, str], Handler] = {
            (MANAGER, "Reload"): self._reload,
            (MANAGER, "Plan"): self._plan_steps,
            (MANAGER, "GetStatus"): self._get_status,
            (MANAGER, "Check"): self._check,
            (MANAGER, "Statistics"): self._statistics,
            (MANAGER, "Viewers"): self._viewers,
            (MANAGER, "KickViewer"): self._kick_viewer,
            (MANAGER, "Log"): self._log,
        }
        found |= change_handlers(self._control, self._address_at)
        for verb in _VERBS:
            found[MANAGER, f"{verb}Output"] = self._by_address(verb, is_output=True)
            found[MANAGER, f"{verb}Route"] = self._by_address(verb, is_output=False)
            found[ROUTE, verb] = found[OUTPUT, verb] = self._on_object(verb)
        return found

    def _by_address(self, verb: str, *, is_output: bool) -> Handler:
        async def handle(call: Call) -> list[Any]:
            address, options = call.arguments
            known = take_options(options, {"no-block": "b"})
            if ("/" in address) is not is_output:
                what = (
                    "an output is addressed as ROUTE/OUTPUT" if is_output else "a route is addressed by its name alone"
                )
                raise CallError.standard("InvalidArgs", f"{what}, not as {quoted(address)}")
            if address not in self._known:
                raise NotFoundError(f"there is no {'output' if is_output else 'route'} {quoted(address)}")
            await self._act(verb)(address, wait=not known.get("no-block", False))
            return []

        return handle

    def _on_object(self, verb: str) -> Handler:
        async def handle(call: Call) -> list[Any]:
            known = take_options(call.arguments[0], {"no-block": "b"})
            await self._act(verb)(self._address_at(call.path), wait=not known.get("no-block", False))
            return []

        return handle

    def _address_at(self, path: str) -> str:
        """Return the address of an object. Raises: NotFoundError, when it went while the caller was authorised."""
        address = self._addresses.get(path)
        if address is None:
            raise NotFoundError("it is no longer there")
        return address

    def _act(self, verb: str) -> Callable[..., Awaitable[None]]:
        match verb:
            case "Start":
                return self._control.start
            case "Stop":
                return self._control.stop
            case _:
                return self._control.restart

    async def _reload(self, call: Call) -> list[Any]:
        take_options(call.arguments[0], {})
        status = await self._control.reload()
        result: Document = {
            "routes": len(status.routes),
            "outputs": status.output_count,
            "diagnostics": diagnostics_document(status.diagnostics),
        }
        return [pack_document(result)]

    async def _plan_steps(self, call: Call) -> list[Any]:
        take_options(call.arguments[0], {})
        steps = await self._plans.next()
        return [[pack_document(step) for step in steps_document(steps)]]

    async def _check(self, call: Call) -> list[Any]:
        text, options = call.arguments
        name = take_options(options, {"name": "s"}).get("name", "route")
        if not NAME_PATTERN.fullmatch(name):
            raise CallError.standard("InvalidArgs", f"{quoted(name)} is no name of a route")
        require_short(text)
        # It may take long, and everybody may ask: in a thread others get their turns, and there is never more than one.
        async with self._checking:
            found = await asyncio.to_thread(self._check_text, f"{name}{SUFFIX}", text)
        return [[pack_document(document) for document in diagnostics_document(found[:_MAX_DIAGNOSTICS])]]

    async def _statistics(self, call: Call) -> Marshalled:
        asked, options = call.arguments
        take_options(options, {})
        if asked:
            for address in asked:
                if address not in self._known:
                    raise NotFoundError(f"there is no {'output' if '/' in address else 'route'} {quoted(address)}")
            if len(asked) <= FEW:
                return await _marshalled(await self._control.statistics(asked))
            # Files are read for each in a thread: one at a time, however many ask, so that others get theirs.
            async with self._counting:
                return await _marshalled(await self._control.statistics(asked))
        return await self._statistics_of_all.get()

    async def _count_all(self) -> Marshalled:
        return await _marshalled(await self._control.statistics())

    async def _viewers(self, call: Call) -> list[Any]:
        routes, options = call.arguments
        take_options(options, {})
        for route in routes:
            if "/" in route or route not in self._known:
                raise NotFoundError(f"there is no route {quoted(route)}")
        return [pack_document(view_document(await self._control.viewers(), routes))]

    async def _kick_viewer(self, call: Call) -> list[Any]:
        viewer, options = call.arguments
        take_options(options, {})
        await self._control.kick(viewer)
        return []

    async def _log(self, call: Call) -> list[Any]:
        address, options = call.arguments
        lines = take_options(options, {"lines": "u"}).get("lines", _LINES)
        if not 1 <= lines <= _MOST_LINES:
            raise CallError.standard("InvalidArgs", f"lines is from 1 to {_MOST_LINES}")
        if address not in self._known:
            raise NotFoundError(f"there is no {'output' if '/' in address else 'route'} {quoted(address)}")
        # The journal is read in a thread: one at a time, however many ask.
        async with self._reading:
            found = await self._control.log(address, lines)
        return [[pack_document(document) for document in log_document(found)]]

    def _get_status(self, call: Call) -> Marshalled:
        options = take_options(call.arguments[0], {"address": "s"})
        if "address" not in options:
            return Marshalled(self._replies.everything())
        return Marshalled(self._replies.part(options["address"]))


async def _marshalled(statistics: Sequence[Statistics]) -> Marshalled:
    """Return the reply with these; others get their turns while it is made."""
    found = []
    for number, each in enumerate(statistics, 1):
        found.append(statistics_entries(each))
        if number % _IN_ONE_GO == 0:
            await asyncio.sleep(0)
    return Marshalled(documents(found))

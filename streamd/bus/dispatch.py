"""From a message to a reply: look the method up in the XML, check arguments and caller, run the handler."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from streamd.bus.call import Body, Call, CallError, Handler, quoted
from streamd.bus.connection import Connection, Message, MessageFlag, Variant, error_reply, ready_reply
from streamd.bus.control import ControlError
from streamd.bus.document import Document, diagnostics_document
from streamd.bus.gate import Gate
from streamd.bus.names import DBUS_ERROR, ERROR, INTROSPECTABLE, OBJECT_MANAGER, PEER, PROPERTIES, ROOT
from streamd.bus.objects import Objects
from streamd.bus.schema import Interface, Method
from streamd.bus.turns import Caller, Turns
from streamd.bus.values import clean, pack_document
from streamd.bus.wire import Marshalled

_LOG: Final = logging.getLogger(__name__)
_MACHINE_ID: Final = Path("/etc/machine-id")
_MAX_DIAGNOSTICS: Final = 100
"""Diagnostics that an error carries."""

Handlers = Mapping[tuple[str, str], Handler]
"""By interface and method."""


class Dispatcher:
    """Answers every method call that arrives, whatever it is, and never with a traceback."""

    def __init__(self, connection: Connection, gate: Gate, objects: Objects, handlers: Handlers) -> None:
        self._connection = connection
        self._gate = gate
        self._objects = objects
        self._handlers: dict[tuple[str, str], Handler] = {**self._standard_handlers(), **handlers}
        self._turns = Turns(connection, self._begin)
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin to answer calls."""
        self._turns.open()

    async def close(self) -> None:
        """Answer no more, and end what is under way."""
        await self._turns.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, caller: Caller, message: Message) -> None:
        """Answer a call at once where that is quick, otherwise in a task of its own."""
        try:
            interface, method = self._find(message)
            handler = self._handlers[interface.name, method.name]
            call = Call(
                sender=caller.name,
                path=message.path,
                interface=interface.name,
                member=method.name,
                arguments=list(message.body),
            )
            if method.access.polkit_action is None and not inspect.iscoroutinefunction(handler):
                self._answer(caller, message, method, handler(call))  # type: ignore[arg-type]
            else:
                self._start(caller, message, method, handler, call)
        except Exception as error:  # noqa: BLE001 (the edge: whatever happens becomes an error reply)
            self._refuse(caller, message, error)

    def _find(self, message: Message) -> tuple[Interface, Method]:
        """Return the method that is called. Raises: CallError."""
        at_path = self._objects.interfaces_at(message.path)
        if message.interface == PEER and not at_path:
            at_path = self._objects.interfaces_at(ROOT)  # anybody may be pinged anywhere
        if not at_path:
            raise CallError.standard("UnknownObject", f"there is no object {quoted(message.path)}")
        candidates = [interface for interface in at_path if message.interface in {None, interface.name}]
        if not candidates:
            raise CallError.standard("UnknownInterface", f"the object has no interface {quoted(message.interface)}")
        for interface in candidates:
            method = interface.methods.get(message.member)
            if method is not None:
                self._check_arguments(message, method)
                return interface, method
        raise CallError.standard("UnknownMethod", f"there is no method {quoted(message.member)}")

    @staticmethod
    def _check_arguments(message: Message, method: Method) -> None:
        if message.signature != method.takes:
            takes = f"arguments of type {method.takes}" if method.takes else "no arguments"
            got = f"not {quoted(message.signature)}" if message.signature else "not none"
            raise CallError.standard("InvalidArgs", f"{method.name} takes {takes}, {got}")
        if message.signature and not message.body:
            # The connection left out the body.
            raise CallError.standard("LimitsExceeded", "the arguments are too large")

    def _start(self, caller: Caller, message: Message, method: Method, handler: Handler, call: Call) -> None:
        if caller.busy:
            raise CallError.standard("LimitsExceeded", "too many calls under way; wait for some replies")
        task = asyncio.get_running_loop().create_task(self._run(caller, message, method, handler, call))
        caller.under_way += 1
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            caller.under_way -= 1
            self._tasks.discard(task)

        task.add_done_callback(ended)

    async def _run(self, caller: Caller, message: Message, method: Method, handler: Handler, call: Call) -> None:
        try:
            if action := method.access.polkit_action:
                interactive = bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)
                await self._gate.check(caller.name, action, interactive=interactive)
            result = handler(call)
            self._answer(caller, message, method, await result if inspect.isawaitable(result) else result)
        except asyncio.CancelledError:
            self._refuse(caller, message, CallError(f"{ERROR}.Busy", "streamd is stopping"))
            raise
        except Exception as error:  # noqa: BLE001 (the edge: whatever happens becomes an error reply)
            self._refuse(caller, message, error)

    def _answer(self, caller: Caller, message: Message, method: Method, body: Body) -> None:
        if isinstance(body, Marshalled):
            reply = ready_reply(message, method.returns, body.body)
        else:
            reply = Message.new_method_return(message, method.returns, body)
        self._turns.reply(caller, message, reply)

    def _refuse(self, caller: Caller, message: Message, error: Exception) -> None:
        more: Sequence[Document] = ()
        if isinstance(error, CallError):
            name, text = error.name, str(error)
        elif isinstance(error, ControlError):
            name, text = f"{ERROR}.{error.name}", str(error)
            more = diagnostics_document(error.diagnostics[:_MAX_DIAGNOSTICS])
        else:
            called = f"{message.interface}.{message.member}"
            _LOG.error("%s of %s failed", called, message.path, exc_info=error)
            name, text = f"{ERROR}.Failed", "streamd failed on this call; its journal tells why"
        details = Variant("aa{sv}", [pack_document(document) for document in more]) if more else None
        self._turns.reply(caller, message, error_reply(message, name, clean(text), details))

    def _standard_handlers(self) -> dict[tuple[str, str], Handler]:
        objects = self._objects

        def get_all(call: Call) -> Marshalled:
            return Marshalled(objects.all_properties(call.path, *call.arguments))

        def set_property(call: Call) -> list[Any]:
            interface, name, _value = call.arguments
            objects.property(call.path, interface, name)
            raise CallError.standard("PropertyReadOnly", f"the property {quoted(name)} cannot be set")

        return {
            (INTROSPECTABLE, "Introspect"): lambda call: [objects.introspect(call.path)],
            (PEER, "Ping"): lambda _call: [],
            (PEER, "GetMachineId"): _machine_id,
            (PROPERTIES, "Get"): lambda call: [objects.property(call.path, *call.arguments)],
            (PROPERTIES, "GetAll"): get_all,
            (PROPERTIES, "Set"): set_property,
            (OBJECT_MANAGER, "GetManagedObjects"): lambda _call: Marshalled(objects.managed()),
        }


def _machine_id(call: Call) -> list[Any]:
    del call
    try:
        return [_MACHINE_ID.read_text(encoding="ascii").strip()]
    except (OSError, UnicodeError) as error:
        raise CallError(f"{DBUS_ERROR}.FileNotFound", "this machine has no id") from error

"""A connection to the system bus: calls that always end, signals, and the bus name.

Nothing outside of this module and `transport` imports dbus-next, so that another library could take its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from dbus_next import InvalidAddressError, Message, MessageFlag, MessageType, NameFlag, Variant, errors
from dbus_next.constants import RequestNameReply

from streamd.bus.transport import Bus, ReadyMessage, bound_signature_cache, marshal

__all__ = [
    "BusError",
    "BusTimeoutError",
    "Connection",
    "DisconnectedError",
    "Message",
    "MessageFlag",
    "MessageType",
    "NameTakenError",
    "Variant",
    "connect_system_bus",
    "error_reply",
    "ready_reply",
]

_LOG: Final = logging.getLogger(__name__)
_DBUS: Final = "org.freedesktop.DBus"
_OPEN_WITHIN: Final = 25.0
"""Seconds."""
_MAX_PENDING: Final = 100
"""Calls of ours that may wait for replies; the bus allows 128."""
_UNSENDABLE: Final = (
    errors.InvalidBusNameError,
    errors.InvalidInterfaceNameError,
    errors.InvalidMemberNameError,
    errors.InvalidMessageError,
    errors.InvalidObjectPathError,
    errors.InvalidSignatureError,
    errors.SignatureBodyMismatchError,
    UnicodeError,
)
"""What is raised where a message cannot be put into bytes."""
_DISCONNECTED: Final = "the connection to the system bus is lost"


class BusError(Exception):
    """A call came back as an error; `name` is its D-Bus error name, `text` its sentence, `more` what came behind."""

    def __init__(self, name: str, text: str, more: Sequence[Any] = ()) -> None:
        super().__init__(text or name)
        self.name = name
        self.text = text
        self.more = tuple(more)


class BusTimeoutError(BusError):
    """No reply came in time."""


class DisconnectedError(BusError):
    """The connection is lost, or could not be made; nothing more can be done with it."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{_DBUS}.Error.Disconnected", text)


class NameTakenError(BusError):
    """Somebody else owns the bus name."""


def _call_message(  # noqa: PLR0917
    destination: str, path: str, interface: str, member: str, signature: str, body: Sequence[Any], flags: MessageFlag
) -> Message:
    return Message(
        destination=destination,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=list(body),
        flags=flags,
    )


class Connection:
    """One connection to a bus. Calls end in time, or with BusError, whatever happens to the bus.

    `on_call` gets every method call that arrives and its size in bytes, the handlers given to `subscribe` every signal.
    They are plain functions and must not block; start a task for more.
    """

    def __init__(self, address: str | None = None) -> None:
        bound_signature_cache()
        self._bus = Bus(address, self._deliver)
        self._pending: dict[int, asyncio.Future[Message]] = {}
        self._slots = asyncio.Semaphore(_MAX_PENDING)
        self._signal_handlers: list[Callable[[Message], None]] = []
        self.on_call: Callable[[Message, int], None] = self._refuse_call

    @property
    def unique_name(self) -> str:
        """Return the connection's own name, such as `:1.42`."""
        return str(self._bus.unique_name)

    @property
    def connected(self) -> bool:
        """Return whether messages can still be sent."""
        return not self._bus.gone

    @property
    def backlog(self) -> int:
        """Return how many bytes wait because the bus does not take them."""
        return self._bus.writer.backlog

    async def open(self) -> None:
        """Authenticate and say hello. Raises: DisconnectedError."""
        try:
            async with asyncio.timeout(_OPEN_WITHIN):
                await self._bus.connect()
        except (OSError, EOFError, errors.AuthError) as error:  # TimeoutError is an OSError
            self._bus.fail(None)
            raise DisconnectedError(f"cannot connect to the system bus: {error}") from error
        self._bus.closed.add_done_callback(self._fail_pending)

    async def wait_closed(self) -> str:
        """Wait until the connection is gone and return why; empty if `close` was called."""
        error = await asyncio.shield(self._bus.closed)
        return "" if error is None else f"{_DISCONNECTED}: {error}"

    async def close(self) -> None:
        """Send what waits, for a second at most, and disconnect."""
        if not self._bus.gone:
            try:
                async with asyncio.timeout(1):
                    await self.drained()
            except TimeoutError:
                _LOG.debug("%d bytes were not sent before the connection was closed", self.backlog)
        self._bus.fail(None)

    async def call(  # noqa: PLR0917
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        within: float = 25.0,
        flags: MessageFlag = MessageFlag.NO_AUTOSTART,
    ) -> list[Any]:
        """Call a method and return the body of its reply.

        Args:
            destination: The bus name called.
            path: The object.
            interface: The interface.
            member: The method.
            signature: The signature of `body`.
            body: The arguments; arrays and structs as lists, variants as Variant.
            within: Seconds until BusTimeoutError; waiting for a free slot counts too.
            flags: By default the call does not start a service that does not run.

        Raises:
            BusError: the reply is an error (BusTimeoutError, DisconnectedError: there is none), or the call cannot be
                sent with these arguments.
        """
        reply = await self.ask(destination, path, interface, member, signature, body, within=within, flags=flags)
        return list(reply.body)

    async def ask(  # noqa: PLR0917
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        within: float = 25.0,
        flags: MessageFlag = MessageFlag.NO_AUTOSTART,
    ) -> Message:
        """Do what `call` does and return the whole reply; its sender's signals before it have smaller serials."""
        try:
            message = _call_message(destination, path, interface, member, signature, body, flags)
            async with asyncio.timeout(within), self._slots:
                reply = await self._exchange(message)
        except TimeoutError as error:
            text = f"{destination} did not answer {member} within {within:g} s"
            raise BusTimeoutError(f"{_DBUS}.Error.NoReply", text) from error
        except _UNSENDABLE as error:
            raise BusError(f"{_DBUS}.Error.InvalidArgs", f"{member} cannot be called like this: {error}") from error
        if reply.message_type is MessageType.ERROR:
            text = reply.body[0] if reply.body and isinstance(reply.body[0], str) else ""
            raise BusError(reply.error_name, text, reply.body[1:])
        return reply

    async def _exchange(self, message: Message) -> Message:
        if self._bus.gone:
            raise DisconnectedError(_DISCONNECTED)
        message.serial = self._bus.next_serial()
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._bus.writer.schedule_write(message)
        self._pending[message.serial] = future
        try:
            return await future
        finally:
            self._pending.pop(message.serial, None)

    async def drained(self) -> None:
        """Wait until the bus has taken everything, or is gone."""
        await self._bus.writer.idle.wait()

    def send(self, message: Message) -> int:
        """Queue a reply or a signal and return its size in bytes; without a connection it is dropped."""
        if self._bus.gone:
            return 0
        if not message.serial:
            message.serial = self._bus.next_serial()
        data = marshal(message)
        self._bus.writer.put(data)
        return len(data)

    def send_call(  # noqa: PLR0917
        self, destination: str, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> None:
        """Call a method whose reply nobody needs."""
        flags = MessageFlag.NO_REPLY_EXPECTED | MessageFlag.NO_AUTOSTART
        self.send(_call_message(destination, path, interface, member, signature, body, flags))

    def emit_ready(self, path: str, interface: str, member: str, signature: str, body: bytes) -> None:
        """Send a signal whose body is marshalled already."""
        header = {"path": path, "interface": interface, "member": member, "signature": signature}
        self.send(ReadyMessage(body, message_type=MessageType.SIGNAL, **header))

    def emit(self, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()) -> None:
        """Send a signal to whoever listens."""
        self.send(Message.new_signal(path, interface, member, signature, list(body)))

    async def subscribe(self, rule: str, handler: Callable[[Message], None] | None = None) -> None:
        """Ask the bus for the signals that match `rule`, and have `handler` called.

        A handler gets the signals of all rules and picks its own, so one may serve many rules. Raises: BusError.
        """
        if handler is not None and handler not in self._signal_handlers:
            self._signal_handlers.append(handler)
        await self.call(_DBUS, "/org/freedesktop/DBus", _DBUS, "AddMatch", "s", [rule])

    async def unsubscribe(self, rule: str, handler: Callable[[Message], None] | None = None) -> None:
        """Undo `subscribe`. Raises: BusError."""
        if handler is not None and handler in self._signal_handlers:
            self._signal_handlers.remove(handler)
        await self.call(_DBUS, "/org/freedesktop/DBus", _DBUS, "RemoveMatch", "s", [rule])

    async def request_name(self, name: str) -> None:
        """Own a bus name, or fail at once. Raises: NameTakenError, BusError."""
        flags = NameFlag.DO_NOT_QUEUE.value
        (result,) = await self.call(_DBUS, "/org/freedesktop/DBus", _DBUS, "RequestName", "su", [name, flags])
        if result not in {RequestNameReply.PRIMARY_OWNER.value, RequestNameReply.ALREADY_OWNER.value}:
            raise NameTakenError(f"{_DBUS}.Error.NameHasNoOwner", f"another process owns {name} on the system bus")

    def _deliver(self, message: Message, size: int) -> None:
        try:
            if message.message_type is MessageType.METHOD_CALL:
                self.on_call(message, size)
            elif message.message_type is MessageType.SIGNAL:
                for handler in tuple(self._signal_handlers):
                    handler(message)
            elif (future := self._pending.get(message.reply_serial)) is not None:
                if not future.done():
                    future.set_result(message)
            elif self._bus.unique_name is None:
                self._bus.handle_hello(message)
        except Exception:  # noqa: BLE001 (one handler must not end the connection)
            _LOG.exception("a handler failed on %s.%s from %s", message.interface, message.member, message.sender)

    def _refuse_call(self, message: Message, size: int) -> None:
        del size
        if message.flags & MessageFlag.NO_REPLY_EXPECTED:
            return
        if message.interface == f"{_DBUS}.Peer" and message.member == "Ping":
            self.send(Message.new_method_return(message))
        else:
            self.send(Message.new_error(message, f"{_DBUS}.Error.UnknownMethod", "there is no such method here"))

    def _fail_pending(self, closed: asyncio.Future[Exception | None]) -> None:
        del closed
        for future in self._pending.values():
            if not future.done():
                future.set_exception(DisconnectedError(_DISCONNECTED))


def error_reply(call: Message, name: str, text: str, details: Variant | None = None) -> Message:
    """Return an error as the reply to a call; details follow the text."""
    if details is None:
        return Message.new_error(call, name, text)
    return Message(
        message_type=MessageType.ERROR,
        reply_serial=call.serial,
        destination=call.sender,
        error_name=name,
        signature=f"s{details.signature}",
        body=[text, details.value],
    )


def ready_reply(call: Message, signature: str, body: bytes) -> Message:
    """Return the reply to a call with a body that is marshalled already."""
    return ReadyMessage(
        body,
        message_type=MessageType.METHOD_RETURN,
        reply_serial=call.serial,
        destination=call.sender,
        signature=signature,
    )


async def connect_system_bus(address: str | None = None) -> Connection:
    """Connect to the system bus, or to the bus at `address`. Raises: DisconnectedError."""
    try:
        connection = Connection(address)
    except (OSError, InvalidAddressError) as error:
        raise DisconnectedError(f"cannot connect to the system bus: {error}") from error
    await connection.open()
    return connection

"""How messages get in and out: dbus-next's addresses, authentication and messages, on reading and writing of our own.

dbus-next 0.2.3 loses the connection when a burst of messages fills the socket, loses it again when a client sends
something it cannot read, reads without end while a client floods it, and caches every signature that it ever saw.
None of that may happen to a daemon.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Literal

from dbus_next import BusType, Message, MessageType, Variant
from dbus_next._private.constants import LITTLE_ENDIAN, PROTOCOL_VERSION, HeaderField
from dbus_next._private.marshaller import Marshaller
from dbus_next._private.unmarshaller import Unmarshaller
from dbus_next.aio import MessageBus
from dbus_next.signature import SignatureTree

_LOG: Final = logging.getLogger(__name__)
_READ_SIZE: Final = 65536
"""Bytes taken from the socket before other tasks get their turn."""
_WRITE_SIZE: Final = 65536
"""Bytes that one system call hands to the socket."""
_MAX_CALL_SIZE: Final = 1 << 18
"""Bytes; a larger method call reaches its handler without a body, since reading it would hold everybody up."""
_MAX_SIGNATURES: Final = 1000


def marshal(message: Message) -> bytes:
    """Return a message as it goes over the wire."""
    return bytes(message._marshall())  # noqa: SLF001 (dbus-next has no public name for it)


class ReadyMessage(Message):  # type: ignore[misc]
    """A reply or a signal whose body is marshalled already, in little-endian order."""

    def __init__(self, body: bytes, **header: Any) -> None:  # noqa: ANN401 (as Message takes them)
        super().__init__(**header)
        self._ready_body = body

    def _marshall(self, negotiate_unix_fd: bool = False) -> bytes:
        del negotiate_unix_fd
        fields = [
            [field.value, Variant(signature, value)]
            for field, signature, value in (
                (HeaderField.PATH, "o", self.path),
                (HeaderField.INTERFACE, "s", self.interface),
                (HeaderField.MEMBER, "s", self.member),
                (HeaderField.REPLY_SERIAL, "u", self.reply_serial),
                (HeaderField.DESTINATION, "s", self.destination),
                (HeaderField.SIGNATURE, "g", self.signature),
            )
            if value
        ]
        size = len(self._ready_body)
        head = [LITTLE_ENDIAN, self.message_type.value, self.flags.value, PROTOCOL_VERSION, size, self.serial, fields]
        header = Marshaller("yyyyuua(yv)", head)
        header.marshall()
        header.align(8)
        return bytes(header.buffer) + self._ready_body


def bound_signature_cache() -> None:
    """Limit dbus-next's cache of signatures, which clients could otherwise fill without end."""
    if not isinstance(SignatureTree._cache, BoundedCache):  # noqa: SLF001
        SignatureTree._cache = BoundedCache(SignatureTree._cache)  # noqa: SLF001


class BoundedCache(dict[str, Any]):
    """A cache that begins anew when it is full."""

    def __setitem__(self, key: str, value: Any) -> None:  # noqa: ANN401 (dbus-next has no types)
        if len(self) >= _MAX_SIGNATURES:
            self.clear()
            super().__setitem__("", SignatureTree())
        super().__setitem__(key, value)


class Writer:
    """What waits to be sent. A full socket is waited for; the backlog is counted in bytes."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queue: deque[bytes | memoryview] = deque()
        self._waiting = False
        self.backlog = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def schedule_write(self, message: Message | None = None, future: asyncio.Future[None] | None = None) -> None:
        """Queue a message of dbus-next itself; nobody waits for `future`."""
        del future
        if message is not None:
            self.put(bytes(message._marshall()))  # noqa: SLF001 (dbus-next has no public name for it)

    def put(self, data: bytes) -> None:
        """Queue a marshalled message."""
        self._queue.append(data)
        self.backlog += len(data)
        self.idle.clear()
        if not self._waiting:
            self._waiting = True
            self._bus.start_writing(self._write)

    def _write(self) -> None:
        try:
            while self._queue:
                chunk = self._gather()
                try:
                    sent = self._bus.transmit(chunk)
                except (BlockingIOError, InterruptedError):
                    sent = 0
                self.backlog -= sent
                if sent < len(chunk):
                    self._queue.appendleft(memoryview(chunk)[sent:])
                    return
        except OSError as error:
            self._bus.fail(error)
            return
        self._waiting = False
        self._bus.stop_writing()
        self.idle.set()

    def _gather(self) -> bytes | memoryview:
        parts = [self._queue.popleft()]
        size = len(parts[0])
        while self._queue and size + len(self._queue[0]) <= _WRITE_SIZE:
            parts.append(self._queue.popleft())
            size += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Reader:
    """Cuts the byte stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0

    def feed(self, data: bytes) -> list[tuple[Message, int]]:
        """Return the messages that `data` completes, with their sizes in bytes; what is not understood is left out."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._buffer += data
        messages = []
        offset = 0
        while (frame := self._frame(offset)) is not None:
            offset, content = frame
            message = self._parse(content)
            if message is not None:
                messages.append((message, len(content)))
        if offset > len(self._buffer):
            self._skip = offset - len(self._buffer)
        del self._buffer[:offset]
        return messages

    def _frame(self, start: int) -> tuple[int, bytes] | None:
        """Return where the message at `start` ends and its bytes, or None while it is incomplete."""
        buffer = self._buffer
        if len(buffer) - start < 16:
            return None
        order: Literal["little", "big"] = "little" if buffer[start] == ord("l") else "big"
        body = int.from_bytes(buffer[start + 4 : start + 8], order)
        fields = int.from_bytes(buffer[start + 12 : start + 16], order)
        head = 16 + fields + (-fields & 7)
        end = start + head + body
        if buffer[start + 1] == MessageType.METHOD_CALL.value and head + body > _MAX_CALL_SIZE:
            if len(buffer) - start < head:
                return None
            header = bytes(buffer[start : start + 4]) + bytes(4) + bytes(buffer[start + 8 : start + head])
            return end, header
        return (end, bytes(buffer[start:end])) if len(buffer) >= end else None

    @staticmethod
    def _parse(content: bytes) -> Message | None:
        try:
            return Unmarshaller(io.BytesIO(content)).unmarshall()
        except Exception as error:  # noqa: BLE001 (whatever a client sent must not end the connection)
            _LOG.warning("left out a message of %d bytes that could not be read: %s", len(content), error)
            return None


class Bus(MessageBus):  # type: ignore[misc]
    """dbus-next's bus with the transport above; it delivers every message to one callback."""

    def __init__(self, address: str | None, deliver: Callable[[Message, int], None]) -> None:
        super().__init__(address, BusType.SYSTEM)
        self._writer = Writer(self)
        self._reader = Reader()
        self._deliver = deliver
        self.closed: asyncio.Future[Exception | None] = self._loop.create_future()

    @property
    def writer(self) -> Writer:
        """Return what sends."""
        return self._writer

    @property
    def gone(self) -> bool:
        """Return whether the connection is closed or lost."""
        return self.closed.done()

    def handle_hello(self, message: Message) -> None:
        """Let dbus-next handle the reply to its own Hello; it would take a refusal for a name."""
        if message.message_type is MessageType.ERROR:
            self._finalize(ConnectionRefusedError(f"the bus refuses it: {': '.join(map(str, message.body))}"))
        else:
            self._on_message(message)

    def start_writing(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever the socket takes more."""
        self._loop.add_writer(self._fd, callback)

    def stop_writing(self) -> None:
        """Undo `start_writing`."""
        self._loop.remove_writer(self._fd)

    def transmit(self, data: bytes | memoryview) -> int:
        """Send what the socket takes and return how many bytes that was. Raises: OSError."""
        return int(self._sock.send(data))

    def fail(self, error: Exception | None) -> None:
        """Close the connection; `error` tells why, None that it was wanted."""
        # Whoever waited for the reply to Hello has gone, and asyncio would complain of an error that nobody looks at.
        self._method_return_handlers.clear()
        self._finalize(error)

    def _message_reader(self) -> None:
        try:
            data = self._sock.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._finalize(error)
            return
        if not data:
            self._finalize(EOFError("the bus closed the connection"))
            return
        for message, size in self._reader.feed(data):
            self._deliver(message, size)

    async def _auth_readline(self) -> str:
        line = b""
        while not line.endswith(b"\r\n"):
            byte = await self._loop.sock_recv(self._sock, 1)
            if not byte:
                raise EOFError("the bus closed the connection")
            line += byte
        return line[:-2].decode()

    def _finalize(self, err: Exception | None = None) -> None:
        if self.gone:
            return
        self.closed.set_result(err)
        super()._finalize(err or EOFError("the connection was closed"))
        self._writer.idle.set()
        self._disconnect_future.exception()  # looked at, so that asyncio does not complain
        with suppress(OSError):
            # It tries to send what dbus-next has left in it.
            self._stream.close()
        self._sock.close()

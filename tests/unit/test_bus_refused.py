"""A bus that does not let a client in: one error says so, and asyncio has nothing to complain of."""

from __future__ import annotations

import asyncio
import gc
import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("dbus_next")

from dbus_next import Message
from dbus_next._private.unmarshaller import Unmarshaller

from streamd.bus.connection import Connection, DisconnectedError
from streamd.bus.transport import Bus, marshal


class Gate:
    """A bus that goes so far with a client, and no farther."""

    def __init__(self, path: Path, *, says: str = "") -> None:
        self.path = path
        self.says = says
        """What it answers to Hello; where it is empty, it hangs up instead."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        while not (line := await reader.readline()).startswith(b"BEGIN"):
            writer.write(b"OK 1234\r\n" if line.startswith(b"AUTH") else b"AGREE_UNIX_FD\r\n")
        hello = Unmarshaller(io.BytesIO(await reader.read(1000))).unmarshall()
        if self.says:
            refusal = Message.new_error(hello, "org.freedesktop.DBus.Error.LimitsExceeded", self.says)
            refusal.serial = 1
            writer.write(marshal(refusal))
        writer.close()

    async def refusal(self) -> str:
        async with await asyncio.start_unix_server(self.serve, self.path):
            connection = Connection(f"unix:path={self.path}")
            with pytest.raises(DisconnectedError) as caught:
                await connection.open()
            assert not connection.connected
            await connection.close()
        return str(caught.value)


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    found: list[str] = []
    yield found
    assert found == []


def heard(work: object, complaints: list[str]) -> object:
    """Run a coroutine, and note what asyncio complains of."""

    async def act() -> object:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, about: complaints.append(about["message"]))
        found = await work  # type: ignore[misc]
        gc.collect()
        return found

    return asyncio.run(act())


@pytest.mark.parametrize("says", ["", "no more connections of yours"])
def test_it_is_told_in_one_sentence(tmp_path: Path, complaints: list[str], says: str) -> None:
    told = heard(Gate(tmp_path / "bus", says=says).refusal(), complaints)
    assert (says or "the bus closed the connection") in str(told)


def test_it_hangs_up_before_hello_is_sent(
    tmp_path: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def authenticated(_bus: Bus) -> None:
        """Be let in, and find that the bus has hung up meanwhile."""

    async def act() -> None:
        connection = Connection(f"unix:path={tmp_path / 'bus'}")
        listener.accept()[0].close()
        with pytest.raises(DisconnectedError):
            await connection.open()

    monkeypatch.setattr(Bus, "_authenticate", authenticated)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bus"))
        listener.listen()
        heard(act(), complaints)

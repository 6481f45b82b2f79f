"""What holds for every call of the D-Bus interface, whatever its arguments: the service lives, and names the error.

A case is one marshalled method call. They are made from the introspection XML, by chance right or wrong, and out of
earlier ones by changing bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import re
import subprocess
import tempfile
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from dbus_next import Message, MessageFlag, Variant
from dbus_next._private.unmarshaller import Unmarshaller

from streamd.bus.connection import BusError, Connection, DisconnectedError, connect_system_bus
from streamd.bus.control import (
    BusyError,
    ByHandError,
    ControlError,
    ExistsError,
    InvalidConfigurationError,
    NotFoundError,
)
from streamd.bus.names import BUS_NAME, MANAGER, ROOT
from streamd.bus.schema import interfaces
from streamd.bus.transport import Reader, marshal
from streamd.host.editor import Editor
from streamd.route.change import Change, Kind, Refusal
from tests.bus.conftest import start_bus
from tests.bus.stage import FakeControl, Stage, stage
from tests.fuzz.mutate import Mutator
from tests.fuzz.routes import require
from tests.unit.expectations import DATA

LONGEST_SENTENCE = 1500
LONGEST_TEXT = 100 * LONGEST_SENTENCE
"""Characters of an error's text: a sentence, and in the lines below it the diagnostics, of which a route has 100."""
WITHIN = 10.0
"""Seconds for a reply."""
LARGEST = 260_000
"""Bytes of a message."""
_REFUSALS: dict[Kind, type[ControlError]] = {
    Kind.NOT_FOUND: NotFoundError,
    Kind.EXISTS: ExistsError,
    Kind.INVALID: InvalidConfigurationError,
    Kind.BY_HAND: ByHandError,
    Kind.BUSY: BusyError,
    Kind.FAILED: ControlError,
}

NAMES = (
    *("a", "a/x", "studio-a", "studio-a/youtube", "studio-a/venue", "studio-a/x", "new", "a/new", "b"),
    *("a/y", "b/x", "empty", "", "/", "//", "a/", "/x"),
    *("a/b/c", "A", "a b", "a\n", "a\t/x", "../a", "a/../b", "%s%n", "\u202e", "é", "\ufffd", "\U0001f600", "x" * 63),
    *("x" * 64, "x" * 5000, "-a", "a-", "all", "\x7f", "null", "org.streamd1", "a.toml", "1", "0", "a/x y"),
)
OPTIONS = ("no-block", "address", "name", "remove", "interactive", "", "x", "No-Block", "no_block", "\u202e", "o" * 500)
GOOD_OPTIONS = (
    {"no-block": Variant("b", True)},
    {"address": Variant("s", "studio-a")},
    {"name": Variant("s", "a")},
    {"remove": Variant("as", ["url", "latency", "x"])},
    {"remove": Variant("as", [""] * 3000)},
)
KEYS = (
    *("url", "latency", "passphrase", "key", "mode", "limits", "enabled", "description", "ttl", "input", "output"),
    *("relay", "hooks", "removed", "credential", "streamid", "user", "password", "x", "", "a b", "x" * 200, "é", "a.b"),
)
TEXTS = (
    *("udp://127.0.0.1:6000", "udp://0.0.0.0:5000", "srt://127.0.0.1:9000", "rtmp://h/live", "rtsp://u:p@h/x", "test:"),
    *("listener", "caller", "mediamtx", "direct", "200ms", "150M", "30%", "true", "", " ", "\n", "\t", "\x01", "\x7f"),
    *(
        "'",
        '"',
        '"""',
        "\\",
        "#",
        "=",
        "[output.x]",
        "\u2028",
        "é" * 300,
        "x" * 4097,
        "x" * 70_000,
        "%s",
        "{0}",
        "$(id)",
    ),
)
NUMBERS = (0, 1, -1, 2, 127, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
_RANGES = {
    "y": (0, 255),
    "n": (-(2**15), 2**15 - 1),
    "q": (0, 2**16 - 1),
    "i": (-(2**31), 2**31 - 1),
    "u": (0, 2**32 - 1),
    "x": (-(2**63), 2**63 - 1),
    "t": (0, 2**64 - 1),
}
PATHS = (
    ROOT,
    "/",
    "/org",
    "/org/streamd1/route",
    "/org/streamd1/route/a",
    "/org/streamd1/route/studio_2da",
    "/org/streamd1/output/a/x",
    "/org/streamd1/output/studio_2da/youtube",
    "/org/streamd1/output/studio_2da",
    "/org/streamd1/output/_",
    "/a" * 100,
)
_TEMPLATE = re.compile(r"\"[^\"]*\"|(?<=route )\S+|\d+|/[^\s,]*|\n.*", re.DOTALL)


class Generator:
    """Makes calls by chance."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice

    def message(self) -> Message:
        """Return a call; most of them are nearly right."""
        dice = self._dice
        interface = dice.choice(list(interfaces().values()))
        if dice.random() < 0.7:
            interface = interfaces()[MANAGER]
        methods = list(interface.methods.values())
        member, takes = "Nothing", ""
        if methods and dice.random() < 0.97:
            method = dice.choice(methods)
            member, takes = method.name, method.takes
        path = ROOT if interface.name == MANAGER and dice.random() < 0.95 else dice.choice(PATHS)
        if dice.random() < 0.08:
            takes = "".join(self.signature() for _ in range(dice.randrange(4)))
        if dice.random() < 0.03:
            member = dice.choice(("reload", "X" * 255, "__init__", "Reload_", "Introspect", "GetAll"))
        return Message(
            destination=BUS_NAME,
            path=path,
            interface=None if dice.random() < 0.05 else "a.b" if dice.random() < 0.03 else interface.name,
            member=member,
            signature=takes,
            body=self.body(_split(takes)),
            flags=MessageFlag.NO_AUTOSTART,
            serial=1,
        )

    def body(self, takes: Sequence[str]) -> list[Any]:
        """Return arguments; the options, which are the last, are mostly such as there are."""
        dice = self._dice
        found = [self.argument(one) for one in takes]
        if takes and takes[-1] == "a{sv}" and dice.random() < 0.85:
            found[-1] = dice.choice(GOOD_OPTIONS) if dice.random() < 0.2 else {}
        if len(takes) == 3 and takes[1] == "a{sv}" and dice.random() < 0.7:
            found[1] = self.definition()
        return found

    def definition(self) -> dict[str, Any]:
        """Return the table of a route or an output that is nearly right."""
        dice = self._dice
        table: dict[str, Any] = {"url": Variant("s", dice.choice(TEXTS[:6]))} if dice.random() < 0.8 else {}
        if dice.random() < 0.4:
            table = {"input": Variant("a{sv}", table)}
            if dice.random() < 0.5:
                table["output"] = Variant("a{sv}", {dice.choice(("x", "y")): Variant("a{sv}", self.definition())})
        for _ in range(dice.choice((0, 0, 1, 2))):
            key = dice.choice(KEYS[:17])
            table[key] = dice.choice(
                (
                    Variant("s", dice.choice(TEXTS)),
                    Variant("a{sv}", {"credential": Variant("s", dice.choice(NAMES))}),
                    Variant("b", True),
                    self.variant(),
                )
            )
        return table

    def signature(self, depth: int = 0) -> str:
        """Return one complete type."""
        dice = self._dice
        kind = dice.randrange(12) if depth < 4 else dice.randrange(8)
        if kind < 8:
            return dice.choice("ybnqiuxtdsogv")
        if kind == 8:
            return f"a{self.signature(depth + 1)}"
        if kind == 9:
            return f"a{{{dice.choice('ybnqiuxtdsog')}{self.signature(depth + 1)}}}"
        return f"({''.join(self.signature(depth + 1) for _ in range(dice.randint(1, 3)))})"

    def argument(self, signature: str) -> Any:
        """Return a value for an argument of a call."""
        dice = self._dice
        if signature == "a{sv}":
            kind = dice.randrange(4)
            if kind == 0:
                return {}
            words = OPTIONS if kind == 1 else KEYS
            return {dice.choice(words): self.variant() for _ in range(dice.choice((1, 1, 1, 2, 3, 40)))}
        if signature == "as" and dice.random() < 0.05:
            return [dice.choice(NAMES)] * 20_000
        if signature == "s" and dice.random() < 0.7:
            return dice.choice(NAMES if dice.random() < 0.5 else NAMES[:9])
        return self.value(signature)

    def variant(self, depth: int = 0) -> Variant:
        dice = self._dice
        if dice.random() < 0.6:
            signature = dice.choice(("s", "s", "s", "b", "x", "t", "d", "as", "av", "a{sv}"))
        else:
            signature = self.signature(depth + 1)
        return Variant(signature, self.value(signature, depth + 1))

    def value(self, signature: str, depth: int = 0) -> Any:
        """Return a value of one complete type."""
        dice = self._dice
        first = signature[0]
        if first in _RANGES:
            low, high = _RANGES[first]
            return min(high, max(low, dice.choice(NUMBERS)))
        if first == "b":
            return dice.random() < 0.5
        if first == "d":
            return dice.choice((0.0, -0.0, 1.5, 1e308, float("inf"), float("nan")))
        if first == "s":
            return dice.choice(dice.choice((NAMES, TEXTS, KEYS)))
        if first == "o":
            return dice.choice(PATHS)
        if first == "g":
            return dice.choice(("", "s", "a{sv}", "(ii)", "aaaaas"))
        if first == "v":
            return self.variant(depth) if depth < 12 else Variant("s", "")
        if first == "(":
            return [self.value(one, depth + 1) for one in _split(signature[1:-1])]
        if signature.startswith("a{"):
            key, below = signature[2], signature[3:-1]
            return {self.value(key): self.value(below, depth + 1) for _ in range(dice.randrange(4))}
        if signature == "ay":
            return bytes(dice.randrange(256) for _ in range(dice.randrange(9)))
        size = dice.choice((0, 1, 1, 2, 5)) if depth else dice.choice((0, 1, 2, 100))
        return [self.value(signature[1:], depth + 1) for _ in range(size)]


def _split(signature: str) -> list[str]:
    """Return the complete types of a signature."""
    found = []
    at = 0
    while at < len(signature):
        end = at
        while signature[end] == "a":
            end += 1
        depth = 0
        while True:
            depth += (signature[end] in "({") - (signature[end] in ")}")
            end += 1
            if not depth:
                break
        found.append(signature[at:end])
        at = end
    return found


def read_message(case: bytes) -> Message | None:
    """Return the call that a case is, or None where no bus would carry it to the service."""
    try:
        message = Unmarshaller(io.BytesIO(case)).unmarshall()
        message.destination = BUS_NAME
        message.flags = MessageFlag.NO_AUTOSTART
        message.serial = 1
        marshal(message)
    except Exception:  # noqa: BLE001 (dbus-next raises what it likes about bytes that are no message)
        return None
    return message if message.message_type.name == "METHOD_CALL" and message.path and message.member else None


async def try_message(connection: Connection, message: Message) -> tuple[str, str]:
    """Make a call; return the error's name, or nothing, and its text. Raises: BrokenError, DisconnectedError."""
    try:
        await connection.call(
            BUS_NAME,
            message.path,
            message.interface,
            message.member,
            message.signature,
            message.body,
            within=WITHIN,
        )
    except DisconnectedError:
        raise
    except BusError as error:
        name, text = error.name, error.text
    else:
        return "", ""
    where = f"{message.member}({message.signature})"
    require("NoReply" not in name, f"{where} was not answered within {WITHIN:g} s")
    known = name.startswith(("org.freedesktop.DBus.Error.", "org.streamd1.Error."))
    require(known, f"{where} is answered by an error named {name}")
    require(text and "Traceback" not in text, f"{where}: {name} says {text[:300]!r}")
    sentence = text.partition("\n")[0]
    require(len(sentence) <= LONGEST_SENTENCE, f"{where}: {name} says {len(sentence)} characters: {text[:300]!r}")
    require(len(text) <= LONGEST_TEXT, f"{where}: {name} takes {len(text)} characters: {text[:300]!r}")
    require("its journal tells why" not in text, f"{where}: streamd failed")
    return name, text


class _Failures(logging.Handler):
    """Keeps what is logged as an error, and what carries a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            trouble = record.exc_info[1] if record.exc_info else None
            self.found.append(f"{record.getMessage()}: {trouble!r}")


@dataclass
class _Control(FakeControl):
    """Changes files as the daemon would, below a folder of its own."""

    folder: str = "/nowhere"

    async def change(self, change: Change) -> None:
        await super().change(change)
        del self.asked[:]
        result = await asyncio.to_thread(Editor(self.folder).apply, change)
        if isinstance(result, Refusal):
            raise _REFUSALS[result.kind]("\n".join((result.message, *map(str, result.diagnostics))))

    async def set_credential(self, name: str, secret: str) -> None:
        del name, secret


@dataclass
class Target:
    """The service on a private bus, called by one client, with another one who must be served meanwhile."""

    name: str = "bus"
    count: int = 0
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _failures: _Failures = field(default_factory=_Failures)
    _stage: Stage | None = None
    _address: str = ""
    _bus: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Start the bus and the service."""
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="streamd-fuzz-")))
        routes = directory / "etc/streamd/conf.d"
        routes.mkdir(parents=True)
        text = (DATA / "good/studio-a.toml").read_text()
        (routes / "studio-a.toml").write_text(text)
        self._bus, self._address = start_bus(directory, {})
        logging.getLogger("streamd").addHandler(self._failures)
        control = _Control(folder=str(directory))
        entering = self._stack.enter_async_context(stage(self._address, control=control))
        self._stage = self._loop.run_until_complete(entering)

    def close(self) -> None:
        """End both."""
        logging.getLogger("streamd").removeHandler(self._failures)
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()
        if self._bus:
            self._bus.terminate()
            self._bus.wait(10)

    def seeds(self) -> list[bytes]:
        """Return a few calls of each method."""
        generator = Generator(Random(0))
        return [marshal(generator.message()) for _ in range(200)]

    def mutated(self, case: bytes, mutator: Mutator, others: Sequence[bytes], dice: Random) -> bytes:
        """Return another call: mostly a new one."""
        if dice.random() < 0.75:
            return marshal(Generator(dice).message())[:LARGEST]
        for _ in range(20):
            changed = bytearray(case)
            for _ in range(dice.randint(1, 4)):
                changed[dice.randrange(len(changed))] = dice.choice((0, 1, 255, dice.randrange(256)))
            if read_message(bytes(changed)) is not None:
                return bytes(changed)
        return bytes(changed)

    def check(self, case: bytes) -> frozenset[Hashable]:
        """Return what the case showed. Raises: BrokenError, and whatever no input may raise."""
        for cut in (len(case) // 3, len(case)):  # whatever arrives, reading it raises nothing
            reader = Reader()
            reader.feed(case[:cut])
            reader.feed(case[cut:])
        message = read_message(case)
        if message is None:
            return frozenset()
        return self._loop.run_until_complete(self._check(message))

    async def _check(self, message: Message) -> frozenset[Hashable]:
        assert self._stage is not None
        self.count += 1
        begin = time.monotonic()
        try:
            name, text = await try_message(self._stage.client, message)
        except DisconnectedError:  # the bus itself refuses it, and whoever sent it
            require(self._stage.server.connected, "the service lost its connection")
            self._stage.client = await connect_system_bus(self._address)
            return frozenset({"refused by the bus"})
        took = time.monotonic() - begin
        require(self._stage.server.connected, "the service lost its connection")
        if self.count % 20 == 0:
            status = await self._stage.manager("GetStatus", "a{sv}", {})
            require(status["version"], "nobody else is served any more")
        failures, self._failures.found = self._failures.found, []
        require(not failures, f"{message.member}: {failures[:2]}")
        del self._stage.control.asked[:]
        what = (message.interface, message.member) if name.startswith("org.streamd1") else ()
        return frozenset({(what, name, _TEMPLATE.sub("…", text)[:100]), ("slow", took > 2.0)})

"""How long calls take at 100 routes and 1,000 outputs, alone and while another client asks for everything without end.

Run as root, in the appliance: `echo "cd /opt/streamd; python3 -m tests.bench.bus" | tests/run shell`. A private bus;
the service in a process of its own with a control that does nothing, but with the daemon's own counters, whose reports
come once a second, and with a control group for each unit; a client that loops over GetManagedObjects in another
process. Printed, never asserted. The client that measures does not look into replies: reading them is the client's own
time.

Beside each is what the bus itself takes: GetId is a call that the bus answers alone, "floor" one that a process answers
which does nothing but send the bytes of GetManagedObjects. What is small waits for what is large and stands before it
on the same wire: "Ping of the floor, flooded too" tells for how long where nothing else is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from dbus_next import Message, Variant

from streamd.bus.connection import connect_system_bus, ready_reply
from streamd.bus.names import BUS_NAME, DBUS, DBUS_PATH, MANAGER, OBJECT_MANAGER, OUTPUT, PROPERTIES, ROOT, output_path
from streamd.bus.objects import Objects
from streamd.bus.transport import marshal
from streamd.bus.tree import addresses, build
from streamd.daemon import spare_collector
from streamd.host.vitals import Ward
from streamd.plan.observed import Details, Observed, ObservedUnit
from streamd.plan.patient import Patient
from streamd.plan.progress import Report
from streamd.plan.status import Moving, Statistics, Status, UnitStatus
from streamd.plan.unit import ROOT_SLICE, Address, route_slice
from streamd.reporter import Reporter
from tests.bus.conftest import start_bus
from tests.bus.stage import STATUS, output, route, stage

SIZES = ((100, 10), (20, 10))
"""Routes, and outputs of each."""
SECONDS = 4.0
PATH = output_path("route-7", "output-3")
CALLS = {
    "Ping": (ROOT, "org.freedesktop.DBus.Peer", "Ping", "", ()),
    "GetAll of an output": (PATH, PROPERTIES, "GetAll", "s", (OUTPUT,)),
    "GetStatus of an output": (ROOT, MANAGER, "GetStatus", "a{sv}", ({"address": Variant("s", "route-7/output-3")},)),
    "GetStatus": (ROOT, MANAGER, "GetStatus", "a{sv}", ({},)),
    "GetManagedObjects": (ROOT, OBJECT_MANAGER, "GetManagedObjects", "", ()),
    "Statistics": (ROOT, MANAGER, "Statistics", "asa{sv}", ([], {})),
    "Statistics of an output": (ROOT, MANAGER, "Statistics", "asa{sv}", (["route-7/output-3"], {})),
}
GET_ID = (DBUS_PATH, DBUS, "GetId", "", ())
FLOOR_NAME = "org.freedesktop.PolicyKit1"
"""One that the policy of the private bus knows, and nobody has here."""
TREES = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


class Raw:
    """A client that sends one call at a time and only counts the bytes of the reply."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address.removeprefix("unix:path="))
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\nBEGIN\r\n")
        line = b""
        while not line.endswith(b"\r\n"):
            line += self._socket.recv(1)
        assert line.startswith(b"OK "), line
        self._serial = 0
        self._rest = b""
        self._destination = DBUS
        self.call(DBUS_PATH, DBUS, "Hello", "", ())
        self._destination = BUS_NAME

    def bare(self) -> int:
        """Ask the bus itself for something small."""
        self._destination = DBUS
        size = self.call(*GET_ID)
        self._destination = BUS_NAME
        return size

    def floor(self, name: str = "GetManagedObjects") -> int:
        """Ask the process that only sends bytes."""
        self._destination = FLOOR_NAME
        size = self.call(*CALLS[name])
        self._destination = BUS_NAME
        return size

    def call(self, path: str, interface: str, member: str, signature: str, body: tuple[object, ...]) -> int:
        """Return the size of the reply."""
        self._serial += 1
        message = Message(
            destination=self._destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            serial=self._serial,
        )
        self._socket.sendall(marshal(message))
        while True:
            kind, size = self._receive()
            if kind == 3:
                raise SystemExit(f"{member} failed")
            if kind == 2:
                return size

    def _receive(self) -> tuple[int, int]:
        head = self._take(16)
        fields = int.from_bytes(head[12:16], "little")
        size = fields + (-fields & 7) + int.from_bytes(head[4:8], "little")
        self._take(size)
        return head[1], size + 16

    def _take(self, size: int) -> bytes:
        parts, missing = [self._rest], size - len(self._rest)
        while missing > 0:
            parts.append(self._socket.recv(1 << 20))
            missing -= len(parts[-1])
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]


class Channel:
    """Reports of every unit, each time with more bytes."""

    def __init__(self, channels: Collection[str]) -> None:
        self._channels = channels
        self._total = 0
        self.opened_at = 1

    def read(self) -> Iterator[tuple[str, Report]]:
        self._total += 625_000
        report = Report(total=self._total, media=0, fps=0.0, dropped=0, duplicated=0)
        return ((channel, report) for channel in self._channels)


class Silent:
    """No journal."""

    on_line: Any = None

    def lines(self, unit: str, invocation: str) -> tuple[str, ...]:
        return ()

    def forget(self, but: Collection[str]) -> None:
        pass


async def reporter(status: Status) -> tuple[Reporter, Ward]:
    """Return what has the counters of all that is in a status, as in the daemon."""
    addresses = {thing.unit.unit: Address(*thing.address.split("/")) for thing in outputs_of(status)}
    addresses |= {found.unit.unit: Address(found.name) for found in status.routes}
    ward = Ward(Channel(list(addresses)), Silent())  # type: ignore[arg-type]
    await ward.admit(
        [
            Patient(address=found, channel=name, kind="udp", is_listener=False, stall_timeout=0)
            for name, found in addresses.items()
        ],
        Observed(units={name: ObservedUnit(name=name) for name in addresses}),
        {name: Details(status=UnitStatus(unit=name, invocation="ab" * 16), active_since=1) for name in addresses},
        (),
        {},
    )
    for _ in range(3):
        await ward.tick()
        await asyncio.sleep(0.001)  # so that reports are some time apart
    found = Reporter(None, None, ward, lambda _status: None)  # type: ignore[arg-type]
    found.status = status
    return found, ward


def outputs_of(status: Status) -> Iterator[Any]:
    for each in status.routes:
        yield from each.outputs


@contextlib.contextmanager
def control_groups(status: Status) -> Iterator[None]:
    """Make an empty control group for each unit, where that is possible."""
    root = next((tree for tree in TREES if (tree / "cgroup.procs").exists()), None)
    made: list[Path] = []
    if root is None:
        print("there are no control groups of version 2: Statistics has none to read")
    else:
        slices = root / ROOT_SLICE
        wanted = [slices, *(slices / route_slice(each.name) for each in status.routes)]
        wanted += [slices / route_slice(each.name) / each.unit.unit for each in status.routes]
        wanted += [slices / route_slice(each.route) / each.unit.unit for each in outputs_of(status)]
        made = [path for path in wanted if not path.exists()]
    try:
        for path in made:
            path.mkdir()
        yield
    finally:
        for path in reversed(made):
            path.rmdir()


def status_of(routes: int, outputs: int) -> Status:
    return Status(
        version=STATUS.version,
        routes=tuple(
            route(f"route-{r}", *(output(f"route-{r}", f"output-{o}", cause="") for o in range(outputs)))
            for r in range(routes)
        ),
    )


async def serve(address: str, routes: int, outputs: int) -> None:
    """Be the service until terminated."""
    status = status_of(routes, outputs)
    counters, ward = await reporter(status)
    async with stage(address) as it:

        async def statistics(addresses: Collection[str] = ()) -> tuple[Statistics, ...]:
            return await counters.statistics(addresses)

        it.control.statistics = statistics  # type: ignore[method-assign]
        it.control.moving = counters.meter
        it.publish(status)
        spare_collector()
        print("ready", flush=True)
        done = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
        while not done.is_set():
            await ward.tick()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await done.wait()


async def be_the_floor(address: str, routes: int, outputs: int) -> None:
    """Send the bytes of GetManagedObjects to whoever calls, without end and without a thought."""
    connection = await connect_system_bus(address)
    objects = Objects(connection, lambda _: Moving())
    status = status_of(routes, outputs)
    objects.replace(build(status), addresses(status))
    body = objects.managed()

    def reply(message: Message, _size: int) -> None:
        if message.member == "Ping":
            connection.send(Message.new_method_return(message))
        else:
            connection.send(ready_reply(message, "a{oa{sa{sv}}}", body))

    connection.on_call = reply
    await connection.request_name(FLOOR_NAME)
    print("ready", flush=True)
    await connection.wait_closed()


def ask_for_everything(address: str, whom: str) -> None:
    """Loop over GetManagedObjects until killed."""
    client = Raw(address)
    print("ready", flush=True)
    while True:
        if whom == "floor":
            client.floor()
        else:
            client.call(*CALLS["GetManagedObjects"])


def child(*argv: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.bus", *argv], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def measure(address: str, title: str, routes: int, outputs: int) -> None:
    client = Raw(address)
    with child("floor", address, str(routes), str(outputs)) as floor:
        calls: dict[str, Any] = {"GetId": client.bare, "floor": client.floor}
        calls |= {name: (lambda call=call: client.call(*call)) for name, call in CALLS.items()}
        for name, call in calls.items():
            repeat(title, name, call)
        floor.kill()


def measure_beside_floor(address: str, routes: int, outputs: int) -> None:
    """Ask the floor for something small while another client asks it for everything: both wait for the same wire."""
    client = Raw(address)
    with child("floor", address, str(routes), str(outputs)) as floor, child("flood", address, "floor") as flood:
        repeat("beside", "Ping of the floor, flooded too", lambda: client.floor("Ping"))
        flood.kill()
        floor.kill()


def repeat(title: str, name: str, call: Callable[[], int]) -> None:
    taken: list[float] = []
    size = call()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or len(taken) < 20:
        begin = time.monotonic()
        call()
        taken.append(time.monotonic() - begin)
    report(title, name, taken, f"{size / 1024:.1f} KiB")


def streamctl(address: str) -> None:
    """Run the command as a person would, start of Python and all."""
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": address}
    for argv in (["status"], ["status", "route-7/output-3"], ["list", "--names"]):
        taken = []
        for _ in range(20):
            begin = time.monotonic()
            command = [sys.executable, "-m", "streamd.ctl.main", *argv]
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            taken.append(time.monotonic() - begin)
        report("alone", f"streamctl {' '.join(argv)}", taken, "as a process")


def report(title: str, name: str, seconds: list[float], about: str) -> None:
    taken = sorted(one * 1000 for one in seconds)
    middle, late = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    print(
        f"{title:>6}  {name:<34}  p50 {middle:7.2f} ms  p99 {late:7.2f} ms  most {taken[-1]:7.2f} ms"
        f"  {len(taken):6} times  {about}",
        flush=True,
    )


def main() -> None:
    for routes, outputs in SIZES:
        with tempfile.TemporaryDirectory(prefix="streamd-bench-") as directory:
            bus, address = start_bus(Path(directory), {})
            with control_groups(status_of(routes, outputs)):
                service = child("serve", address, str(routes), str(outputs))
                print(f"{routes} routes, {routes * outputs} outputs:")
                measure(address, "alone", routes, outputs)
                streamctl(address)
                measure_beside_floor(address, routes, outputs)
                flood = child("flood", address, "streamd")
                measure(address, "beside", routes, outputs)
                flood.kill()
                flood.wait()
                service.terminate()
                service.wait()
            bus.terminate()
            bus.wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, routes, outputs]:
            asyncio.run(serve(address, int(routes), int(outputs)))
        case ["floor", address, routes, outputs]:
            asyncio.run(be_the_floor(address, int(routes), int(outputs)))
        case ["flood", address, whom]:
            ask_for_everything(address, whom)
        case _:
            main()

"""How long calls take at 100 routes and 1,000 outputs, alone and while another client asks for everything without end.

Run as root: `python3 -m tests.bench.bus`. A private bus, the service in a process of its own with a control that does
nothing, a client that loops over GetManagedObjects in another. Printed, never asserted. The client that measures does
not look into replies: reading them is the client's own time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dbus_next import Message, Variant

from streamd.bus.names import BUS_NAME, DBUS, DBUS_PATH, MANAGER, OBJECT_MANAGER, OUTPUT, PROPERTIES, ROOT, output_path
from streamd.bus.transport import marshal
from tests.bus.conftest import start_bus
from tests.bus.stage import output, route, stage

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
}


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


async def serve(address: str, routes: int, outputs: int) -> None:
    """Be the service until terminated."""
    async with stage(address) as it:
        it.publish_routes(
            *(
                route(f"route-{r}", *(output(f"route-{r}", f"output-{o}", cause="") for o in range(outputs)))
                for r in range(routes)
            )
        )
        print("ready", flush=True)
        done = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
        await done.wait()


def ask_for_everything(address: str) -> None:
    """Loop over GetManagedObjects until killed."""
    client = Raw(address)
    print("ready", flush=True)
    while True:
        client.call(*CALLS["GetManagedObjects"])


def child(*argv: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.bus", *argv], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def measure(address: str, title: str) -> None:
    client = Raw(address)
    for name, call in CALLS.items():
        taken = []
        size = client.call(*call)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or len(taken) < 20:
            begin = time.monotonic()
            client.call(*call)
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
            service = child("serve", address, str(routes), str(outputs))
            print(f"{routes} routes, {routes * outputs} outputs:")
            measure(address, "alone")
            streamctl(address)
            flood = child("flood", address)
            measure(address, "beside")
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
        case ["flood", address]:
            ask_for_everything(address)
        case _:
            main()

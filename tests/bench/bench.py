"""Measurements on the booted appliance: printed, never asserted, with ratios against a floor of the same run.

Run by `tests/run bench [SUITE]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from streamd.bus.connection import connect_system_bus
from streamd.host.systemd import Systemd
from streamd.plan.allocation import Allocation, allocate
from streamd.plan.desired import HostFacts, desire
from streamd.plan.unit import DesiredUnit
from streamd.route.model import Settings
from streamd.route.parse import parse_route

CONF = Path("/etc/streamd/conf.d")
ROUTES, OUTPUTS = 10, 20
ROUNDS = 15


def show(unit: str, name: str) -> str:
    argv = ["systemctl", "show", "--value", f"--property={name}", unit]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def until(probe: object, seconds: float = 120) -> float:
    """Return the monotonic time at which `probe` first was true."""
    deadline = time.monotonic() + seconds
    while not probe():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit("a measurement did not end in time")
        time.sleep(0.002)
    return time.monotonic()


def write(name: str, text: str) -> float:
    """Put a route in place and return the monotonic time of the rename."""
    temporary = CONF / f"{name}.new"
    temporary.write_text(text)
    moment = time.monotonic()
    temporary.rename(CONF / f"{name}.toml")
    return moment


def clear() -> None:
    for path in CONF.iterdir():
        path.unlink()
    subprocess.run(["streamctl", "reload"], check=True, capture_output=True)
    until(lambda: not outputs("active,activating,deactivating"))


def outputs(states: str = "active") -> int:
    argv = [
        "systemctl",
        "list-units",
        "--plain",
        "--no-legend",
        f"--state={states}",
        "streamd-output@*",
    ]
    return len(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines())


@contextlib.contextmanager
def packets(port: int) -> Iterator[None]:
    """Send a datagram a millisecond to the input: only when one arrives is of interest, not what is in it."""
    source = (
        "import socket,time\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
        f"while True:\n s.sendto(b'G'*1316,('127.0.0.1',{port}))\n time.sleep(0.001)\n"
    )
    sender = subprocess.Popen([sys.executable, "-c", source])
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


def rename_to_first_packet() -> None:
    execs, firsts = [], []
    write("base", '[input]\nurl = "udp://127.0.0.1:5000"\n')
    until(lambda: show("streamd-ingest@base.service", "ActiveState") == "active")
    with packets(5000):
        for number in range(ROUNDS):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
                receiver.bind(("127.0.0.1", 0))
                port = receiver.getsockname()[1]
                text = f'[input]\nurl = "udp://127.0.0.1:5000"\n[output.x{number}]\nurl = "udp://127.0.0.1:{port}"\n'
                renamed = write("base", text)
                select.select([receiver], [], [], 30)
                firsts.append(time.monotonic() - renamed)
                started = int(show(f"streamd-output@base:x{number}.service", "ExecMainStartTimestampMonotonic")) / 1e6
                execs.append(started - renamed)
    report("rename of a file to FFmpeg's exec", execs)
    report("rename of a file to the first packet received", firsts)
    clear()


def report(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    print(
        f"{what}: median {statistics.median(ordered) * 1000:.0f} ms, "
        f"fastest {ordered[0] * 1000:.0f} ms, slowest {ordered[-1] * 1000:.0f} ms ({len(ordered)} times)"
    )


def route_text(number: int) -> str:
    outputs = "".join(
        f'[output.o{index}]\nurl = "udp://127.0.0.1:{20100 + number * OUTPUTS + index}"\n' for index in range(OUTPUTS)
    )
    return f'[input]\nurl = "udp://127.0.0.1:{5000 + number}"\n{outputs}'


def two_hundred_units() -> list[DesiredUnit]:
    files = [parse_route(f"/x/floor{number}.toml", route_text(number), Settings()) for number in range(ROUTES)]
    routes = [file.route for file in files if file.route]
    groups = {route.name: f"239.255.9.{number}" for number, route in enumerate(routes, 1)}
    allocation = allocate(Allocation(groups=groups), routes, Settings(), ())
    found = desire(routes, allocation=allocation, settings=Settings(), facts=HostFacts())
    return list(found.units.values())


async def floor() -> tuple[float, float]:
    """Start the same 210 units by bare calls, stop them again; return the seconds that each took."""
    connection = await connect_system_bus()
    systemd = Systemd(connection, lambda: None)
    await systemd.open()
    units = two_hundred_units()
    begin = time.monotonic()
    await asyncio.gather(*(systemd.start(unit.name, unit.properties(systemd.version)) for unit in units))
    started = time.monotonic()
    await asyncio.gather(*(systemd.stop(unit.name) for unit in units))
    stopped = time.monotonic()
    await connection.close()
    return started - begin, stopped - started


def two_hundred_outputs() -> None:
    # Out of the floor's way: the daemon would stop units that no file asks for.
    subprocess.run(["systemctl", "stop", "streamd.service"], check=True)
    bare, _bare_stop = asyncio.run(floor())
    for number in range(ROUTES):
        write(f"many{number}", route_text(number))
    begin = time.monotonic()
    subprocess.run(["systemctl", "start", "streamd.service"], check=True)
    ours = until(lambda: outputs() == ROUTES * OUTPUTS) - begin
    print(
        f"start {ROUTES * OUTPUTS} outputs: {ours:.1f} s; bare StartTransientUnit calls: {bare:.1f} s; "
        f"ratio {ours / bare:.2f}"
    )
    idle()
    begin = time.monotonic()
    subprocess.run(["systemctl", "restart", "streamd.service"], check=True)
    print(f"restart of the daemon over {ROUTES * OUTPUTS} outputs, until it is ready: {time.monotonic() - begin:.2f} s")


def idle() -> None:
    pid = int(show("streamd.service", "MainPID"))
    subprocess.run(["streamctl", "reload"], check=True, capture_output=True)
    before = int(show("streamd.service", "CPUUsageNSec"))
    seconds = 65.0
    time.sleep(seconds)  # what is measured is a time of rest
    used = (int(show("streamd.service", "CPUUsageNSec")) - before) / 1e9
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    print(
        f"daemon at {ROUTES * OUTPUTS} outputs, at rest for {seconds:.0f} s: {100 * used / seconds:.2f} % of a core, "
        f"PSS {int(fields['Pss'].split()[0]) / 1024:.1f} MiB"
    )


def main() -> None:
    clear()
    rename_to_first_packet()
    two_hundred_outputs()
    clear()


if __name__ == "__main__":
    main()

"""How the control plane grows: 20, 200 and 1,000 outputs, with a stand-in for FFmpeg where the media would not fit.

Run by `tests/run bench SUITE scale`; to the script itself other sizes may be given as ROUTESxOUTPUTS, such as 101x20.
The stand-in sleeps; another process sends its progress reports, one a second and unit, as FFmpeg would. Printed, never
asserted. The floor is a client that makes the same StartTransientUnit calls, as many at once as the daemon does, and
nothing else.

Of more than a few hundred outputs the stand-ins, the floor's too, run without filters of system calls. systemd makes
some 36 for each process, and Linux 6.18 hung for good when it had to free those of 2,000 processes that ended together.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from streamd.bus.connection import Connection, connect_system_bus
from streamd.bus.names import BUS_NAME, MANAGER, OUTPUT, PROPERTIES, ROOT, output_path
from streamd.host.systemd import Systemd
from streamd.plan.allocation import Allocation, allocate
from streamd.plan.desired import HostFacts, desire
from streamd.plan.unit import DesiredUnit
from streamd.route.model import Settings
from streamd.route.parse import parse_route

SIZES = ((1, 20), (10, 20), (50, 20))
"""Routes, and outputs of each."""
CONF = Path("/etc/streamd/conf.d")
FFMPEG = Path("/usr/bin/ffmpeg")
REST = 60.0
"""Seconds over which the daemon's rest is measured."""
CALLS = 200
AT_ONCE = 50
"""Processes that are killed together."""
FILTERED = 400
"""Outputs that may have filters of system calls."""
DROP_INS = [Path(f"/etc/systemd/system/streamd-{kind}@.service.d/bench.conf") for kind in ("ingest", "output")]
UNFILTERED = """\
[Service]
SystemCallFilter=
SystemCallArchitectures=
RestrictAddressFamilies=
RestrictNamespaces=no
RestrictRealtime=no
MemoryDenyWriteExecute=no
LockPersonality=no
PrivateDevices=no
ProtectClock=no
ProtectHostname=no
ProtectKernelLogs=no
ProtectKernelModules=no
ProtectKernelTunables=no
"""
SERVICE = "streamd.service"

REPORT = """\
bitrate=2000.0kbits/s
total_size={total}
out_time_us=N/A
out_time_ms=N/A
out_time=N/A
dup_frames=0
drop_frames=0
speed=N/A
progress=continue
"""
"""As FFmpeg 7.1 reports of what is copied byte by byte."""
SLEEPS = "#!/bin/sh\nexec sleep infinity\n"
FAILS = "#!/bin/sh\nexit 1\n"

Incarnations = dict[str, str]


@dataclass(frozen=True)
class Row:
    """What was measured at one size."""

    outputs: int
    floor: float
    start: float
    stop: float
    adopted: float
    touched: int
    change: float
    changed: int
    rest: float
    pss: float
    grown: float
    calm: tuple[float, float]
    storm: tuple[float, float]
    status: float


def systemctl(*arguments: str) -> str:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=True).stdout


def units(kind: str = "*") -> dict[str, dict[str, str]]:
    """Return some properties of all units that streamd made, by name."""
    text = systemctl("show", "-p", "Id,InvocationID,ActiveState,ExecStart", f"streamd-{kind}@*.service")
    found = {}
    for block in text.split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if fields:
            found[fields["Id"]] = fields
    return found


def incarnations() -> Incarnations:
    return {name: fields["InvocationID"] for name, fields in units().items() if fields["ActiveState"] == "active"}


def left() -> int:
    """Return how many units of streamd there are, by one call: of many that go one may be gone before it is shown."""
    return len(systemctl("list-units", "--all", "--plain", "--no-legend", "streamd-*@*.service").splitlines())


def running() -> int:
    lines = systemctl("list-units", "--plain", "--no-legend", "--state=active", "streamd-output@*").splitlines()
    return len(lines)


def wait(what: str, probe: object, seconds: float = 900) -> float:
    """Return the monotonic time at which `probe` first was true."""
    deadline = time.monotonic() + seconds
    while not probe():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"did not happen in {seconds:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic()


def text_of(number: int, outputs: int, host: str = "127.0.0.1") -> str:
    first = 20000 + number * 20
    parts = [f'[output.o{index}]\nurl = "udp://{host}:{first + index}"\n' for index in range(outputs)]
    return f'[input]\nurl = "udp://127.0.0.1:{5000 + number}"\n{"".join(parts)}'


def wanted(routes: int, outputs: int) -> list[DesiredUnit]:
    settings = Settings()
    files = [parse_route(f"/x/route{number}.toml", text_of(number, outputs), settings) for number in range(routes)]
    parsed = [file.route for file in files if file.route]
    groups = {route.name: f"239.255.9.{number}" for number, route in enumerate(parsed, 1)}
    allocation = allocate(Allocation(groups=groups), parsed, settings, ())
    return list(desire(parsed, allocation=allocation, settings=settings, facts=HostFacts()).units.values())


async def floor(routes: int, outputs: int) -> float:
    """Start and stop the same units by bare calls; return the seconds that the start took."""
    connection = await connect_system_bus()
    systemd = Systemd(connection, lambda: None)
    await systemd.open()
    these = wanted(routes, outputs)
    begin = time.monotonic()
    await asyncio.gather(*(systemd.start(unit.name, unit.properties(systemd.version)) for unit in these))
    took = time.monotonic() - begin
    # One that has failed to start is none to stop.
    await asyncio.gather(*(systemd.stop(unit.name) for unit in these), return_exceptions=True)
    await connection.close()
    return took


@contextlib.contextmanager
def reports() -> Iterator[None]:
    """Send what FFmpegs that run would report, of all units that there are now."""
    addresses = {}
    for name, fields in units().items():
        found = re.search(r"-progress udp://([0-9.]+):([0-9]+)", fields["ExecStart"])
        if found:
            addresses[name] = (found[1], int(found[2]))
    sender = subprocess.Popen([sys.executable, __file__, "report"], stdin=subprocess.PIPE, text=True)
    assert sender.stdin
    sender.stdin.write("\n".join(f"{host} {port}" for host, port in addresses.values()))
    sender.stdin.close()
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


def send_reports() -> None:
    """Be the process that reports for all."""
    addresses = [(host, int(port)) for host, port in (line.split() for line in sys.stdin)]
    begin = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        total = 0
        while True:
            total += 250_000
            data = REPORT.format(total=total).encode()
            for number, address in enumerate(addresses):
                # Spread over the second, as they are where each has begun when it began.
                pause = begin + number / len(addresses) - time.monotonic()
                if pause > 0.01:
                    time.sleep(pause)
                sender.sendto(data, address)
            begin += 1.0


def pss() -> float:
    """Return the daemon's MiB."""
    pid = systemctl("show", "--value", "-p", "MainPID", SERVICE).strip()
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return int(dict(line.split(":", 1) for line in lines)["Pss"].split()[0]) / 1024


def spent() -> float:
    return int(systemctl("show", "--value", "-p", "CPUUsageNSec", SERVICE).strip()) / 1e9


async def calls(seconds: float = 0.0) -> tuple[float, float]:
    """Ask for one output again and again; return the median and the 99th of 100 calls, in ms."""
    connection: Connection = await connect_system_bus()
    times: list[float] = []
    begin = time.monotonic()
    path = output_path("route0", "o3")
    while len(times) < CALLS or time.monotonic() - begin < seconds:
        moment = time.monotonic()
        await connection.call(BUS_NAME, path, PROPERTIES, "GetAll", "s", [OUTPUT])
        times.append((time.monotonic() - moment) * 1000)
        await asyncio.sleep(0.02)  # a client that looks, not one that floods
    await connection.close()
    ordered = sorted(times)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


async def whole_status() -> float:
    """Return how long the reply takes that tells of everything, in ms."""
    connection: Connection = await connect_system_bus()
    times = []
    for _ in range(10):
        moment = time.monotonic()
        await connection.call(BUS_NAME, ROOT, MANAGER, "GetStatus", "a{sv}", [{}])
        times.append((time.monotonic() - moment) * 1000)
    await connection.close()
    return statistics.median(times)


def write(number: int, text: str) -> float:
    temporary = CONF / f"route{number}.new"
    temporary.write_text(text)
    moment = time.monotonic()
    temporary.rename(CONF / f"route{number}.toml")
    return moment


def be_ffmpeg(script: str) -> None:
    """Put a stand-in in FFmpeg's place, at once."""
    temporary = FFMPEG.with_suffix(".new")
    temporary.write_text(script)
    temporary.chmod(0o755)
    temporary.rename(FFMPEG)


def kill_all() -> None:
    """Kill every stand-in, some at a time: Linux 6.18 hung for good when 2,000 sandboxed processes ended together."""
    pids = subprocess.run(["pgrep", "-x", "sleep"], capture_output=True, text=True, check=True).stdout.split()
    for first in range(0, len(pids), AT_ONCE):
        batch = pids[first : first + AT_ONCE]
        subprocess.run(["kill", "-KILL", *batch], check=True)
        wait("they have ended", lambda batch=batch: not any(Path(f"/proc/{pid}").exists() for pid in batch))


def differing(before: Incarnations, after: Incarnations) -> int:
    return sum(before.get(name) != after.get(name) for name in {*before, *after})


@contextlib.contextmanager
def sandbox(count: int) -> Iterator[None]:
    """Leave the filters of system calls out where there would be too many."""
    if count <= FILTERED:
        yield
        return
    for path in DROP_INS:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(UNFILTERED)
    systemctl("daemon-reload")
    try:
        yield
    finally:
        for path in DROP_INS:
            path.unlink()
        systemctl("daemon-reload")


def measure(routes: int, outputs: int) -> Row:
    count = routes * outputs
    be_ffmpeg(SLEEPS)
    systemctl("stop", SERVICE)
    bare = asyncio.run(floor(routes, outputs))
    for number in range(routes):
        write(number, text_of(number, outputs))
    begin = time.monotonic()
    systemctl("start", SERVICE)
    start = wait("all outputs run", lambda: running() == count) - begin
    with reports():
        before = incarnations()
        begin = time.monotonic()
        systemctl("restart", SERVICE)
        adopted = time.monotonic() - begin
        touched = differing(before, incarnations())
        name = "streamd-output@route0:o0.service"
        moment = write(0, text_of(0, outputs).replace("udp://127.0.0.1:20000", "udp://127.0.0.2:20000"))
        shown = ("show", "--value", "-p", "ExecMainStartTimestampMonotonic", name)
        wait("the change is there", lambda: int(systemctl(*shown).strip() or 0) / 1e6 > moment)
        change = int(systemctl(*shown).strip()) / 1e6 - moment
        changed = differing(before, incarnations())
        subprocess.run(["streamctl", "status"], check=True, capture_output=True)
        memory, used = pss(), spent()
        time.sleep(REST)  # what is measured is a time of rest
        rest = 100 * (spent() - used) / REST
        grown = pss() - memory
        calm, status = asyncio.run(calls()), asyncio.run(whole_status())
    print(f"{count}: {bare=} {start=} {adopted=} {touched=} {change=} {changed=} {rest=} {memory=} {calm=} {status=}")
    be_ffmpeg(FAILS)
    kill_all()
    storm = asyncio.run(calls(15.0))
    print(f"{count}: {storm=}", flush=True)
    for number in range(routes):
        (CONF / f"route{number}.toml").unlink()
    begin = time.monotonic()
    wait("all are gone", lambda: not left())
    stop = time.monotonic() - begin
    return Row(count, bare, start, stop, adopted, touched, change, changed, rest, memory, grown, calm, storm, status)


def main() -> None:
    if sys.argv[1:] == ["report"]:
        send_reports()
    # While a thousand units fail and start again, systemd may say nothing for a minute.
    os.environ["SYSTEMD_BUS_TIMEOUT"] = "600"
    sizes = [(int(routes), int(each)) for routes, _x, each in (size.partition("x") for size in sys.argv[1:])]
    genuine = FFMPEG.rename(FFMPEG.with_suffix(".genuine"))
    rows = []
    try:
        for routes, outputs in sizes or SIZES:
            with sandbox(routes * outputs):
                rows.append(measure(routes, outputs))
            print(rows[-1], flush=True)
    finally:
        genuine.rename(FFMPEG)
    lines: dict[str, list[str]] = {
        "outputs": [f"{row.outputs:,}" for row in rows],
        "bare StartTransientUnit calls": [f"{row.floor:.1f} s" for row in rows],
        "from none to all running (ratio)": [f"{row.start:.1f} s ({row.start / row.floor:.2f})" for row in rows],
        "restart of the daemon, until it is ready (units touched)": [
            f"{row.adopted:.2f} s ({row.touched})" for row in rows
        ],
        "a changed line, from rename to exec (units touched)": [
            f"{row.change * 1000:.0f} ms ({row.changed})" for row in rows
        ],
        "daemon at rest": [f"{row.rest:.2f} % of a core" for row in rows],
        "daemon's PSS (growth in that time)": [f"{row.pss:.1f} MiB ({row.grown:+.1f})" for row in rows],
        "GetAll of an output, median / 99 of 100": [f"{row.calm[0]:.1f} / {row.calm[1]:.1f} ms" for row in rows],
        "the same while all outputs fail and restart": [f"{row.storm[0]:.1f} / {row.storm[1]:.1f} ms" for row in rows],
        "GetStatus of everything, median": [f"{row.status:.1f} ms" for row in rows],
        "from all files gone to no unit left": [f"{row.stop:.1f} s" for row in rows],
    }
    for number, (what, values) in enumerate(lines.items()):
        print(f"| {what} | {' | '.join(values)} |")
        if not number:
            print("| --- " * (len(values) + 1) + "|")


if __name__ == "__main__":
    main()

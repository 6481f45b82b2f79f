"""What an output costs by each way from an input to a server: the direct relay, MediaMTX's relay, and MediaMTX alone.

MediaMTX alone means its own `forward`, from 1.20 on, which needs no process for an output. Run by `tests/run bench
SUITE relay`. Ten outputs by each protocol, all of one stream of 3.6 Mbit/s, to a second MediaMTX that takes what comes
and is not counted; and how long after a kill of MediaMTX outputs send again. Printed, never asserted. CPU is that of
whole control groups. What MediaMTX takes for its copy of the stream, without outputs, is measured first and taken off.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.host import CONF, run, show, status, unit_of, wait_until, write_route
from tests.appliance.media import make_stream
from tests.bench.cost import pss_of

SERVICE = "streamd-mediamtx.service"
SINK, ALONE = "bench-sink.service", "bench-alone.service"
API = 19997
STREAM = Path("/srv/stream.ts")
"""Where an ingest may read it."""
OUTPUTS = 10
SETTLE, SECONDS = 8.0, 15.0
KILLS = 7
PROTOCOLS = ("rtmp", "srt", "rtsp")
WAYS = {"direct": 'relay = "direct"\n', "mediamtx": 'relay = "mediamtx"\n'}
ANYBODY = [{"user": "any", "permissions": [{"action": action} for action in ("publish", "read", "api")]}]
CLOSED: dict[str, object] = dict.fromkeys(("rtsp", "rtmp", "srt", "hls", "webrtc", "moq", "api", "metrics"), False)
TAKES_ALL = CLOSED | {
    "logLevel": "error",
    "authInternalUsers": ANYBODY,
    "api": True,
    "apiAddress": f"127.0.0.1:{API}",
    "rtsp": True,
    "rtspAddress": "127.0.0.1:18554",
    "rtspTransports": ["tcp"],
    "rtmp": True,
    "rtmpAddress": "127.0.0.1:11935",
    "srt": True,
    "srtAddress": "127.0.0.1:18890",
    "paths": {"all_others": {}},
}


@dataclass(frozen=True)
class Used:
    """What something took up to now, or in a time."""

    cpu: float
    """Seconds."""
    memory: float
    """MiB, PSS."""

    def __sub__(self, other: Used) -> Used:
        return Used(self.cpu - other.cpu, self.memory - other.memory)

    def __add__(self, other: Used) -> Used:
        return Used(self.cpu + other.cpu, self.memory + other.memory)


NOTHING = Used(0, 0)


def used(units: Sequence[str]) -> Used:
    total = NOTHING
    for unit in units:
        found = show(unit, "CPUUsageNSec", "MainPID")
        total += Used(int(found["CPUUsageNSec"]) / 1e9, pss_of(found["MainPID"]))
    return total


def sample(*groups: Sequence[str], paths: Sequence[str] = ()) -> tuple[list[Used], float]:
    """Return what groups of units take in a while, and the Mbit/s at which each path arrives then.

    CPU is a part of one core, memory that at the end.
    """
    time.sleep(SETTLE)  # what is measured is a time in which nothing begins or ends
    before, arrived, begin = [used(units) for units in groups], arrivals(), time.monotonic()
    time.sleep(SECONDS)
    after, now, seconds = [used(units) for units in groups], arrivals(), time.monotonic() - begin
    sizes = [now[path]["bytesReceived"] - arrived[path]["bytesReceived"] for path in paths]
    found = [Used((late.cpu - early.cpu) / seconds, late.memory) for early, late in zip(before, after, strict=True)]
    return found, sum(sizes) * 8 / max(1, len(paths)) / seconds / 1e6


@contextmanager
def mediamtx(unit: str, document: Mapping[str, object]) -> Iterator[None]:
    """Run a MediaMTX of our own; killed, it is back as soon as streamd's."""
    path = Path(f"/run/{unit}.yml")
    path.write_text(json.dumps(document))
    properties = ("Restart=always", "RestartSec=200ms", "StartLimitIntervalSec=0", "Type=exec")
    options = [f"--property={found}" for found in properties]
    run("systemd-run", f"--unit={unit}", "--quiet", "--collect", *options, "mediamtx", str(path))
    try:
        yield
    finally:
        run("systemctl", "stop", unit)


def arrivals() -> dict[str, Any]:
    """Return what the sink knows of each path; nothing while it is busy with its start."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{API}/v3/paths/list?itemsPerPage=1000", timeout=5) as answer:
            return {item["name"]: item for item in json.load(answer)["items"] if item["ready"]}
    except OSError:
        return {}


def all_arrive(names: Sequence[str]) -> None:
    wait_until(lambda: set(names) <= arrivals().keys(), 60, f"all of {names} arrive")


def none_arrives() -> None:
    wait_until(lambda: not arrivals(), 60, "nothing arrives any more")


def target(protocol: str, name: str) -> str:
    """Return an output's table for the sink."""
    table = f"[output.{name}]\n"
    if protocol == "rtmp":
        return f'{table}url = "rtmp://127.0.0.1:11935/live/{name}"\n'
    if protocol == "srt":
        return f'{table}url = "srt://127.0.0.1:18890"\nstreamid = "publish:live/{name}"\n'
    return f'{table}url = "rtsp://127.0.0.1:18554/live/{name}"\n'


def destination(protocol: str, name: str) -> dict[str, str]:
    """Return the same for MediaMTX's forward."""
    urls = {
        "rtmp": f"rtmp://127.0.0.1:11935/live#{name}",
        "srt": f"srt://127.0.0.1:18890?streamid=publish:live/{name}",
        "rtsp": f"rtsp://127.0.0.1:18554/live/{name}",
    }
    return {"dest": urls[protocol]}


def source(route: str) -> str:
    """Return the route's group on the direct relay, as MediaMTX reads it."""
    group = wait_until(lambda: (status(route) or {}).get("group"), 20, "the route has a group")
    return f"udp+mpegts://{group}?interface=lo"


def alone(forward: Sequence[Mapping[str, str]]) -> dict[str, object]:
    paths = {"bench": {"source": source("bench"), "forward": list(forward)}}
    return CLOSED | {"logLevel": "error", "paths": paths}


def row(protocol: str, way: str, outputs: Used, server: Used, mbits: float) -> None:
    total = outputs + server
    print(
        f"| {protocol} | {way} | {100 * total.cpu / OUTPUTS:.2f} % | {100 * outputs.cpu / OUTPUTS:.2f} % | "
        f"{100 * server.cpu / OUTPUTS:.2f} % | {total.memory / OUTPUTS:.1f} MiB | {mbits:.1f} |",
        flush=True,
    )


def costs() -> None:
    head = f'[input]\nurl = "file://{STREAM}"\n'
    write_route("bench", head)
    wait_until(lambda: (status("bench") or {}).get("state") == "running", 30, "the input runs")
    (base,), _ = sample((SERVICE,))
    with mediamtx(ALONE, alone(())):
        (base_alone,), _ = sample((ALONE,))
    for who, found in (("streamd's MediaMTX", base), ("MediaMTX alone", base_alone)):
        print(f"{who}, with a copy of the stream: {100 * found.cpu:.1f} % of a core, PSS {found.memory:.0f} MiB")
    print(
        f"of one output, at {OUTPUTS} outputs, over {SECONDS:.0f} s:\n"
        "| protocol | way | CPU, of a core | its process | MediaMTX | PSS | Mbit/s that arrived |\n"
        f"{'| --- ' * 7}|"
    )
    names = [f"o{number}" for number in range(OUTPUTS)]
    paths = [f"live/{name}" for name in names]
    units = [unit_of(f"bench/{name}") for name in names]
    for protocol in PROTOCOLS:
        for way, relay in WAYS.items():
            write_route("bench", relay + head + "".join(target(protocol, name) for name in names))
            all_arrive(paths)
            (outputs, server), mbits = sample(units, (SERVICE,), paths=paths)
            row(protocol, way, outputs, server - base, mbits)
            write_route("bench", head)
            none_arrives()
        with mediamtx(ALONE, alone([destination(protocol, name) for name in names])):
            all_arrive(paths)
            (server,), mbits = sample((ALONE,), paths=paths)
            row(protocol, "forward", NOTHING, server - base_alone, mbits)
        none_arrives()


def sends_again(name: str, service: str) -> float:
    """Kill a MediaMTX; return the seconds until its stream is at the sink again."""
    before = arrivals()[name]["readyTime"]
    pid = show(service, "MainPID")["MainPID"]
    time.sleep(3)  # neither is killed in the middle of its start
    killed = time.monotonic()
    run("kill", "-9", pid)
    wait_until(lambda: arrivals().get(name, {}).get("readyTime", before) != before, 60, f"{name} is back")
    return time.monotonic() - killed


def told(what: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    print(
        f"{what}: median {statistics.median(ordered):.1f} s, fastest {ordered[0]:.1f} s, slowest {ordered[-1]:.1f} s "
        f"({len(ordered)} kills)",
        flush=True,
    )


def deaths() -> None:
    head = 'relay = "mediamtx"\n[input]\nurl = "test:"\n'
    write_route("bench", head + target("rtsp", "kill"))
    all_arrive(("live/kill",))
    units = (SERVICE, unit_of("bench/kill"))
    apart = []
    for _ in range(KILLS):
        # As if the last death were long ago.
        run("systemctl", "reset-failed", *units)
        apart.append(sends_again("live/kill", SERVICE))
    told("sends again after a kill of streamd's MediaMTX", apart)
    told("the same, kills one after the other", [sends_again("live/kill", SERVICE) for _ in range(KILLS)])
    with mediamtx(ALONE, alone([destination("rtsp", "alone")])):
        all_arrive(("live/alone",))
        told("sends again after a kill of MediaMTX alone", [sends_again("live/alone", ALONE) for _ in range(KILLS)])


def clear() -> None:
    for path in CONF.iterdir():
        path.unlink()
    run("streamctl", "reload")


def main() -> None:
    if not shutil.which("mediamtx"):
        raise SystemExit("there is no mediamtx on the host's PATH")
    make_stream(STREAM)
    run("systemctl", "start", SERVICE)
    clear()
    with mediamtx(SINK, TAKES_ALL):
        if "--deaths" not in sys.argv:
            costs()
        deaths()
    clear()


if __name__ == "__main__":
    main()

"""The main job before your eyes: one test picture, outputs of every kind, each received by something that is not ours.

Runs in the booted appliance; `tests/run demo` brings it there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.host import (
    CONF,
    Incarnation,
    incarnations,
    run,
    show,
    status,
    unit_of,
    wait_until,
)
from tests.appliance.media import RtmpServer

EXAMPLE = Path("/usr/share/doc/streamd/examples/demo.toml")
OUTPUTS = ("udp", "srt-caller", "srt-listener", "rtmp", "rtsp")
EVERYBODY = ("demo", *(f"demo/{name}" for name in OUTPUTS))
WHERE = {
    "udp": "udp://127.0.0.1:6000",
    "srt-caller": "udp://127.0.0.1:7001",
    "srt-listener": "udp://127.0.0.1:7002",
    "rtmp": "rtmp://127.0.0.1:6003/live/demo",
    "rtsp": "udp://127.0.0.1:7004",
}
"""Where ffprobe finds what the receivers got."""


def title(text: str) -> None:
    print(f"\n\033[1m== {text}\033[0m", flush=True)


def command(*argv: str) -> None:
    """Run a command as one would type it, and show it."""
    print(f"\033[2m$ {' '.join(argv)}\033[0m", flush=True)
    subprocess.run(argv, check=False)


def receivers(stack: ExitStack) -> None:
    """Start what the outputs send to: nginx, srt-live-transmit and FFmpeg's RTSP listener."""
    stack.enter_context(RtmpServer(6003))
    forwards = (
        ("srt-live-transmit", "-loglevel:fatal", "srt://127.0.0.1:6001?mode=listener", "udp://127.0.0.1:7001"),
        ("srt-live-transmit", "-loglevel:fatal", "srt://127.0.0.1:6002?mode=caller", "udp://127.0.0.1:7002"),
        (
            *("ffmpeg", "-nostdin", "-loglevel", "fatal", "-rtsp_flags", "listen"),
            *("-i", "rtsp://127.0.0.1:6004/live/demo", "-map", "0", "-c", "copy", "-f", "mpegts"),
            "udp://127.0.0.1:7004?pkt_size=1316",
        ),
    )
    for argv in forwards:
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)


def watch(until: Callable[[], bool], seconds: float) -> None:
    """Show `streamctl status` each time that it says something new."""
    last = ""
    deadline = time.monotonic() + seconds
    while True:
        states = json.dumps([[it["output"], it["state"]] for it in (status("demo") or {}).get("outputs", [])])
        if states != last:
            last = states
            command("streamctl", "status", "--lines=0", "demo")
        if until():
            return
        if time.monotonic() > deadline:
            raise SystemExit("the outputs did not come up in time")
        time.sleep(0.2)


def probe(name: str) -> bool:
    """Show what arrived at one receiver."""
    entries = "stream=codec_name,codec_type,width,height,r_frame_rate,sample_rate,channels"
    argv = ("ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries", entries, WHERE[name])
    found = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout
    lines = sorted({line for line in found.splitlines() if line.strip()})
    print(f"  {name:13} {WHERE[name]:33} {'; '.join(lines) or 'NOTHING'}", flush=True)
    return any("h264" in line for line in lines) and any("aac" in line for line in lines)


def verdict(before: dict[str, Incarnation], restarted: set[str], what: str) -> bool:
    """Compare what runs with what ran; show it."""
    after = incarnations(EVERYBODY)
    changed = {address for address in EVERYBODY if before[address] != after[address]}
    for address in EVERYBODY:
        word = "restarted" if address in changed else "untouched"
        print(f"  {address:18} PID {before[address].pid} -> {after[address].pid}  {word}")
    print(f"  {what}: {'yes' if changed == restarted else 'NO'}", flush=True)
    return changed == restarted


def edit() -> bool:
    """Change one output."""
    before = incarnations(EVERYBODY)
    path = CONF / "demo.toml"
    path.write_text(path.read_text().replace("udp://127.0.0.1:6000", "udp://127.0.0.1:6010"))
    wait_until(lambda: "6010" in show(unit_of("demo/udp"), "ExecStart").get("ExecStart", ""), 10, "udp was restarted")
    wait_until(lambda: (status("demo/udp") or {}).get("state") == "running", 10, "udp runs")
    WHERE["udp"] = "udp://127.0.0.1:6010"
    return verdict(before, {"demo/udp"}, "only the edited output restarted")


def kill() -> bool:
    """Kill the daemon."""
    before = incarnations(EVERYBODY)
    daemon = show("streamd.service", "MainPID")["MainPID"]
    command("kill", "-9", daemon)
    wait_until(lambda: show("streamd.service", "MainPID")["MainPID"] not in ("0", daemon), 20, "systemd restarted it")
    wait_until(lambda: show("streamd.service", "ActiveState")["ActiveState"] == "active", 20, "it is ready")
    return verdict(before, set(), "nothing stopped when the daemon was killed")


def main() -> int:
    """Run the demo; return 0 when all of it was as it should be."""
    os.environ["COLUMNS"] = "100"
    with ExitStack() as stack:
        title("A route file: one input (a built-in picture with a tone), five outputs")
        command("grep", "-v", "-E", "^(#|$)", str(EXAMPLE))
        title("Receivers are started, the file is dropped, and the outputs come up")
        receivers(stack)
        shutil.copy(EXAMPLE, CONF)
        wait_until(lambda: bool(status("demo")), 10, "the route is known")
        watch(lambda: all(it["state"] == "running" for it in status("demo")["outputs"]), 60)
        command("systemctl", "list-units", "--no-pager", "--plain", "--no-legend", "streamd*")
        title("What arrived at each receiver, by ffprobe")
        good = [wait_until(lambda name=name: probe(name), 60, f"{name} arrives") for name in OUTPUTS]  # type: ignore[misc]
        title("One output is edited")
        good.append(edit())
        title("The daemon is killed")
        good.append(kill())
        title("And everything still arrives")
        good += [wait_until(lambda name=name: probe(name), 60, f"{name} arrives") for name in OUTPUTS]  # type: ignore[misc]
        command("streamctl", "status", "demo")
        (CONF / "demo.toml").unlink()
        run("streamctl", "reload")
    title("All as it should be" if all(good) else "SOMETHING IS WRONG")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

"""`monitor` and `top` against a service whose state changes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
from typing import Any

from streamd.bus.client import Client, NotRunningError
from streamd.bus.notice import Altered, Came, Everything, Left, Went
from streamd.ctl import main as ctl
from streamd.plan.status import State, Statistics
from tests.bus.run import ROOT, start, streamctl
from tests.bus.stage import STATUS, Stage, output, route, stage


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().rstrip("\n")


async def listening(it: Stage) -> None:
    """Return when a client has fetched all objects."""
    handlers = it.service._dispatcher._handlers
    key = ("org.freedesktop.DBus.Properties", "GetAll")
    original = handlers[key]
    reached = asyncio.Event()

    def note(call: Any) -> Any:
        asyncio.get_running_loop().call_soon(reached.set)
        return original(call)

    handlers[key] = note
    await reached.wait()
    handlers[key] = original


async def monitored(it: Stage, *argv: str) -> asyncio.subprocess.Process:
    waiting = asyncio.ensure_future(listening(it))
    process = await start(it.address, "monitor", *argv)
    await waiting
    return process


async def test_monitor_prints_a_line_for_each_change(bus: str) -> None:
    async with stage(bus) as it:
        process = await monitored(it)
        it.publish_routes(route("studio-a", output("studio-a", "youtube", State.FAILED, cause="gone")), route("empty"))
        lines = [(await line(process))[20:] for _ in range(2)]
        assert lines == ["studio-a/1st_rack: removed", "studio-a/youtube: running -> failed: gone"]
        process.send_signal(signal.SIGINT)
        _out, err = await process.communicate()
        assert (process.returncode, err) == (ctl.INTERRUPTED, b"")


async def test_monitor_as_json_of_some(bus: str) -> None:
    async with stage(bus) as it:
        process = await monitored(it, "--json", "*/new")
        it.publish_routes(route("empty"), route("b", output("b", "new", State.STARTING)))
        it.publish_routes(route("empty"), route("b", output("b", "new")))
        events = [json.loads(await line(process)) for _ in range(2)]
        assert [(event["event"], event["before"], event["state"]) for event in events] == [
            ("added", "", "starting"),
            ("state", "starting", "running"),
        ]
        assert events[1]["changed"] == {"State": "running"}
        process.terminate()
        await process.communicate()


async def test_monitor_stays_over_a_restart_of_the_daemon(bus: str) -> None:
    async with stage(bus) as it:
        process = await monitored(it)
        await it.service.close()
        await it.server.close()
        assert (await line(process)).endswith(" streamd: it left the bus; outputs go on")
        async with stage(bus) as other:
            other.publish_routes(*STATUS.routes)
            assert (await line(process)).endswith(" streamd: it is back")
        process.terminate()
        await process.communicate()


async def test_monitor_of_what_is_not_there(bus: str) -> None:
    async with stage(bus):
        found = await streamctl(bus, "monitor", "nowhere")
        assert found == (ctl.NO_SUCH_THING, "", 'streamctl: there is no route "nowhere"\n')
    text = "streamctl: streamd is not running; start it with: systemctl start streamd\n"
    for argv in (["monitor"], ["top", "-b"], ["show"]):
        assert await streamctl(bus, *argv) == (ctl.NO_DAEMON, "", text)


async def test_monitor_ends_with_the_bus(bus: str) -> None:
    async with stage(bus) as it:
        async with Client(bus) as client:
            notices = client.watch()
            assert isinstance(await anext(notices), Everything)
            client._connection._bus._sock.shutdown(2)  # type: ignore[union-attr]
            try:
                await anext(notices)
            except NotRunningError:
                pass
            else:
                raise AssertionError
        await it.settle()


async def test_a_watcher_sees_each_change_once_and_none_from_before(bus: str) -> None:
    async with stage(bus) as it:
        stop = asyncio.Event()

        async def flicker() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                it.publish_routes(
                    route("a", output("a", "x", cause=str(number)), cause=str(number)), route(f"r{number}")
                )
                await asyncio.sleep(0)
            it.publish_routes(route("a", output("a", "x", cause="end")))

        task = asyncio.create_task(flicker())
        async with Client(bus) as client:
            notices = client.watch()
            first = await anext(notices)
            assert isinstance(first, Everything)
            paths = set(first.objects)
            causes = [int(first.objects["/org/streamd1/output/a/x"]["org.streamd1.Output"]["Cause"])]
            while True:
                match await anext(notices):
                    case Came(path, _):
                        assert path not in paths
                        paths.add(path)
                    case Went(path):
                        paths.remove(path)
                    case Altered("/org/streamd1/output/a/x", _, {"Cause": cause}):
                        if cause == "end":
                            break
                        causes.append(int(cause))
                        if len(causes) == 50:
                            stop.set()
            await notices.aclose()
        assert causes == list(range(causes[0], causes[0] + len(causes)))
        await task


async def test_a_watcher_is_told_when_the_daemon_leaves_and_returns(bus: str) -> None:
    async with Client(bus) as client:
        async with stage(bus):
            notices = client.watch()
            assert isinstance(await anext(notices), Everything)
        assert isinstance(await anext(notices), Left)
        async with stage(bus):
            assert isinstance(await anext(notices), Everything)
        assert isinstance(await anext(notices), Left)
        await notices.aclose()


async def test_top_for_scripts(bus: str) -> None:
    async with stage(bus) as it:
        it.publish_routes(route("a", output("a", "x"), output("a", "y", State.STOPPED)))
        counted = Statistics(address="a/x", bitrate=5_240_000, uptime=60_000_000, cpu=7, memory=4096)
        it.control.meters["a/x"] = counted
        status, out, err = await streamctl(bus, "top", "-b", "-n", "1")
        assert (status, err) == (ctl.OK, "")
        lines = out.splitlines()
        assert lines[0].split() == ["ADDRESS", "STATE", "BIT/S", "UPTIME", "RESTARTS", "PID", "CPU%", "MEMORY"]
        assert [row.split()[0] for row in lines[1:]] == ["a", "a/x", "a/y"]
        assert lines[2].split()[1:4] == ["running", "5.2M", "1min"]
        assert lines[3].split()[1:3] == ["stopped", "-"]
        status, out, err = await streamctl(bus, "top", "--json", "-n", "2", "-d", "0.1", "a/*")
        assert (status, err) == (ctl.OK, "")
        first, _second = [json.loads(text) for text in out.splitlines()]
        assert [row["address"] for row in first["rows"]] == ["a/x", "a/y"]
        assert [first["rows"][0][key] for key in ("bitrate", "uptime", "memory")] == [5_240_000, 60_000_000, 4096]
        assert first["rows"][0]["cpu"] == 0
        assert first["rows"][1]["cpu"] is None
        status, _out, err = await streamctl(bus, "top")
        assert (status, err.count("\n")) == (ctl.FAILURE, 1)


async def test_top_on_a_terminal(bus: str) -> None:
    async with stage(bus) as it:
        it.publish_routes(*(route(f"r{n}", output(f"r{n}", "x")) for n in range(30)))
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        before = termios.tcgetattr(slave)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamd.ctl.main", "top"),
            cwd=ROOT,
            env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus, "TERM": "xterm", "LINES": "", "COLUMNS": ""},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        seen = bytearray()
        news = asyncio.Event()

        def read() -> None:
            seen.extend(os.read(master, 65536))
            news.set()

        asyncio.get_running_loop().add_reader(master, read)

        async def until(text: bytes) -> None:
            while text not in seen:
                news.clear()
                await news.wait()
            seen.clear()

        await until(b"0 above, 40 below")
        os.write(master, b"\033[B")
        await until(b"1 above, 39 below")
        os.write(master, b"c")
        await until(b"0 above, 40 below")
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 14, 60, 0, 0))
        process.send_signal(signal.SIGWINCH)
        await until(b"0 above, 50 below")
        os.write(master, b"q")
        await until(b"\033[?1049l")
        assert await process.wait() == ctl.OK
        assert termios.tcgetattr(slave) == before
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)
        os.close(slave)

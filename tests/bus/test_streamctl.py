"""streamctl as a process against the service on a private bus."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from streamd.bus.control import ControlError, DisabledError, InvalidConfigurationError
from streamd.ctl import main as ctl
from streamd.plan.status import Statistics
from streamd.plan.viewers import MediaView
from streamd.route.change import DisableRoute, UpdateRoute
from tests.bus.run import ROOT, start, streamctl
from tests.bus.stage import STATUS, State, output, route, stage


async def test_everything_that_reads(bus: str) -> None:
    async with stage(bus) as it:
        status, out, err = await streamctl(bus, "list")
        assert (status, err) == (ctl.OK, "")
        assert "studio-a/1st_rack  backoff" in out
        assert len(json.loads((await streamctl(bus, "list", "--json"))[1])) == 4

        status, out, _err = await streamctl(bus, "status")
        assert status == ctl.OK
        assert out.startswith("● streamd 1.2.3: 2 routes, 2 outputs, 1 error\n")
        assert "/etc/streamd/conf.d/b.toml:3:5: input.url: is wrong\n  url = 1\n      ^" in out
        whole = json.loads((await streamctl(bus, "status", "--json"))[1])
        assert list(whole) == ["version", "routes", "diagnostics"]

        status, out, _err = await streamctl(bus, "status", "studio-a/youtube")
        assert status == ctl.OK
        status, out, _err = await streamctl(bus, "status", "--json", "studio-a/1st_rack")
        assert status == ctl.NOT_RUNNING
        one = json.loads(out)
        assert one["route"] == "studio-a"
        assert one["output"] == "1st_rack"
        assert (one["state"], one["cause"], one["pid"]) == ("backoff", "refused", 4711)
        assert one["unit"] == "streamd-output@studio-a:1st_rack.service"
        assert one == whole["routes"][0]["outputs"][1]

        status, out, _err = await streamctl(bus, "diff")
        assert (status, out) == (ctl.OK, "Nothing would change: 1 unit stays as it is.\n")
        assert json.loads((await streamctl(bus, "diff", "--json"))[1])[0]["action"] == "keep"
        assert {asked[0] for asked in it.control.asked} == {"plan", "statistics"}


async def test_status_shows_what_moves_and_the_end_of_the_log(
    bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "journalctl"
    fake.write_text('#!/bin/sh\nfor word; do echo "log of $word"; done\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    async with stage(bus) as it:
        counted = Statistics(address="studio-a/youtube", bitrate=5_240_000, memory=12 << 20, restarts=2)
        it.control.meters["studio-a/youtube"] = counted
        status, out, err = await streamctl(bus, "status", "studio-a/youtube")
        assert (status, err) == (ctl.OK, "")
        assert "     Bitrate: 5.2 Mbit/s\n" in out
        assert "      Memory: 12.0M\n" in out
        assert "CPU" not in out
        assert "\n\nlog of --no-pager\n" in out
        assert out.endswith("log of UNIT=streamd-output@studio-a:youtube.service\n")
        assert "log of --lines=10\n" in out
        assert "log of --lines=3\n" in (await streamctl(bus, "status", "-n3", "studio-a/youtube"))[1]
        assert "log of" not in (await streamctl(bus, "status", "--lines=0", "studio-a/youtube"))[1]
        assert "log of" not in (await streamctl(bus, "status"))[1]
        assert "5.2 Mbit/s" in (await streamctl(bus, "list"))[1]
        one = json.loads((await streamctl(bus, "status", "--json", "studio-a/youtube"))[1])
        assert one["statistics"] == {"bitrate": 5_240_000, "memory": 12 << 20}
        a_route = json.loads((await streamctl(bus, "status", "--json", "studio-a"))[1])
        assert a_route["statistics"] == {}
        assert a_route["outputs"][0] == one
        # A route is as well as the worst of its outputs.
        assert (await streamctl(bus, "status", "-n0", "studio-a"))[0] == ctl.NOT_RUNNING
        it.publish_routes(route("b", output("b", "x", State.WAITING), output("b", "y", State.STOPPED)))
        assert (await streamctl(bus, "status", "-n0", "b", "b/x"))[0] == ctl.OK
        assert (await streamctl(bus, "status", "-n0", "b/y"))[0] == ctl.NOT_RUNNING


async def test_everything_that_acts(bus: str) -> None:
    async with stage(bus) as it:
        assert await streamctl(bus, "stop", "studio-a/youtube", "empty") == (ctl.OK, "", "")
        assert sorted(it.control.asked) == [("stop", "empty", True), ("stop", "studio-a/youtube", True)]
        it.control.asked.clear()
        status, out, _err = await streamctl(bus, "start", "--no-block", "--json", "studio-a/youtube")
        assert status == ctl.OK
        assert json.loads(out)[0]["address"] == "studio-a/youtube"
        assert it.control.asked == [("start", "studio-a/youtube", False)]
        it.control.asked.clear()
        assert (await streamctl(bus, "restart", "studio-a"))[0] == ctl.OK
        status, out, _err = await streamctl(bus, "reload")
        assert status == ctl.FAILURE
        assert "input.url: is wrong" in out
        assert it.control.asked == [("restart", "studio-a", True), ("reload",)]


async def test_everything_that_configures_tells_what_came_of_it(bus: str) -> None:
    async with stage(bus) as it:
        status, out, err = await streamctl(bus, "set", "studio-a", "description=A", "input.url=test:", "input.latency=")
        assert (status, err) == (ctl.OK, "")
        assert out == "studio-a: running\n"
        change = UpdateRoute("studio-a", {"description": "A", "input": {"url": "test:", "latency": None}})
        assert it.control.asked == [("change", change)]
        it.control.asked.clear()
        status, out, _err = await streamctl(bus, "disable", "*")
        assert (status, out) == (ctl.OK, "studio-a: running\nempty: running\n")
        assert it.control.asked == [("change", DisableRoute("studio-a")), ("change", DisableRoute("empty"))]
        status, out, _err = await streamctl(bus, "enable", "--json", "empty")
        assert [thing["address"] for thing in json.loads(out)] == ["empty"]
        status, out, _err = await streamctl(bus, "add", "studio-a/1st_rack", "udp://192.0.2.1:5004")
        assert out.splitlines() == [
            "studio-a/1st_rack: backoff: refused, udp://192.0.2.1:5004",
            "See how it goes on with: streamctl status studio-a/1st_rack",
        ]
        assert (await streamctl(bus, "rm", "empty"))[1] == "empty: removed\n"
        status, out, err = await streamctl(bus, "set", "studio-a", "output.youtube.ttl=4")
        assert (status, out, err.count("\n")) == (ctl.USAGE, "", 1)


async def test_the_secret_of_what_is_there_is_not_replaced_by_an_add(bus: str, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("abcd\n")
    async with stage(bus) as it:
        status, _out, err = await streamctl(
            bus, "add", "studio-a/youtube", "--key-file", str(secret), "rtmp://192.0.2.1/live"
        )
        assert (status, err) == (
            ctl.FAILURE,
            "streamctl: there is studio-a/youtube already, see: streamctl cat studio-a\n",
        )
        assert it.control.asked == []
        await streamctl(bus, "add", "studio-a/other", "--key-file", str(secret), "rtmp://192.0.2.1/live")
        assert it.control.asked[0] == ("set_credential", "studio-a.other.key", 4)


async def test_a_change_waits_a_little_until_its_state_is_known(bus: str) -> None:
    async with stage(bus) as it:
        it.publish_routes(route("a", output("a", "x", State.STARTING)))
        process = await start(bus, "enable", "a/x")
        await it.control.reached.wait()
        it.publish_routes(route("a", output("a", "x")))
        out, err = await process.communicate()
        assert (out, err) == (b"a/x: running\n", b"")


async def test_failures_have_a_sentence_and_a_status(bus: str) -> None:
    async with stage(bus) as it:
        assert await streamctl(bus, "status", "nowhere") == (
            ctl.NO_SUCH_THING,
            "",
            'streamctl: there is no route "nowhere"\n',
        )
        status, _out, err = await streamctl(bus, "start", "studio-a/youtube", "studio-a/nowhere")
        assert (status, err) == (ctl.NO_SUCH_THING, 'streamctl: there is no output "studio-a/nowhere"\n')
        it.control.error = DisabledError("studio-a/youtube is disabled by its file")
        status, _out, err = await streamctl(bus, "start", "studio-a/youtube")
        assert (status, err) == (ctl.FAILURE, "streamctl: studio-a/youtube is disabled by its file\n")
        it.control.error = RuntimeError("secret")
        status, _out, err = await streamctl(bus, "reload")
        assert status == ctl.FAILURE
        assert "secret" not in err
        it.control.error = None
        status, _out, err = await streamctl(bus, "stop", "studio-a", nobody=True)
        assert status == ctl.DENIED
        assert err.count("\n") == 1
        assert (await streamctl(bus, "list", nobody=True))[0] == ctl.OK


async def test_what_is_wrong_with_a_change_is_told_as_check_tells_it(bus: str) -> None:
    async with stage(bus) as it:
        wrong = STATUS.diagnostics[0]
        other = replace(wrong, span=replace(wrong.span, line=4), key="input.mode", message="is wrong too", line_text="")
        text = "route b would not be valid: input.url: is wrong"
        it.control.error = InvalidConfigurationError(text, (wrong, other))
        status, out, err = await streamctl(bus, "set", "studio-a", "description=A")
        assert (status, out) == (ctl.FAILURE, "")
        assert err == (
            "/etc/streamd/conf.d/b.toml:3:5: input.url: is wrong\n  url = 1\n      ^~~\n\n"
            "/etc/streamd/conf.d/b.toml:4:5: input.mode: is wrong too\n\n"
            "streamctl: the change was refused: 2 errors\n"
        )


async def test_a_daemon_that_does_not_run_is_said_in_one_line(bus: str) -> None:
    for argv in (["list"], ["status"], ["stop", "a/b"], ["reload"]):
        assert await streamctl(bus, *argv) == (
            ctl.NO_DAEMON,
            "",
            "streamctl: streamd is not running; start it with: systemctl start streamd\n",
        )


async def test_on_a_terminal_there_are_colours_in_80_columns(bus: str) -> None:
    async with stage(bus) as it:
        it.publish(STATUS)
        for no_color, expected in (("", True), ("1", False)):
            master, slave = pty.openpty()
            environment = {"DBUS_SYSTEM_BUS_ADDRESS": bus, "NO_COLOR": no_color, "COLUMNS": "80", "TERM": "xterm"}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "streamd.ctl.main", "list"),
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=slave,
            )
            os.close(slave)
            assert await process.wait() == ctl.OK
            text = os.read(master, 65536)
            os.close(master)
            assert (b"\033[32m" in text) is expected


@pytest.mark.parametrize("verb", ["logs"])
async def test_logs_run_journalctl(bus: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "journalctl"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\ngrep SigIgn: /proc/self/status >&2\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    async with stage(bus):
        status, out, err = await streamctl(bus, verb, "studio-a", "-n", "3")
        assert status == ctl.OK
        assert not int(err.split()[1], 16) >> (signal.SIGPIPE - 1) & 1, "it ends with whoever reads it"
        assert out.splitlines() == [
            "--lines=3",
            "STREAMD_ROUTE=studio-a",
            "+",
            "UNIT=streamd-ingest@studio-a.service",
            "+",
            "UNIT=streamd-output@studio-a:1st_rack.service",
            "+",
            "UNIT=streamd-output@studio-a:youtube.service",
        ]
    status, out, _err = await streamctl(bus, verb, "studio-a")
    assert status == ctl.OK
    assert "STREAMD_ROUTE=studio-a" in out


async def test_viewers(bus: str) -> None:
    async with stage(bus) as it:
        status, out, err = await streamctl(bus, "viewers")
        assert (status, err) == (ctl.OK, "")
        assert out.startswith("○ empty: nothing arrives; nobody watches\n● studio-a: H264, MPEG-4 Audio; 2 viewers\n")
        assert "srt   192.0.2.7:4000" in out
        found = json.loads((await streamctl(bus, "viewers", "--json", "studio-a"))[1])
        assert [path["route"] for path in found["paths"]] == ["studio-a"]
        assert found["paths"][0]["viewers"][0]["rtt"] == 12.5
        assert json.loads((await streamctl(bus, "viewers", "--json", "stud*"))[1]) == found
        assert (await streamctl(bus, "viewers", "x*"))[::2] == (ctl.NO_SUCH_THING, 'streamctl: nothing matches "x*"\n')
        assert (await streamctl(bus, "viewers", "studio-*/*"))[0] == ctl.USAGE
        assert (await streamctl(bus, "viewers", "nobody"))[::2] == (
            ctl.NO_SUCH_THING,
            'streamctl: there is no route "nobody"\n',
        )

        it.control.view = MediaView(problem="MediaMTX is not installed")
        text = "streamctl: MediaMTX is not installed; to install it, as root: streamctl install-mediamtx\n"
        assert await streamctl(bus, "viewers") == (ctl.FAILURE, "", text)
        status, out, err = await streamctl(bus, "viewers", "--json")
        assert (status, json.loads(out)["problem"], err) == (ctl.FAILURE, "MediaMTX is not installed", "")


async def test_kick(bus: str) -> None:
    async with stage(bus) as it:
        assert await streamctl(bus, "kick", "1b", "2c") == (ctl.OK, "", "")
        assert it.control.asked == [("kick", "1b"), ("kick", "2c")]
        it.control.error = ControlError('nobody watches who is called "3d"')
        assert (await streamctl(bus, "kick", "3d"))[::2] == (
            ctl.FAILURE,
            'streamctl: nobody watches who is called "3d"\n',
        )

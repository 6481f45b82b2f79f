"""streamctl on many things at once: patterns, properties, and whoever needs a password."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamd.bus.control import DisabledError
from streamd.bus.names import CONTROL
from streamd.ctl import main as ctl
from tests.bus.run import AS_NOBODY, ROOT, start, streamctl
from tests.bus.stage import State, output, route, stage
from tests.bus.test_gate import polkit

ROUTES = (
    route("studio-a", output("studio-a", "youtube"), output("studio-a", "rack")),
    route("studio-b", output("studio-b", "youtube", State.BACKOFF, cause="refused")),
    route("pub", output("pub", "youtube")),
)


async def test_patterns_act_on_what_they_match(bus: str) -> None:
    async with stage(bus) as it:
        it.publish_routes(*ROUTES)
        for verb in ("start", "stop", "restart"):
            it.control.asked.clear()
            assert await streamctl(bus, verb, "studio-*/youtube") == (ctl.OK, "", "")
            assert sorted(it.control.asked) == [(verb, "studio-a/youtube", True), (verb, "studio-b/youtube", True)]
        it.control.asked.clear()
        status, out, _err = await streamctl(bus, "stop", "--json", "*", "studio-a/rack", "studio-?")
        assert status == ctl.OK
        assert {asked[1] for asked in it.control.asked} == {"studio-a", "studio-b", "pub", "studio-a/rack"}
        assert [thing["address"] for thing in json.loads(out)] == ["studio-a", "studio-b", "pub", "studio-a/rack"]


async def test_a_pattern_that_matches_nothing_does_nothing(bus: str) -> None:
    async with stage(bus) as it:
        it.publish_routes(*ROUTES)
        for verb in ("start", "stop", "restart", "status", "show"):
            missed = 'streamctl: nothing matches "nowhere-*/youtube"\n'
            assert await streamctl(bus, verb, "pub", "nowhere-*/youtube") == (ctl.NO_SUCH_THING, "", missed)
        assert {asked[0] for asked in it.control.asked} <= {"statistics"}


async def test_a_pattern_for_more_than_the_daemon_takes_at_once(bus: str) -> None:
    async with stage(bus) as it:
        it.publish_routes(route("r", *(output("r", f"o{n}") for n in range(100))))
        assert await streamctl(bus, "restart", "r/*") == (ctl.OK, "", "")
        assert len(it.control.asked) == 100


async def test_each_failure_is_said(bus: str) -> None:
    async with stage(bus) as it:
        it.publish_routes(*ROUTES)
        it.control.error = DisabledError("it is disabled by its file")
        status, _out, err = await streamctl(bus, "start", "studio-*/youtube")
        assert (status, err) == (ctl.FAILURE, "streamctl: it is disabled by its file\n" * 2)


async def test_status_of_several(bus: str) -> None:
    async with stage(bus) as it:
        it.publish_routes(*ROUTES)
        status, out, _err = await streamctl(bus, "status", "*/youtube", "pub")
        assert status == ctl.NOT_RUNNING
        assert [block.split(" ")[1].strip() for block in out.split("\n\n")[:3]] == [
            "studio-a/youtube",
            "studio-b/youtube",
            "pub/youtube",
        ]
        status, out, _err = await streamctl(bus, "status", "--json", "pub*/*")
        assert status == ctl.OK
        assert [thing["address"] for thing in json.loads(out)] == ["pub/youtube"]
        found = await streamctl(bus, "status", "pub", "studio-a/no")
        assert found == (ctl.NO_SUCH_THING, "", 'streamctl: there is no output "studio-a/no"\n')


async def test_names_alone(bus: str) -> None:
    async with stage(bus) as it:
        it.publish_routes(*ROUTES)
        _status, out, _err = await streamctl(bus, "list", "--names")
        names = ["studio-a", "studio-a/youtube", "studio-a/rack", "studio-b", "studio-b/youtube", "pub", "pub/youtube"]
        assert out.splitlines() == names
        assert json.loads((await streamctl(bus, "list", "--names", "--json"))[1]) == names


async def test_show_is_what_the_bus_tells(bus: str) -> None:
    async with stage(bus) as it:
        _status, out, err = await streamctl(bus, "show", "studio-a/1st_rack")
        assert err == ""
        shown = dict(line.split("=", 1) for line in out.splitlines())
        path = "/org/streamd1/output/studio_2da/_31st_5frack"
        found = await it.call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", "org.streamd1.Output")
        assert list(shown) == list(found)
        assert (shown["State"], shown["Enabled"], shown["PID"]) == ("backoff", "yes", "4711")
        assert json.loads((await streamctl(bus, "show", "--json", "studio-a/1st_rack"))[1]) == found

        _status, out, _err = await streamctl(bus, "show", "-p", "PID,State", "-p", "Unit", "studio-a")
        assert out == "State=running\nUnit=streamd-ingest@studio-a.service\nPID=4700\n"
        _status, out, _err = await streamctl(bus, "show", "-p", "PID", "--value", "studio-a", "studio-a/youtube")
        assert out == "4700\n\n4711\n"
        _status, out, _err = await streamctl(bus, "show", "-p", "Version", "-p", "Outputs")
        assert out == "Version=1.2.3\nOutputs=2\n"
        _status, out, _err = await streamctl(bus, "show", "--json", "-p", "State", "studio-a/*")
        assert json.loads(out) == [{"State": "running"}, {"State": "backoff"}]


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        (["nowhere"], ctl.NO_SUCH_THING, 'there is no route "nowhere"'),
        (["studio-a/no"], ctl.NO_SUCH_THING, 'there is no output "studio-a/no"'),
        (["studio-a", "-p", "Stat"], ctl.FAILURE, 'there is no property "Stat", did you mean "State"?'),
    ],
)
async def test_show_of_what_is_not_there(bus: str, argv: list[str], status: int, text: str) -> None:
    async with stage(bus):
        assert await streamctl(bus, "show", *argv) == (status, "", f"streamctl: {text}\n")


FAKE_AGENT = """#!/bin/sh
{ echo "$@"; tr '\\0' ' ' < /proc/$PPID/cmdline; echo; } > "$AGENT_LOG"
eval "exec $2>&-"
trap 'echo ended >> "$AGENT_LOG"; exit' TERM
while :; do sleep 0.05; done
"""


@pytest.fixture
def agent() -> Iterator[Path]:
    """A directory that nobody can use, with an agent in it."""
    with tempfile.TemporaryDirectory(prefix="streamd-agent-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        program = directory / "pkttyagent"
        program.write_text(FAKE_AGENT)
        program.chmod(0o755)
        yield directory


async def with_agent(bus: str, directory: Path, *argv: str) -> tuple[int, str]:
    """Run streamctl as nobody on a terminal; return its status and what the fake agent noted."""
    log = directory / "log"
    forget(log)
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(*AS_NOBODY, sys.executable, "-m", "streamd.ctl.main", *argv),
        cwd=ROOT,
        env={
            **os.environ,
            "DBUS_SYSTEM_BUS_ADDRESS": bus,
            "PATH": f"{directory}:{os.environ['PATH']}",
            "AGENT_LOG": str(log),
        },
        stdin=slave,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(slave)
    status = await process.wait()
    os.close(master)
    return status, noted(log)


def forget(log: Path) -> None:
    log.unlink(missing_ok=True)


def noted(log: Path) -> str:
    return log.read_text() if log.exists() else ""


async def test_on_a_terminal_polkits_agent_runs_while_it_is_needed(bus: str, agent: Path) -> None:
    async with stage(bus), polkit(bus, lambda _action: (True, False)) as fake:
        status, note = await with_agent(bus, agent, "stop", "studio-a/youtube")
        assert status == ctl.OK
        assert note.startswith("--notify-fd ")
        assert note.split("\n")[0].endswith(" --fallback")
        assert "streamd.ctl.main stop" in note
        assert note.endswith("ended\n")
        assert fake.asked[0][2:] == (CONTROL, 1)


async def test_nobody_is_asked_where_nobody_wants_that(bus: str, agent: Path) -> None:
    async with stage(bus), polkit(bus, lambda _action: (True, False)) as fake:
        assert await with_agent(bus, agent, "stop", "--no-ask-password", "studio-a/youtube") == (ctl.OK, "")
        assert await with_agent(bus, agent, "list") == (ctl.OK, "")
        process = await start(bus, "reload", nobody=True)
        await process.communicate()
        assert [asked[3] for asked in fake.asked] == [0, 0]


async def test_who_may_not_is_told_once(bus: str) -> None:
    async with stage(bus) as it, polkit(bus, lambda _action: (False, False)) as fake:
        it.publish_routes(*ROUTES)
        status, _out, err = await streamctl(bus, "stop", "*/*", nobody=True)
        assert status == ctl.DENIED
        assert err.count("\n") == 1
        assert len(fake.asked) == 1


async def test_who_may_is_asked_about_each(bus: str) -> None:
    async with stage(bus) as it, polkit(bus, lambda _action: (True, False)) as fake:
        it.publish_routes(route("r", *(output("r", f"o{n}") for n in range(40))))
        assert await streamctl(bus, "stop", "r/*", nobody=True) == (ctl.OK, "", "")
        assert len(it.control.asked) == len(fake.asked) == 40

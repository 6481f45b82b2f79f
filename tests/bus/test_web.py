"""streamd-web against the service on a private bus: what it asks, what it tells, and that it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed, so that streamd-web is NOT TESTED")
pytest.importorskip("streamd.web", reason="streamd-web is not installed, so that it is NOT TESTED")

import httpx

from streamd.bus.control import InvalidConfigurationError
from streamd.host.webkeys import KeyRing, Role, add_key
from streamd.plan.status import Statistics
from streamd.route.change import AddOutput, AddRoute, RemoveOutput, RemoveRoute, UpdateOutput, UpdateRoute
from streamd.web.app import make_app
from streamd.web.gateway import Gateway
from streamd.web.hub import Hub, Pace
from streamd.web.link import BusLink
from streamd.web.session import Sessions
from tests.bus.stage import DIAGNOSTIC, STATUS, State, output, route, stage

PACE = Pace(settle=0.01, pause=0.02, count=0.1, retry=0.05)


@asynccontextmanager
async def web(bus: str, path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Gateway]]:
    link = BusLink(bus)
    file = path / "keys.toml"
    secret = add_key("test", Role.ADMIN, file)
    ring = KeyRing(file)
    gateway = Gateway(link=link, hub=Hub(link, "epoch", PACE), ring=ring, sessions=Sessions(b"s", ring.named))
    running = asyncio.create_task(gateway.hub.run())
    transport = httpx.ASGITransport(app=make_app(gateway))
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway", headers={"x-api-key": secret}
        ) as client:
            yield client, gateway
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await link.close()


async def test_it_tells_what_there_is(bus: str, tmp_path: Path) -> None:
    async with stage(bus) as it, web(bus, tmp_path) as (client, _gateway):
        it.control.meters["studio-a/youtube"] = Statistics(address="studio-a/youtube", bitrate=5_240_000)
        answer = await client.get("/api/inputs")
        assert answer.status_code == 200
        first, second = answer.json()["inputs"]
        assert (first["id"], second["id"]) == ("studio-a", "empty")
        assert [(each["id"], each["state"]) for each in first["outputs"]] == [
            ("youtube", "running"),
            ("1st_rack", "backoff"),
        ]
        assert first["outputs"][0]["statistics"] == {"bitrate": 5_240_000}
        assert (await client.get("/api/inputs/studio-a")).json() == first
        assert (await client.get("/api/plan")).json()["steps"][0]["action"] == "keep"
        assert (await client.get("/api/system/status")).json()["diagnostics"][0]["message"] == "is wrong"
        viewers = (await client.get("/api/system/mediamtx/status")).json()
        assert viewers["paths"][1]["viewers"][0]["rtt"] == 12.5
        assert "streamd_up 1\n" in (await client.get("/metrics")).text


async def test_it_asks_for_what_it_is_asked(bus: str, tmp_path: Path) -> None:
    async with stage(bus) as it, web(bus, tmp_path) as (client, _gateway):
        await client.post("/api/inputs/studio-a/outputs/youtube/stop")
        await client.post("/api/inputs/studio-a/restart?wait=false")
        table = {"input": {"url": "test:"}, "output": {"x": {"url": "udp://192.0.2.1:1", "ttl": 4, "enabled": False}}}
        await client.post("/api/inputs", json={"id": "c", **table})
        await client.post("/api/inputs/empty/outputs", json={"id": "x", "url": "srt://192.0.2.1:9000", "tags": ["a"]})
        await client.patch("/api/inputs/empty", json={"description": None, "input": {"url": "test:", "latency": None}})
        await client.delete("/api/inputs/studio-a/outputs/youtube")
        answer = await client.put("/api/credentials/venue", json={"secret": "correct-horse"})
        assert answer.status_code == 204
        assert [asked for asked in it.control.asked if asked[0] != "statistics"] == [
            ("stop", "studio-a/youtube", True),
            ("restart", "studio-a", False),
            ("change", AddRoute("c", table)),
            ("change", AddOutput("empty", "x", {"url": "srt://192.0.2.1:9000", "tags": ["a"]})),
            ("change", UpdateRoute("empty", {"description": None, "input": {"url": "test:", "latency": None}})),
            ("change", RemoveOutput("studio-a", "youtube")),
            ("set_credential", "venue", 13),
        ]
        it.control.asked.clear()
        plan = await client.patch("/api/inputs/studio-a/outputs/youtube?dry-run=true", json={"ttl": None, "x": 1})
        assert plan.json()["steps"][0]["action"] == "keep"
        await client.delete("/api/inputs/studio-a?dry-run=true")
        log = await client.get("/api/inputs/studio-a/outputs/youtube/log?lines=7")
        assert log.json() == {"lines": [{"time": 1, "priority": 3, "text": "refused"}]}
        assert [asked for asked in it.control.asked if asked[0] != "statistics"] == [
            ("plan_change", UpdateOutput("studio-a", "youtube", {"x": 1, "ttl": None})),
            ("plan_change", RemoveRoute("studio-a")),
            ("log", "studio-a/youtube", 7),
        ]
        it.control.error = InvalidConfigurationError("route b would not be valid", (DIAGNOSTIC,))
        answer = await client.patch("/api/inputs/empty", json={"enabled": False})
        assert (answer.status_code, answer.json()["detail"]) == (422, "route b would not be valid")
        assert answer.json()["diagnostics"][0] == {
            "path": "/etc/streamd/conf.d/b.toml",
            "line": 3,
            "column": 5,
            "length": 4,
            "key": "input.url",
            "message": "is wrong",
            "text": "url = 1",
        }
        assert (await client.post("/api/inputs/nobody/start")).status_code == 404


async def test_who_only_looks_leaves_room_for_whoever_stops_something(bus: str, tmp_path: Path) -> None:
    async with stage(bus) as it, web(bus, tmp_path) as (client, _gateway):
        it.control.hold = asyncio.Event()
        paths = ["/api/inputs/studio-a/log", "/api/plan", "/api/system/mediamtx/status"]
        async with asyncio.TaskGroup() as tasks:
            looks = [tasks.create_task(client.get(path)) for path in paths * 40]
            await it.control.reached.wait()
            change = {"description": "x"}
            looks += [tasks.create_task(client.patch("/api/inputs/empty?dry-run=true", json=change)) for _ in range(40)]
            stop = tasks.create_task(client.post("/api/inputs/studio-a/stop"))
            async with asyncio.timeout(20):
                while ("stop", "studio-a", True) not in it.control.asked and not stop.done():
                    it.control.reached.clear()
                    await it.control.reached.wait()
            it.control.hold.set()
        assert stop.result().status_code == 200
        assert {look.result().status_code for look in looks} == {200}


async def test_it_follows_changes_and_the_daemons_restart(bus: str, tmp_path: Path) -> None:
    async with web(bus, tmp_path) as (client, gateway):
        assert (await client.get("/api/inputs")).status_code == 503
        async with aclosing(gateway.hub.follow("", lambda: True)) as told:

            async def until(event: str, words: str) -> None:
                async for each in told:
                    if each.event == event and words in each.text:
                        return

            async with stage(bus) as it:
                await until("daemon", '"running":true')
                it.publish(
                    replace(STATUS, routes=(route("studio-a", output("studio-a", "youtube", State.FAILED, cause="x")),))
                )
                await until("removed", "empty")
                await until("changed", '"failed"')
                found = (await client.get("/api/inputs/studio-a/outputs/youtube")).json()
                assert (found["state"], found["cause"]) == ("failed", "x")
            await until("daemon", '"running":false')
            assert (await client.get("/api/inputs")).status_code == 503
            assert (await client.post("/api/inputs/studio-a/start")).status_code == 503
            async with stage(bus):
                await until("daemon", '"running":true')
                assert (await client.post("/api/inputs/studio-a/start")).status_code == 200

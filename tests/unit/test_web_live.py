"""Live updates: a snapshot, then changes, by both ways; who comes back, who is slow, who may no longer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamd.web", reason="streamd-web is not installed, so that it is NOT TESTED")

from streamd.host.webkeys import revoke_key
from streamd.web import hub, mirror
from streamd.web.hub import Hub, Told
from streamd.web.mirror import Change, History
from tests.unit.web import QUICK, FakeDaemon, Place, Wire, place, wire

OURS = {"origin": "http://gateway"}


@asynccontextmanager
async def running() -> AsyncIterator[tuple[FakeDaemon, Hub]]:
    daemon = FakeDaemon()
    found = Hub(daemon, "epoch", QUICK)
    task = asyncio.create_task(found.run())
    try:
        async with asyncio.timeout(20):
            await found.current()
            yield daemon, found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def after(told: Any, *events: str) -> Told:
    """Return the next of these events."""
    async with asyncio.timeout(10):
        async for each in told:
            if each.event in events:
                return each  # type: ignore[no-any-return]
    raise AssertionError("it ended")


def test_a_snapshot_and_then_changes() -> None:
    async def check() -> None:
        async with running() as (daemon, it), aclosing(it.follow("", lambda: True)) as told:
            first = await anext(told)
            assert (first.event, first.id) == ("snapshot", it.history.name(it.history.last))
            snapshot = json.loads(first.text)
            assert [thing["address"] for thing in snapshot["things"]] == list(it.view.things)
            assert snapshot["running"]
            assert len(snapshot["diagnostics"]) == 1
            assert json.loads((await after(told, "statistics")).text)[0]["bitrate"] == 5_000_000
            daemon.output("studio-a/venue")["state"] = "running"
            daemon.alter()
            changed = await after(told, "changed", "snapshot", "removed")
            assert json.loads(changed.text)["address"] == "studio-a/venue"
            assert changed.id == it.history.name(it.history.last)
            assert (await after(told, "beat")).id == ""
            daemon.leave()
            assert json.loads((await after(told, "daemon")).text) == {"running": False, "version": "1.2.3"}
            daemon.running = True
            assert json.loads((await after(told, "daemon")).text)["running"]

    asyncio.run(check())


def test_much_that_changes_at_once_is_looked_at_once() -> None:
    async def check() -> None:
        async with running() as (daemon, it), aclosing(it.follow("", lambda: True)) as told:
            await anext(told)
            before = daemon.looks
            for number in range(100):
                daemon.output("studio-a/venue")["restarts"] = number + 1
                daemon.alter()
            while json.loads((await after(told, "changed")).text)["restarts"] != 100:
                pass
            assert daemon.looks - before < 10

    asyncio.run(check())


def test_counters_are_asked_for_only_while_somebody_follows() -> None:
    async def check() -> None:
        async with running() as (daemon, it):
            await asyncio.sleep(3 * QUICK.count)
            assert daemon.counts == 0
            async with aclosing(it.follow("", lambda: True)) as told:
                await after(told, "statistics")
                assert it.followers == 1
            assert it.followers == 0
            assert daemon.counts >= 1

    asyncio.run(check())


def test_who_comes_back_misses_nothing_and_hears_nothing_twice() -> None:
    async def check() -> None:
        async with running() as (_daemon, it):
            async with aclosing(it.follow("", lambda: True)) as told:
                last = (await anext(told)).id
            for number in (1, 2, 3):
                it.history.add(Change("changed", {"address": "x", "number": number}))
            async with aclosing(it.follow(last, lambda: True)) as told:
                found = [await after(told, "changed", "snapshot") for _ in range(3)]
            assert [json.loads(each.text)["number"] for each in found] == [1, 2, 3]
            async with aclosing(it.follow(found[1].id, lambda: True)) as told:
                assert json.loads((await anext(told)).text)["number"] == 3
            for unknown in ("other-1", "epoch-999999", "nonsense"):
                async with aclosing(it.follow(unknown, lambda: True)) as told:
                    assert (await anext(told)).event == "snapshot"

    asyncio.run(check())


def test_a_slow_follower_is_told_everything_anew() -> None:
    async def check() -> None:
        async with running() as (_daemon, it), aclosing(it.follow("", lambda: True)) as told:
            await anext(told)
            for number in range(mirror.KEPT + 1):
                it.history.add(Change("changed", {"address": "x", "number": number}))
            assert (await after(told, "changed", "snapshot")).event == "snapshot"

    asyncio.run(check())


def test_what_is_kept_does_not_grow_with_followers() -> None:
    history = History("e")
    for number in range(3 * mirror.KEPT):
        history.add(Change("changed", number))
    assert len(history.since(history.last - mirror.KEPT) or ()) == mirror.KEPT
    assert history.since(history.last - mirror.KEPT - 1) is None


def test_server_sent_events(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            async with wire(it.app, "http", "/api/events", it.by("observer")) as events:
                start = await events.next()
                headers = dict(start["headers"])
                assert start["status"] == 200
                assert headers[b"content-type"].startswith(b"text/event-stream")
                assert headers[b"x-accel-buffering"] == b"no"
                assert (await events.next())["body"] == b"retry: 2000\n\n"
                name, event, data = (await events.next())["body"].decode().rstrip("\n").split("\n")
                assert (event, json.loads(data.removeprefix("data: "))["running"]) == ("event: snapshot", True)
                assert it.gateway.hub.followers == 1
                events.incoming.put_nowait({"type": "http.disconnect"})
                await events.task  # it ends by itself
            assert it.gateway.hub.followers == 0
            it.gateway.hub.history.add(Change("changed", {"address": "x"}))
            back = {**it.by("observer"), "last-event-id": name.removeprefix("id: ")}
            async with wire(it.app, "http", "/api/events", back) as events:
                await events.next()
                await events.next()
                assert b'event: changed\ndata: {"address":"x"}\n\n' in (await events.next())["body"]

    asyncio.run(check())


async def opened(it: Place, live: Wire) -> dict[str, Any]:
    """Open a WebSocket and return its first message."""
    live.incoming.put_nowait({"type": "websocket.connect"})
    assert (await live.next())["type"] == "websocket.accept"
    return json.loads((await live.next())["text"])  # type: ignore[no-any-return]


def test_the_websocket(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            await it.ask("GET", "/api/inputs")
            async with wire(it.app, "websocket", "/api/live", it.by("observer")) as live:
                first = await opened(it, live)
                assert list(first) == ["event", "id", "data"]
                assert first["event"] == "snapshot"
                live.incoming.put_nowait({"type": "websocket.receive", "text": "hello"})
                it.daemon.output("studio-a/venue")["state"] = "failed"
                it.daemon.alter()
                while (message := json.loads((await live.next())["text"]))["event"] != "changed":
                    pass
                assert message["data"]["state"] == "failed"
                live.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
                async with asyncio.timeout(10):
                    while not live.task.done():
                        if not live.outgoing.empty():
                            live.outgoing.get_nowait()
                        await asyncio.sleep(0)
            assert it.gateway.hub.followers == 0
            async with wire(it.app, "websocket", f"/api/live?since={message['id']}", it.by("observer")) as live:
                assert (await opened(it, live))["event"] in {"statistics", "beat"}, "nothing was missed"

    asyncio.run(check())


def test_a_websocket_needs_a_key_and_a_page_of_ours(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("POST", "/api/session", None, json={"key": it.keys["observer"]})
            cookie = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
            for headers, lets_in in (
                ({}, False),
                ({"x-api-key": "wrong"}, False),
                (cookie, False),
                ({**cookie, "origin": "http://evil.example"}, False),
                ({**cookie, **OURS}, True),
                (it.by("observer"), True),
            ):
                async with wire(it.app, "websocket", "/api/live", headers) as live:
                    live.incoming.put_nowait({"type": "websocket.connect"})
                    expected = "websocket.accept" if lets_in else "websocket.close"
                    assert (await live.next())["type"] == expected, headers
            async with wire(it.app, "websocket", "/api/nothing", it.by("observer")) as live:
                live.incoming.put_nowait({"type": "websocket.connect"})
                assert (await live.next())["type"] == "websocket.close"

    asyncio.run(check())


def test_whose_key_is_revoked_follows_no_longer(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it, wire(it.app, "websocket", "/api/live", it.by("operator")) as live:
            await opened(it, live)
            revoke_key("the-operator", it.path)
            while (message := await live.next())["type"] == "websocket.send":
                pass
            assert (message["type"], message["code"]) == ("websocket.close", 1008)

    asyncio.run(check())


def test_a_session_that_ends_ends_what_it_follows(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("POST", "/api/session", None, json={"key": it.keys["observer"]})
            headers = {"cookie": answer.headers["set-cookie"].partition(";")[0], **OURS}
            async with wire(it.app, "websocket", "/api/live", headers) as live:
                await opened(it, live)
                assert (await it.ask("DELETE", "/api/session", None, headers=OURS)).status_code == 204
                while (message := await live.next())["type"] == "websocket.send":
                    pass
                assert message["code"] == 1008

    asyncio.run(check())


def test_json_is_one_line() -> None:
    assert hub.encode({"a": "x\ny\u2028"}) == '{"a":"x\\ny\u2028"}'
    assert "\n" not in hub.encode("\r\n")

"""Who watches what: what MediaMTX's API answers, what is made of it, and what becomes of an API that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from streamd.ctl.style import Style
from streamd.ctl.viewing import render_viewers
from streamd.host.mediaapi import MediaApi, MediaApiError, Pulse
from streamd.plan.viewers import MediaView, PathView, Viewer, lists_wanted, view_paths
from streamd.route.model import Listen

# As 1.9.3 and 1.20.1 answered, shortened.
OLD_PATHS = [
    {
        "name": "b",
        "ready": True,
        "readyTime": "2026-11-25T02:19:26Z",
        "tracks": ["H264", "MPEG-4 Audio"],
        "bytesReceived": 5,
        "bytesSent": 7,
        "readers": [{"type": "rtspSession", "id": "r1"}, {"type": "hlsMuxer", "id": ""}],
    },
    {"name": "a", "ready": False, "readyTime": None, "tracks": [], "bytesReceived": 0, "bytesSent": 0, "readers": []},
]
NEW_PATHS = [
    {
        "name": "b",
        "available": True,
        "availableTime": "2026-11-25T02:19:26Z",
        "tracks2": [{"codec": "H264"}],
        "tracks": ["H264"],
        "inboundBytes": 5,
        "outboundBytes": 7,
        "readers": [
            {"type": "srtConn", "id": "s1"},
            {"type": "hidden", "id": ""},
            {"type": "hlsSession", "id": "h1"},
            {"type": "newSession", "id": "n1"},
        ],
    }
]
RTSP = {"id": "r1", "created": "2026-11-25T02:19:26.989086004Z", "remoteAddr": "127.0.0.1:4", "bytesSent": 9}
SRT = {
    "id": "s1",
    "created": "2026-11-25T03:19:26+01:00",
    "remoteAddr": "[::1]:5",
    "bytesSent": 11,
    "msRTT": 1.5,
    "packetsSendLoss": 2,
    "packetsRetrans": 3,
    "mbpsSendRate": 4.5,
    "mbpsLinkCapacity": 100,
}


def test_old_versions() -> None:
    assert lists_wanted(OLD_PATHS) == ["rtspsessions"]
    assert view_paths(OLD_PATHS, {"rtspsessions": [RTSP]}) == (
        PathView(route="a", ready=False),
        PathView(
            route="b",
            ready=True,
            since=1795573166000000,
            tracks=("H264", "MPEG-4 Audio"),
            received=5,
            sent=7,
            viewers=(
                Viewer(id="r1", kind="rtsp", address="127.0.0.1:4", since=1795573166989086, sent=9),
                Viewer(id="", kind="hls"),
            ),
        ),
    )


def test_new_versions() -> None:
    assert lists_wanted(NEW_PATHS) == ["hlssessions", "srtconns"]
    (path,) = view_paths(NEW_PATHS, {"srtconns": [SRT], "hlssessions": [{"id": "h1", "outboundBytes": 13}]})
    assert (path.ready, path.since) == (True, 1795573166000000)
    assert (path.received, path.sent) == (5, 7)
    srt, hls, new = path.viewers
    assert srt == Viewer(
        id="s1",
        kind="srt",
        address="[::1]:5",
        since=1795573166000000,
        sent=11,
        rtt=1.5,
        lost=2,
        retransmitted=3,
        rate=4.5e6,
        capacity=1e8,
    )
    assert hls == Viewer(id="h1", kind="hls", sent=13)
    assert new == Viewer(id="n1", kind="newSession")


@pytest.mark.parametrize(
    "paths",
    [
        [None, 1, "x", []],
        [{}],
        [{"name": 3, "readers": {"type": "srtConn"}, "tracks": "H264", "bytesSent": -1}],
        [{"name": "a", "readers": [None, {"type": []}, {"id": 4}], "tracks": [1]}],
    ],
)
def test_nonsense_is_no_error(paths: list[Any]) -> None:
    lists_wanted(paths)
    for path in view_paths(paths, {"srtconns": [None, {"id": 1}], "x": []}):
        assert path.tracks == ()


def test_an_encoder_that_publishes() -> None:
    paths = [{"name": "a", "ready": True, "source": {"type": "srtConn", "id": "s1"}, "readers": []}]
    assert lists_wanted(paths) == ["srtconns"]
    conn = SRT | {"bytesReceived": 17, "packetsReceivedLoss": 5, "packetsReceivedRetrans": 6, "mbpsReceiveRate": 7}
    found = view_paths(paths, {"srtconns": [conn]})
    publisher = found[0].publisher
    assert publisher is not None
    assert (publisher.kind, publisher.address, publisher.sent) == ("srt", "[::1]:5", 17)
    assert (publisher.rtt, publisher.lost, publisher.retransmitted, publisher.rate) == (1.5, 5, 6, 7e6)
    assert MediaView(paths=found).find("s1") == publisher
    copy = [{"name": "a", "ready": True, "source": {"type": "mpegtsSource", "id": ""}, "readers": []}]
    assert lists_wanted(copy) == []
    assert view_paths(copy, {})[0].publisher is None


def test_a_viewer_is_found_by_his_id() -> None:
    view = MediaView(paths=view_paths(OLD_PATHS, {}))
    found = view.find("r1")
    assert found is not None
    assert found.kind == "rtsp"
    assert view.find("") is None, "that is what all of HLS is called"
    assert view.find("r2") is None


@dataclass
class Server:
    """Answers as MediaMTX does, or does not."""

    answers: dict[str, Any] = field(default_factory=dict)
    """By method and path."""
    asked: list[str] = field(default_factory=list)
    silent: bool = False
    at: Listen = field(default_factory=lambda: Listen("127.0.0.1", 0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, target, _version = head.splitlines()[0].split()
                path = target.removeprefix("/v3/")
                self.asked.append(f"{method} {path}")
                if self.silent:
                    await asyncio.Event().wait()
                status, body = self._answer(method, path, head)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                lines = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n"
                writer.write(lines.encode() + content)
                await writer.drain()

    def _answer(self, method: str, path: str, head: str) -> tuple[int, Any]:
        token = base64.b64encode(b"streamd:sesame").decode()
        if f"authorization: basic {token}".lower() not in head.lower():
            return 401, b""
        name, _question, query = path.partition("?")
        page = int(query.rpartition("page=")[2] or 0) if "page=" in query else 0
        found = self.answers.get(f"{method} {name}")
        if found is None:
            return 404, {"error": "not found"}
        if isinstance(found, list):
            return 200, {"itemCount": len(found), "pageCount": len(found), "items": found[page] if found else []}
        return 200, found


@asynccontextmanager
async def serving(**answers: Any) -> AsyncIterator[Server]:
    found = Server()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.at = Listen("127.0.0.1", server.sockets[0].getsockname()[1])
    found.answers = {key.replace("__", " ").replace("_", "/"): value for key, value in answers.items()}
    try:
        yield found
    finally:
        server.close()


def api(password: str = "sesame") -> MediaApi:
    return MediaApi(password, patience=0.3)


def test_all_pages_are_read_and_not_again_within_a_second() -> None:
    async def act() -> None:
        # A list here is of pages.
        async with serving(GET__paths_list=[OLD_PATHS[:1], OLD_PATHS[1:]], GET__rtspsessions_list=[[RTSP]]) as server:
            one = api()
            paths = await one.view(server.at)
            assert paths == view_paths(OLD_PATHS, {"rtspsessions": [RTSP]})
            asked = len(server.asked)
            assert asked == 3
            assert await one.view(server.at) == paths
            assert len(server.asked) == asked
            await one.close()

    asyncio.run(act())


def test_a_list_that_is_not_there_costs_its_details_alone() -> None:
    async def act() -> None:
        async with serving(GET__paths_list=[OLD_PATHS]) as server:
            one = api()
            assert await one.view(server.at) == view_paths(OLD_PATHS, {})
            await one.close()

    asyncio.run(act())


def test_a_viewer_is_kicked() -> None:
    async def act() -> None:
        async with serving(POST__srtconns_kick_s1={}) as server:
            one = api()
            await one.kick(server.at, Viewer(id="s1", kind="srt"))
            assert server.asked == ["POST srtconns/kick/s1"]
            with pytest.raises(MediaApiError, match="MediaMTX answers 404 to rtmpconns/kick/a%2Fb"):
                await one.kick(server.at, Viewer(id="a/b", kind="rtmp"))
            with pytest.raises(MediaApiError, match="cannot be kicked"):
                await one.kick(server.at, Viewer(id="x", kind="newSession"))
            await one.close()

    asyncio.run(act())


@pytest.mark.parametrize(
    ("answers", "password", "problem"),
    [
        ({}, "wrong", "what listens on 127.0.0.1:[0-9]+ is no MediaMTX of streamd's"),
        ({}, "sesame", "MediaMTX answers 404 to paths/list"),
        ({"GET__paths_list": b"<html>"}, "sesame", "MediaMTX answers something else than it should"),
        ({"GET__paths_list": {"items": 3}}, "sesame", "MediaMTX answers something else than it should"),
    ],
)
def test_what_an_api_may_do(answers: dict[str, Any], password: str, problem: str) -> None:
    async def act() -> None:
        async with serving(**answers) as server:
            one = api(password)
            with pytest.raises(MediaApiError, match=problem):
                await one.view(server.at)
            assert await one.pulse(server.at) is Pulse.ANSWERS
            await one.close()

    asyncio.run(act())


def test_one_that_says_nothing_is_told_from_one_that_is_not_there() -> None:
    async def act() -> None:
        one = api()
        async with serving() as server:
            server.silent = True
            assert await one.pulse(server.at) is Pulse.SILENT
            with pytest.raises(MediaApiError, match="MediaMTX does not answer"):
                await one.view(server.at)
        assert await one.pulse(Listen("127.0.0.1", 1)) is Pulse.ABSENT
        with pytest.raises(MediaApiError, match="MediaMTX does not run, see: systemctl status streamd-mediamtx"):
            await one.view(Listen("127.0.0.1", 1))
        await one.close()

    asyncio.run(act())


def test_as_text() -> None:
    viewers = [
        {"id": "r1", "kind": "rtsp", "address": "127.0.0.1:4", "since": 1_000_000, "sent": 2048},
        {"id": "s1", "kind": "srt", "address": "[::1]:5", "since": 0, "sent": 11, "rtt": 1.5, "lost": 2},
        {"id": "", "kind": "hls", "address": "", "since": 0},
    ]
    paths = [
        {"route": "a", "ready": False, "tracks": "", "viewers": [], "publishers": []},
        {"route": "b", "ready": True, "tracks": "H264", "viewers": viewers, "publishers": []},
        {"route": "c", "ready": True, "tracks": "H264", "viewers": [], "publishers": viewers[1:2]},
    ]
    assert render_viewers({"paths": paths}, Style(), 61_000_000) == (
        "○ a: nothing arrives; nobody watches\n"
        "● b: H264; 3 viewers\n"
        "  KIND  ADDRESS      FOR   SENT  RTT  LOST  ID\n"
        "  rtsp  127.0.0.1:4  1min  2.0K  -    -     r1\n"
        "  srt   [::1]:5      -     11B   2ms  2     s1\n"
        "  hls   -            -     -     -    -     -\n"
        "● c: H264; nobody watches\n"
        "  KIND      ADDRESS  FOR  SENT  RTT  LOST  ID\n"
        "  from srt  [::1]:5  -    11B   2ms  2     s1\n"
    )
    assert render_viewers({"paths": []}, Style(), 0) == "There is no route that could be watched.\n"

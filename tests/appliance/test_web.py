"""The gateway on the booted machine: with the daemon, systemd and polkit as they are."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.appliance.gateway import (
    PLACE,
    SERVICE,
    SOCKET,
    add_key,
    client,
    everybody,
    memory,
    raw,
    revoke_key,
    seconds_of,
    state_of,
    status_of,
    wait_state_of,
)
from tests.appliance.host import incarnations, journal, run, show, wait_state, wait_until, write_route

NEW = {
    "id": "a",
    "description": "by REST",
    "input": {"url": "test:"},
    "output": {"x": {"url": "udp://127.0.0.1:6001"}, "y": {"url": "udp://127.0.0.1:6002"}},
}
ROUTE = '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'
DENY = Path("/etc/polkit-1/rules.d/00-deny.rules")


@pytest.fixture
def by() -> Iterator[dict[str, httpx.Client]]:
    with everybody() as found:
        yield found


def test_the_first_request_starts_it(by: dict[str, httpx.Client]) -> None:
    assert show(SOCKET, "ActiveState", "UnitFileState") == {"ActiveState": "active", "UnitFileState": "enabled"}
    run("systemctl", "stop", SERVICE)
    answer = by["nobody"].get("/api/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "daemon": True})
    assert show(SERVICE, "ActiveState")["ActiveState"] == "active"
    assert by["nobody"].get("/").headers["content-type"].startswith("text/html")
    assert "--bs-" in by["nobody"].get("/bootstrap/bootstrap.min.css").text, (
        "Debian's Bootstrap is where it is looked for"
    )
    listening = run("ss", "--no-header", "--listening", "--tcp", "--numeric", "sport = :8080").stdout.split()
    assert listening[3] == "127.0.0.1:8080"


def test_nobody_is_answered_without_a_key_but_about_health(by: dict[str, httpx.Client]) -> None:
    described = by["observer"].get("/api/openapi.json").json()["paths"]
    asked = [(method.upper(), re.sub(r"{\w+}", "a", path)) for path, methods in described.items() for method in methods]
    asked += [("GET", "/api/openapi.json"), ("GET", "/api/no-such"), ("TRACE", "/api/inputs")]
    assert len(asked) > 20
    for method, path in asked:
        answer = by["nobody"].request(method, path)
        wanted = {("GET", "/api/health"): 200, ("POST", "/api/session"): 415}.get((method, path), 401)
        assert answer.status_code == wanted, f"{method} {path}: {answer.text}"
    wrong = client("streamd_" + "0" * 43).get("/api/inputs")
    assert (wrong.status_code, wrong.headers["content-type"]) == (401, "application/problem+json")
    assert "a wrong key came from 127.0.0.1" in journal("-u", SERVICE)


def test_a_role_may_what_it_says(by: dict[str, httpx.Client]) -> None:
    write_route("a", ROUTE)
    wait_state("a/x", "running")
    stop, patch = "/api/inputs/a/outputs/x/stop", "/api/inputs/a/outputs/x"
    found = {}
    for role, api in by.items():
        found[role] = [
            api.get("/api/inputs").status_code,
            api.post(stop).status_code,
            api.post("/api/inputs/a/start").status_code,
            api.patch(patch, json={"description": role}).status_code,
        ]
    assert found == {
        "nobody": [401, 401, 401, 401],
        "observer": [200, 403, 403, 403],
        "operator": [200, 200, 200, 403],
        "admin": [200, 200, 200, 200],
    }


@pytest.mark.once
def test_polkit_has_the_last_word(by: dict[str, httpx.Client]) -> None:
    """The daemon does not believe the gateway more than the machine's administrator does."""
    write_route("a", ROUTE)
    wait_state("a/x", "running")
    DENY.write_text('polkit.addRule(function(action, subject) { if (subject.user == "streamd-web") return "no"; });\n')
    DENY.chmod(0o644)
    try:
        run("systemctl", "restart", "polkit.service")
        wait_until(lambda: by["admin"].post("/api/inputs/a/outputs/x/stop").status_code == 502, 20, "polkit refuses it")
        answer = by["admin"].patch("/api/inputs/a", json={"description": "x"})
        # The key is good for it: it is the gateway that may not.
        assert (answer.status_code, answer.headers["content-type"]) == (502, "application/problem+json")
        assert "org.streamd1.configure" in answer.json()["detail"]
        assert by["admin"].get("/api/inputs/a").json()["description"] == ""
    finally:
        DENY.unlink()
        run("systemctl", "restart", "polkit.service")
    wait_until(lambda: by["admin"].post("/api/inputs/a/outputs/x/stop").status_code == 200, 20, "and lets it again")


def test_inputs_and_outputs_come_change_and_go(by: dict[str, httpx.Client]) -> None:
    api = by["admin"]
    answer = api.post("/api/inputs", json=NEW)
    assert (answer.status_code, answer.headers["location"]) == (201, "/api/inputs/a")
    for path in ("/api/inputs/a", "/api/inputs/a/outputs/x", "/api/inputs/a/outputs/y"):
        wait_state_of(api, path, "running")
    wait_until(lambda: api.get("/api/inputs/a/outputs/x").json().get("statistics", {}).get("bitrate"), 20, "it sends")
    assert api.get("/api/inputs").json()["inputs"][0]["overall"] == "running"
    before = incarnations(("a", "a/x"))
    assert api.patch("/api/inputs/a/outputs/y", json={"url": "udp://127.0.0.1:6003"}).json()["url"].endswith(":6003")
    wait_state_of(api, "/api/inputs/a/outputs/y", "running")
    assert incarnations(("a", "a/x")) == before, "a change touches what it changes"

    # A secret, which cannot be read again and is nowhere to be seen.
    assert api.put("/api/credentials/a.z", json={"secret": "correct-horse"}).status_code == 204
    assert Path("/etc/streamd/credentials/a.z").read_text().strip() == "correct-horse"
    new = {"id": "z", "url": "srt://127.0.0.1:9999", "passphrase": {"credential": "a.z"}}
    assert api.post("/api/inputs/a/outputs", json=new).status_code == 201
    seen = api.get("/api/inputs").text + journal("-u", SERVICE) + journal("-u", "streamd.service")
    assert "correct-horse" not in seen
    assert api.post("/api/inputs/a/outputs", json=new).status_code == 409, "it is there already"

    assert api.delete("/api/inputs/a/outputs/z").status_code == 204
    assert api.delete("/api/inputs/a").status_code == 204
    assert api.get("/api/inputs/a").status_code == 404
    assert not Path("/etc/streamd/conf.d/a.toml").exists()
    assert "the-admin (admin, from 127.0.0.1) removed a/z" in journal("-u", SERVICE)


@pytest.mark.once
def test_what_a_change_would_do_is_told_beforehand(by: dict[str, httpx.Client]) -> None:
    api = by["admin"]
    assert _steps(api.post("/api/inputs?dry-run=true", json=NEW)) == {"a": "start", "a/x": "start", "a/y": "start"}
    assert api.get("/api/inputs/a").status_code == 404
    assert api.post("/api/inputs", json=NEW).status_code == 201
    wait_state_of(api, "/api/inputs/a/outputs/y", "running")
    before = incarnations(("a", "a/x", "a/y"))
    patch = {"url": "udp://127.0.0.1:6003"}
    found = _steps(api.patch("/api/inputs/a/outputs/y?dry-run=true", json=patch))
    assert found == {"a": "keep", "a/x": "keep", "a/y": "restart"}
    answer = api.patch("/api/inputs/a/outputs/y?dry-run=true", json={"description": "only words"})
    assert set(_steps(answer).values()) == {"keep"}
    found = _steps(api.patch("/api/inputs/a/outputs/y?dry-run=true", json={"enabled": False}))
    assert found["a/y"] == "stop"
    new = {"id": "z", "url": "udp://127.0.0.1:6004"}
    assert _steps(api.post("/api/inputs/a/outputs?dry-run=true", json=new))["a/z"] == "start"
    assert _steps(api.delete("/api/inputs/a/outputs/x?dry-run=true"))["a/x"] == "stop"
    assert _steps(api.delete("/api/inputs/a?dry-run=true")) == {"a": "stop", "a/x": "stop", "a/y": "stop"}
    wrong = api.patch("/api/inputs/a/outputs/y?dry-run=true", json={"url": "udp://nowhere"})
    assert (wrong.status_code, len(wrong.json()["diagnostics"])) == (422, 1)
    assert api.post("/api/inputs?dry-run=true", json=NEW).status_code == 409
    assert incarnations(("a", "a/x", "a/y")) == before, "nothing was done"
    assert api.get("/api/inputs/a/outputs/y").json()["url"].endswith(":6002")


def _steps(answer: httpx.Response) -> dict[str, str]:
    """Return the action for each address."""
    assert answer.status_code == 200, answer.text
    return {step["address"]: step["action"] for step in answer.json()["steps"]}


def test_the_log_of_an_output_without_the_right_to_read_the_journal(by: dict[str, httpx.Client]) -> None:
    write_route("a", ROUTE.replace("udp://127.0.0.1:6001", "rtmp://127.0.0.1:1936/live"))
    wait_state("a/x", "backoff")

    def told() -> str:
        lines = by["observer"].get("/api/inputs/a/outputs/x/log?lines=200").json()["lines"]
        assert lines == sorted(lines, key=lambda line: line["time"])
        return "\n".join(line["text"] for line in lines)

    wait_until(lambda: "Connection refused" in told(), 20, f"FFmpeg says why: {told()}")
    assert "Started streamd-output@a:x.service" in told()
    assert "streamd-ingest@a.service" not in told()
    assert "streamd-ingest@a.service" in by["observer"].get("/api/inputs/a/log?lines=200").text
    assert len(by["observer"].get("/api/inputs/a/outputs/x/log?lines=2").json()["lines"]) == 2
    assert by["observer"].get("/api/inputs/a/outputs/y/log").status_code == 404
    groups = run("id", "--name", "--groups", "streamd-web").stdout.split()
    assert groups == ["streamd-web"]
    # The interface asks polkit, since the journal is not for everybody.
    ask = ("busctl", "call", "org.streamd1", "/org/streamd1", "org.streamd1.Manager", "Log", "sa{sv}", "a/x")
    nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    assert run(*nobody, *ask, "0", check=False).returncode != 0
    assert "refused" in run(*ask, "1", "lines", "u", "200").stdout


def test_a_refusal_tells_why(by: dict[str, httpx.Client]) -> None:
    api = by["admin"]
    wrong = {"id": "a", "input": {"url": "test:"}, "output": {"x": {"url": "srt://127.0.0.1:9000", "latency": "200"}}}
    answer = api.post("/api/inputs", json=wrong)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    problem = answer.json()
    assert problem["type"] == "urn:streamd:problem:invalid-configuration"
    (found,) = problem["diagnostics"]
    assert (found["key"], found["path"]) == ("output.x.latency", "/etc/streamd/conf.d/a.toml")
    assert found["line"] > 1
    assert api.get("/api/inputs/a").status_code == 404
    # A file that a person has broken is told with its line, and runs on.
    write_route("a", ROUTE)
    wait_state("a/x", "running")
    write_route("a", ROUTE.replace("[output.x]", "[output.x"))
    wait_until(lambda: api.get("/api/system/status").json()["diagnostics"], 20, "the error is told")
    (found,) = api.get("/api/system/status").json()["diagnostics"]
    assert (found["path"], found["line"], found["text"]) == ("/etc/streamd/conf.d/a.toml", 3, "[output.x")
    assert api.get("/api/inputs/a").json()["broken"] is True
    assert state_of(api, "/api/inputs/a/outputs/x") == "running"
    assert api.patch("/api/inputs/a/outputs/x", json={"ttl": 4}).status_code in {409, 422}


def test_the_machine_and_prometheus(by: dict[str, httpx.Client]) -> None:
    write_route("a", ROUTE)
    api = by["observer"]
    wait_state_of(api, "/api/inputs/a/outputs/x", "running")
    found = api.get("/api/system/status").json()
    assert found["counts"] == {"inputs": 1, "outputs": 1, "states": {"running": 1}}
    assert found["memory"]["total"] > found["memory"]["available"] > 0
    assert 0 <= found["cpu"]["used"] <= 100
    assert found["cpu"]["count"] >= 1
    assert found["disk"]["total"] > found["disk"]["available"] > 0
    assert set(api.get("/api/system/mediamtx/status").json()) >= {"mediamtx", "problem", "paths"}
    text = api.get("/metrics").text
    assert "\nstreamd_up 1\n" in text
    assert 'streamd_output_state{route="a",output="x",state="running"} 1' in text


def test_server_sent_events_and_where_one_left_off(by: dict[str, httpx.Client]) -> None:
    write_route("a", ROUTE)
    wait_state_of(by["observer"], "/api/inputs/a", "running")
    wait_state_of(by["observer"], "/api/inputs/a/outputs/x", "running")
    with by["observer"].stream("GET", "/api/events") as answer:
        events = _events(answer)
        last, snapshot = next((name, data) for name, kind, data in events if kind == "snapshot")
        assert {thing["address"]: thing["state"] for thing in snapshot["things"]} == {"a": "running", "a/x": "running"}
        run("streamctl", "stop", "a/x")
        _told(events, "a/x", "stopped")
    run("streamctl", "start", "a/x")
    wait_state("a/x", "running")
    with by["observer"].stream("GET", "/api/events", headers={"last-event-id": last}) as answer:
        events = _events(answer)
        _told(events, "a/x", "stopped")
        _told(events, "a/x", "running")


def _events(answer: httpx.Response) -> Iterator[tuple[str, str, Any]]:
    """Yield id, kind and data of each event."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    found: dict[str, str] = {}
    for line in answer.iter_lines():
        key, _colon, value = line.strip("\r\n").partition(": ")
        if key:
            found[key] = value
        elif "event" in found:
            yield found.get("id", ""), found["event"], json.loads(found["data"])
            found = {}


def _told(events: Iterator[tuple[str, str, Any]], address: str, state: str) -> None:
    for _name, kind, data in events:
        assert kind != "snapshot", "what was missed is told, not everything"
        if kind == "changed" and (data["address"], data["state"]) == (address, state):
            return
    raise AssertionError(f"it was never told that {address} is {state}")


def _socket(key: str) -> Any:
    """Return a connection to the live updates, by the name that the release of websockets has for headers."""
    name = "extra_headers" if int(websockets.version.version.split(".")[0]) < 14 else "additional_headers"
    return websockets.connect("ws://127.0.0.1:8080/api/live", **{name: {"x-api-key": key}})


@pytest.mark.once
def test_a_websocket_tells_the_same_until_its_key_is_revoked() -> None:
    write_route("a", ROUTE)
    wait_state("a/x", "running")
    key = add_key("short", "observer")

    async def follow() -> float:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60), _socket(key) as connection:
            assert json.loads(await connection.recv())["event"] == "snapshot"
            await asyncio.to_thread(run, "streamctl", "stop", "a/x")
            while True:
                found = json.loads(await connection.recv())
                if found["event"] == "changed" and found["data"]["state"] == "stopped":
                    break
            await asyncio.to_thread(revoke_key, "short")
            began = loop.time()
            with client(key) as api:
                assert api.get("/api/inputs").status_code == 401, "at once"
            assert await _closed(connection) == 1008
            return loop.time() - began

    try:
        assert asyncio.run(follow()) < 10
    finally:
        run("streamctl", "web", "key", "revoke", "short", check=False)


async def _closed(connection: Any) -> int:
    """Return the code with which a connection is closed, when it is."""
    while True:
        try:
            await connection.recv()
        except websockets.ConnectionClosed:
            return int(connection.close_code)


@pytest.mark.once
def test_a_session_of_a_browser(by: dict[str, httpx.Client]) -> None:
    key = add_key("person", "operator")
    with client() as browser:
        answer = browser.post("/api/session", json={"key": key}, headers={"origin": "http://127.0.0.1:8080"})
        assert answer.json() == {"name": "person", "role": "operator"}
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/api/inputs").status_code == 200
        elsewhere = browser.post("/api/inputs/a/stop", headers={"origin": "https://evil.example"})
        assert elsewhere.status_code == 403
        # A restart of the gateway logs nobody out, nor in again; a revoked key does the former.
        with client() as other:
            origin = {"origin": "http://127.0.0.1:8080"}
            cookie = other.post("/api/session", json={"key": key}, headers=origin).headers["set-cookie"]
            assert other.delete("/api/session", headers=origin).status_code == 204
        run("systemctl", "restart", SERVICE)
        with client() as other:
            assert other.get("/api/session", headers={"cookie": cookie.partition(";")[0]}).status_code == 401
        assert browser.get("/api/session").json()["name"] == "person"
        revoke_key("person")
        assert browser.get("/api/session").status_code == 401
    assert by["nobody"].get("/api/session").status_code == 401


@pytest.mark.once
def test_what_is_too_large_too_slow_or_no_request_is_refused_cheaply(by: dict[str, httpx.Client]) -> None:
    key = by["admin"].headers["x-api-key"]
    assert by["admin"].get("/api/inputs").status_code == 200
    before = memory()
    head = f"POST /api/inputs HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    large = 100 << 20
    assert status_of(raw(f"{head}Content-Length: {large}\r\n\r\n".encode())) == 413, "before any of it has come"
    assert _flood(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), large) < 8 << 20, "nobody reads on"
    assert status_of(raw(f"{head}Content-Length: 10\r\n\r\n{{".encode())) == 408, "the rest never comes"
    assert status_of(raw(b"GET /api/health HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")) in {400, 431}
    # Headers that never end, a byte at a time: the connection is closed, whatever trickles in.
    assert seconds_of(lambda: _trickle(b"GET /api/health HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n")) < 60
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\x00" * 64 + b"\r\n\r\n"):
        assert status_of(raw(nonsense)) in {0, 400}
    for body in ("{", "[]", '{"id": NaN}', '{"id": "a", "id": "b"}', "[" * 60_000, '"\\ud800"', "\x00", ""):
        answer = by["admin"].post("/api/inputs", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in {400, 422}, f"{body[:20]}: {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
    for path in (
        "/static/../../etc/passwd",
        "/static/..%2f..%2fetc%2fpasswd",
        "/static/%2e%2e/web.toml",
        "//etc/passwd",
        "/bootstrap/..%5c..",
        "/static/%00",
        "/api/inputs/..%2f..%2fetc",
        "/api/inputs/%2e%2e",
        "/api/inputs/a%00b",
        "/api/inputs/%ff",
        "/api//inputs",
        "/api/inputs/",
        "/API/inputs",
    ):
        answer = raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n".encode())
        assert status_of(answer) in {400, 404}, f"{path}: {answer[:200]!r}"
        assert b"root:" not in answer
    assert by["nobody"].get("/api/health").status_code == 200
    assert memory() - before < 32 << 20
    assert "Traceback" not in journal("-u", SERVICE)


def _flood(head: bytes, size: int) -> int:
    """Send a body in chunks until the gateway hangs up, and return how much of it it took."""
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent = 0
    with socket.create_connection(PLACE, timeout=20) as connection:
        connection.sendall(head)
        try:
            while sent < size:
                connection.sendall(piece)
                sent += 65536
        except OSError:
            pass
    return sent


def _trickle(head: bytes, line: bytes) -> None:
    """Send lines of headers without an end, one a second, until the gateway hangs up."""
    with socket.create_connection(PLACE, timeout=1) as connection:
        connection.sendall(head)
        for _ in range(90):
            try:
                connection.sendall(line)
                if not connection.recv(4096):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    raise AssertionError("the connection stood for a minute and a half")


@pytest.mark.once
def test_ten_thousand_sockets_keep_nobody_out_for_long(by: dict[str, httpx.Client]) -> None:
    assert by["observer"].get("/api/inputs").status_code == 200
    before = memory()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 10_500), max(hard, 10_500)))
    opened: list[socket.socket] = []
    try:
        for _ in range(10_000):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(PLACE)
            opened.append(each)
        assert by["observer"].get("/api/inputs").status_code == 200, "who is in stays in"
    finally:
        for each in opened:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(_is_healthy, 40, "others are let in again")
    assert memory() - before < 128 << 20
    assert show("streamd.service", "ActiveState")["ActiveState"] == "active"


def _is_healthy() -> bool:
    try:
        return httpx.get("http://127.0.0.1:8080/api/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_streams_do_not_notice_when_it_is_killed(by: dict[str, httpx.Client]) -> None:
    write_route("a", ROUTE)
    wait_state("a/x", "running")
    streams = incarnations(("a", "a/x"))
    daemon = show("streamd.service", "MainPID")
    assert by["observer"].get("/api/inputs").status_code == 200
    for _ in range(3):
        run("kill", "-9", show(SERVICE, "MainPID")["MainPID"])
        wait_until(_is_healthy, 20, "it answers again")
    assert incarnations(("a", "a/x")) == streams
    assert show("streamd.service", "MainPID") == daemon
    # The other way round, it tells that the daemon is gone, and finds it again.
    run("systemctl", "stop", "streamd.service")
    wait_until(lambda: by["nobody"].get("/api/health").json()["daemon"] is False, 20, "it notices")
    answer = by["observer"].get("/api/inputs")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:streamd:problem:not-running")
    run("systemctl", "start", "streamd.service")
    wait_until(lambda: by["observer"].get("/api/inputs/a/outputs/x").status_code == 200, 20, "it is back")
    assert incarnations(("a", "a/x")) == streams


@pytest.mark.once
def test_its_sandbox_is_tight() -> None:
    out = run("systemd-analyze", "security", "--no-pager", SERVICE, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", out)
    assert found, out
    assert float(found[1]) <= 1.0, out
    assert run("systemd-analyze", "verify", "--man=no", SERVICE, SOCKET).stderr == ""

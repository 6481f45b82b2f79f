"""Who is let in, over HTTP: keys and roles, sessions, other pages, failed tries, and what is refused cheaply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("streamd.web", reason="streamd-web is not installed, so that it is NOT TESTED")
pytest.importorskip("fastapi", reason="fastapi is not installed, so that streamd-web is NOT TESTED")

from fastapi import FastAPI
from starlette.routing import Route, WebSocketRoute

from streamd.host.webkeys import Role, add_key, revoke_key
from streamd.web.settings import Settings
from streamd.web.shield import Limits, policy
from tests.unit.web import Place, place, wire

OURS = {"origin": "http://gateway", "sec-fetch-site": "same-origin"}
NEEDS = {
    "POST /api/inputs": Role.ADMIN,
    "PATCH /api/inputs/b": Role.ADMIN,
    "DELETE /api/inputs/b": Role.ADMIN,
    "POST /api/inputs/b/outputs": Role.ADMIN,
    "PATCH /api/inputs/b/outputs/x": Role.ADMIN,
    "DELETE /api/inputs/b/outputs/x": Role.ADMIN,
    "PUT /api/credentials/x": Role.ADMIN,
    "POST /api/inputs/b/start": Role.OPERATOR,
    "POST /api/inputs/b/stop": Role.OPERATOR,
    "POST /api/inputs/b/restart": Role.OPERATOR,
    "POST /api/inputs/b/outputs/x/start": Role.OPERATOR,
    "POST /api/inputs/b/outputs/x/stop": Role.OPERATOR,
    "POST /api/inputs/b/outputs/x/restart": Role.OPERATOR,
    "GET /api/inputs": Role.OBSERVER,
    "GET /api/inputs/b": Role.OBSERVER,
    "GET /api/inputs/b/log": Role.OBSERVER,
    "GET /api/inputs/b/outputs": Role.OBSERVER,
    "GET /api/inputs/b/outputs/x/log": Role.OBSERVER,
    "GET /api/inputs/b/outputs/x": Role.OBSERVER,
    "GET /api/system/status": Role.OBSERVER,
    "GET /api/system/mediamtx/status": Role.OBSERVER,
    "GET /api/plan": Role.OBSERVER,
    "GET /api/openapi.json": Role.OBSERVER,
    "GET /api/events": Role.OBSERVER,
    "GET /api/session": Role.OBSERVER,
    "DELETE /api/session": Role.OBSERVER,
    "GET /metrics": Role.OBSERVER,
}
"""Every endpoint that needs a key, and the least role."""
OPEN = {"GET /api/health", "POST /api/session", "GET /", "GET /static/x", "GET /bootstrap/x"}


def endpoints(it: Place) -> set[str]:
    app = it.app._app._app  # type: ignore[attr-defined]
    assert isinstance(app, FastAPI)
    names = {"{input_id}": "b", "{output_id}": "x", "{name}": "x"}
    found = set()
    for route in app.routes:
        if isinstance(route, WebSocketRoute) or type(route).__name__ == "APIWebSocketRoute":
            assert route.path == "/api/live"  # type: ignore[union-attr]
            continue
        assert isinstance(route, Route) or hasattr(route, "methods")
        path = route.path  # type: ignore[attr-defined]
        for name, value in names.items():
            path = path.replace(name, value)
        found |= {f"{method} {path}" for method in route.methods or () if method != "HEAD"}
    return found


def test_no_endpoint_but_health_answers_without_a_key(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            assert endpoints(it) == set(NEEDS) | OPEN, "an endpoint is new: say here whom it is for"
            for name in [
                *NEEDS,
                "GET /api",
                "GET /docs",
                "GET /openapi.json",
                "GET /api/../metrics",
                "GET http://gateway//metrics",
            ]:
                method, _space, path = name.partition(" ")
                answer = await it.ask(method, path, None)
                assert answer.status_code == 401, name
                assert answer.json()["type"] == "urn:streamd:problem:no-key"
                assert answer.headers["www-authenticate"] == "Bearer"
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
                assert (await it.ask(method, "/api/health", None)).status_code == 401
            assert (await it.ask("GET", "/api/health", None)).status_code == 200
            assert (await it.ask("GET", "/static/../../keys.toml", None)).status_code in {401, 404}
            assert (await it.ask("GET", "/static/%2e%2e%2fapp.py", None)).status_code == 404
            assert not it.daemon.asked

    asyncio.run(check())


def test_a_role_is_good_for_what_it_says(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            for name, least in NEEDS.items():
                method, _space, path = name.partition(" ")
                for role in Role:
                    if path == "/api/events" and role >= least:
                        continue  # it would not end
                    answer = await it.ask(method, path, str(role))
                    assert (answer.status_code == 403) is (role < least), (name, role)
                    if role < least:
                        text = f"the key the-{role} is for the role {role}, this needs"
                        assert answer.json()["detail"].startswith(text)

    asyncio.run(check())


def test_a_key_comes_in_either_header(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            key = it.keys["observer"]
            for headers, status in (
                ({"x-api-key": key}, 200),
                ({"authorization": f"Bearer {key}"}, 200),
                ({"authorization": f"Basic {key}"}, 401),
                ({"cookie": f"streamd_session={key}"}, 401),
            ):
                assert (await it.ask("GET", "/api/session", None, headers=headers)).status_code == status, headers
            assert (await it.ask("GET", f"/api/session?key={key}", None)).status_code == 401, "a URL is logged"

    asyncio.run(check())


def test_a_revoked_key_is_out_at_once(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("POST", "/api/session", None, json={"key": it.keys["admin"]})
            cookie = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
            it.client.cookies.clear()
            assert (await it.ask("GET", "/api/inputs", "admin")).status_code == 200
            assert (await it.ask("GET", "/api/inputs", None, headers=cookie)).status_code == 200
            async with wire(it.app, "http", "/api/events", it.by("admin")) as events:
                assert (await events.next())["status"] == 200
                revoke_key("the-admin", it.path)
                assert (await it.ask("GET", "/api/inputs", "admin")).status_code == 401
                assert (await it.ask("GET", "/api/inputs", None, headers=cookie)).status_code == 401
                while (await events.next()).get("more_body"):
                    pass  # it ends by itself
            assert (await it.ask("GET", "/api/inputs", "operator")).status_code == 200

    asyncio.run(check())


def test_a_browser_logs_in_and_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def check() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("POST", "/api/session", None, json={"key": it.keys["operator"]}, headers=OURS)
            assert answer.json() == {"name": "the-operator", "role": "operator"}
            cookie = answer.headers["set-cookie"]
            for word in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
                assert word.lower() in cookie.lower()
            assert "secure" not in cookie.lower(), "a browser would not send it over HTTP"
            assert it.keys["operator"] not in cookie
            # The client holds it from here on.
            assert (await it.ask("GET", "/api/session", None)).json()["role"] == "operator"
            assert (await it.ask("POST", "/api/inputs/b/start", None, headers=OURS)).status_code == 200
            assert (await it.ask("DELETE", "/api/inputs/b", None, headers=OURS)).status_code == 403
            old = {"cookie": cookie.partition(";")[0]}
            assert (await it.ask("DELETE", "/api/session", None, headers=OURS)).status_code == 204
            assert not it.client.cookies
            assert (await it.ask("GET", "/api/session", None, headers=old)).status_code == 401, "it is over"

    asyncio.run(check())
    assert "the-operator (operator) logged in from 192.0.2.1" in caplog.text
    assert "streamd_" not in caplog.text, "no key is logged"


def test_another_page_cannot_use_a_session(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            await it.ask("POST", "/api/session", None, json={"key": it.keys["admin"]})
            for headers in ({}, {"origin": "http://evil.example"}, {"origin": "http://gateway:81"}, {"origin": "null"}):
                answer = await it.ask("POST", "/api/inputs/b/stop", None, headers=headers)
                assert (answer.status_code, answer.json()["type"]) == (403, "urn:streamd:problem:other-page")
            answer = await it.ask("POST", "/api/inputs/b/stop", None, headers={"sec-fetch-site": "same-site", **OURS})
            assert answer.status_code == 200, "the later of two that are the same counts"
            it.daemon.asked.clear()
            assert (await it.ask("POST", "/api/inputs/b/stop", "admin")).status_code == 200, "a key is no cookie"
            planted = await it.ask("POST", "/api/session", None, json={"key": "x"}, headers={"origin": "http://evil"})
            assert planted.status_code == 403, "nor can it log somebody in as somebody else"

    asyncio.run(check())


def test_failed_tries_are_few_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            session = await it.ask("POST", "/api/session", None, json={"key": it.keys["observer"]})
            assert session.status_code == 200
            wrong = {"x-api-key": "streamd_wrong"}
            assert [(await it.ask("GET", "/api/inputs", None, headers=wrong)).status_code for _ in range(2)] == [
                401
            ] * 2
            answer = await it.ask("POST", "/api/session", None, json={"key": "streamd_wrong"}, headers=OURS)
            assert answer.status_code == 401
            answer = await it.ask("GET", "/api/inputs", "admin")
            assert (answer.status_code, answer.json()["type"]) == (429, "urn:streamd:problem:too-many-tries")
            assert 1 <= int(answer.headers["retry-after"]) <= 11
            answer = await it.ask("POST", "/api/session", None, json={"key": it.keys["admin"]}, headers=OURS)
            assert answer.status_code == 429, "a guess is not looked at"
            assert (await it.ask("GET", "/api/inputs", None)).status_code == 200, "who is in stays in"
            async with wire(it.app, "http", "/api/inputs", it.by("admin"), client=("192.0.2.2", 1)) as other:
                assert (await other.next())["status"] == 200, "nobody else has to wait"

    asyncio.run(check())
    assert caplog.text.count("a wrong key came from 192.0.2.1") == 3
    assert "it has to wait now" in caplog.text
    assert "streamd_wrong" not in caplog.text


def test_cors_is_off_until_an_origin_is_listed(tmp_path: Path) -> None:
    page = {"origin": "https://noc.example.net"}
    ask = {**page, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}

    async def off() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("GET", "/api/inputs", headers=page)
            assert not any(name.startswith("access-control") for name in answer.headers)
            answer = await it.ask("OPTIONS", "/api/inputs", None, headers=ask)
            assert answer.status_code == 401
            assert not any(name.startswith("access-control") for name in answer.headers)

    async def on() -> None:
        async with place(tmp_path, settings=Settings(origins=frozenset({"https://noc.example.net"}))) as it:
            answer = await it.ask("OPTIONS", "/api/inputs", None, headers=ask)
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == "https://noc.example.net"
            assert "access-control-allow-credentials" not in answer.headers
            for role, status in (("admin", 200), (None, 401)):
                answer = await it.ask("GET", "/api/inputs", role, headers=page)
                assert answer.status_code == status
                assert answer.headers["access-control-allow-origin"] == "https://noc.example.net"
            answer = await it.ask("GET", "/api/inputs", headers={"origin": "https://evil.example"})
            assert "access-control-allow-origin" not in answer.headers
            await it.ask("POST", "/api/session", None, json={"key": it.keys["admin"]})
            answer = await it.ask("POST", "/api/inputs/b/stop", None, headers=page)
            assert answer.status_code == 403, "its cookies are not taken"

    asyncio.run(off())
    (tmp_path / "keys.toml").unlink()
    asyncio.run(on())


def test_behind_a_proxy_it_is_the_client_who_has_to_wait(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path, settings=Settings(proxies=frozenset({"192.0.2.1"}))) as it:
            wrong = {"x-api-key": "wrong", "x-forwarded-for": "198.51.100.1"}
            for _ in range(4):
                answer = await it.ask("GET", "/api/inputs", None, headers=wrong)
            assert answer.status_code == 429
            other = {"x-forwarded-for": "198.51.100.1, 198.51.100.2", "x-forwarded-proto": "https"}
            answer = await it.ask("POST", "/api/session", None, json={"key": it.keys["admin"]}, headers=other)
            assert answer.status_code == 200
            assert "; secure" in answer.headers["set-cookie"].lower()

    asyncio.run(check())


def test_every_answer_tells_browsers_to_be_careful(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            for path, role in (("/api/inputs", "admin"), ("/api/inputs", None), ("/nothing", None), ("/", None)):
                answer = await it.ask("GET", path, role)
                assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
                assert answer.headers["content-security-policy"].endswith("; frame-src http://gateway:*")
                assert "unsafe" not in answer.headers["content-security-policy"]
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["x-frame-options"] == "DENY"
                assert "server" not in answer.headers

    asyncio.run(check())


def test_a_frame_may_show_the_same_host_alone() -> None:
    assert policy("studio.example.net:8080").endswith("; frame-src http://studio.example.net:*")
    assert policy("192.0.2.1").endswith("; frame-src http://192.0.2.1:*")
    for host in ("", "[::1]:8080", "*", "a; script-src *", "a,b", "a b", "a:80:90", "a\r\nx"):
        assert policy(host).endswith("; frame-src 'none'"), host


def test_a_large_body_is_refused_before_it_is_read(tmp_path: Path) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b" " * 1000

    async def check() -> None:
        async with place(tmp_path, limits=Limits(body=10_000)) as it:
            kind = {"content-type": "application/json"}
            answer = await it.ask("POST", "/api/inputs", content=b" " * 10_001, headers=kind)
            assert (answer.status_code, answer.headers["connection"]) == (413, "close")
            answer = await it.ask("POST", "/api/inputs", content=body(), headers=kind)
            assert (answer.status_code, answer.json()["type"]) == (413, "urn:streamd:problem:too-large")
            assert read < 20, "it is not read to its end"
            answer = await it.ask("POST", "/api/session", None, content=b" " * 10_001, headers=kind)
            assert answer.status_code == 413, "nor of somebody who is not in"
            for length in ("x", "-1", "9" * 30, "²"):
                headers = {**kind, "content-length": length} if length.isascii() else kind
                answer = await it.ask("POST", "/api/inputs", content=b"{}", headers=headers)
                assert answer.status_code in {400, 413, 422}, length

    asyncio.run(check())


def test_a_slow_body_is_not_waited_for(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path, limits=Limits(arrival=0.05)) as it:
            headers = {**it.by("admin"), "content-type": "application/json"}
            async with wire(it.app, "http", "/api/inputs", headers, method="POST") as slow:
                slow.incoming.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
                assert (await slow.next())["status"] == 408

    asyncio.run(check())


def test_a_new_key_is_good_at_once(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            secret = add_key("new", Role.OBSERVER, it.path)
            assert (await it.ask("GET", "/api/session", None, headers={"x-api-key": secret})).json()["name"] == "new"

    asyncio.run(check())

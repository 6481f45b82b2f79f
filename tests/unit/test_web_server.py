"""The server on real sockets: clients that are slow, many, rude or encrypted. The daemon only remembers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("streamd.web", reason="streamd-web is not installed, so that it is NOT TESTED")
pytest.importorskip("uvicorn", reason="uvicorn is not installed, so that streamd-web is NOT TESTED")

import httpx

from streamd.host.webkeys import KeyRing, Role, add_key
from streamd.web import server
from streamd.web.connection import Doorkeeper, Patience
from streamd.web.session import Sessions
from streamd.web.settings import Settings, SettingsError, parse_settings, read_settings
from tests.unit.web import FakeDaemon, Place, place

ConnectionClosed = pytest.importorskip("websockets.exceptions").ConnectionClosed
try:
    from websockets.asyncio.client import connect

    HEADERS = "additional_headers"
except ModuleNotFoundError:  # Debian 12
    from websockets.client import connect

    HEADERS = "extra_headers"


@asynccontextmanager
async def served(
    path: Path,
    patience: Patience | None = None,
    tls: ssl.SSLContext | None = None,
    *,
    listener: socket.socket | None = None,
    settings: Settings | None = None,
) -> AsyncIterator[tuple[Place, int, Doorkeeper]]:
    """Serve on a port of the loopback, or where the listener is, until the end."""
    keeper = Doorkeeper(patience)
    async with place(path, follow=False, settings=settings) as it:
        listener = listener or socket.create_server(("127.0.0.1", 0), backlog=256)
        listener.setblocking(False)
        started = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            server.serve(it.gateway, [listener], tls, keeper=keeper, ready=started.set_result)
        )
        try:
            async with asyncio.timeout(30):
                running = await started
                port = 0 if listener.family == socket.AF_UNIX else listener.getsockname()[1]
                yield it, port, keeper
                running.should_exit = True
                await serving
            assert it.daemon.closed
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            listener.close()


async def said(port: int, *parts: bytes) -> bytes:
    """Send, and return all that comes until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


HEALTH = b"GET /api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_a_request_is_answered(tmp_path: Path) -> None:
    async def check() -> None:
        async with served(tmp_path) as (it, port, _keeper):
            answer = await said(port, HEALTH)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b'{"status":"ok","daemon":true}')
            assert b"server:" not in answer.lower()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=it.by("observer")) as client:
                for _ in range(3):  # over one connection
                    assert (await client.get("/api/inputs")).status_code == 200

    asyncio.run(check())


@pytest.mark.parametrize("host", [b"[", b"[::1", b"x:y", b"a]b", b"x\xff"])
def test_a_host_that_is_none_is_nobodys_failure(tmp_path: Path, host: bytes) -> None:
    async def check() -> None:
        async with served(tmp_path) as (_it, port, _keeper):
            for path in (b"/", b"/static/main.js", b"/api/health", b"/api/no-such"):
                asked = b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
                assert (await said(port, asked)).split(b" ")[1] in {b"200", b"400", b"401"}, path

    asyncio.run(check())


def test_the_head_of_an_answer_is_that_of_the_whole(tmp_path: Path) -> None:
    async def check() -> None:
        async with served(tmp_path) as (it, port, _keeper):
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=it.by("observer")) as client:
                for path in ("/", "/static/main.js", "/api/health", "/api/inputs", "/api/openapi.json", "/metrics"):
                    whole, head = await client.get(path), await client.head(path)
                    assert (head.status_code, head.content) == (200, b""), path
                    assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}, path
                assert (await client.head("/api/inputs/none")).status_code == 404
                for answer, allowed in (
                    (await client.put("/api/session"), "DELETE, GET, HEAD, POST"),
                    (await client.head("/api/events"), "GET"),
                ):
                    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
                assert (await client.head("/api/inputs", headers={"x-api-key": "wrong"})).status_code == 401
            assert (await said(port, HEALTH.replace(b"GET /api/health", b"HEAD /api/inputs"))).split(b" ")[1] == b"401"

    asyncio.run(check())


def test_however_many_ask_it_makes_no_threads(tmp_path: Path) -> None:
    async def check() -> None:
        async with served(tmp_path) as (it, _port, _keeper):
            before = threading.active_count()
            for path in ("/", "/api/inputs", "/api/plan", "/api/openapi.json", "/metrics", "/api/health"):
                answers = await asyncio.gather(*(it.ask("GET", path) for _ in range(4)))
                assert {answer.status_code for answer in answers} == {200}
            # The unit may have few, and each request whose thread cannot be made would be a failure.
            assert threading.active_count() <= before

    asyncio.run(check())


def test_who_is_slow_to_ask_is_hung_up_on(tmp_path: Path) -> None:
    async def check() -> None:
        async with served(tmp_path, Patience(head=0.3, idle=1)) as (_it, port, keeper):
            assert await said(port) == b"", "nothing was asked"
            assert await said(port, HEALTH[:20]) == b""
            head = HEALTH.replace(b"Connection: close\r\n", b"")
            answer = await said(port, head, b"GET /api/hea")
            assert answer.count(b"HTTP/1.1 200") == 1, "nor may the second request trickle in"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for byte in HEALTH * 100:  # each byte is in time, all of them are not
                    writer.write(bytes([byte]))
                    await writer.drain()
                    if reader.at_eof():
                        break
                    await asyncio.sleep(0.02)
            except ConnectionError:
                pass
            assert await hung_up(reader)
            writer.close()
            assert keeper.count == 0

    asyncio.run(check())


async def hung_up(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


def test_a_long_answer_may_take_longer_than_a_head(tmp_path: Path) -> None:
    async def check() -> None:
        async with served(tmp_path, Patience(head=0.2)) as (it, port, _keeper):
            ask = f"GET /api/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {it.keys['observer']}\r\n\r\n".encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ask)
            until = asyncio.get_running_loop().time() + 1
            while asyncio.get_running_loop().time() < until:
                assert await reader.readline()
            writer.close()

    asyncio.run(check())


def test_who_does_not_read_is_hung_up_on(tmp_path: Path) -> None:
    async def check() -> None:
        async with served(tmp_path, Patience(unread=0.2)) as (it, port, keeper):
            it.daemon.output("studio-a/venue")["url"] = "x" * 2_000_000
            ask = f"GET /api/inputs HTTP/1.1\r\nHost: x\r\nX-API-Key: {it.keys['observer']}\r\n\r\n".encode()
            with socket.socket() as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                rude.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(rude, ("127.0.0.1", port))
                await loop.sock_sendall(rude, ask * 4)
                while not keeper.count:  # noqa: ASYNC110 (nothing tells when a connection was taken)
                    await asyncio.sleep(0.01)
                while keeper.count:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    asyncio.run(check())


async def connected(port: int, request: bytes) -> socket.socket:
    """Return a connection of somebody who has asked and takes little of the answer."""
    rude = socket.socket()
    rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    rude.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(rude, ("127.0.0.1", port))
    await loop.sock_sendall(rude, request)
    return rude


def narrow() -> socket.socket:
    """Return a listener whose connections hold little that was not read."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return listener


def test_nor_is_the_rest_of_a_short_answer_waited_for(tmp_path: Path) -> None:
    async def check() -> None:
        async with served(tmp_path, Patience(unread=0.2, idle=1), listener=narrow()) as (it, port, keeper):
            it.daemon.output("studio-a/venue")["url"] = "x" * 50_000
            key = it.keys["observer"]
            with await connected(
                port, f"GET /api/inputs HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n".encode()
            ) as rude:
                while not keeper.count:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                while keeper.count:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                reader, writer = await asyncio.open_connection(sock=rude)
                answer = b""
                with contextlib.suppress(ConnectionError):
                    while more := await reader.read(65536):
                        answer += more
                assert len(answer) < 50_000, "the rest is not there any more"
                writer.close()

    asyncio.run(check())


def test_nor_is_a_follower_that_does_not_read(tmp_path: Path) -> None:
    async def check() -> None:
        async with served(tmp_path, Patience(unread=0.2), listener=narrow()) as (it, port, keeper):
            it.daemon.output("studio-a/venue")["url"] = "x" * 200_000
            ask = (
                f"GET /api/live HTTP/1.1\r\nHost: x\r\nX-API-Key: {it.keys['observer']}\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            with await connected(port, ask.encode()):
                async with asyncio.timeout(10):
                    while not it.gateway.hub.followers:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                    while it.gateway.hub.followers or keeper.count:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)

    asyncio.run(check())


def test_there_is_room_for_some_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        async with served(tmp_path, Patience(connections=5, each=3)) as (_it, port, keeper):
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            while keeper.count < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            for _ in range(20):
                assert await said(port) == b""
            assert keeper.count == 3
            for _reader, writer in idle:
                writer.close()
            while keeper.count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert (await said(port, HEALTH)).startswith(b"HTTP/1.1 200")

    asyncio.run(check())
    assert caplog.text.count("no more connections are taken") == 1, "it is told once"


class Transport(asyncio.Transport):
    def __init__(self, peer: object) -> None:
        super().__init__({"peername": peer})
        self.closed = False
        self.unsent = 0
        self.aborted = False

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


def test_who_is_hung_up_on_counts_until_all_is_sent_or_long_enough_was_waited() -> None:
    now = 0.0
    keeper = Doorkeeper(Patience(connections=1, unread=20), steady=lambda: now)
    first = Transport(("192.0.2.1", 1))
    assert keeper.admit(first)
    first.closed, first.unsent = True, 5
    assert not keeper.admit(Transport(("192.0.2.1", 2)))
    now = 19.0
    assert not keeper.admit(Transport(("192.0.2.1", 2)))
    assert not first.aborted
    now = 20.0
    assert keeper.admit(Transport(("192.0.2.1", 2)))
    assert first.aborted


def test_a_proxy_may_have_them_all() -> None:
    keeper = Doorkeeper(Patience(connections=4, each=2), frozenset({"192.0.2.9"}))
    mine = [Transport(("192.0.2.1", port)) for port in range(3)]
    assert [keeper.admit(each) for each in mine] == [True, True, False]
    proxy = [Transport(("::ffff:192.0.2.9", port, 0, 0)) for port in range(3)]
    assert [keeper.admit(each) for each in proxy] == [True, True, False]
    mine[0].closed = True
    assert keeper.admit(Transport(""))
    assert not keeper.admit(Transport(""))


FORWARDED = (
    b"GET /api/inputs HTTP/1.1\r\nHost: x\r\nX-API-Key: wrong\r\nX-Forwarded-For: 198.51.100.7\r\n"
    b"Connection: close\r\n\r\n"
)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6")
def test_a_proxy_is_known_where_one_socket_is_for_both_kinds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        settings = Settings(proxies=frozenset({"127.0.0.1"}))
        async with served(tmp_path, listener=listener, settings=settings) as (_it, port, _keeper):
            assert (await said(port, FORWARDED)).startswith(b"HTTP/1.1 401")

    asyncio.run(check())
    assert "a wrong key came from 198.51.100.7" in caplog.text


@pytest.mark.parametrize(("proxies", "where"), [({"unix"}, "198.51.100.7"), ({"127.0.0.1"}, "a socket")])
def test_a_proxy_is_known_by_a_unix_socket(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, proxies: set[str], where: str
) -> None:
    async def check() -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "web.sock"))
        settings = Settings(proxies=frozenset(proxies))
        async with served(tmp_path, listener=listener, settings=settings):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "web.sock")
            writer.write(FORWARDED)
            assert (await reader.read()).startswith(b"HTTP/1.1 401")
            writer.close()

    asyncio.run(check())
    assert f"a wrong key came from {where}" in caplog.text


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /api/inputs HTTP/9.9\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n",
        b"GET /api/health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /static/..%2f..%2fserver.py HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /static/\\..\\x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
    ids=range(12),
)
def test_nonsense_is_refused(tmp_path: Path, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        async with served(tmp_path, Patience(head=1, idle=1)) as (_it, port, _keeper):
            answer = await said(port, request_)
            assert not answer or answer.split(b" ")[1] in {b"400", b"401", b"404", b"431"}, answer[:200]

    asyncio.run(check())
    assert "Traceback" not in caplog.text


def test_a_websocket_lives_on_and_ends_with_the_server(tmp_path: Path) -> None:
    async def check() -> None:
        async with served(tmp_path, Patience(head=0.2)) as (it, port, keeper):
            url = f"ws://127.0.0.1:{port}/api/live"
            live = await connect(url, **{HEADERS: it.by("observer")})
            assert json.loads(await live.recv())["event"] == "snapshot"
            until = asyncio.get_running_loop().time() + 0.5
            while asyncio.get_running_loop().time() < until:
                await live.recv()
            assert keeper.count == 1
            with pytest.raises(Exception, match=r"403"):
                await connect(url)
            await live.close()
            live = await connect(url, **{HEADERS: it.by("observer")})
        with contextlib.suppress(ConnectionClosed):  # "service restart", in some releases
            async for _message in live:
                pass

    asyncio.run(check())


def certificate(path: Path) -> None:
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
    ]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv += ["-keyout", str(path / "certificate-key"), "-out", str(path / "certificate")]
    subprocess.run(argv, check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_tls_by_credentials(tmp_path: Path) -> None:
    certificate(tmp_path)
    context = server.tls_context(str(tmp_path))
    assert context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2

    async def check() -> None:
        async with served(tmp_path, tls=context) as (it, port, _keeper):
            it.daemon.output("studio-a/venue")["url"] = "x" * 2_000_000
            trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate"))
            async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=trusted) as client:
                answer = await client.post("/api/session", json={"key": it.keys["observer"]})
                assert answer.status_code == 200
                assert "; secure" in answer.headers["set-cookie"].lower()
                assert len((await client.get("/api/inputs")).content) > 2_000_000
            assert await said(port, HEALTH) == b"", "who speaks plainly is not understood"

    asyncio.run(check())
    (tmp_path / "certificate-key").write_text("nonsense")
    with pytest.raises(SettingsError, match="no certificate and its key"):
        server.tls_context(str(tmp_path))
    (tmp_path / "certificate-key").unlink()
    with pytest.raises(SettingsError, match="TLS needs both"):
        server.tls_context(str(tmp_path))
    assert server.tls_context("") is None


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_a_handshake_counts_and_may_take_only_so_long(tmp_path: Path) -> None:
    certificate(tmp_path)
    context = server.tls_context(str(tmp_path))
    trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate"))

    async def check() -> None:
        async with served(tmp_path, Patience(connections=3, each=3, head=1), tls=context) as (_it, port, keeper):
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            silent[0][1].write(b"\x16\x03\x01\x02\x00\x01")  # it begins
            while keeper.count < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert await said(port, HEALTH) == b"", "there is room for no more"
            for reader, writer in silent:
                assert await hung_up(reader)
                writer.close()
            while keeper.count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            for _ in range(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
                writer.write(HEALTH)
                assert (await reader.read()).startswith(b"HTTP/1.1 200")
                writer.close()
            while keeper.count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    asyncio.run(check())


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_what_is_said_together_with_the_end_of_the_handshake_is_heard(tmp_path: Path) -> None:
    certificate(tmp_path)
    context = server.tls_context(str(tmp_path))
    trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate"))

    async def check() -> None:
        async with served(tmp_path, tls=context) as (_it, port, _keeper):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            arrives, leaves = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = trusted.wrap_bio(arrives, leaves, server_hostname="127.0.0.1")
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            writer.write(leaves.read())
            while True:
                arrives.write(await reader.read(65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                    break
            client.write(HEALTH)
            writer.write(leaves.read())  # its end and the request, in one piece
            answer = b""
            while not answer.endswith(b"}"):
                arrives.write(await reader.read(65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    answer += client.read()
            assert answer.startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(check())


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_a_websocket_over_tls(tmp_path: Path) -> None:
    certificate(tmp_path)
    context = server.tls_context(str(tmp_path))
    trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate"))

    async def check() -> None:
        async with served(tmp_path, tls=context) as (it, port, keeper):
            live = await connect(f"wss://127.0.0.1:{port}/api/live", ssl=trusted, **{HEADERS: it.by("observer")})
            assert json.loads(await live.recv())["event"] == "snapshot"
            assert keeper.count == 1
            await live.close()

    asyncio.run(check())


def test_what_signs_sessions_outlives_a_restart(tmp_path: Path) -> None:
    first = server.session_secret(str(tmp_path))
    assert server.session_secret(str(tmp_path)) == first
    assert (tmp_path / "session.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "session.key").write_bytes(b"short")
    assert server.session_secret(str(tmp_path)) != first
    assert server.session_secret("") != server.session_secret("")


def test_who_logged_out_stays_out_over_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "run").mkdir()
    file = tmp_path / "run/session.ended"
    add_key("wall", Role.OBSERVER, tmp_path / "keys.toml")
    ring = KeyRing(tmp_path / "keys.toml")
    wall = ring.named("wall")
    assert wall

    def sessions() -> Sessions:
        return server.make_gateway(FakeDaemon(), Settings(), ring, str(tmp_path / "run")).sessions

    first = sessions()
    one, other = first.begin(wall, 0), first.begin(wall, 0)
    session = first.read(one, 1)
    assert session
    first.end(session, 1)
    assert file.stat().st_mode & 0o777 == 0o600
    assert sessions().read(one, 1) is None
    assert sessions().read(other, 1)
    assert caplog.text == ""
    file.write_bytes(b"\xff\n" + file.read_bytes() + b"0123 4\n")
    assert sessions().read(one, 1) is None
    assert "lines that are none of ours" in caplog.text
    file.unlink()
    file.mkdir()  # nobody can read or write it
    again = sessions()
    again.end(session, 1)
    assert again.read(one, 1) is None
    assert "cannot read" in caplog.text
    assert "cannot write" in caplog.text


def test_settings(tmp_path: Path) -> None:
    assert parse_settings("") == read_settings(tmp_path / "none.toml") == Settings()
    text = 'origins = ["https://noc.example.net", "http://[::1]:8080"]\n'
    text += 'proxies = ["127.0.0.1", "2001:DB8::1", "::ffff:192.0.2.9", "unix"]\n'
    found = parse_settings(text)
    assert found.origins == {"https://noc.example.net", "http://[::1]:8080"}
    assert found.proxies == {"127.0.0.1", "2001:db8::1", "192.0.2.9", "unix"}
    for wrong, message in (
        ("origin = []", 'there is no key origin, did you mean "origins"'),
        ('origins = "https://x"', "origins is a list"),
        ('origins = ["*"]', "is no origin"),
        ('origins = ["https://x/"]', "is no origin"),
        ('origins = ["null"]', "is no origin"),
        ('origins = ["https://x:y"]', "is no origin"),
        ("origins = [1]", "is no origin"),
        ('proxies = ["10.0.0.0/8"]', "is no address"),
        ("proxies = [1]", "is no address"),
        ('proxies = ["socket"]', 'or "unix" for a Unix socket'),
        ("=", "no TOML"),
    ):
        with pytest.raises(SettingsError, match=message):
            parse_settings(wrong)
    (tmp_path / "web.toml").write_text("x = 1")
    with pytest.raises(SettingsError, match=r"web\.toml: there is no key x"):
        read_settings(tmp_path / "web.toml")


def test_without_a_socket_it_says_who_starts_it() -> None:
    with pytest.raises(SettingsError, match=r"started by streamd-web\.socket"):
        server.sockets_of([])


def test_logs_are_the_projects_own(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.INFO)

    async def check() -> None:
        async with served(tmp_path) as (_it, port, _keeper):
            await said(port, HEALTH)

    asyncio.run(check())
    assert "GET /api/health" not in caplog.text, "requests are not logged one by one"

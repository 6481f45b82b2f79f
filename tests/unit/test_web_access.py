"""Who is let in by streamd-web: tries, sessions, addresses behind proxies, and requests of other pages. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("streamd.web", reason="streamd-web is not installed, so that it is NOT TESTED")

from streamd.host.webkeys import Key, Role
from streamd.web.address import peer_of
from streamd.web.caller import address_of, cookie_of, headers_of, is_our_page, is_secure, secret_of
from streamd.web.limiter import Limiter
from streamd.web.session import Sessions

NOW = 1_795_418_000.0
WALL = Key(name="wall", role=Role.OBSERVER, digest="0" * 64, created=datetime(2026, 11, 25, tzinfo=UTC))


def test_after_some_failures_an_address_waits() -> None:
    limiter = Limiter(tries=3, seconds=10)
    assert [limiter.fail("192.0.2.1", NOW) for _ in range(3)] == [False, False, True]
    assert limiter.wait("192.0.2.1", NOW) == pytest.approx(10)
    assert limiter.wait("192.0.2.2", NOW) == 0, "others do not"
    assert limiter.wait("192.0.2.1", NOW + 9) == pytest.approx(1)
    assert limiter.wait("192.0.2.1", NOW + 10) == 0
    assert limiter.fail("192.0.2.1", NOW + 10), "it has one try, not three"
    assert limiter.wait("192.0.2.1", NOW + 100) == 0
    assert [limiter.fail("192.0.2.1", NOW + 100) for _ in range(3)] == [False, False, True]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=60))
def test_never_more_tries_than_the_bucket_gives(steps: list[tuple[str, float]]) -> None:
    limiter = Limiter(tries=4, seconds=10)
    now, tries = 0.0, dict.fromkeys("abc", 0)
    for address, pause in steps:
        now += pause
        if not limiter.wait(address, now):
            limiter.fail(address, now)
            tries[address] += 1
        assert tries[address] <= 4 + now / 10 + 1e-6


def test_what_is_remembered_has_an_end() -> None:
    limiter = Limiter(tries=1, seconds=10, most=2)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        limiter.fail(address, NOW)
    assert [bool(limiter.wait(f"192.0.2.{number}", NOW)) for number in (1, 2, 3)] == [False, True, True]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "192.0.2.1", False),
    ],
)
def test_a_network_of_ipv6_is_one_address(one: str, other: str, same: bool) -> None:
    limiter = Limiter(tries=1)
    limiter.fail(one, NOW)
    assert (limiter.wait(other, NOW) > 0) is same


def test_a_session_lasts_until_its_end() -> None:
    sessions = Sessions(b"s", {"wall": WALL}.get, lasts=100)
    cookie = sessions.begin(WALL, NOW)
    session = sessions.read(cookie, NOW + 99)
    assert session is not None
    assert (session.key, session.ends) == (WALL, NOW + 100)
    assert sessions.read(cookie, NOW + 100) is None
    assert Sessions(b"s", {"wall": WALL}.get).read(cookie, NOW) == session, "a restart does not end it"
    assert Sessions(b"t", {"wall": WALL}.get).read(cookie, NOW) is None
    assert sessions.begin(WALL, NOW) != cookie


def test_a_session_ends_with_its_key() -> None:
    keys = {"wall": WALL}
    sessions = Sessions(b"s", keys.get)
    cookie = sessions.begin(WALL, NOW)
    keys.clear()
    assert sessions.read(cookie, NOW) is None
    keys["wall"] = Key(name="wall", role=Role.ADMIN, digest="1" * 64, created=WALL.created)
    assert sessions.read(cookie, NOW) is None, "a new key of that name is another"


def test_a_session_that_is_ended_is_over() -> None:
    sessions = Sessions(b"s", {"wall": WALL}.get)
    one, other = sessions.begin(WALL, NOW), sessions.begin(WALL, NOW)
    session = sessions.read(one, NOW)
    assert session is not None
    sessions.end(session, NOW)
    assert sessions.read(one, NOW) is None
    assert sessions.read(other, NOW) is not None


@given(st.text(), st.integers(0, 200), st.characters())
def test_a_forged_cookie_is_none(text: str, place: int, character: str) -> None:
    sessions = Sessions(b"s", {"wall": WALL}.get)
    assert sessions.read(text, NOW) is None
    cookie = sessions.begin(WALL, NOW)
    at = place % len(cookie)
    if cookie[at] != character:
        assert sessions.read(cookie[:at] + character + cookie[at + 1 :], NOW) is None


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "203.0.113.9,198.51.100.1,10.0.0.1", "198.51.100.1"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1, ", "198.51.100.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "::ffff:198.51.100.1, ::ffff:10.0.0.1", "198.51.100.1"),
        ("", "198.51.100.1", ""),
        ("unix", "198.51.100.1", ""),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded: str, address: str) -> None:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert address_of(peer, headers, {"127.0.0.1", "10.0.0.1"}) == address


def test_whoever_comes_by_a_unix_socket_may_be_a_proxy() -> None:
    headers = {"x-forwarded-for": "unix, 198.51.100.1", "x-forwarded-proto": "https"}
    assert address_of("unix", headers, {"unix"}) == "198.51.100.1"
    assert address_of("127.0.0.1", headers, {"unix"}) == "127.0.0.1"
    assert is_secure("http", "unix", headers, {"unix"})
    assert address_of("unix", {}, {"unix"}) == ""


@pytest.mark.parametrize(
    ("client", "server", "peer"),
    [
        (("192.0.2.1", 4000), ("192.0.2.9", 80), "192.0.2.1"),
        (("::ffff:127.0.0.1", 4000), ("::ffff:127.0.0.1", 80), "127.0.0.1"),
        (("2001:DB8::1", 4000), ("::", 80), "2001:db8::1"),
        (None, None, "unix"),
        (None, ("/run/streamd-web.sock", None), "unix"),
        (None, ("192.0.2.9", 80), ""),
    ],
)
def test_where_a_connection_comes_from(client: object, server: object, peer: str) -> None:
    assert peer_of(client, server) == peer


def test_tls_is_believed_of_trusted_proxies_alone() -> None:
    headers = {"x-forwarded-proto": "https"}
    assert is_secure("http", "127.0.0.1", headers, {"127.0.0.1"})
    assert not is_secure("http", "192.0.2.1", headers, {"127.0.0.1"})
    assert is_secure("https", "192.0.2.1", {}, ())
    assert not is_secure("http", "192.0.2.1", {}, ())


HOST = {"host": "media.example.net:8080"}


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        (HOST | {"origin": "http://media.example.net:8080"}, True),
        (HOST | {"origin": "https://MEDIA.example.net:8080", "sec-fetch-site": "same-origin"}, True),
        (HOST | {"sec-fetch-site": "same-origin"}, True),
        (HOST | {"origin": "http://media.example.net:8081"}, False),
        (HOST | {"origin": "http://media.example.net"}, False),
        (HOST | {"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, False),
        (HOST | {"origin": "http://media.example.net:8080", "sec-fetch-site": "same-site"}, False),
        (HOST | {"origin": "null"}, False),
        (HOST | {"origin": "http://[::1"}, False),
        (HOST | {"sec-fetch-site": "none"}, False),
        (HOST, False),
        ({"origin": "http://"}, False),
    ],
)
def test_another_page_is_not_ours(headers: dict[str, str], ours: bool) -> None:
    assert is_our_page(headers) is ours


def test_keys_and_cookies_of_a_request() -> None:
    assert secret_of({"x-api-key": " k "}) == "k"
    assert secret_of({"authorization": "bearer  k"}) == "k"
    assert secret_of({"authorization": "Basic k"}) is None
    assert secret_of({"authorization": "Bearer"}) is None
    assert secret_of({}) is None
    assert secret_of({"x-api-key": "", "authorization": "Bearer k"}) == "", "an empty key is a wrong one"
    assert cookie_of({"cookie": "a=1; streamd=x=y ;b"}, "streamd") == "x=y"
    assert cookie_of({"cookie": "streamd=1; streamd=2"}, "streamd") is None, "somebody may have planted one"
    assert cookie_of({}, "streamd") is None
    assert headers_of([(b"A", b"1"), (b"a", b"2"), (b"B", b"\xff")]) == {"a": "1,2", "b": "\xff"}

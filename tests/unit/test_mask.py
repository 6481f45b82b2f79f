"""Source lines are shown without secrets, however broken the text is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.route.mask import ShownLines, has_secret_parameter, is_secret, redact_url, without_secrets

SECRET = "Xq7secretZk9"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('passphrase = "s3cret"', "passphrase = ***"),
        ("passphrase: s3cret", "passphrase: ***"),
        ("passphrase s3cret", "passphrase ***"),
        ('"passphrase" = "s3cret" # s3cret', '"passphrase" = ***'),
        ('output.a.key = "s3cret', "output.a.key = ***"),
        ('pasphrase = "s3cret"', "pasphrase = ***"),
        ('stream_key = "s3cret"', "stream_key = ***"),
        ('whatever = "s3cret"', "whatever = ***"),
        ('x = { url = "udp://a:1", key = "s3cret" }', 'x = { url = "udp://a:1", key = ***'),
        ('limits = { memory = "1G", key = "s3cret" }', 'limits = { memory = "1G", key = ***'),
        ('key = { credential = "s3cret word" }', "key = ***"),
        ('key = { value = "s3cret" }', "key = { value = ***"),
        ('#passphrase = "s3cret"', "#passphrase = ***"),
        ('url = "rtsp://admin:s3cret@host/a@b"', 'url = "rtsp://***@b"'),
        ('url = "rtsp://s3cret@host/a" # you@example.com', 'url = "rtsp://***@host/a" # you@example.com'),
        ('url = "rtsp://admin:s3 cret@host', 'url = "rtsp://***@host'),
        ("url = rtsp://admin:s3cret@host", "url = rtsp://***@host"),
        ('url = "rtsp:\\u002f/admin:s3cret@host"', 'url = "***"'),
        ('url = "srt://a:1?passphrase=s3cret"', 'url = "srt://a:1?***"'),
        ('on_failure = "https://hooks.example.net/T0/s3cret"', 'on_failure = "https://hooks.example.net/***"'),
        ('on_failure = ["https://a/s3cret", "x.service"]', 'on_failure = ["https://a/***", "x.service"]'),
        ("on_failure = https://a/s3cret", "on_failure = https://a/***"),
        ('x = { url = "rtsp://u:s3cret@h/x?s3cret", key = "s3cret" }', 'x = { url = "rtsp://***@h/x?***", key = ***'),
        ("\x1b[31m", "\ufffd[31m"),
    ],
)
def test_line(line: str, shown: str) -> None:
    assert ShownLines(line).line(1) == shown


@pytest.mark.parametrize(
    "line",
    [
        *('key = { credential = "youtube" }', 'passphrase = { credential = "a-b.c" } # see there', "passphrase ="),
        *('url = "udp://0.0.0.0:5000"  # or auto, a port', 'latancy = "200ms"', "[output.key]", "", "enabled = yes"),
        *('limits = { memory = "150M", cpu = "30%" }', 'description = "the key, as text"'),
    ],
)
def test_harmless_line(line: str) -> None:
    assert ShownLines(line).line(1) == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('passphrase =\n"s3cret"\nttl = 4', ["passphrase =", "***", "ttl = 4"]),
        ('passphrase =\n"s3=cret"\nttl = 4', ["passphrase =", "***", "ttl = 4"]),
        ('key = """\nttl = s3cret\n"""\nttl = 4', ["key = ***", "***", "***", "ttl = 4"]),
        ('key = [\n  "s3cret",\n]\nttl = 4', ["key = ***", "***", "***", "ttl = 4"]),
        ("key = '''s3cret\ns3cret", ["key = ***", "***"]),
        ('description = """\nkey = 1\n"""', ['description = """', "key = ***", "***"]),
    ],
)
def test_lines(text: str, shown: list[str]) -> None:
    lines = ShownLines(text)
    assert [lines.line(number) for number in range(1, len(lines) + 1)] == shown


def test_unknown_keys_are_secret_unless_they_resemble_plain_ones() -> None:
    assert not any(map(is_secret, ("url", "latancy", "enable", "descr1ption", "output.x.ttl")))
    assert all(map(is_secret, ("PASSPHRASE", "passwd", "zzz", "keys", "x" * 100, "output.ttl.key")))


def test_urls_lose_user_and_query() -> None:
    assert redact_url("rtsp://a:b@h:1/p?q=1") == "rtsp://***@h:1/p?***"
    assert redact_url("srt://h:1") == "srt://h:1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:secret@host/live", "rtsp://user:***@host/live"),
        ("rtsp://user:se:cr@et@host/live", "rtsp://user:***@host/live"),
        ("rtsp://admin:pa[ss@192.0.2.7/stream", "rtsp://admin:***@192.0.2.7/stream"),
        ("rtsp://admin:pa]ss@[2001:db8::1]:554/a[b", "rtsp://admin:***@[2001:db8::1]:554/a[b"),
        ("rtsp://user@host:554/live", "rtsp://user@host:554/live"),
        ("rtsp://:secret@host", "rtsp://:***@host"),
        ("rtmp://host/app:1@2", "rtmp://host/app:1@2"),
        ("udp://[::1]:5000", "udp://[::1]:5000"),
        ("rtmp://nvr/bcs/x?user=admin&password=secret", "rtmp://nvr/bcs/x?user=admin&password=***"),
        ("https://cdn/live.m3u8?token=secret", "https://cdn/live.m3u8?token=***"),
        ("https://cdn/live.m3u8?secret", "https://cdn/live.m3u8?***"),
        ("https://cdn/live.m3u8?c2VjcmV0cw==", "https://cdn/live.m3u8?***"),
        ("https://cdn/live.m3u8?a=1?secret&channel=1?token=secret", "https://cdn/live.m3u8?a=***&channel=***"),
        ("https://cdn/live.m3u8?e%3Dsecret=1", "https://cdn/live.m3u8?***=***"),
        ("rtsp://u:secret@nvr/cam?channel=1&subtype=0", "rtsp://u:***@nvr/cam?channel=1&subtype=0"),
        ("rtsp://nvr/cam?user=admin&password=&unicast", "rtsp://nvr/cam?user=admin&password=&unicast"),
        ("rtmps://b.example/live2?backup=1", "rtmps://b.example/live2?backup=1"),
        ("rtsp://h/a?", "rtsp://h/a?"),
        ("file:///srv/a:b@c?d=e", "file:///srv/a:b@c?d=e"),
        ("test:", "test:"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@given(st.text("[]:/?#@%&=.ab\n", max_size=30), st.text("[]:%&=.ab@", max_size=8))
def test_any_url_can_be_shown(rest: str, word: str) -> None:
    without_secrets(rest)
    assert SECRET not in without_secrets(f"rtsp://{word}:{SECRET}@{rest}")
    assert SECRET not in without_secrets(f"rtsp://h/{word}?{rest}={SECRET}")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("password=x", True),
        ("channel=1&PWD=x", True),
        ("channel=1?token=x", True),
        ("p%61ss=x", True),
        ("api_key=x&b=1", True),
        ("sig=x", True),
        ("password=&token", False),
        ("channel=1&subtype=0&user=admin", False),
        ("", False),
        (None, False),
    ],
)
def test_a_secret_in_a_query_is_known_by_its_name(query: str | None, expected: bool) -> None:
    assert has_secret_parameter(query) is expected


def test_a_statement_of_many_lines_takes_no_longer_for_each_of_them() -> None:
    """Where each line was looked at for each line below it, these took minutes."""
    shown = ShownLines("key = [\n" + "1,\n" * 40_000 + "no statement\n" * 40_000)
    assert {shown.line(number) for number in range(2, len(shown))} == {"***"}

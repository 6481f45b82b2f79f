"""streamd.toml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamd.route.model import Credential, Hooks, Limits, Listen, MediaServer, Settings, UnitHook, WebHook
from streamd.route.settings import parse_settings, settings_credentials

SHIPPED = Path(__file__).parents[2] / "etc/streamd/streamd.toml"


def test_every_key_is_read() -> None:
    text = """\
input_ports = "6000-6199"
max_outputs = 5
relay = { groups = "239.192.0.0/20", port = 30000 }
output.limits = { memory = "150M", cpu = "30%", tasks = 20 }
"""
    assert parse_settings("streamd.toml", text) == (
        Settings(
            input_ports=(6000, 6199),
            max_outputs=5,
            relay_groups="239.192.0.0/20",
            relay_port=30000,
            output_limits=Limits(memory=150 << 20, cpu=30, tasks=20),
        ),
        (),
    )


def test_listeners_of_mediamtx() -> None:
    text = """\
[mediamtx]
rtsp = "0.0.0.0:8554"
srt = "[::]:8890"
hls = "192.0.2.1:8888"
webrtc = "0.0.0.0:8889"
webrtc_media = "0.0.0.0:8890"
metrics = "[::1]:9998"
"""
    settings, diagnostics = parse_settings("streamd.toml", text)
    assert [str(found).partition("\n")[0] for found in diagnostics] == [
        "streamd.toml:6:16: mediamtx.webrtc_media: must have another port than srt, which has 8890 too"
    ]
    assert settings.mediamtx == MediaServer(
        rtsp=Listen("0.0.0.0", 8554),
        srt=Listen("::", 8890),
        hls=Listen("192.0.2.1", 8888),
        webrtc=Listen("0.0.0.0", 8889),
        metrics=Listen("::1", 9998),
    )


MEDIA = "3:10: mediamtx.webrtc: its media would have port 8189"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'input_ports = "8000-8200"\n[mediamtx]\nwebrtc = "0.0.0.0:8889"\n',
            f"{MEDIA}, one of 8000-8200, the ports of inputs (input_ports), set webrtc_media to another port",
        ),
        (
            'progress_port = 8189\n[mediamtx]\nwebrtc = "0.0.0.0:8889"\n',
            f"{MEDIA}, where progress goes (progress_port), set webrtc_media to another port",
        ),
        (
            'progress_port = 8189\n[mediamtx]\nwebrtc = "0.0.0.0:8889"\nwebrtc_media = "0.0.0.0:8189"\n',
            "4:16: mediamtx.webrtc_media: must have another port than 8189, where progress goes (progress_port)",
        ),
        ('input_ports = "8000-8200"\n[mediamtx]\nhls = "0.0.0.0:8888"\n', ""),
    ],
)
def test_the_media_of_webrtc_is_in_nobodys_way(text: str, told: str) -> None:
    settings, diagnostics = parse_settings("streamd.toml", text)
    assert [found.headline() for found in diagnostics] == ([f"streamd.toml:{told}"] if told else [])
    assert settings.mediamtx.webrtc is None


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7", "live.example.net", "studio-7"])
def test_a_host_that_leads_here(host: str) -> None:
    settings, diagnostics = parse_settings("streamd.toml", f'[mediamtx]\nwebrtc_host = "{host}"\n')
    assert (settings.mediamtx.webrtc_host, diagnostics) == (host, ())


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1", "::", "239.1.1.1", "203.0.113", "http://a", "a b", "a:8189", "-a", "a..b", "x" * 254]
)
def test_a_host_that_cannot_lead_here(host: str) -> None:
    settings, (found,) = parse_settings("streamd.toml", f'[mediamtx]\nwebrtc_host = "{host}"\n')
    assert settings.mediamtx.webrtc_host == ""
    assert str(found).startswith("streamd.toml:2:15: mediamtx.webrtc_host: ")


@pytest.mark.parametrize("text", ["", "# nothing\n", b""])
def test_every_key_has_a_default(text: str | bytes) -> None:
    assert parse_settings("streamd.toml", text) == (Settings(), ())


def test_shipped_file_shows_the_defaults() -> None:
    text = SHIPPED.read_text()
    assert parse_settings("streamd.toml", text) == (Settings(), ())
    keys = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)
    settings, diagnostics = parse_settings("streamd.toml", keys.sub("", text))
    assert diagnostics == ()
    hooks = Hooks(
        on_failure=(UnitHook("notify-mail@%i.service"), WebHook(Credential("alerts-url"))),
        on_recovery=(WebHook("https://alerts.example.net/streams"),),
        delay=10_000,
    )
    assert settings == Settings(
        output_limits=Limits(memory=150 << 20, cpu=30, tasks=64),
        hooks=hooks,
        mediamtx=MediaServer(webrtc_host="203.0.113.7"),
    )
    assert len(keys.findall(text)) == 19


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        ("input_port = 1", '1:1: input_port: unknown key, did you mean "input_ports"?'),
        ("input_ports = 5000", "1:15: input_ports: expected a string, found an integer"),
        ('stall_timeout = "5s"', "1:1: stall_timeout: stall_timeout stands below [output]"),
        ('[output]\nstall_timeout = "1s"', '2:17: output.stall_timeout: must be from 5s to 600s, or "off"'),
        ("on_failure = []", "1:1: on_failure: on_failure stands below [hooks]"),
        ('hooks.delay = "1ms"', "1:15: hooks.delay: must be from 1s to 3600s"),
        ("progress_port = 80", "1:17: progress_port: must be from 1024 to 65535"),
        (
            "progress_port = 20000",
            "1:17: progress_port: must be outside of 5000-5100 (input_ports) and not 20000 (the relay's port)",
        ),
        ('input_ports = "5000"', '1:15: input_ports: write the first and the last port, such as "5000-5100"'),
        ('input_ports = "0-70000"', "1:15: input_ports: must be ports from 1 to 65535"),
        ('input_ports = "5100-5000"', '1:15: input_ports: the first port is above the last, write "5000-5100"'),
        (
            'input_ports = "10000-65535"',
            "1:15: input_ports: must not contain 20000, the relay's port (port in the [relay] table)",
        ),
        (
            'input_ports = "1-65520"',
            "1:15: input_ports: must leave 16 ports from 1024 on to the relay, progress reports and MediaMTX",
        ),
        ("max_outputs = 0", "1:15: max_outputs: must be from 1 to 1000"),
        ("max_outputs = true", "1:15: max_outputs: expected an integer, found true"),
        ('relay = "direct"', "1:9: relay: expected a table, found a string, write [relay] and its keys below"),
        ("relay.port = 80", "1:14: relay.port: must be from 1024 to 65535"),
        (
            "relay.port = 5001",
            "1:14: relay.port: must be outside of 5000-5100, the ports of inputs (input_ports)",
        ),
        ('mediamtx = "on"', "1:12: mediamtx: expected a table, found a string, write [mediamtx] and its keys below"),
        ('[mediamtx]\nrtmps = "off"', '2:1: mediamtx.rtmps: unknown key, did you mean "rtmp"?'),
        (
            "mediamtx.rtmp = true",
            "1:17: mediamtx.rtmp: expected a string, found true",
        ),
        (
            'mediamtx.rtmp = "1935"',
            '1:17: mediamtx.rtmp: write an IP address of this host and a port, such as "0.0.0.0:1935", or "off"',
        ),
        (
            'mediamtx.rtsp = "off"',
            '1:17: mediamtx.rtsp: write an IP address of this host and a port, such as "127.0.0.1:8554"',
        ),
        (
            'mediamtx.rtsp = "::1:8554"',
            '1:17: mediamtx.rtsp: write an IP address of this host and a port, such as "127.0.0.1:8554"',
        ),
        ('mediamtx.hls = "0.0.0.0:80"', "1:16: mediamtx.hls: must have a port from 1024 to 65535"),
        ('mediamtx.srt = "239.1.1.1:8890"', "1:16: mediamtx.srt: must not be a multicast group"),
        (
            'mediamtx.api = "0.0.0.0:9997"',
            '1:16: mediamtx.api: must be an address of the loopback interface, such as "127.0.0.1:9997"',
        ),
        (
            'mediamtx.srt = "0.0.0.0:5000"',
            "1:16: mediamtx.srt: must have a port outside of 5000-5100, the ports of inputs (input_ports)",
        ),
        (
            'mediamtx.srt = "0.0.0.0:20000"',
            "1:16: mediamtx.srt: must have another port than 20000, the relay's (port in the [relay] table)",
        ),
        ('mediamtx.hls = "0.0.0.0:8554"', "1:16: mediamtx.hls: must have another port than rtsp, which has 8554 too"),
        (
            'relay.groups = "239.255.0.0"',
            '1:16: relay.groups: write a range of IPv4 multicast groups, such as "239.255.0.0/16"',
        ),
        (
            'relay.groups = "999.255.0.0/16"',
            '1:16: relay.groups: write a range of IPv4 multicast groups, such as "239.255.0.0/16"',
        ),
        (
            'relay.groups = "10.0.0.0/8"',
            '1:16: relay.groups: must lie within 239.0.0.0/8, the groups for private use, such as "239.255.0.0/16"',
        ),
        (
            'relay.groups = "239.255.1.0/16"',
            '1:16: relay.groups: is not the beginning of a range, write "239.255.0.0/16"',
        ),
        (
            'relay.groups = "239.255.1.0/30"',
            '1:16: relay.groups: is too small, each route needs a group, write "239.255.1.0/24"',
        ),
        ("port = 20000", "1:1: port: port stands below [relay]"),
        ('output.memory = "1G"', "1:8: output.memory: write limits = { memory = ... }"),
        ("[input]", "1:2: input: [input] stands in a route's file, /etc/streamd/conf.d/NAME.toml"),
        ("max_outputs = ", "1:15: max_outputs: a value is missing after the =, write one"),
    ],
)
def test_a_wrong_key_leaves_its_default(text: str, headline: str) -> None:
    settings, diagnostics = parse_settings("streamd.toml", text)
    assert [found.headline() for found in diagnostics] == [f"streamd.toml:{headline}"]
    assert settings == Settings()


def test_a_wrong_key_leaves_the_others_alone() -> None:
    settings, diagnostics = parse_settings(
        "streamd.toml", 'max_outputs = 7\ninput_ports = "x"\n[relay]\nport = 25000\n'
    )
    assert len(diagnostics) == 1
    assert settings == Settings(max_outputs=7, relay_port=25000)


def test_a_stall_time_out_may_be_off() -> None:
    assert parse_settings("streamd.toml", '[output]\nstall_timeout = "off"')[0].stall_timeout == 0
    assert parse_settings("streamd.toml", '[output]\nstall_timeout = "30s"')[0].stall_timeout == 30_000


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ('input_ports = "20001-20100"', 20101),
        ('input_ports = "20001-65535"', 19999),
        ('input_ports = "10000-65535"\nrelay.port = 9999', 9998),
        ('input_ports = "1-65519"\nrelay.port = 65520', 65521),
        ('input_ports = "1040-65535"\nrelay.port = 1039', 1038),
    ],
)
def test_the_port_for_progress_gets_out_of_the_way_of_the_others(text: str, port: int) -> None:
    settings, diagnostics = parse_settings("streamd.toml", text)
    assert (settings.progress_port, diagnostics) == (port, ())


def test_credentials_of_hooks_are_looked_for() -> None:
    text = '[hooks]\non_failure = { credential = "a" }\non_recovery = ["x.service", { credential = "b" }]\n'
    settings, diagnostics = parse_settings("streamd.toml", text)
    assert diagnostics == ()
    assert settings_credentials("streamd.toml", text, settings, {"a": "", "b": ""}) == ()
    found = settings_credentials("streamd.toml", text, settings, {"b": "is empty"})
    assert [one.headline() for one in found] == [
        'streamd.toml:2:29: hooks.on_failure.credential: there is no credential "a" in /etc/streamd/credentials',
        'streamd.toml:3:44: hooks.on_recovery[1].credential: the credential "b" is empty',
    ]

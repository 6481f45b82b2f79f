"""MediaMTX's document, against the keys that each of its versions knows and against a MediaMTX where there is one."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamd.plan.desired import Absent, HostFacts
from streamd.plan.mediamtx import (
    COPY_SINCE,
    MOQ_SINCE,
    MPEGTS_SCHEME_SINCE,
    OLDEST,
    RTSP_TRANSPORTS_SINCE,
    Kept,
    Publisher,
    Version,
    kept_names,
    kept_of,
    media_document,
    parse_version,
    password_digest,
    paths_of,
    published_to,
)
from streamd.plan.status import State
from streamd.route.model import Credential, Listen, MediaServer, PublishSource, Settings
from tests.unit.make import desired, route, udp_output, unit_of

KEYS = Path(__file__).parent / "data/mediamtx/keys.txt"
ALL_ON = MediaServer(
    rtmp=Listen("0.0.0.0", 1935), srt=Listen("::", 8890), hls=Listen("192.0.2.1", 8888), webrtc=Listen("0.0.0.0", 8889)
)
PUBLISH = PublishSource(user="studio", password=Credential("pub"))
PUBLISHABLE = HostFacts(digests={"pub": "x"}, plain=frozenset({"pub"}))
MEDIAMTX = shutil.which("mediamtx")


def known_keys() -> dict[Version, dict[str, frozenset[str]]]:
    """Return, by version, the keys of the document itself and of a path."""
    found: dict[Version, dict[str, frozenset[str]]] = {}
    sofar: dict[str, frozenset[str]] = {"global": frozenset(), "path": frozenset()}
    for line in KEYS.read_text().splitlines():
        if line.startswith("#"):
            continue
        text, kind, *names = line.split()
        version = parse_version(text)
        assert version is not None
        sofar = sofar | {kind: sofar[kind] | set(names)}
        found[version] = sofar
    return found


VERSIONS = known_keys()


def make(version: Version, paths: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    settings = Settings(mediamtx=more.pop("server", MediaServer()))
    return json.loads(
        media_document(
            {"studio-a": "239.255.1.2"} if paths is None else paths,
            settings=settings,
            version=version,
            api_password="sesame",
            **more,
        )
    )


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: ".".join(map(str, version)))
@pytest.mark.parametrize("server", [MediaServer(), ALL_ON], ids=["default", "all on"])
def test_every_version_knows_every_key(version: Version, server: MediaServer) -> None:
    document = make(version, server=server, largest_buffer=4 << 20)
    assert set(document) - VERSIONS[version]["global"] == set()
    for path in document["paths"].values():
        assert set(path) - VERSIONS[version]["path"] == set()


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: ".".join(map(str, version)))
def test_no_listener_but_on_loopback_unless_asked_for(version: Version) -> None:
    document = make(version)
    servers = {"rtsp", "rtmp", "srt", "hls", "webrtc", "api", "metrics", "pprof", "playback", "moq"}
    # Whatever is not said to be off has MediaMTX's default, which for most of them is on.
    assert servers & VERSIONS[version]["global"] <= set(document)
    on = {key for key in servers if document.get(key)}
    assert on == {"rtsp", "api", "metrics"}
    assert {document[f"{key}Address"].rpartition(":")[0] for key in on} == {"127.0.0.1"}
    transports = document["rtspTransports" if version >= RTSP_TRANSPORTS_SINCE else "protocols"]
    assert transports == ["tcp"], "by UDP it would listen on ports of all addresses"


def test_gates_are_where_the_keys_came() -> None:
    gates = {
        "rtspTransports": RTSP_TRANSPORTS_SINCE,
        "moq": MOQ_SINCE,
        "mpegtsUDPReadBufferSize": MPEGTS_SCHEME_SINCE,
        "protocols": OLDEST,
    }
    for name, since in gates.items():
        assert next(version for version, keys in VERSIONS.items() if name in keys["global"] | keys["path"]) == since


@pytest.mark.parametrize(
    ("version", "paths"),
    [
        ((1, 12, 0), {}),
        ((1, 12, 1), {"studio-a": {"source": "udp://239.255.1.2:20000?interface=lo"}}),
        ((1, 13, 1), {"studio-a": {"source": "udp://239.255.1.2:20000?interface=lo"}}),
        ((1, 14, 0), {"studio-a": {"source": "udp+mpegts://239.255.1.2:20000?interface=lo"}}),
        ((1, 21, 0), {"studio-a": {"source": "udp+mpegts://239.255.1.2:20000?interface=lo"}}),
    ],
)
def test_copies(version: Version, paths: object) -> None:
    assert make(version)["paths"] == paths


@pytest.mark.parametrize(("limit", "asked"), [(212992, 212992), (4 << 20, 2 << 20)])
def test_no_larger_buffer_is_asked_for_than_the_kernel_gives(limit: int, asked: int) -> None:
    (path,) = make((1, 20, 1), largest_buffer=limit)["paths"].values()
    assert path["mpegtsUDPReadBufferSize"] == asked


def test_listeners_that_are_on() -> None:
    document = make((1, 20, 1), server=ALL_ON)
    assert document["rtmpAddress"] == "0.0.0.0:1935"
    assert document["srtAddress"] == "[::]:8890"
    assert document["hlsAddress"] == "192.0.2.1:8888"
    assert document["webrtcLocalUDPAddress"] == "0.0.0.0:8189"


def test_a_host_behind_a_router_is_told_to_webrtc_where_that_is_on() -> None:
    assert make((1, 20, 1), server=ALL_ON)["webrtcAdditionalHosts"] == []
    document = make((1, 20, 1), server=replace(ALL_ON, webrtc_host="live.example.net"))
    assert document["webrtcAdditionalHosts"] == ["live.example.net"]
    assert "webrtcAdditionalHosts" not in make((1, 20, 1), server=MediaServer(webrtc_host="live.example.net"))


def test_the_api_is_for_whoever_knows_the_password_and_nobody_publishes() -> None:
    text = media_document({}, settings=Settings(), version=(1, 20, 1), api_password="sesame")
    assert "sesame" not in text
    users = json.loads(text)["authInternalUsers"]
    allowed = {permission["action"]: user for user in users for permission in user["permissions"]}
    assert set(allowed) == {"api", "metrics", "read"}
    assert allowed["api"]["user"] == "streamd"
    # As openssl says: printf sesame | openssl dgst -sha256 -binary | base64
    assert allowed["api"]["pass"] == "sha256:0MBPSxlR5K6q7IIj7SA55ULzqugFpvp/bXlOWv/10nI="


def test_a_path_more_changes_nothing_else() -> None:
    before, after = make((1, 20, 1)), make((1, 20, 1), {"studio-a": "239.255.1.2", "b": "239.255.1.3"})
    assert after["paths"].pop("b")
    assert before == after


def test_which_routes_have_a_copy() -> None:
    groups = {name: f"239.255.0.{number}" for number, name in enumerate(("a", "b", "c", "d", "all"), 1)}
    routes = [route("a", udp_output("x")), route("b", enabled=False), route("c"), route("all")]
    routes.append(route("d", source=PUBLISH))
    wanted = desired(*routes, stopped=("c",), facts=PUBLISHABLE)
    assert paths_of(routes, wanted, groups) == {"a": "239.255.0.1"}
    assert published_to(routes, wanted) == {"d": PUBLISH}


def test_who_may_publish() -> None:
    found = make((1, 20, 1), publishers={"b": Publisher(user="studio", digest=password_digest("sesame"))})
    assert found["paths"]["b"] == {"source": "publisher"}
    assert found["authInternalUsers"][-1] == {
        "user": "studio",
        "pass": "sha256:0MBPSxlR5K6q7IIj7SA55ULzqugFpvp/bXlOWv/10nI=",
        "permissions": [{"action": "publish", "path": "b"}],
    }


def test_what_cannot_be_understood_now_stays_as_it_was() -> None:
    publishers = {name: Publisher(user=name, digest="x") for name in ("b", "c")}
    before = make((1, 20, 1), {"a": "239.255.0.1", "d": "239.255.0.2"}, publishers=publishers)
    kept = kept_of(json.dumps(before), {"a", "b", "never"})
    after = make((1, 20, 1), {}, kept=kept)
    assert after["paths"] == {name: before["paths"][name] for name in ("a", "b")}
    assert [user["user"] for user in after["authInternalUsers"]] == ["streamd", "any", "any", "b"]
    assert make((1, 20, 1), {}, kept=kept_of(json.dumps(before), ())) == make((1, 20, 1), {})


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"paths": 1, "authInternalUsers": [1]}', '{"paths": {"a": {}}}']
)
def test_a_damaged_document_keeps_nothing(text: str) -> None:
    assert kept_of(text, {"a"}) == Kept()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            HostFacts(digests={"pub": "x"}, mediamtx="MediaMTX is not installed"),
            "MediaMTX is not installed; to install it, as root: streamctl install-mediamtx",
        ),
        (HostFacts(), 'credential "pub" is missing or cannot be used'),
        (
            HostFacts(digests={"pub": "x"}),
            'credential "pub" cannot be an encoder\'s password, which is 64 letters, digits and . _ ~ ! * + - at most',
        ),
    ],
)
def test_only_what_is_published_to_needs_mediamtx(facts: HostFacts, reason: str) -> None:
    found = desired(route("a"), route("b", udp_output("x"), source=PUBLISH), facts=facts)
    assert found.absent == {unit_of("b"): Absent(State.BLOCKED, reason)}
    assert kept_names([route("a"), route("b", source=PUBLISH)], found) == {"b"}, "whoever publishes is left alone"
    assert unit_of("a") in found.units


def test_what_is_published_is_fetched_from_where_mediamtx_listens() -> None:
    (unit,) = desired(route("b", source=PUBLISH), facts=PUBLISHABLE).units.values()
    assert "rtsp://127.0.0.1:8554/b" in unit.command.argv
    assert unit.command.preset == ()
    assert str(Listen("0.0.0.0", 1).reached_at) == "127.0.0.1:1"
    assert str(Listen("::", 1).reached_at) == "[::1]:1"
    assert str(Listen("192.0.2.1", 1).reached_at) == "192.0.2.1:1"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.20.1\n", (1, 20, 1)),
        ("1.9.0", (1, 9, 0)),
        ("v1.20.1-6-g3e09466c-dirty", (1, 20, 1)),
        ("", None),
        ("mediamtx: not found", None),
        ("v1.20", None),
    ],
)
def test_versions(text: str, version: Version | None) -> None:
    assert parse_version(text) == version


def test_what_mediamtx_of_this_host_says_to_it(tmp_path: Path) -> None:
    if MEDIAMTX is None:
        pytest.skip("no mediamtx on this host's PATH: the document was compared with its keys only")
    printed = subprocess.run([MEDIAMTX, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    version = parse_version(printed)
    assert version is not None
    names = ("rtsp", "rtmp", "srt", "hls", "webrtc", "webrtc_media", "api", "metrics")
    server = MediaServer(**dict(zip(names, free_ports(len(names)), strict=True)))
    path = tmp_path / "mediamtx.yml"
    path.write_text(json.dumps(make(version, server=server)))
    with subprocess.Popen([MEDIAMTX, str(path)], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        timer = threading.Timer(30, process.kill)
        timer.start()
        try:
            said = "".join(until(process, {"[API] ", *(["[path studio-a]"] if version >= COPY_SINCE else [])}))
        finally:
            timer.cancel()
            process.terminate()
    assert "ERR" not in said
    assert "deprecated" not in said
    for name in ("RTSP", "RTMP", "SRT", "HLS", "WebRTC", "metrics", "API"):
        assert f"[{name}] " in said, said


def free_ports(count: int) -> list[Listen]:
    """Return as many ports that nobody has bound, neither for TCP nor for UDP."""
    found: list[Listen] = []
    with ExitStack() as stack:
        while len(found) < count:
            tcp = stack.enter_context(socket.socket())
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(Listen("127.0.0.1", port))
    return found


def until(process: subprocess.Popen[str], texts: set[str]) -> Iterator[str]:
    """Yield a program's lines up to the one with the last of the texts, which come in any order."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        texts = {text for text in texts if text not in line}
        if not texts:
            return
    pytest.fail(f"mediamtx ended, or took too long, before it said {texts}")

"""The examples as they are installed, all at once, with the world that they speak of on this host.

Their names stand in /etc/hosts, their addresses on `lo`, their interface is a link of its own, and whatever they send
to or fetch from is there. At first secrets and the interface are missing: what needs them is blocked and says so, and
all else starts. Then they are there, and all of it comes up by itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streamd.route.crosscheck import credential_references
from streamd.route.model import (
    Credential,
    PublishSource,
    Route,
    RtmpTarget,
    Settings,
    SrtMode,
    SrtSource,
    SrtTarget,
    UdpSource,
    UdpTarget,
)
from streamd.route.parse import parse_route
from tests.appliance.host import CONF, run, status, unit_of, wait_until, write_credential
from tests.appliance.media import Sender, SrtReceiver, make_stream

FOLDER = Path("/usr/share/doc/streamd/examples")
MEDIAMTX = Path("/usr/local/bin/mediamtx")
SETTINGS = Path("/etc/streamd/streamd.toml")
HOSTS = Path("/etc/hosts")
CERTIFICATE = Path("/usr/local/share/ca-certificates/examples.crt")
INTERFACE = "eth1"
ADDRESS = "192.0.2.10"
"""Of the interface, and so the one sender of the source-specific group."""
BITRATE = 2_500_000

pytestmark = [
    pytest.mark.skipif(not MEDIAMTX.exists(), reason="no mediamtx was on the host's PATH: no server for the examples"),
    pytest.mark.once,
]


def secret(credential: Credential) -> str:
    """Return one that fits a stream key, a passphrase, a stream id and a password; two of them are never the same."""
    return f"{credential.name}-0123456789"


def examples() -> dict[str, Route]:
    """Return all of them but the demo's, whose receivers stand in tests/appliance/demo.py."""
    found = {}
    for path in sorted(FOLDER.glob("*.toml")):
        route = parse_route(path.name, path.read_bytes(), Settings()).route
        assert route is not None, path
        found[route.name] = route
    assert found.pop("demo")
    return found


def hosts(routes: dict[str, Route]) -> dict[str, str]:
    """Return each name or address of another host, with where it is here."""
    urls = [url for route in routes.values() for url in (route.input.url, *(output.url for output in route.outputs))]
    names = {name for url in urls if (name := urlsplit(url).hostname) and name != "0.0.0.0"}
    found = {}
    for name in sorted(names):
        try:
            if not ip_address(name).is_multicast:
                found[name] = name
        except ValueError:
            found[name] = f"127.0.1.{len(found) + 1}"
    return found


@pytest.fixture
def routes() -> dict[str, Route]:
    return examples()


@pytest.fixture
def world(routes: dict[str, Route], tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield where each host is; all of them are there, but no encoder, no secret and no interface."""
    where = hosts(routes)
    settings, names = SETTINGS.read_text(), HOSTS.read_text()
    SETTINGS.write_text('[mediamtx]\nrtmp = "127.0.0.1:1935"\n')
    HOSTS.write_text(names + "".join(f"{address} {name}\n" for name, address in where.items() if name != address))
    stream = make_stream(Path("/var/tmp/stream.ts"))
    with ExitStack() as stack:
        stack.callback(HOSTS.write_text, names)
        stack.callback(SETTINGS.write_text, settings)
        for name, address in where.items():
            if name == address:
                run("ip", "address", "add", f"{address}/32", "dev", "lo")
                stack.callback(run, "ip", "address", "del", f"{address}/32", "dev", "lo")
        servers(stack, tmp_path, [name for name, address in where.items() if name != address])
        for route in routes.values():
            for output in route.outputs:
                if isinstance(target := output.target, SrtTarget):
                    is_listener = target.mode is SrtMode.LISTENER
                    receiver = SrtReceiver(
                        stream,
                        "127.0.0.1" if is_listener else where[target.host],
                        target.port,
                        mode="caller" if is_listener else "listener",
                        passphrase=secret(target.passphrase) if target.passphrase else None,
                    )
                    stack.enter_context(receiver)
        yield where
    run("streamctl", "reload", check=False)


def servers(stack: ExitStack, folder: Path, names: list[str]) -> None:
    """Start a MediaMTX that stands for every server of RTSP and RTMPS, with a certificate that this host trusts."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=examples"]
    run(
        *argv,
        "-addext",
        f"subjectAltName={','.join(f'DNS:{name}' for name in names)}",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    )
    CERTIFICATE.parent.mkdir(exist_ok=True)
    CERTIFICATE.write_bytes(cert.read_bytes())
    run("update-ca-certificates")
    stack.callback(run, "update-ca-certificates", "--fresh")
    stack.callback(CERTIFICATE.unlink)
    document = folder / "mediamtx.yml"
    document.write_text(
        f"rtspAddress: :554\nrtspTransports: [tcp]\nrtmpEncryption: strict\nrtmpsAddress: :443\n"
        f"rtmpServerKey: {key}\nrtmpServerCert: {cert}\n"
        "hls: no\nwebrtc: no\nsrt: no\nmoq: no\npaths:\n  all_others:\n"
    )
    log = stack.enter_context((folder / "mediamtx.log").open("w"))
    process = subprocess.Popen([MEDIAMTX, document], stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.kill)
    wait_until(
        lambda: all(f":{port} " in run("ss", "-Hlnt").stdout for port in (443, 554)),
        20,
        f"the server listens; {(folder / 'mediamtx.log').read_text()}",
    )
    stack.enter_context(picture("-rtsp_transport", "tcp", "-f", "rtsp", "rtsp://127.0.0.1/stream1"))


@contextmanager
def picture(*target: str) -> Iterator[None]:
    """Send a picture with a tone until the block ends, again when it is refused."""
    argv = [
        *("ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"),
        *("-f", "lavfi", "-i", "sine=sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25"),
        *("-pix_fmt", "yuv420p", "-c:a", "aac", *target),
    ]
    shell = ["bash", "-c", 'while :; do "$@"; sleep 0.3; done', "encoder", *argv]
    with subprocess.Popen(shell, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def encoders(stack: ExitStack, routes: dict[str, Route]) -> None:
    """Start what sends to the inputs."""
    stream = Path("/var/tmp/stream.ts")
    for number, route in enumerate(routes.values()):
        source = route.input.source
        if isinstance(source, UdpSource):
            is_group = ip_address(source.host).is_multicast
            host, interface = (source.host, ADDRESS) if is_group else ("127.0.0.1", None)
            assert source.port is not None
            stack.enter_context(Sender(stream, host, source.port, bitrate=BITRATE, interface=interface))
        elif isinstance(source, SrtSource):
            passphrase = f"&passphrase={secret(source.passphrase)}" if source.passphrase else ""
            url = f"srt://127.0.0.1:{source.port}?mode=caller{passphrase}"
            argv = ["srt-live-transmit", "-q", "-loglevel:fatal", f"udp://127.0.0.1:{7500 + number}", url]
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            stack.enter_context(Sender(stream, "127.0.0.1", 7500 + number, bitrate=BITRATE))
        elif isinstance(source, PublishSource):
            # As the example tells the encoder.
            login = f"user={source.user}&pass={secret(source.password)}"
            stack.enter_context(picture("-f", "flv", f"rtmp://127.0.0.1:1935/{route.name}?{login}"))


@contextmanager
def interface() -> Iterator[None]:
    """Have the network that the examples send multicast to."""
    run("ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", "far1")
    try:
        run("ip", "address", "add", f"{ADDRESS}/24", "dev", INTERFACE)
        for name in (INTERFACE, "far1"):
            run("ip", "link", "set", name, "up", "multicast", "on")
        run("ip", "route", "add", "224.0.0.0/4", "dev", INTERFACE)
        yield
    finally:
        run("ip", "link", "del", INTERFACE)


def blocked(routes: dict[str, Route]) -> dict[str, str]:
    """Return what has to be blocked while there is neither a secret nor the interface, with its cause."""
    found = {}
    for route in routes.values():
        for path, credential in credential_references(route):
            if path[0] != "hooks":
                address = route.name if path[0] == "input" else f"{route.name}/{path[1]}"
                found[address] = f'credential "{credential.name}" is missing or cannot be used'
        ends = {route.name: route.input.source, **{f"{route.name}/{it.name}": it.target for it in route.outputs}}
        for address, end in ends.items():
            if isinstance(end, UdpSource | UdpTarget) and end.interface:
                found[address] = f'network interface "{end.interface}" is missing or has no IPv4 address'
    disabled = {f"{route.name}/{it.name}" for route in routes.values() for it in route.outputs if not it.enabled}
    return {address: cause for address, cause in found.items() if address not in disabled}


def things() -> dict[str, tuple[str, str]]:
    """Return the state and cause of every input and output."""
    listed = [thing for route in (status() or {"routes": []})["routes"] for thing in (route, *route["outputs"])]
    return {thing["address"]: (thing["state"], thing["cause"]) for thing in listed}


def wanting(wanted: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Return what is not in the state that it should be in."""
    found = things()
    return {
        address: found.get(address, ("", ""))
        for address, word in wanted.items()
        if found.get(address, ("",))[0] != word
    }


def is_loaded(address: str) -> bool:
    """Tell whether systemd knows the unit."""
    return run("systemctl", "show", "--value", "-p", "LoadState", unit_of(address)).stdout == "loaded\n"


def test_every_example_runs_or_says_what_it_lacks(routes: dict[str, Route], world: dict[str, str]) -> None:
    assert len(routes) >= 8
    assert {"recorder.example.net", "live.twitch.tv", "198.51.100.20"} <= set(world)
    for name in routes:
        (CONF / f"{name}.toml").write_bytes((FOLDER / f"{name}.toml").read_bytes())
    wanted = {
        f"{route.name}/{it.name}": "running" if it.enabled else "disabled"
        for route in routes.values()
        for it in route.outputs
    } | dict.fromkeys(routes, "running")
    because = blocked(routes)
    assert len(because) >= 15

    wait_until(lambda: things().keys() == wanted.keys(), 30, "all routes are known")
    wait_until(
        lambda: {address: cause for address, (word, cause) in things().items() if word == "blocked"} == because,
        30,
        "just what lacks something is blocked, and says what it lacks",
    )
    for address, word in wanted.items():
        if word == "running" and address not in because:
            # Routes are told while their units are still being started.
            wait_until(lambda address=address: is_loaded(address), 30, f"{address} is tried")  # type: ignore[misc]

    with ExitStack() as stack:
        stack.enter_context(interface())
        for route in routes.values():
            for _, credential in credential_references(route):
                is_url = credential == Credential("alerts-url")
                write_credential(credential.name, "http://127.0.0.1:9/none" if is_url else secret(credential))
        encoders(stack, routes)
        seen: dict[str, tuple[str, str]] = {}

        def all_well() -> bool:
            seen.clear()
            seen.update(wanting(wanted))
            return not seen

        try:
            wait_until(all_well, 120, "all run")
        except AssertionError:
            pytest.fail(f"do not run: {seen}")
        assert any(isinstance(it.target, RtmpTarget) for route in routes.values() for it in route.outputs)

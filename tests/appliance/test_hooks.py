"""Hooks: real units and webhooks, of real outputs that fail and recover."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.host import (
    kill_daemon,
    run,
    wait_state,
    wait_until,
    write_credential,
    write_route,
)
from tests.appliance.media import RtmpServer, Sender, make_stream

pytestmark = pytest.mark.once

UNITS = Path("/run/systemd/system")
LOG = Path("/run/hook-test.log")
EXAMPLE = Path("/usr/share/doc/streamd/examples/notify-mail@.service")
SENDMAIL = Path("/usr/local/sbin/sendmail")
MAILS = Path("/run/hook-test.mail")
SECRET = "T0/B0/s3cret-webhook-4711"
CALLED = "8f0f6fbd6b3f4c5ca2a3f1e0b7d59c46"
FAILED = "c7be1d2f94a14de3a6a85b0d3c7f2e91"
UNIT = f"""
[Service]
Type=oneshot
EnvironmentFile=/run/streamd/events/%i.env
ExecStart=/bin/sh -c 'echo "$$STREAMD_EVENT $$STREAMD_ADDRESS %i $$STREAMD_STATE" >> {LOG}'
"""


class WebServer:
    """Takes webhooks on a port of the loopback interface."""

    def __init__(self, port: int, *answers: int, certificate: Path | None = None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        waiting = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.paths.append(self.path)
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(waiting.pop(0) if waiting else 204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The handshake belongs to the connection's own thread.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> WebServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def told(self) -> list[str]:
        return [f"{body['event']} {body['address']}" for body in self.bodies]


@pytest.fixture(autouse=True)
def _units() -> Iterator[None]:
    (UNITS / "hook-test@.service").write_text(UNIT)
    (UNITS / "notify-mail@.service").write_text(EXAMPLE.read_text())
    SENDMAIL.parent.mkdir(parents=True, exist_ok=True)
    SENDMAIL.write_text(f'#!/bin/sh\n[ "$*" = -t ] && cat >> {MAILS}\n')
    SENDMAIL.chmod(0o755)
    run("systemctl", "daemon-reload")
    for path in (LOG, MAILS):
        path.unlink(missing_ok=True)
    yield
    for path in (UNITS / "hook-test@.service", UNITS / "notify-mail@.service", SENDMAIL, LOG, MAILS):
        path.unlink(missing_ok=True)
    run("systemctl", "daemon-reload")


def lines() -> list[str]:
    return LOG.read_text().splitlines() if LOG.exists() else []


def journal(message_id: str, *matches: str) -> list[str]:
    out = run("journalctl", "-b", "-o", "cat", f"MESSAGE_ID={message_id}", *matches).stdout
    return out.splitlines()


def now() -> str:
    """Return an option that leaves out what is in the journal already; with --after-cursor, a journalctl 252 that is
    given a match shows nothing."""
    return f"--since=@{time.time():.6f}"


def webhook_units() -> str:
    return run("systemctl", "list-units", "--all", "--plain", "--no-legend", "streamd-webhook@*").stdout


ROUTE = """
[input]
url = "test:"

[output.x]
url = "rtmp://127.0.0.1:1936/live"

[hooks]
on_failure = ["hook-test@%i.service", "notify-mail@%i.service", { credential = "alerts" }]
on_recovery = ["hook-test@%i.service", { credential = "alerts" }]
delay = "1s"
"""
OTHER = """
[output.y]
url = "rtmp://127.0.0.1:1937/live"
"""


def test_a_failure_and_its_end_are_told_once_whatever_happens_to_the_daemon() -> None:
    write_credential("alerts", f"http://127.0.0.1:8099/{SECRET}?token=s3cret")
    with WebServer(8099) as web:
        write_route("a", ROUTE)
        wait_until(lambda: lines() == ["failure a/x a:x backoff"], 30, "the unit of the failure ran")
        wait_until(lambda: web.told() == ["failure a/x"], 20, "the webhook was called")
        wait_until(lambda: MAILS.exists() and "a/x failed: backoff" in MAILS.read_text(), 20, "a mail was sent")
        kill_daemon()
        write_route("a", ROUTE + OTHER)
        # When the other has been told, this one would have been told again, too.
        wait_until(lambda: "failure a/y" in web.told(), 30, "the other's failure is told")
        assert web.told() == ["failure a/x", "failure a/y"]
        with RtmpServer(1936):
            wait_until(lambda: "recovery a/x" in web.told(), 60, "the end is told")
            wait_until(lambda: "recovery a/x a:x running" in lines(), 20, "the unit of the recovery ran")
            assert web.told() == ["failure a/x", "failure a/y", "recovery a/x"]
        assert [line.split()[:2] for line in lines()] == [[*told.split()] for told in web.told()]
    first, _other, last = web.bodies
    assert set(web.paths) == {f"/{SECRET}?token=s3cret"}
    assert (first["route"], first["output"], first["unit"]) == ("a", "x", "streamd-output@a:x.service")
    assert (first["state"], first["reason"]) == ("backoff", "refused")
    assert (last["state"], last["previous"], last["began"]) == ("running", "backoff", first["began"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", first["since"])
    wait_until(lambda: not webhook_units().strip(), 20, "no unit is left")
    wait_until(lambda: not list(Path("/run/streamd/webhooks").iterdir()), 5, "no URL is left")
    told = journal(CALLED, "STREAMD_OUTPUT=a/x")
    assert "started hook-test@a:x.service for the failure of a/x" in told
    assert "webhook http://127.0.0.1:8099 was told of the recovery of a/x" in told
    out = subprocess.run(["journalctl", "-b", "-o", "export", "--all"], capture_output=True, check=True, timeout=120)
    assert b"s3cret-webhook" not in out.stdout


def test_a_webhook_that_fails_is_tried_again_and_given_up_and_is_in_nobodys_way() -> None:
    since = now()
    write_route(
        "a",
        ROUTE.replace("{ credential", '"http://127.0.0.1:8097/gone", "http://127.0.0.1:8098/later", { credential')
        .replace('"alerts"', '"missing"')
        .replace("notify-mail@", "no-such-unit@"),
    )
    with WebServer(8098, 503, 503) as web:
        wait_until(lambda: lines() == ["failure a/x a:x backoff"], 30, "what works is done")
        wait_until(lambda: len(web.bodies) == 3, 30, "the third try succeeds")

        def failures() -> list[str]:
            return journal(FAILED, since)

        wait_until(lambda: len(failures()) >= 3, 30, "what failed is told")
    text = "\n".join(failures())
    assert "cannot start no-such-unit@a:x.service for the failure of a/x" in text
    assert 'no webhook for the failure of a/x: the URL in credential "missing" cannot be read' in text
    assert "webhook http://127.0.0.1:8097 was not told of the failure of a/x: " in text
    assert "given up after 3 tries" in text
    assert len(failures()) == 3
    called = "\n".join(journal(CALLED, since))
    assert "webhook http://127.0.0.1:8098 was told of the failure of a/x" in called
    assert "no credential" in run("streamctl", "check", check=False).stdout


def test_a_server_without_a_good_certificate_is_told_nothing(tmp_path: Path) -> None:
    since = now()
    both = tmp_path / "both.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(both), "-out", str(tmp_path / "certificate.pem")]
    run(*argv)
    both.write_text(both.read_text() + (tmp_path / "certificate.pem").read_text())
    hooks = '[hooks]\non_failure = "https://127.0.0.1:8096/told"\ndelay = "1s"\n'
    with WebServer(8096, certificate=both) as web:
        # Under another name: one that is gone for less than the second between two looks goes on to fail.
        write_route("c", ROUTE.partition("[hooks]")[0] + hooks)
        found = wait_until(lambda: journal(FAILED, since), 40, "that is told")
    assert "https://127.0.0.1:8096 was not told of the failure of c/x" in found[0]
    assert "certificate" in found[0].lower()
    assert web.bodies == []


def test_an_input_without_a_stream_is_one_call() -> None:
    stream = make_stream(Path("/var/tmp/stream.ts"))
    outputs = "".join(f'[output.x{number}]\nurl = "udp://127.0.0.1:{6001 + number}"\n' for number in range(5))
    hooks = '[hooks]\non_failure = "hook-test@%i.service"\non_recovery = "hook-test@%i.service"\ndelay = "1s"\n'
    write_route("a", f'[input]\nurl = "udp://127.0.0.1:5000"\n{outputs}{hooks}')
    wait_until(lambda: lines() == ["failure a a starved"], 30, "the input's failure is told")
    with Sender(stream, "127.0.0.1", 5000):
        wait_until(lambda: lines()[1:] == ["recovery a a running"], 30, "the input's recovery is told")
        for number in range(5):
            wait_state(f"a/x{number}", "running")
    wait_until(lambda: lines()[2:] == ["failure a a starved"], 30, "the next failure is told")
    assert len(lines()) == 3
    # A stop is an operator's wish.
    run("streamctl", "stop", "a")
    wait_until(lambda: json.loads(Path("/run/streamd/told.json").read_text()) == {}, 10, "the episode is over")
    assert len(lines()) == 3


def test_the_sandbox_of_webhooks() -> None:
    out = run("systemd-analyze", "security", "--no-pager", "streamd-webhook@x.service", check=False).stdout
    found = re.search(r"Overall exposure level for streamd-webhook@x\.service: ([\d.]+)", out)
    assert found, out
    assert float(found[1]) <= 1.5, out
    assert os.stat("/run/streamd/webhooks").st_mode & 0o777 == 0o700

"""Metrics as Prometheus' own tool reads them, from streamctl and from the socket."""

from __future__ import annotations

import http.client
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.host import run, show, state, status, wait_state, wait_until, write_route

pytestmark = pytest.mark.once

ROUTE = """
[input]
url = "test:"
[output.x]
url = "udp://127.0.0.1:6001"
[output.refused]
url = "rtmp://127.0.0.1:1936/live"
[output.off]
url = "udp://127.0.0.1:6002"
enabled = false
"""
SOCKET = "streamd-metrics.socket"
SERVICE = "streamd-metrics.service"
TEXTFILE = Path("/run/streamd.prom")


def samples(text: str) -> dict[str, float]:
    found = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in found}


def scrape(path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", 10717, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


@pytest.fixture
def route() -> None:
    write_route("a", ROUTE)
    wait_state("a", "running")
    wait_state("a/x", "running")
    wait_state("a/refused", "backoff")
    wait_until(
        lambda: 'streamd_output_sent_bytes_total{route="a",output="x"}' in run("streamctl", "metrics").stdout,
        20,
        "the output reports",
    )


@pytest.fixture
def listening() -> Iterator[None]:
    run("systemctl", "start", SOCKET)
    yield
    run("systemctl", "stop", SOCKET, SERVICE)


def lint(text: str) -> None:
    """Let promtool judge it: any remark is a failure, though it exits with 0 for some."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.usefixtures("route")
def test_promtool_finds_nothing_to_say() -> None:
    text = run("streamctl", "metrics").stdout
    lint(text)
    found = samples(text)
    assert found["streamd_up"] == 1
    assert found["streamd_outputs"] == 3
    assert found['streamd_output_state{route="a",output="x",state="running"}'] == 1
    assert found['streamd_output_state{route="a",output="off",state="disabled"}'] == 1
    x = '{route="a",output="x"}'
    assert found[f"streamd_output_sent_bytes_total{x}"] > 0
    assert found[f"streamd_output_cpu_seconds_total{x}"] > 0
    assert found[f"streamd_output_uptime_seconds{x}"] > 0
    assert found['streamd_output_last_failure_timestamp_seconds{route="a",output="refused"}'] > 1.7e9
    assert not [name for name in found if "uptime" in name and "off" in name]
    later = samples(run("streamctl", "metrics").stdout)
    for name in found.keys() & later.keys():
        if name.partition("{")[0].endswith("_total") and "refused" not in name:
            assert later[name] >= found[name], name


@pytest.mark.usefixtures("route")
def test_they_agree_with_streamctl() -> None:
    found = samples(run("streamctl", "metrics").stdout)
    for address in ("a", "a/x", "a/off"):
        name, _, output = address.partition("/")
        labels = f'{{route="{name}"' + (f',output="{output}"' if output else "")
        metric = "streamd_output" if output else "streamd_input"
        thing = status(address)
        assert found[f'{metric}_state{labels},state="{thing["state"]}"}}'] == 1
        assert found[f"{metric}_restarts_total{labels}}}"] == thing["restarts"]
        if thing["since"]:
            entered = found[f"{metric}_state_entered_timestamp_seconds{labels}}}"]
            assert abs(entered - thing["since"] / 1e6) < 1e-3


@pytest.mark.usefixtures("route", "listening")
def test_the_socket_answers_prometheus() -> None:
    assert show(SERVICE, "ActiveState")["ActiveState"] == "inactive"
    code, text = scrape()
    assert code == 200
    lint(text)
    assert samples(text)['streamd_output_state{route="a",output="x",state="running"}'] == 1
    assert scrape("/")[0] == 404
    assert scrape(method="POST")[0] == 405
    # A stopped exporter is started by the next who asks.
    run("systemctl", "stop", SERVICE)
    assert scrape()[0] == 200


@pytest.mark.usefixtures("listening")
def test_without_the_daemon_that_is_told() -> None:
    run("systemctl", "stop", "streamd.service")
    try:
        assert scrape() == (200, samples_text_without_daemon())
        done = run("streamctl", "metrics", "--textfile", str(TEXTFILE), check=False)
        assert done.returncode == 69
        assert samples(TEXTFILE.read_text()) == {"streamd_up": 0}
    finally:
        run("systemctl", "start", "streamd.service")
        TEXTFILE.unlink(missing_ok=True)


def samples_text_without_daemon() -> str:
    text = run("streamctl", "metrics", check=False).stdout
    assert samples(text) == {"streamd_up": 0}
    lint(text)
    return text


@pytest.mark.usefixtures("route")
def test_a_textfile_is_written_for_everybody_to_read() -> None:
    run("streamctl", "metrics", f"--textfile={TEXTFILE}")
    try:
        assert TEXTFILE.stat().st_mode & 0o777 == 0o644
        lint(TEXTFILE.read_text())
        assert samples(TEXTFILE.read_text())["streamd_up"] == 1
    finally:
        TEXTFILE.unlink()
    missing = run("streamctl", "metrics", "--textfile=/run/none/x.prom", check=False)
    assert (missing.returncode, missing.stderr) == (1, "streamctl: there is no directory /run/none\n")
    assert state("a") == "running"


def test_the_package_neither_enables_nor_starts_it_and_its_sandbox_is_tight() -> None:
    assert run("systemctl", "is-enabled", SOCKET, check=False).stdout.strip() == "disabled"
    assert show(SOCKET, "ActiveState")["ActiveState"] == "inactive"
    out = run("systemd-analyze", "security", "--no-pager", SERVICE, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", out)
    assert found, out
    assert float(found[1]) <= 1.5, out

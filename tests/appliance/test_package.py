"""The package: an upgrade stops no stream, a removal stops all, a purge leaves nothing."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.host import DEBS, incarnations, our_units, run, show, wait_active, wait_until, write_route

ROUTE = '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n[output.y]\nurl = "udp://127.0.0.1:6002"\n'
ADDRESSES = ("a", "a/x", "a/y")
DAEMON = "streamd.service"


def apt(*arguments: str) -> str:
    """Run apt-get as an administrator without a terminal would."""
    options = ["--yes", "--no-install-recommends", "--allow-downgrades", "-o", "APT::Sandbox::User=root"]
    environment = ["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"]
    return run("env", *environment, "apt-get", *options, *arguments, seconds=180).stdout


def deb(which: str) -> str:
    """Return the package file of the version "current" or "next"."""
    (found,) = (DEBS / which).glob("streamd_*.deb")
    return str(found)


def version() -> str:
    return run("dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Version}", "streamd", check=False).stdout


@pytest.fixture(autouse=True)
def _installed(_clean: None) -> Iterator[None]:
    """Leave the package as it was found, before the next test cleans."""
    yield
    if not version().startswith("ii") or "next" in version():
        apt("install", deb("current"))


@pytest.mark.parametrize("which", ["next", "current"], ids=["upgrade", "reinstallation"])
def test_a_package_over_the_other_restarts_the_daemon_and_nothing_else(which: str) -> None:
    write_route("a", ROUTE)
    wait_active(ADDRESSES)
    streams = incarnations(ADDRESSES)
    slices = show("streamd.slice", "InvocationID", "ActiveEnterTimestampMonotonic")
    daemon = show(DAEMON, "InvocationID")
    apt("install", "--reinstall", deb(which))
    assert incarnations(ADDRESSES) == streams
    assert show("streamd.slice", "InvocationID", "ActiveEnterTimestampMonotonic") == slices
    assert show(DAEMON, "InvocationID") != daemon
    assert show(DAEMON, "ActiveState")["ActiveState"] == "active"
    run("streamctl", "reload")
    assert incarnations(ADDRESSES) == streams


def test_a_removal_stops_everything_and_is_no_operators_stop() -> None:
    write_route("a", ROUTE)
    wait_active(ADDRESSES)
    apt("remove", "streamd")
    assert our_units() == []
    assert show("streamd.slice", "ActiveState")["ActiveState"] == "inactive"
    assert run("systemctl", "is-active", DAEMON, check=False).returncode != 0
    assert not list(Path("/run").glob("streamd*"))
    assert not list(Path("/run/private").glob("streamd*"))
    assert Path("/etc/streamd/conf.d/a.toml").exists(), "configuration stays until a purge"
    apt("install", deb("current"))
    wait_active(ADDRESSES)


def test_a_purge_leaves_nothing() -> None:
    write_route("a", ROUTE)
    wait_active(ADDRESSES)
    apt("purge", "streamd")
    assert our_units() == []
    found = run("find", "/", "-xdev", "-name", "*streamd*").stdout.splitlines()
    assert [path for path in found if not path.startswith(("/opt/streamd", "/tmp/"))] == []
    assert not run("systemctl", "list-units", "--all", "--plain", "--no-legend", "streamd*").stdout.strip()


def test_an_installation_starts_the_daemon_at_once() -> None:
    apt("purge", "streamd")
    apt("install", deb("current"))
    wait_until(lambda: show(DAEMON, "ActiveState")["ActiveState"] == "active", 10, "the daemon runs")
    assert show(DAEMON, "UnitFileState")["UnitFileState"] == "enabled"
    assert (Path("/etc/streamd/credentials").stat().st_mode & 0o777) == 0o700


def metrics() -> int:
    """Return the status of an answer to Prometheus; 0 where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", 10717, timeout=20)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        connection.close()


def test_who_lets_prometheus_in_does_so_over_an_upgrade_until_the_removal() -> None:
    link = Path("/etc/systemd/system/sockets.target.wants/streamd-metrics.socket")
    assert (metrics(), link.is_symlink()) == (0, False)
    run("systemctl", "enable", "--now", "streamd-metrics.socket")
    assert metrics() == 200
    before = show("streamd-metrics.service", "InvocationID")
    apt("install", deb("next"))
    assert metrics() == 200
    assert show("streamd-metrics.service", "InvocationID") != before, "the old version answers no more"
    assert link.is_symlink()
    apt("purge", "streamd")
    assert (metrics(), link.is_symlink()) == (0, False)

"""The package: an upgrade stops no stream, a removal stops all, a purge leaves nothing."""

from __future__ import annotations

import hashlib
import http.client
import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.appliance.gateway import add_key, client
from tests.appliance.host import (
    DEBS,
    incarnations,
    our_units,
    run,
    show,
    wait_active,
    wait_until,
    write_credential,
    write_route,
)

ROUTE = '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n[output.y]\nurl = "udp://127.0.0.1:6002"\n'
ADDRESSES = ("a", "a/x", "a/y")
DAEMON = "streamd.service"


def apt(*arguments: str) -> str:
    """Run apt-get as an administrator without a terminal would."""
    options = ["--yes", "--no-install-recommends", "--allow-downgrades", "-o", "APT::Sandbox::User=root"]
    environment = ["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"]
    return run("env", *environment, "apt-get", *options, *arguments, seconds=180).stdout


NAMES = ("streamd", "streamd-web")


def deb(which: str, name: str = "streamd") -> str:
    """Return the package file of the version "current" or "next"."""
    (found,) = (DEBS / which).glob(f"{name}_*.deb")
    return str(found)


def debs(which: str) -> list[str]:
    """Return the files of both packages; the gateway is of the same version as the daemon, always."""
    return [deb(which, name) for name in NAMES]


NOT_OURS = (
    *("/boot", "/dev", "/opt", "/proc", "/run", "/srv", "/sys", "/tmp"),
    *("/var/log", "/var/tmp"),
    # What dpkg, apt and systemd keep for themselves, whatever is installed.
    *("/var/cache/apt", "/var/cache/debconf", "/var/cache/man", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd"),
)
BACKUPS = re.compile(r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-|/var/lib/dpkg/[a-z]+-old")
"""Of what stood in there before the last change; some tool writes them with every user."""


def everything() -> dict[str, str]:
    """Return all files of this machine that a package could change, with their modes, owners and contents."""
    found = {}
    for directory, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(directory, name) not in NOT_OURS]
        for path in (os.path.join(directory, name) for name in (*folders, *files)):
            status = os.lstat(path)
            what = f"{status.st_mode:o} {status.st_uid} {status.st_gid}"
            if stat.S_ISLNK(status.st_mode):
                what += f" {os.readlink(path)}"
            elif stat.S_ISREG(status.st_mode) and directory.startswith(("/etc", "/var")):
                with open(path, "rb") as file:
                    what += f" {hashlib.file_digest(file, 'sha256').hexdigest()}"
            elif stat.S_ISREG(status.st_mode):
                what += f" {status.st_size}"
            found[path] = what
    return {path: what for path, what in found.items() if not BACKUPS.fullmatch(path)}


def version() -> str:
    """Return the state and version of the daemon's package."""
    return run("dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Version}", "streamd", check=False).stdout


@pytest.fixture(autouse=True)
def _installed(_clean: None) -> Iterator[None]:
    """Leave the package as it was found, before the next test cleans."""
    yield
    if not version().startswith("ii") or "next" in version():
        apt("install", *debs("current"))


@pytest.mark.parametrize("which", ["next", "current"], ids=["upgrade", "reinstallation"])
def test_a_package_over_the_other_restarts_the_daemon_and_nothing_else(which: str) -> None:
    write_route("a", ROUTE)
    wait_active(ADDRESSES)
    streams = incarnations(ADDRESSES)
    slices = show("streamd.slice", "InvocationID", "ActiveEnterTimestampMonotonic")
    daemon = show(DAEMON, "InvocationID")
    apt("install", "--reinstall", *debs(which))
    assert incarnations(ADDRESSES) == streams
    assert show("streamd.slice", "InvocationID", "ActiveEnterTimestampMonotonic") == slices
    assert show(DAEMON, "InvocationID") != daemon
    assert show(DAEMON, "ActiveState")["ActiveState"] == "active"
    run("streamctl", "reload")
    assert incarnations(ADDRESSES) == streams


def test_a_removal_stops_everything_and_is_no_operators_stop() -> None:
    write_route("a", ROUTE)
    wait_active(ADDRESSES)
    apt("remove", *NAMES)
    assert our_units() == []
    assert show("streamd.slice", "ActiveState")["ActiveState"] == "inactive"
    assert run("systemctl", "is-active", DAEMON, check=False).returncode != 0
    assert not list(Path("/run").glob("streamd*"))
    assert not list(Path("/run/private").glob("streamd*"))
    assert Path("/etc/streamd/conf.d/a.toml").exists(), "configuration stays until a purge"
    apt("install", *debs("current"))
    wait_active(ADDRESSES)


def test_a_purge_leaves_nothing() -> None:
    write_route("a", ROUTE)
    wait_active(ADDRESSES)
    apt("purge", *NAMES)
    assert our_units() == []
    # No file is named after it, nor has a line of it: users, enabled units, states of dpkg and systemd.
    found = run("find", "/", "-xdev", "-name", "*streamd*").stdout.splitlines()
    assert [path for path in found if not path.startswith(("/opt/streamd", "/tmp/"))] == []
    lines = run("grep", "-rIlw", "streamd", "/etc", "/var/lib", "/usr/local", check=False).stdout.splitlines()
    assert [path for path in lines if not BACKUPS.fullmatch(path) and not path.startswith("/var/lib/apt")] == []
    assert [user.pw_name for user in pwd.getpwall() if "streamd" in user.pw_name] == []
    assert not run("systemctl", "list-units", "--all", "--plain", "--no-legend", "streamd*").stdout.strip()


def test_the_life_of_a_package_changes_nothing_on_the_machine() -> None:
    """Installed, used, upgraded, removed, purged: what is there afterwards is what was there before."""
    apt("purge", *NAMES)
    before = everything()
    assert len(before) > 5000
    apt("install", *debs("current"))
    during = everything()
    assert {"/etc/streamd/streamd.toml", "/usr/sbin/streamd"} <= during.keys() - before.keys()
    assert during["/etc/passwd"] != before["/etc/passwd"], "contents count"
    write_credential("key", "s3cret")
    write_route("a", ROUTE)
    wait_active(ADDRESSES)
    run("streamctl", "stop", "a/x")
    run("systemctl", "enable", "--now", "streamd-metrics.socket")
    apt("install", *debs("next"))
    apt("remove", *NAMES)
    apt("purge", *NAMES)
    after = everything()
    changed = {path: (before.get(path), after.get(path)) for path in before.keys() | after.keys()}
    assert {path: both for path, both in changed.items() if both[0] != both[1]} == {}


@pytest.fixture
def other_settings(tmp_path: Path) -> list[str]:
    """Return the packages of the version "next", with another settings file."""
    tree = tmp_path / "tree"
    run("dpkg-deb", "--raw-extract", deb("next"), str(tree))
    with (tree / "etc/streamd/streamd.toml").open("a") as file:
        file.write("\n# A later version has more to say.\n")
    tmp_path.chmod(0o755)
    built = run("dpkg-deb", "--build", str(tree), str(tmp_path / "streamd_next_all.deb")).stdout.split("'")[-2]
    return [built, deb("next", "streamd-web")]


@pytest.mark.once
def test_an_upgrade_leaves_what_an_administrator_wrote(other_settings: list[str]) -> None:
    settings = Path("/etc/streamd/streamd.toml")
    shipped = settings.read_text()
    assert "/etc/streamd/streamd.toml" in run("dpkg-query", "--showformat=${Conffiles}", "--show", "streamd").stdout
    write_credential("key", "s3cret")
    write_route("a", ROUTE)
    wait_active(ADDRESSES)
    # Untouched, it follows the package.
    apt("install", *other_settings)
    assert settings.read_text() != shipped
    assert "A later version" in settings.read_text()
    apt("install", *debs("current"))
    assert settings.read_text() == shipped
    # Changed, it stays, and the package's own is put beside it.
    mine = shipped + "\n# Mine.\n"
    settings.write_text(mine)
    streams = incarnations(ADDRESSES)
    apt("install", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", *other_settings)
    assert "next" in version()
    assert settings.read_text() == mine
    assert "A later version" in Path("/etc/streamd/streamd.toml.dpkg-dist").read_text()
    assert incarnations(ADDRESSES) == streams
    assert Path("/etc/streamd/conf.d/a.toml").read_text() == ROUTE
    assert Path("/etc/streamd/credentials/key").stat().st_mode & 0o777 == 0o600
    # Deleted on purpose is a change like any other.
    settings.unlink()
    apt("install", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", *debs("current"))
    assert not settings.exists()
    apt("purge", *NAMES)
    assert not Path("/etc/streamd").exists()


def test_an_installation_starts_the_daemon_at_once() -> None:
    apt("purge", *NAMES)
    apt("install", *debs("current"))
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
    listens = show("streamd-metrics.socket", "InvocationID")
    apt("install", *debs("next"))
    assert show("streamd-metrics.socket", "InvocationID") == listens, "nobody is turned away meanwhile"
    assert metrics() == 200
    assert show("streamd-metrics.service", "InvocationID") != before, "the old version answers no more"
    assert link.is_symlink()
    apt("purge", *NAMES)
    assert (metrics(), link.is_symlink()) == (0, False)


def test_a_key_of_the_gateway_outlives_an_upgrade_and_not_a_purge() -> None:
    write_route("a", ROUTE)
    wait_active(ADDRESSES)
    streams = incarnations(ADDRESSES)
    file = Path("/etc/streamd/web/keys.toml")
    listens = show("streamd-web.socket", "InvocationID")
    with client(add_key("wall", "observer")) as api:
        for which in ("next", "current"):
            apt("install", *debs(which))
            found = api.get("/api/openapi.json").json()["info"]["version"]
            assert found == deb(which).split("_")[1], "the old version answers no more"
            assert api.get("/api/system/status").json()["version"] == found
        assert show("streamd-web.socket", "InvocationID") == listens, "nobody is turned away meanwhile"
        assert incarnations(ADDRESSES) == streams
        # Without the gateway, the daemon and its streams stay as they are.
        apt("remove", "streamd-web")
        assert file.exists(), "configuration stays until a purge"
        with pytest.raises(httpx.ConnectError):
            api.get("/api/health")
        assert incarnations(ADDRESSES) == streams
        apt("install", *debs("current"))
        assert api.get("/api/inputs").status_code == 200
        apt("purge", "streamd-web")
        assert not file.exists()
        assert [user.pw_name for user in pwd.getpwall() if user.pw_name == "streamd-web"] == []
        assert not Path("/run/streamd-web").exists()
        assert incarnations(ADDRESSES) == streams
        apt("install", *debs("current"))
        assert api.get("/api/inputs").status_code == 401

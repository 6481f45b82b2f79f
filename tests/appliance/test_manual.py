"""What streamd(8) tells an operator to do on a host is done on one, word for word."""

from __future__ import annotations

import gzip
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.appliance.host import (
    CONF,
    CREDENTIALS,
    STATE,
    incarnations,
    journal,
    our_units,
    run,
    status,
    unit_of,
    wait_state,
    wait_until,
    write_credential,
    write_route,
)
from tests.appliance.people import OPERATOR, become

PAGE = Path("/usr/share/man/man8/streamd.8.gz")
SETTINGS = Path("/etc/streamd/streamd.toml")
POLKIT = Path("/etc/polkit-1/rules.d/50-streamd.rules")
JOURNALD = Path("/etc/systemd/journald.conf.d/streamd.conf")
UPLOAD = Path("/etc/systemd/journal-upload.conf.d/streamd.conf")
SYSLOG = Path("/etc/rsyslog.d/streamd.conf")
HOSTS = Path("/etc/hosts")
OTHER = "logs.example.net"
"""The host to which logs go; here it is this one."""
ROUTE = """\
[input]
url = "udp://0.0.0.0:auto"
[output.x]
url = "udp://127.0.0.1:6001"
[output.pickup]
url = "srt://127.0.0.1:9100"
mode = "listener"
passphrase = { credential = "pickup" }
"""

pytestmark = pytest.mark.once


def examples(section: str) -> list[str]:
    """Return what a section of the page shows between .EX and .EE, as it is read."""
    text = gzip.decompress(PAGE.read_bytes()).decode()
    part = re.split(r"^\.SH ", text, flags=re.MULTILINE)
    (found,) = [one for one in part if one.startswith(f"{section}\n")]
    shown = re.findall(r"^\.EX\n(.*?)^\.EE\n", found, re.MULTILINE | re.DOTALL)
    return [one.replace("\\-", "-").replace("\\(dq", '"').replace("\\(aq", "'") for one in shown]


@pytest.fixture
def _runs() -> None:
    write_credential("pickup", "0123456789")
    write_route("a", ROUTE)
    wait_state("a/pickup", "starved", 30)
    wait_state("a/x", "starved", 30)


def test_the_pages_are_installed() -> None:
    installed = run("dpkg", "-L", "streamd").stdout
    for page in ("streamctl.1", "streamd.8", "streamd.toml.5", "streamd.route.5", "org.streamd1.5"):
        assert f"/man{page[-1]}/{page}.gz\n" in installed


@pytest.mark.usefixtures("_runs")
def test_a_backup_is_made_and_restored() -> None:
    backup, restore = examples("BACKUP AND RESTORE")
    run("streamctl", "stop", "a/x")
    url = status("a")["url"]
    assert re.search(":5[01][0-9][0-9]$", url)
    run("sh", "-e", "-c", backup)
    # Another host: nothing of it is there, and another route has the first free port.
    (CONF / "a.toml").unlink()
    (CREDENTIALS / "pickup").unlink()
    run("streamctl", "reload")
    wait_until(lambda: not our_units(), 30, "nothing is left")
    write_route("b", '[input]\nurl = "udp://0.0.0.0:auto"\n')
    wait_until(lambda: status("b"), 20, "b is known")
    (CONF / "b.toml").unlink()
    run("streamctl", "reload")
    run("systemctl", "stop", "streamd.service")
    shutil.rmtree(STATE)
    run("sh", "-e", "-c", restore)
    wait_state("a/pickup", "starved", 30)
    assert status("a")["url"] == url
    wait_state("a/x", "stopped")
    run("streamctl", "start", "a/x")
    wait_state("a/x", "starved", 30)
    assert Path("/root/streamd-backup.tar.gz").stat().st_mode & 0o777 == 0o600
    Path("/root/streamd-backup.tar.gz").unlink()


@pytest.mark.usefixtures("_runs")
def test_a_backup_restored_where_streams_run_restarts_none() -> None:
    backup, restore = examples("BACKUP AND RESTORE")
    run("sh", "-e", "-c", backup)
    before = incarnations(("a", "a/x", "a/pickup"))
    run("sh", "-e", "-c", restore)
    run("streamctl", "reload")
    assert incarnations(before) == before
    Path("/root/streamd-backup.tar.gz").unlink()


@pytest.mark.usefixtures("_runs")
def test_the_firewall_lets_streams_pass() -> None:
    (rules,) = examples("FIREWALL")
    run("nft", "-c", "-f", "-", text=rules)
    before = incarnations(("a", "a/x", "a/pickup"))
    port = status("a")["url"].rpartition(":")[2]
    run("nft", "-f", "-", text=rules)
    try:
        assert "policy drop" in run("nft", "list", "ruleset").stdout
        target = f"udp://127.0.0.1:{port}?pkt_size=1316"
        argv = ["ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240"]
        with subprocess.Popen([*argv, "-f", "mpegts", target]) as encoder:
            try:
                wait_state("a/x", "running", 30)
            finally:
                encoder.kill()
        assert incarnations(before) == before
    finally:
        run("nft", "delete", "table", "inet", "filter")


@pytest.mark.usefixtures("_runs")
def test_journald_is_told_to_keep_the_journal_and_no_stream_notices() -> None:
    kept = examples("LOGS")[0]
    before = incarnations(("a", "a/x", "a/pickup"))
    JOURNALD.parent.mkdir(exist_ok=True)
    JOURNALD.write_text(kept)
    try:
        run("systemctl", "restart", "systemd-journald")
        run("journalctl", "--flush")
        machine = Path("/etc/machine-id").read_text().strip()
        assert (Path("/var/log/journal") / machine / "system.journal").exists()
        assert incarnations(before) == before
        run("systemctl", "kill", "--signal=KILL", unit_of("a/x"))
        wait_until(lambda: "killed" in journal("STREAMD_ADDRESS=a/x"), 20, "the daemon is heard as before")
        wait_state("a/x", "starved", 30)
    finally:
        JOURNALD.unlink()
        run("systemctl", "restart", "systemd-journald")


@pytest.mark.usefixtures("_runs")
def test_a_group_is_let_in() -> None:
    run("groupadd", "--system", "operators")
    run("useradd", "--system", "--groups", "operators", "--shell", "/bin/sh", OPERATOR)
    ask = (*become(OPERATOR), "streamctl", "restart", "--no-ask-password", "a/x")
    ask = tuple("--init-groups" if word == "--clear-groups" else word for word in ask)
    try:
        assert run(*ask, check=False).returncode != 0
        POLKIT.write_text(examples("TROUBLESHOOTING")[0])
        POLKIT.chmod(0o644)
        run("systemctl", "restart", "polkit.service")
        wait_until(lambda: run(*ask, check=False).returncode == 0, 20, "operators may restart")
        disable = tuple(word.replace("restart", "disable") for word in ask)
        assert run(*disable, check=False).returncode != 0, "but not configure"
    finally:
        POLKIT.unlink(missing_ok=True)
        run("systemctl", "restart", "polkit.service")
        run("userdel", OPERATOR)
        run("groupdel", "operators")


@contextmanager
def written(files: dict[Path, str]) -> Iterator[None]:
    """Have files with these texts, and what they were before afterwards."""
    before = {path: path.read_text() if path.exists() else None for path in files}
    try:
        for path, text in files.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        yield
    finally:
        for path, old in before.items():
            path.unlink()
            if old is not None:
                path.write_text(old)


@contextmanager
def service(name: str) -> Iterator[None]:
    """Have a service run."""
    run("systemctl", "start", name)
    try:
        yield
    finally:
        run("systemctl", "stop", name)


def certificates(folder: Path) -> None:
    """Make an authority, and a certificate and key for either side."""
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-out")
    authority = ("-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"))
    run(*new, str(folder / "ca.pem"), "-keyout", str(folder / "ca.key"), "-subj", "/CN=authority")
    for name, host in (("logs", OTHER), ("upload", "appliance")):
        subject = ("-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")
        leaf = ("-addext", "basicConstraints=critical,CA:FALSE")
        run(*new, str(folder / f"{name}.pem"), "-keyout", str(folder / f"{name}.key"), *subject, *leaf, *authority)


@pytest.fixture
def _complains() -> None:
    """An FFmpeg that has something to say, again and again."""
    write_route("a", '[input]\nurl = "test:"\n[output.x]\nurl = "srt://127.0.0.1:1"\n')
    wait_state("a", "running", 30)


@pytest.mark.usefixtures("_complains")
def test_the_journal_is_sent_to_another_host_with_its_fields() -> None:
    conf = examples("LOGS")[1]
    paths = dict(re.findall(r"^(\w+File)=(.*)$", conf, re.MULTILINE))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        certificates(folder)
        made = (
            ("ServerKeyFile", "upload.key"),
            ("ServerCertificateFile", "upload.pem"),
            ("TrustedCertificateFile", "ca.pem"),
        )
        files = {Path(paths[key]): (folder / name).read_text() for key, name in made}
        hosts = HOSTS.read_text() + f"127.0.0.1 {OTHER}\n"
        stack.enter_context(written({UPLOAD: conf, HOSTS: hosts, **files}))
        key = Path(paths["ServerKeyFile"])
        shutil.chown(key, group="systemd-journal")
        key.chmod(0o640)
        received = folder / "received"
        received.mkdir()
        # Debian's has no --trust=: it lets anybody send.
        own = (f"--key={folder}/logs.key", f"--cert={folder}/logs.pem")
        port = re.search(r"^URL=.*:(\d+)$", conf, re.MULTILINE)
        assert port
        argv = ["/lib/systemd/systemd-journal-remote", f"--listen-https={port[1]}", f"--output={received}", *own]
        receiver = stack.enter_context(subprocess.Popen(argv))
        stack.callback(receiver.terminate)
        wait_until(lambda: f":{port[1]} " in run("ss", "-ltn").stdout, 20, "it listens")
        stack.enter_context(service("systemd-journal-upload.service"))
        ask = ("journalctl", "-D", str(received), "-o", "cat", "STREAMD_OUTPUT=a/x")
        wait_until(lambda: "Connection" in run(*ask, check=False).stdout, 60, "what the output says is there")


@pytest.mark.usefixtures("_complains")
def test_lines_are_sent_to_a_syslog_server() -> None:
    conf = examples("LOGS")[2]
    hosts = HOSTS.read_text() + f"127.0.0.1 {OTHER}\n"
    with (
        written({SYSLOG: conf, HOSTS: hosts}),
        socket.create_server(("127.0.0.1", 514)) as server,
        service("rsyslog.service"),
    ):
        server.settimeout(60)
        connection, _address = server.accept()
        with connection, connection.makefile("r", errors="replace") as lines:
            connection.settimeout(60)
            tags = set()
            for line in lines:
                found = re.match(r"<\d+>\S+ +\d+ [\d:]+ \S+ ([^\s:\[]+)", line)
                tags.add(found[1] if found else line)
                if {"a/x", "streamd"} <= tags:
                    return
    raise AssertionError(f"it was hung up after lines of {tags}")

"""No stream key and no passphrase can be read anywhere by anybody but root out of the credential store."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.appliance.host import kill_daemon, our_units, run, wait_until, write_credential, write_route
from tests.appliance.media import RtmpServer, Sender, SrtReceiver, make_stream

SECRETS = {"key": "s3cret-stream-key-0815", "venue": "s3cret-passphrase-0816", "id": "s3cret-streamid-0817"}
ROUTES = {
    "a": """
[input]
url = "udp://127.0.0.1:5000"
[output.rtmp]
url = "rtmp://127.0.0.1:1935/live"
key = { credential = "key" }
[output.caller]
url = "srt://127.0.0.1:9000"
passphrase = { credential = "venue" }
streamid = { credential = "id" }
[output.listener]
url = "srt://127.0.0.1:9100"
mode = "listener"
passphrase = { credential = "venue" }
[output.wrong]
url = "srt://127.0.0.1:9001"
passphrase = { credential = "venue" }
[output.refused]
url = "rtmp://127.0.0.1:1936/live"
key = { credential = "key" }
""",
    "b": """
[input]
url = "srt://127.0.0.1:5001"
mode = "listener"
passphrase = { credential = "venue" }
""",
    "c": """
[input]
url = "srt://127.0.0.1:5999"
passphrase = { credential = "venue" }
""",
}


def everything_readable() -> dict[str, str]:
    """Return all places where a secret could leak, by name."""
    found: dict[str, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found[f"{process}/{name}"] = (process / name).read_bytes().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
    units = [*our_units(), "streamd.service", "streamd.slice"]
    found["systemctl show"] = run("systemctl", "show", "--all", *units).stdout
    found["systemctl cat"] = run("systemctl", "cat", *our_units()).stdout
    journal = subprocess.run(["journalctl", "-o", "export", "--all"], capture_output=True, check=True, timeout=120)
    found["journal"] = journal.stdout.decode(errors="replace")
    found["streamctl"] = run("streamctl", "status", "--json").stdout + run("streamctl", "diff", "--json").stdout
    found["D-Bus"] = run(
        *("busctl", "call", "--json=short", "org.streamd1", "/org/streamd1"),
        *("org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
    ).stdout
    return found


def test_secrets_are_found_nowhere() -> None:
    for name, secret in SECRETS.items():
        write_credential(name, secret)
    stream = make_stream(Path("/var/tmp/stream.ts"))
    passphrase = SECRETS["venue"]
    with (
        RtmpServer() as rtmp,
        SrtReceiver(stream, "127.0.0.1", 9000, mode="listener", passphrase=passphrase, hidden=True) as caller,
        SrtReceiver(stream, "127.0.0.1", 9100, passphrase=passphrase, hidden=True) as listener,
        SrtReceiver(stream, "127.0.0.1", 9001, mode="listener", passphrase="another-passphrase"),
        Sender(stream, "127.0.0.1", 5000),
    ):
        for name, text in ROUTES.items():
            write_route(name, text)
        rtmp.wait_for(SECRETS["key"], seconds=30)
        caller.wait_for(100, seconds=30)
        listener.wait_for(100, seconds=30)
        kill_daemon()
        for failing in ("a/refused", "a/wrong"):
            match = (f"STREAMD_OUTPUT={failing}", "_COMM=ffmpeg")
            wait_until(lambda match=match: run("journalctl", "-q", *match).stdout, 20, f"{failing} told of its failure")  # type: ignore[misc]
        places = everything_readable()
    assert len(places) > 10
    leaks = [(place, name) for place, text in places.items() for name, secret in SECRETS.items() if secret in text]
    # nginx tells what was published to it: it is the receiver, and its log is no part of this machine's journal.
    assert not leaks


def test_one_output_reads_neither_another_ones_secret_nor_the_store() -> None:
    for name, secret in SECRETS.items():
        write_credential(name, secret)
    write_route("a", ROUTES["a"])
    presets = Path("/run/streamd/presets")
    wait_until(lambda: len(list(presets.glob("*"))) >= 4, 20, "the presets were written")
    assert presets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in presets.iterdir()} == {0o600}
    for path in (*presets.iterdir(), *Path("/etc/streamd/credentials").iterdir()):
        as_nobody = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", str(path)],
            capture_output=True,
            check=False,
        )
        assert as_nobody.returncode != 0
        assert b"s3cret" not in as_nobody.stdout


def test_a_credential_that_others_can_read_is_refused_with_the_remedy() -> None:
    for name, secret in SECRETS.items():
        write_credential(name, secret, mode=0o644)
    write_route("a", ROUTES["a"])
    wait_until(lambda: "chmod 0600" in run("streamctl", "check", check=False).stdout, 10, "it is told")
    assert not os.path.exists("/run/streamd/presets") or not list(Path("/run/streamd/presets").iterdir())

"""What is asked of systemd for a unit, per version, and what its fingerprint depends on."""

from __future__ import annotations

import hashlib
import re
from dataclasses import astuple

from streamd.plan.address import route_slice
from streamd.plan.desired import HostFacts
from streamd.plan.pace import Pace, delays
from streamd.plan.unit import Fingerprint
from streamd.route.model import Credential, Limits, SrtMode, SrtTarget
from tests.unit.make import desired, route, udp_output, unit_of

VENUE = SrtTarget(host="192.0.2.1", port=9000, mode=SrtMode.CALLER, passphrase=Credential("venue"))


def properties(version: int, **more: object) -> dict[str, tuple[str, object]]:
    wanted = desired(route("a-b", udp_output("x", **more)), facts=HostFacts(digests={"venue": "1"}))
    made = wanted.units[unit_of("a-b/x")].properties(version)
    return {name: (signature, value) for name, signature, value in made}


def test_a_recent_systemd_backs_off_by_itself() -> None:
    made = properties(257)
    assert made["RestartSteps"] == ("u", 8)
    assert 24_000_000 <= made["RestartMaxDelayUSec"][1] <= 36_000_000  # type: ignore[operator]
    assert "ExecStartPre" not in made


def test_a_recent_systemd_keeps_chatter_out_of_the_journal() -> None:
    assert "LogFilterPatterns" not in properties(252)
    signature, patterns = properties(257)["LogFilterPatterns"]
    assert signature == "a(bs)"
    assert isinstance(patterns, list)

    def is_dropped(line: str) -> bool:
        return any(not allow and re.search(pattern, line) for allow, pattern in patterns)

    assert is_dropped("[h264 @ 0x561b5e2fb040] [error] non-existing PPS 0 referenced")
    assert is_dropped("[info]   Stream #0:0: Data: none")
    assert is_dropped("[AVIOContext @ 0x55] [verbose] Statistics: 1221248 bytes read, 0 seeks")
    assert not is_dropped("[srt @ 0x7f5944000d00] [verbose] accept streamid [], length 0")
    assert not is_dropped("[error] Error opening output file rtmp://ingest.example:1935/live/x.")
    assert not is_dropped("[udp @ 0x562fe72b9480] [warning] Circular buffer overrun. Surviving")


def test_systemd_252_gets_no_property_that_it_does_not_know_and_a_helper_instead() -> None:
    made = properties(252)
    assert not {"RestartSteps", "RestartMaxDelayUSec"} & made.keys()
    first, longest = (str(wait) for wait in astuple(delays(Pace.QUICK, unit_of("a-b/x"))))
    helper = "/usr/libexec/streamd/backoff"
    assert made["ExecStartPre"] == ("a(sasb)", [[helper, [helper, first, longest, "0"], False]])
    # A colon would name a link there.
    assert made["RuntimeDirectory"] == ("as", ["streamd-output/a-b/x"])
    assert made["RuntimeDirectoryPreserve"] == ("s", "restart")


def test_a_recent_systemd_makes_nothing_on_the_host_for_a_start() -> None:
    made = properties(257)
    assert made["PrivateTmpEx"] == ("s", "disconnected")
    assert "RuntimeDirectory" not in made
    assert not {"RuntimeDirectory", "PrivateTmpEx"} & properties(256).keys()


def test_every_unit_has_its_slice_and_its_journal_fields() -> None:
    made = properties(257)
    assert made["Slice"] == ("s", "streamd-a\\x2db.slice")
    assert made["LogExtraFields"] == ("aay", [b"STREAMD_ENGINE=ffmpeg", b"STREAMD_ROUTE=a-b", b"STREAMD_OUTPUT=a-b/x"])
    assert made["StartLimitIntervalUSec"] == ("t", 0)
    assert "LoadCredential" not in made


def test_every_unit_has_a_user_of_its_own() -> None:
    units = desired(route("a", udp_output("x"), udp_output("y")), route("b", udp_output("x"))).units.values()
    assert len({unit.user for unit in units}) == len(units) == 5
    assert all(re.fullmatch(r"streamd-[0-9a-f]{12}", unit.user) for unit in units)
    assert properties(252)["User"] == ("s", "streamd-" + hashlib.sha256(unit_of("a-b/x").encode()).hexdigest()[:12])


def test_limits_are_always_set_so_that_they_can_be_taken_back() -> None:
    assert properties(257)["MemoryMax"] == ("t", 2**64 - 1)
    made = properties(257, limits=Limits(memory=1 << 20, cpu=150, tasks=9))
    assert (made["MemoryMax"], made["CPUQuotaPerSecUSec"], made["TasksMax"]) == (
        ("t", 1 << 20),
        ("t", 1_500_000),
        ("t", 9),
    )


def test_a_secret_comes_by_a_credential_and_stands_in_no_property() -> None:
    made = properties(257, target=VENUE)
    assert made["LoadCredential"] == ("a(ss)", [["secrets", f"/run/streamd/presets/{unit_of('a-b/x')}"]])
    assert not any(char in argument for argument in made["ExecStart"][1][0][1] for char in "$;")  # type: ignore[index]


def test_a_fingerprint_is_read_back_from_the_description() -> None:
    unit = desired(route("a", udp_output("x"))).units[unit_of("a/x")]
    assert Fingerprint.of_description(unit.description) == unit.fingerprint
    assert Fingerprint.of_description("studio") is None


def test_limits_and_secrets_have_hashes_of_their_own() -> None:
    def fingerprint(digest: str = "1", **more: object) -> Fingerprint:
        wanted = desired(route("a", udp_output("x", target=VENUE, **more)), facts=HostFacts(digests={"venue": digest}))
        return wanted.units[unit_of("a/x")].fingerprint

    base = fingerprint()
    limited, rotated = fingerprint(limits=Limits(cpu=30)), fingerprint(digest="2")
    assert (limited.command, limited.secrets) == (base.command, base.secrets)
    assert limited.live != base.live
    assert (rotated.command, rotated.live) == (base.command, base.live)
    assert rotated.secrets != base.secrets


def test_a_slice_of_a_name_with_dashes_is_one_level_deep() -> None:
    assert route_slice("a-b_c") == "streamd-a\\x2db_c.slice"

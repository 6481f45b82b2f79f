"""srt-live-transmit as an engine: its command line, its statistics, the state they tell, and why it ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.bus.document import statistics_document
from streamd.ctl.style import Style
from streamd.ctl.top import make_row, table_lines
from streamd.host.progress import ProgressChannel
from streamd.plan.allocation import Allocation
from streamd.plan.cause import Cause, Ending, classify
from streamd.plan.desired import Absent, HostFacts, desire
from streamd.plan.ffmpeg import Command, Endpoint
from streamd.plan.health import Verdict, Vitals, judge_output
from streamd.plan.link import Link, parse_link
from streamd.plan.preset import Form, PresetLine, render_preset
from streamd.plan.progress import Meter, Report, advance, parse_report
from streamd.plan.srt import srt_command
from streamd.plan.status import State, Statistics
from streamd.plan.unit import DesiredUnit
from streamd.route.model import Credential, Engine, Settings, SrtMode, SrtTarget
from streamd.route.parse import parse_route

HELPER = Path(__file__).parents[2] / "units/libexec/srt-engine"
START = (
    "/usr/libexec/streamd/srt-engine 127.65.4.3:20001 /usr/bin/srt-live-transmit"
    " -q -a:no -c:1316 -pf:json -s:100 -f udp://239.255.0.1:20000?adapter=127.0.0.1&rcvbuf=2097152"
)
VENUE = Credential("venue")

REPORT = (  # of version 1.5.1, word for word
    b'{"sid":703325217,"timepoint":"2026-11-25T16:29:33.051658+0000","time":3848,"window":{"flow":8167,"congestion":8192,'
    b'"flight":0},"link":{"rtt":0.068,"bandwidth":403.152,"maxBandwidth":1000},"send":{"packets":792,"packetsUnique":790,'
    b'"packetsLost":3,"packetsDropped":1,"packetsRetransmitted":2,"packetsFilterExtra":0,"bytes":1077120,"bytesUnique":'
    b'1074400,"bytesDropped":0,"byteAvailBuf":12286500,"msBuf":1,"mbitRate":2.13692,"sendPeriod":9},"recv":{"packets":0,'
    b'"packetsUnique":0,"packetsLost":0,"packetsDropped":0,"packetsRetransmitted":0,"packetsBelated":0,'
    b'"packetsFilterExtra":0,"packetsFilterSupply":0,"packetsFilterLoss":0,"bytes":0,"bytesUnique":0,"bytesLost":0,'
    b'"bytesDropped":0,"byteAvailBuf":12286500,"msBuf":0,"mbitRate":0,"msTsbPdDelay":120}}\n'
)
LINK = Link(
    rtt=68,
    bandwidth=403_152_000,
    packets=792,
    lost=3,
    retransmitted=2,
    dropped=1,
    wire=1_077_120,
    media=790 * 1316,
)


def target(mode: SrtMode = SrtMode.CALLER, host: str = "192.0.2.9", **more: object) -> SrtTarget:
    keys: dict[str, object] = {"host": host, "port": 9000, "mode": mode, "engine": Engine.SRT_LIVE_TRANSMIT} | more
    return SrtTarget(**keys)  # type: ignore[arg-type]


def command(of: SrtTarget) -> Command:
    return srt_command(of, relay=Endpoint("239.255.0.1", 20000), progress=Endpoint("127.65.4.3", 20001))


@pytest.mark.parametrize(
    ("of", "url"),
    [
        (target(), "srt://192.0.2.9:9000?mode=caller&conntimeo=5000"),
        (target(host="::1"), "srt://[::1]:9000?mode=caller&conntimeo=5000"),
        (target(latency=200), "srt://192.0.2.9:9000?mode=caller&latency=200&conntimeo=5000"),
        (target(streamid="live/a"), "srt://192.0.2.9:9000?mode=caller&conntimeo=5000&streamid=live/a"),
        (target(SrtMode.LISTENER, "0.0.0.0"), "srt://0.0.0.0:9000?mode=listener"),
    ],
)
def test_command_line(of: SrtTarget, url: str) -> None:
    assert command(of) == Command((*START.split(), url), (), Engine.SRT_LIVE_TRANSMIT)


def test_secrets_are_in_no_argument_of_the_unit() -> None:
    made = command(target(passphrase=VENUE, streamid=Credential("id"), allow_visible_password=True))
    assert made.argv[-1] == "srt://192.0.2.9:9000?mode=caller&conntimeo=5000"
    rendered = render_preset(made.preset, {"venue": "correct horse battery", "id": "#!::u=a,r=b"})
    assert rendered.text == "passphrase=correct horse battery\nstreamid=#!::u=a,r=b\n"


@pytest.mark.parametrize("secret", ["ten-charac&ters", "ten-charac%41"])
def test_a_secret_that_an_address_cannot_carry_is_refused(secret: str) -> None:
    line = PresetLine("passphrase", VENUE, Form.ARGUMENT)
    found = render_preset([line], {"venue": secret}).problem
    assert found == 'credential "venue" must not contain & or % to be used with srt-live-transmit'


# --- the unit ---


def desired(facts: HostFacts, engine: str = 'engine = "srt-live-transmit"') -> dict[str, DesiredUnit | Absent]:
    text = f'[input]\nurl = "udp://0.0.0.0:5000"\n[output.x]\nurl = "srt://192.0.2.9:9000"\n{engine}\n'
    route = parse_route("a.toml", text, Settings()).route
    assert route is not None
    allocation = Allocation(groups={"a": "239.255.0.1"}, channels={"a": "127.64.0.1", "a/x": "127.64.0.2"})
    found = desire([route], allocation=allocation, settings=Settings(), facts=facts)
    return {**found.units, **found.absent}


UNIT = "streamd-output@a:x.service"


def test_without_srt_tools_it_is_blocked() -> None:
    assert desired(HostFacts(srt_live_transmit="not there"))[UNIT] == Absent(State.BLOCKED, "not there")
    assert not isinstance(desired(HostFacts(srt_live_transmit="not there"), "")[UNIT], Absent)


def test_its_journal_is_followed_like_any_other() -> None:
    unit = desired(HostFacts())[UNIT]
    assert isinstance(unit, DesiredUnit)
    fields = next(value for name, _, value in unit.properties(257) if name == "LogExtraFields")
    assert isinstance(fields, list)
    assert b"STREAMD_ENGINE=srt-live-transmit" in fields
    assert f"STREAMD_ENGINE={Engine.FFMPEG}" == "STREAMD_ENGINE=ffmpeg"


def test_another_engine_is_another_unit_and_the_ingest_is_the_same() -> None:
    one, other = desired(HostFacts()), desired(HostFacts(), "")
    assert [name for name in one if one[name] != other[name]] == [UNIT]


# --- what it tells ---


def test_a_report() -> None:
    assert parse_report(REPORT) == Report(total=790 * 1316, link=LINK)


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"{}",
        b"[" * 2000,
        b'{"link": 1, "send": 2}',
        REPORT.replace(b'"rtt":0.068', b'"rtt":NaN'),
        REPORT.replace(b'"rtt":0.068', b'"rtt":-1'),
        REPORT.replace(b'"rtt":0.068', b'"rtt":1e400'),
        REPORT.replace(b'"packets":792', b'"packets":"792"'),
        REPORT.replace(b'"packets":792', b'"packets":true'),
        REPORT.replace(b'"packets":792', b'"packets":99999999999999999999'),
        REPORT[:400],
    ],
)
def test_what_is_no_report_is_none(data: bytes) -> None:
    assert parse_link(data) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_may_stand_anywhere(value: object) -> None:
    told = json.loads(REPORT)
    for where in ("link", "send"):
        assert parse_link(json.dumps({**told, where: value}).encode()) is None
    told["send"]["bytes"] = value
    parse_link(json.dumps(told).encode())


def row(*reports: tuple[float, int]) -> Meter:
    """Return what reports add up to, of times in s and packets sent; of ten sent one is sent again."""
    found: Meter | None = None
    for at, packets in reports:
        wire = (packets + packets // 10) * 1360
        link = Link(rtt=1, bandwidth=1, packets=0, lost=0, retransmitted=0, dropped=0, wire=wire, media=packets * 1316)
        found = advance(found, Report(total=link.media, link=link), int(at * 1e6))
    assert found is not None
    return found


def test_rates_are_of_the_last_seconds() -> None:
    meter = row(*((second, second * 100) for second in range(1, 21)), *((20 + n, 2000 + 200 * n) for n in range(1, 11)))
    assert meter.bitrate(30_000_000) == 200 * 1316 * 8
    assert meter.send_rate(30_000_000) == 220 * 1360 * 8


def test_rates_of_a_slow_stream_are_known_between_its_reports() -> None:
    meter = row((1e-6, 100), (8, 200), (16, 300))
    for now in (16, 20, 23.9):
        assert meter.bitrate(int(now * 1e6)) == 100 * 1316
    assert meter.bitrate(27_000_000) == 0
    assert meter.send_rate(27_000_000) is None
    assert meter.moving_since == 1, "a pause is no break"


def test_ffmpeg_has_no_send_rate() -> None:
    assert advance(None, Report(total=1), 1).send_rate(1) is None


# --- states; times are seconds ---

BEGAN = 1000


def giving(until: float, since: float = 500) -> Vitals:
    found: Meter | None = None
    for second in range(int(since), int(until) + 1):
        found = advance(found, Report(total=(second + 1) * 1000, media=0), second * 1_000_000)
    return Vitals(watched_since=int(since * 1e6), meter=found)


def judged(now: float, *at: float, source: Vitals | None, listener: bool = False, stall: int = 10) -> Verdict:
    meter = row(*((one, number * 100) for number, one in enumerate(at, 1))) if at else None
    vitals = Vitals(
        watched_since=BEGAN * 1_000_000,
        meter=meter,
        by_packets=True,
        is_listener=listener,
        connected=bool(at) and listener,
    )
    return judge_output(vitals, source, int(now * 1e6), stall_timeout=stall * 1_000_000)


def test_it_runs_while_it_reports_now_and_then() -> None:
    assert judged(1029, 1002, 1011, 1020, source=giving(1029)).state is State.RUNNING


def test_it_stalls_when_it_is_silent_for_longer_and_is_restarted() -> None:
    verdict = judged(1031, 1002, 1011, 1020, source=giving(1031), stall=15)
    assert (verdict.state, verdict.restart) == (State.STALLED, False)
    assert judged(1036, 1002, 1011, 1020, source=giving(1036), stall=15).restart


def test_it_starves_as_soon_as_any_other() -> None:
    verdict = judged(1026, 1018, 1019, 1020, source=giving(1020))
    assert verdict.state is State.STARVED


def test_a_listener_waits_for_ever() -> None:
    for now in (1001, 1100, 9000):
        assert judged(now, source=giving(now), listener=True) == Verdict(
            state=State.WAITING, cause="nobody has called yet"
        )


def test_a_caller_that_never_sends_is_restarted() -> None:
    assert judged(1005, source=giving(1005)).state is State.STARTING
    assert judged(1040, source=giving(1040)).restart


# --- endings ---


def ended(
    *lines: str, status: int = 0, code: int = 1, sent: bool = False, ran: float = 5.1, listener: bool = False
) -> Cause:
    ending = Ending(
        result="success" if not status else "exit-code",
        code=code,
        status=status,
        lines=lines,
        kind="srt",
        listener=listener,
        ran=int(ran * 1e6),
        engine=Engine.SRT_LIVE_TRANSMIT,
        has_sent=sent,
    )
    return classify(ending).cause


WRONG_PASSPHRASE = (
    "16:29:12.408142/SRT:RcvQ:w1!W:SRT.cn: @848626080: processConnectResponse: rejecting per reception of a rejection",
    "16:29:12.408228/SRT:RcvQ:w1!W:SRT.cn: @848626080: processAsyncConnectRequest: REJECT: Incorrect passphrase",
)
NO_PASSPHRASE = (
    "16:29:17.437162/SRT:RcvQ:w1!W:SRT.cn: @1028042655: processAsyncConnectRequest: REJECT reported from HS processing:"
    " Password required or unexpected - not processing further"
)


def test_causes() -> None:
    assert ended() is Cause.UNREACHABLE
    assert ended(sent=True) is Cause.CONNECTION_LOST
    assert ended(ran=60) is Cause.CONNECTION_LOST, "whether it sent was not seen, but it lived too long for a caller"
    assert ended(*WRONG_PASSPHRASE) is Cause.PASSPHRASE
    assert ended(NO_PASSPHRASE) is Cause.PASSPHRASE
    assert ended("ERROR: error: srt_connect: Operation not supported: Bad parameters", status=255) is (
        Cause.NAME_NOT_FOUND
    )
    in_use = "ERROR: error: srt_bind: Connection setup failure: unable to create/configure SRT socket"
    assert ended(in_use, status=255, listener=True) is Cause.ADDRESS_IN_USE
    assert ended(status=9, code=2) is Cause.KILLED
    assert ended("something new", status=1) is Cause.UNKNOWN


def test_a_caller_that_leaves_is_no_failure_whoever_was_sent_away_before() -> None:
    assert ended(*WRONG_PASSPHRASE, listener=True, sent=True) is Cause.CALLER_LEFT


# --- the helper ---


def test_the_helper_becomes_the_command_and_its_output_reaches_the_channel(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("passphrase=correct horse\nstreamid=#!::r=a\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    show = f"import sys; sys.stderr.write(sys.argv[1]); sys.stdout.write({REPORT.decode()!r}); sys.stdout.flush()"
    argv = [sys.executable, str(HELPER), f"127.65.4.3:{port}", sys.executable, "-c", show, "srt://h:1?mode=caller"]
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    # Nobody listens yet: that is no error to it.
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("", "srt://h:1?mode=caller&passphrase=correct horse&streamid=#!::r=a")
    channel = ProgressChannel()
    channel.listen(port)
    if not channel.opened_at:
        pytest.skip("this machine lets nobody bind to an interface")
    try:
        del environment["CREDENTIALS_DIRECTORY"]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=True)
        assert done.stderr == "srt://h:1?mode=caller"
        assert channel.read() == {socket.inet_aton("127.65.4.3"): REPORT}
    finally:
        channel.close()


def test_the_helper_says_what_is_missing(tmp_path: Path) -> None:
    argv = [sys.executable, str(HELPER), "127.65.4.3:20001", str(tmp_path / "none"), "srt://h:1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (1, f"cannot start {tmp_path}/none: No such file or directory\n")


# --- what is shown ---


def test_what_is_shown() -> None:
    told = statistics_document(Statistics(address="a/x", link=LINK, send_rate=7))
    keys = {key.removeprefix("srt-"): value for key, value in told.items() if key.startswith("srt-")}
    assert keys == {
        "rtt": 68,
        "bandwidth": 403_152_000,
        "rate": 7,
        "bytes": 1_077_120,
        "packets": 792,
        "lost": 3,
        "retransmitted": 2,
        "dropped": 1,
    }
    assert not any(key.startswith("srt-") for key in statistics_document(Statistics(address="a/x")))


def test_top_has_columns_for_srt_where_there_is_some() -> None:
    rows = [make_row("a/x", {"State": "running"}, {"srt-rtt": 1234, "srt-lost": 3}), make_row("a/y", {}, {})]
    head, *lines = table_lines(rows, Style())
    assert head.split()[-2:] == ["RTT", "LOST"]
    assert [line.split()[-2:] for line in lines] == [["1.2ms", "3"], ["-", "-"]]
    assert "RTT" not in table_lines(rows[1:], Style())[0]

"""FFmpeg's command lines, word for word, and the files of secrets."""

from __future__ import annotations

import re
import shlex
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.plan.ffmpeg import (
    Command,
    Endpoint,
    Fetched,
    MediaPath,
    ingest_command,
    output_command,
    watch_command,
)
from streamd.plan.preset import Form, PresetLine, render_preset
from streamd.route.model import (
    Credential,
    FileSource,
    PullSource,
    RtmpTarget,
    RtspTarget,
    RtspTransport,
    Source,
    SrtMode,
    SrtSource,
    SrtTarget,
    Target,
    TestSource,
    UdpSource,
    UdpTarget,
)

GROUP = Endpoint("239.255.0.1", 20000)
ADDRESSES = {"eth1": "192.0.2.7"}
KEY = Credential("venue")
PROGRESS = Endpoint("127.65.4.3", 20001)
REPORT = "-stats_period 1 -progress udp://127.65.4.3:20001"
START = f"/usr/bin/ffmpeg -nostdin -hide_banner -nostats {REPORT} -loglevel level+warning"
LISTENER_START = START.replace("level+warning", "level+verbose")
QUIET_START = f"/usr/bin/ffmpeg -nostdin -hide_banner -nostats {REPORT} -loglevel fatal"
RELAY_OUT = "udp://239.255.0.1:20000?pkt_size=1316&ttl=0&localaddr=127.0.0.1"
RELAY_IN = "udp://239.255.0.1:20000?localaddr=127.0.0.1&buffer_size=4194304&fifo_size=0"
BUFFERS = "buffer_size=2097152&fifo_size=27888&overrun_nonfatal=1"
RAW = f"-f data -raw_packet_size 1316 -i {RELAY_IN} -map 0 -c copy"
REMUX = (
    f"-scan_all_pmts 0 -analyzeduration 6000000 -probesize 10000000 -max_probe_packets 200 -i {RELAY_IN}"
    " -map 0:v:0? -map 0:a:0? -c copy -max_interleave_delta 2000000"
)
INGEST_SECRETS = "/run/credentials/streamd-ingest@a.service/secrets"
OUTPUT_SECRETS = "/run/credentials/streamd-output@a:b.service/secrets"


def ingest(source: Fetched, port: int | None = None) -> Command:
    return ingest_command(
        source, port=port, group=GROUP, progress=PROGRESS, addresses=ADDRESSES, unit="streamd-ingest@a.service"
    )


def output(target: Target) -> Command:
    return output_command(
        target, relay=GROUP, progress=PROGRESS, addresses=ADDRESSES, unit="streamd-output@a:b.service"
    )


def raw_ingest(url: str) -> str:
    return f"{START} -f data -raw_packet_size 1316 -i {url} -map 0 -c copy -f data {RELAY_OUT}"


def pulled_ingest(options: str, url: str) -> str:
    probing = "-analyzeduration 2000000 -probesize 10000000 -max_probe_packets 200"
    copied = f"-map 0:v:0? -map 0:a:0? -c copy -max_interleave_delta 2000000 -copyinkf:a -f mpegts {RELAY_OUT}"
    return f"{START} {options} 5000000 {probing} -i {url} {copied}"


def srt_source(**more: object) -> SrtSource:
    return SrtSource(**({"host": "0.0.0.0", "port": 5001, "mode": SrtMode.LISTENER} | more))  # type: ignore[arg-type]


def srt_target(**more: object) -> SrtTarget:
    values = {"host": "venue.example", "port": 9000, "mode": SrtMode.CALLER} | more
    return SrtTarget(**values)  # type: ignore[arg-type]


INGESTS: list[tuple[Fetched, int | None, str]] = [
    (UdpSource(host="0.0.0.0", port=5000), None, raw_ingest(f"udp://0.0.0.0:5000?{BUFFERS}")),
    (UdpSource(host="0.0.0.0", port=None), 5007, raw_ingest(f"udp://0.0.0.0:5007?{BUFFERS}")),
    (UdpSource(host="::", port=5000), None, raw_ingest(f"udp://[::]:5000?{BUFFERS}")),
    (
        UdpSource(host="192.0.2.7", port=5000),
        None,
        raw_ingest(f"udp://192.0.2.7:5000?localaddr=192.0.2.7&{BUFFERS}"),
    ),
    (
        UdpSource(host="2001:db8::7", port=5000),
        None,
        raw_ingest(f"udp://[2001:db8::7]:5000?localaddr=2001:db8::7&{BUFFERS}"),
    ),
    (UdpSource(host="239.1.2.3", port=5000), None, raw_ingest(f"udp://239.1.2.3:5000?{BUFFERS}")),
    (
        UdpSource(host="232.1.2.3", port=5000, interface="eth1", source="198.51.100.1"),
        None,
        raw_ingest(f"udp://232.1.2.3:5000?localaddr=192.0.2.7&sources=198.51.100.1&{BUFFERS}"),
    ),
    (
        UdpSource(host="ff3e::5", port=5000, source="2001:db8::1"),
        None,
        raw_ingest(f"udp://[ff3e::5]:5000?sources=2001:db8::1&{BUFFERS}"),
    ),
    (srt_source(), None, raw_ingest("srt://0.0.0.0:5001?mode=listener&pkt_size=1456")),
    (
        srt_source(host="::1", latency=250),
        None,
        raw_ingest("srt://[::1]:5001?mode=listener&latency=250000&pkt_size=1456"),
    ),
    (
        srt_source(host="cam.example", mode=SrtMode.CALLER, streamid="#!::r=a%b"),
        None,
        (
            f"{START} -srt_streamid '#!::r=a%b' -f data -raw_packet_size 1316 -i"
            " srt://cam.example:5001?mode=caller&connect_timeout=5000&pkt_size=1456"
            f" -map 0 -c copy -f data {RELAY_OUT}"
        ),
    ),
    (
        srt_source(passphrase=KEY),
        None,
        (
            f"{QUIET_START} -protocol_whitelist hls,file,srt -f data -raw_packet_size 1316"
            f" -i hls+file://{INGEST_SECRETS} -map 0 -c copy -f data {RELAY_OUT}"
        ),
    ),
    (
        PullSource(url="rtsp://cam.example/a"),
        None,
        pulled_ingest("-rtsp_transport tcp -timeout", "rtsp://cam.example/a"),
    ),
    (
        PullSource(url="rtsps://cam.example/a", transport=RtspTransport.UDP),
        None,
        pulled_ingest("-rtsp_transport udp -timeout", "rtsps://cam.example/a"),
    ),
    (PullSource(url="rtmp://s.example/live/a"), None, pulled_ingest("-rw_timeout", "rtmp://s.example/live/a")),
    (
        PullSource(url="rtmps://s.example/live/a"),
        None,
        pulled_ingest("-tls_verify 1 -rw_timeout", "rtmps://s.example/live/a"),
    ),
    (PullSource(url="http://s.example/a.m3u8"), None, pulled_ingest("-re -rw_timeout", "http://s.example/a.m3u8")),
    (
        PullSource(url="https://s.example/a.m3u8", tls_verify=False),
        None,
        pulled_ingest("-re -tls_verify 0 -rw_timeout", "https://s.example/a.m3u8"),
    ),
    (
        FileSource(path="/srv/a: b%d.ts"),
        None,
        f"{START} -re -stream_loop -1 -i 'file:/srv/a: b%d.ts' -map 0:v:0? -map 0:a:0? -c copy -f mpegts {RELAY_OUT}",
    ),
    (
        TestSource(),
        None,
        (
            f"{START} -re -f lavfi -i testsrc2=size=640x360:rate=25"
            " -re -f lavfi -i sine=frequency=1000:sample_rate=48000 -map 0:v -map 1:a"
            " -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 25"
            " -b:v 1500k -minrate 1500k -maxrate 1500k -bufsize 750k -nal-hrd cbr -c:a aac -b:a 128k -ac 2"
            f" -f mpegts -muxrate 2000k {RELAY_OUT}"
        ),
    ),
]

FIFO = "-f fifo -fifo_format data -queue_size 1024 -drop_pkts_on_overflow 1"
OUTPUTS: list[tuple[Target, str]] = [
    (UdpTarget(host="192.0.2.9", port=6000), f"{START} {RAW} -f data udp://192.0.2.9:6000?pkt_size=1316"),
    (UdpTarget(host="2001:db8::9", port=6000), f"{START} {RAW} -f data udp://[2001:db8::9]:6000?pkt_size=1316"),
    (
        UdpTarget(host="239.10.0.1", port=5004, ttl=0, interface="eth1"),
        f"{START} {RAW} -f data udp://239.10.0.1:5004?pkt_size=1316&ttl=0&localaddr=192.0.2.7",
    ),
    (
        srt_target(),
        f"{START} {RAW} -f data srt://venue.example:9000?mode=caller&connect_timeout=5000&pkt_size=1316",
    ),
    (
        srt_target(latency=200, passphrase=KEY, streamid="live/a"),
        (
            f"{START} {RAW} -f data -srt_streamid live/a -fpre {OUTPUT_SECRETS}"
            " srt://venue.example:9000?mode=caller&latency=200000&connect_timeout=5000&pkt_size=1316"
        ),
    ),
    (
        srt_target(host="0.0.0.0", port=9100, mode=SrtMode.LISTENER, latency=20),
        f"{LISTENER_START} {RAW} {FIFO} srt://0.0.0.0:9100?mode=listener&latency=20000&pkt_size=1316",
    ),
    (
        srt_target(host="0.0.0.0", port=9100, mode=SrtMode.LISTENER, passphrase=KEY),
        f"{LISTENER_START} {RAW} {FIFO} -fpre {OUTPUT_SECRETS} srt://0.0.0.0:9100?mode=listener&pkt_size=1316",
    ),
    (
        RtmpTarget(url="rtmp://live.example/app/name"),
        f"{START} {REMUX} -f flv -flvflags no_duration_filesize -rw_timeout 5000000 rtmp://live.example/app/name",
    ),
    (
        RtmpTarget(url="rtmps://live.example/live2", key=KEY),
        (
            f"{START} {REMUX} -f flv -flvflags no_duration_filesize -rw_timeout 5000000 -tls_verify 1"
            f" -fpre {OUTPUT_SECRETS} rtmps://live.example/live2"
        ),
    ),
    (
        RtmpTarget(url="rtmps://live.example/live/inst?x=1", key=KEY, tls_verify=False),
        (
            f"{START} {REMUX} -f flv -flvflags no_duration_filesize -rw_timeout 5000000 -tls_verify 0"
            f" -rtmp_app live/inst?x=1 -fpre {OUTPUT_SECRETS} rtmps://live.example/live/inst?x=1"
        ),
    ),
    (
        RtspTarget(url="rtsp://nvr.example/live/a"),
        f"{START} {REMUX} -rtpflags latm -f rtsp -rtsp_transport tcp -timeout 5000000 rtsp://nvr.example/live/a",
    ),
    (
        RtspTarget(url="rtsp://nvr.example/live/a", transport=RtspTransport.UDP),
        f"{START} {REMUX} -rtpflags latm -f rtsp -rtsp_transport udp -timeout 5000000 rtsp://nvr.example/live/a",
    ),
]


@pytest.mark.parametrize(("source", "port", "line"), INGESTS)
def test_ingests(source: Source, port: int | None, line: str) -> None:
    assert list(ingest(source, port).argv) == shlex.split(line.replace("&", r"\&").replace("?", r"\?"))


@pytest.mark.parametrize(("target", "line"), OUTPUTS)
def test_outputs(target: Target, line: str) -> None:
    assert list(output(target).argv) == shlex.split(line.replace("&", r"\&").replace("?", r"\?"))


def test_every_kind_is_there() -> None:
    assert {type(source) for source, _, _ in INGESTS} == set(get_args(Fetched))
    assert {type(target) for target, _ in OUTPUTS} == set(get_args(Target))


def test_no_argument_has_what_systemd_corrupts_or_names_a_credential() -> None:
    commands = [ingest(source, port) for source, port, _ in INGESTS] + [output(target) for target, _ in OUTPUTS]
    for word in (word for command in commands for word in command.argv):
        assert not re.search(r"[$;]", word)
        assert KEY.name not in word.replace("venue.example", "")


def test_a_secret_is_in_the_preset_and_only_then_is_there_one() -> None:
    assert output(srt_target()).preset == ()
    assert output(RtmpTarget(url="rtmp://h/app", key=KEY)).preset == (PresetLine("rtmp_playpath", KEY),)
    both = output(srt_target(passphrase=KEY, streamid=Credential("id")))
    assert both.preset == (PresetLine("passphrase", KEY), PresetLine("srt_streamid", Credential("id")))
    listener = output(srt_target(host="::1", mode=SrtMode.LISTENER, passphrase=KEY))
    assert listener.preset == (PresetLine("format_opts=passphrase", KEY, Form.DICTIONARY),)


def text_of(lines: tuple[PresetLine, ...], **secrets: str) -> str:
    preset = render_preset(lines, secrets)
    assert not preset.problem
    return preset.text


def test_a_preset_has_a_line_for_each_option() -> None:
    lines = output(srt_target(passphrase=KEY, streamid=Credential("id"))).preset
    assert text_of(lines, venue="pass = $;phrase ", id="#!::r=x") == (
        "passphrase=pass = $;phrase \nsrt_streamid=#!::r=x\n"
    )


def test_a_value_that_is_no_secret_is_written_too() -> None:
    assert text_of((PresetLine("srt_streamid", "$a;b"),)) == "srt_streamid=$a;b\n"


def test_the_passphrase_of_a_listener_is_escaped_for_the_dictionary() -> None:
    lines = output(srt_target(host="::1", mode=SrtMode.LISTENER, passphrase=KEY)).preset
    assert text_of(lines, venue=r"a:b=c\d'e f,g;h") == "format_opts=passphrase=" + r"a\:b\=c\\d\'e\ f,g;h" + "\n"


def test_the_passphrase_of_an_input_stands_in_a_playlist() -> None:
    lines = ingest(srt_source(mode=SrtMode.CALLER, host="cam.example", passphrase=KEY, streamid="#a&b")).preset
    assert text_of(lines, venue="hunter2#hunter") == (
        "#EXTM3U\n#EXTINF:1,\n"
        "srt://cam.example:5001?mode=caller&connect_timeout=5000&pkt_size=1456&streamid=%23a%26b"
        "&passphrase=hunter2#hunter\n"
        "#EXT-X-ENDLIST\n"
    )


OPTION = (PresetLine("rtmp_playpath", KEY),)
PASSPHRASE = (PresetLine("passphrase", KEY),)
DICTIONARY = (PresetLine("format_opts=passphrase", KEY, Form.DICTIONARY),)
PLAYLIST = ingest(srt_source(passphrase=KEY)).preset
LENGTH = "must have 10 to 79 bytes to be an srt passphrase"


@pytest.mark.parametrize(
    ("lines", "secret", "problem"),
    [
        (OPTION, "two\nlines", "must not contain a line end"),
        (OPTION, "two\rlines", "must not contain a line end"),
        (OPTION, "nul\0", "must not contain a NUL character"),
        (OPTION, "", "is empty"),
        (OPTION, "x" * 2000, "is too long"),
        (OPTION, "é" * 450, "is too long"),
        (PASSPHRASE, "ninechars", LENGTH),
        (PASSPHRASE, "x" * 80, LENGTH),
        (PASSPHRASE, "é" * 40, LENGTH),
        (DICTIONARY, "ninechars", LENGTH),
        (PLAYLIST, "ninechars", LENGTH),
        (PLAYLIST, "hunter2&hunter", "must not contain & + or % to be the passphrase of an input"),
        (PLAYLIST, "hunter2+hunter", "must not contain & + or % to be the passphrase of an input"),
        (PLAYLIST, "hunter2%41hunter", "must not contain & + or % to be the passphrase of an input"),
    ],
)
def test_a_secret_that_cannot_be_written_is_refused_without_being_told(
    lines: tuple[PresetLine, ...], secret: str, problem: str
) -> None:
    preset = render_preset(lines, {"venue": secret})
    assert preset.text == ""
    assert preset.problem == f'credential "venue" {problem}'


def test_a_missing_secret_is_a_problem() -> None:
    assert render_preset(OPTION, {}).problem == 'credential "venue" is missing'


def dictionary_value(text: str) -> str:
    """Read a value as FFmpeg's av_get_token does."""
    out: list[str] = []
    kept = 0
    quoted = False
    at = len(text) - len(text.lstrip(" \n\t\r"))
    while at < len(text) and (quoted or text[at] != ":"):
        char = text[at]
        at += 1
        if quoted or char != "\\" or at == len(text):
            if char == "'":
                quoted = not quoted
                kept = len(out)
                continue
            out.append(char)
        else:
            out.append(text[at])
            at += 1
            kept = len(out)
    while len(out) > kept and out[-1] in " \n\t\r":
        out.pop()
    return "".join(out)


@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\n\r\0"), min_size=10, max_size=19))
def test_every_passphrase_survives_the_dictionary(secret: str) -> None:
    preset = render_preset(DICTIONARY, {"venue": secret})
    assert preset.text.endswith("\n")
    assert dictionary_value(preset.text.removeprefix("format_opts=passphrase=").removesuffix("\n")) == secret


@given(st.text())
def test_rendering_raises_nothing(secret: str) -> None:
    for lines in (OPTION, PASSPHRASE, DICTIONARY, PLAYLIST):
        preset = render_preset(lines, {"venue": secret})
        assert bool(preset.text) != bool(preset.problem)


PATH = MediaPath("rtsp://127.0.0.1:8554/a")
FROM_PATH = (
    "-rtsp_transport tcp -timeout 5000000 -analyzeduration 2000000 -probesize 10000000 -max_probe_packets 200"
    " -i rtsp://127.0.0.1:8554/a -map 0:v:0? -map 0:a:0? -c copy -max_interleave_delta 2000000 -copyinkf:a"
)


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (UdpTarget(host="192.0.2.9", port=6000), "-f mpegts udp://192.0.2.9:6000?pkt_size=1316"),
        (
            SrtTarget(host="192.0.2.9", port=6000, mode=SrtMode.CALLER),
            "-f mpegts srt://192.0.2.9:6000?mode=caller&connect_timeout=5000&pkt_size=1316",
        ),
        (
            RtmpTarget(url="rtmp://192.0.2.9/live/x"),
            "-f flv -flvflags no_duration_filesize -rw_timeout 5000000 rtmp://192.0.2.9/live/x",
        ),
        (
            RtspTarget(url="rtsp://192.0.2.9/x"),
            "-f rtsp -rtsp_transport tcp -timeout 5000000 rtsp://192.0.2.9/x",
        ),
    ],
)
def test_outputs_that_read_from_mediamtx(target: Target, line: str) -> None:
    made = output_command(target, relay=PATH, progress=PROGRESS, addresses=ADDRESSES, unit="streamd-output@a:b.service")
    assert " ".join(made.argv) == f"{START} {FROM_PATH} {line}"


def test_a_listener_that_reads_from_mediamtx_sends_a_transport_stream() -> None:
    target = SrtTarget(host="0.0.0.0", port=6000, mode=SrtMode.LISTENER)
    made = output_command(target, relay=PATH, progress=PROGRESS, addresses=ADDRESSES, unit="streamd-output@a:b.service")
    assert f"{FROM_PATH} -f fifo -fifo_format mpegts " in " ".join(made.argv)


def test_what_stands_for_an_input_without_an_ingest_reads_and_sends_nothing() -> None:
    assert " ".join(watch_command(PATH, PROGRESS).argv) == f"{START} {FROM_PATH} -f null -"

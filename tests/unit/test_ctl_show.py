"""What streamctl prints, from documents; no bus, no terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from streamd.bus.document import diagnostics_document
from streamd.ctl import show
from streamd.ctl.style import Style, plain, span, table
from streamd.route.model import Settings
from streamd.route.parse import parse_route

SECOND = 1_000_000
NOW = 1_795_421_725 * SECOND
PLAIN = Style()
COLOUR = Style(colour=True, width=80)


def thing(address: str, state: str, **more: Any) -> dict[str, Any]:
    route, _slash, output = address.partition("/")
    found: dict[str, Any] = {
        "route": route,
        "address": address,
        "description": "",
        "enabled": True,
        "url": "udp://192.0.2.1:5004",
        "state": state,
        "cause": "",
        "since": NOW - 65 * SECOND,
        "unit": f"streamd-output@{route}:{output}.service",
        "pid": 4711,
        "restarts": 0,
        "invocation": "",
    }
    return found | ({"output": output, "kind": "udp", "mode": ""} if output else {}) | more


def a_route(name: str, state: str, *outputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    own = {"path": f"/etc/streamd/conf.d/{name}.toml", "relay": "direct", "input": "udp", "group": "", "broken": False}
    return thing(name, state, **(own | more)) | {"outputs": list(outputs)}


def status(*routes: dict[str, Any], diagnostics: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"version": "1.2.3", "routes": list(routes), "diagnostics": list(diagnostics)}


DIAGNOSTIC = {
    "path": "/etc/streamd/conf.d/b.toml",
    "line": 3,
    "column": 7,
    "length": 3,
    "key": "input.url",
    "message": "is wrong",
    "text": "url = 'x'",
}
STUDIO = status(
    a_route(
        "studio-a",
        "running",
        thing("studio-a/youtube", "running", url="rtmps://a.rtmps.youtube.com/live2"),
        thing("studio-a/venue", "backoff", cause="connection refused"),
    ),
    a_route("b", "stopped", broken=True),
    diagnostics=(DIAGNOSTIC,),
)


def test_a_caret_stands_below_its_place_where_something_before_it_is_hidden() -> None:
    text = 'input = { url = "rtsp://u:hunter2@h/x", latancy = "1s" }\noutput.a.url = "udp://192.0.2.1:1"\n'
    found = parse_route("a.toml", text, Settings()).diagnostics
    documents = diagnostics_document(found)
    assert [(each["column"], each.get("mark")) for each in documents] == [(17, None), (41, 35)]
    again = show.diagnostics(documents)
    assert [str(each) for each in again] == [str(each) for each in found]
    assert str(again[1]).splitlines()[1:] == [
        '  input = { url = "rtsp://***@h/x", latancy = "1s" }',
        "                                    ^~~~~~~",
    ]


def test_the_list_is_aligned() -> None:
    assert show.render_list(STUDIO, PLAIN, NOW) == (
        "  ADDRESS           STATE    FOR      URL                                CAUSE\n"
        "● studio-a          running  1min 5s  udp://192.0.2.1:5004\n"
        "● studio-a/youtube  running  1min 5s  rtmps://a.rtmps.youtube.com/live2\n"
        "● studio-a/venue    backoff  1min 5s  udp://192.0.2.1:5004               connection refused\n"
        "○ b                 stopped  1min 5s  udp://192.0.2.1:5004               its file has errors\n"
        "\n"
        "2 routes, 2 outputs, 1 error\n"
    )


def test_the_list_without_causes_has_no_such_column() -> None:
    text = show.render_list(status(a_route("a", "running")), PLAIN, NOW)
    assert "CAUSE" not in text
    assert text.endswith("1 route, 0 outputs\n")


def test_no_routes_is_said_in_a_sentence() -> None:
    assert show.render_list(status(), PLAIN, NOW).startswith("There are no routes.")


def test_the_whole_status() -> None:
    assert show.render_status(STUDIO, PLAIN, NOW) == (
        "● streamd 1.2.3: 2 routes, 2 outputs, 1 error\n"
        "\n"
        "● studio-a: running for 1min 5s\n"
        "  udp://192.0.2.1:5004\n"
        "  ├─ ● youtube  running  1min 5s  rtmps://a.rtmps.youtube.com/live2\n"
        "  └─ ● venue    backoff  1min 5s  udp://192.0.2.1:5004               connection refused\n"
        "\n"
        "○ b: stopped for 1min 5s\n"
        "  udp://192.0.2.1:5004\n"
        "  its file has errors\n"
        "\n"
        "/etc/streamd/conf.d/b.toml:3:7: input.url: is wrong\n"
        "  url = 'x'\n"
        "        ^~~\n"
    )


def test_one_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    output = thing(
        "studio-a/venue",
        "backoff",
        cause="connection refused",
        kind="srt",
        mode="caller",
        description="To the venue",
        restarts=3,
        invocation="ab" * 16,
    )
    text = show.render_output(output, PLAIN, NOW)
    assert re.sub(r"since .*;", "since THEN;", text) == (
        "● studio-a/venue - To the venue\n"
        "      Output: srt caller, udp://192.0.2.1:5004\n"
        "       State: backoff since THEN; 1min 5s ago\n"
        "       Cause: connection refused\n"
        "        Unit: streamd-output@studio-a:venue.service\n"
        "         PID: 4711, restarted 3 times\n"
        "  Invocation: abababababababababababababababab\n"
    )


def test_what_is_wrong_and_what_moves() -> None:
    output = thing(
        "a/b",
        "backoff",
        cause="connection refused",
        reason="refused",
        advice="See whether the receiver runs.",
        **{"next-try": NOW + 7 * SECOND, "last-error": "connection refused: line", "last-error-at": NOW - 65 * SECOND},
        statistics={
            "bitrate": 5_240_000,
            "bytes": 1 << 30,
            "uptime": 3_600 * SECOND,
            "fps": 25.0,
            "speed": 0.987,
            "dropped": 0,
            "cpu": 1_250_000,
            "memory": 12 << 20,
            "tasks": 8,
        },
    )
    text = show.render_thing(output, PLAIN, NOW, log=["one \033[2J", "two"])
    assert text.splitlines()[3:] == [
        "       Cause: connection refused",
        "      Reason: refused",
        "      Advice: See whether the receiver runs.",
        "    Next try: in 7s",
        "  Last error: connection refused: line; 1min 5s ago",
        "     Bitrate: 5.2 Mbit/s",
        "        Sent: 1.0G",
        "      Uptime: 1h",
        "      Frames: 25 a second",
        "       Speed: 0.99 of real time",
        "     Dropped: 0 frames",
        "         CPU: 1.2s",
        "      Memory: 12.0M",
        "       Tasks: 8",
        "        Unit: streamd-output@a:b.service",
        "         PID: 4711",
        "",
        "one \ufffd[2J",
        "two",
    ]


def test_what_is_unknown_is_left_out() -> None:
    text = show.render_thing(
        thing("a/b", "running", statistics={}, advice="", reason="", **{"next-try": 0}), PLAIN, NOW
    )
    for word in ("Bitrate", "Sent", "CPU", "Memory", "Tasks", "Advice", "Reason", "Next try", "Last error"):
        assert word not in text


def test_bitrates_stand_in_the_overviews() -> None:
    counted = {"statistics": {"bitrate": 4_000_000}}
    whole = status(a_route("a", "running", thing("a/x", "running", **counted), thing("a/y", "stopped"), **counted))
    assert show.render_list(whole, PLAIN, NOW).splitlines()[:4] == [
        "  ADDRESS  STATE    FOR      BITRATE     URL",
        "● a        running  1min 5s  4.0 Mbit/s  udp://192.0.2.1:5004",
        "● a/x      running  1min 5s  4.0 Mbit/s  udp://192.0.2.1:5004",
        "○ a/y      stopped  1min 5s              udp://192.0.2.1:5004",
    ]
    assert show.render_status(whole, PLAIN, NOW).splitlines()[2:] == [
        "● a: running for 1min 5s, 4.0 Mbit/s",
        "  udp://192.0.2.1:5004",
        "  ├─ ● x  running  1min 5s  4.0 Mbit/s  udp://192.0.2.1:5004",
        "  └─ ○ y  stopped  1min 5s              udp://192.0.2.1:5004",
    ]


@pytest.mark.parametrize(
    ("found", "well"),
    [
        (thing("a/b", "running"), True),
        (thing("a/b", "waiting"), True),
        (thing("a/b", "starved"), False),
        (thing("a/b", "stopped"), False),
        (a_route("a", "running", overall="stalled"), False),
        (a_route("a", "running", overall="waiting"), True),
    ],
)
def test_what_is_well(found: dict[str, Any], well: bool) -> None:
    assert show.is_well(found) is well
    assert ("Overall: stalled" in show.render_thing(found, PLAIN, NOW)) is (found.get("overall") == "stalled")


def test_one_output_without_a_process() -> None:
    text = show.render_output(thing("a/b", "disabled", pid=0, since=0), PLAIN, NOW)
    assert text == (
        "○ a/b\n"
        "      Output: udp, udp://192.0.2.1:5004\n"
        "       State: disabled\n"
        "        Unit: streamd-output@a:b.service\n"
    )


def test_one_route() -> None:
    text = show.render_route(STUDIO["routes"][1] | {"group": "239.255.0.1:20000"}, PLAIN, NOW)
    assert "File: /etc/streamd/conf.d/b.toml (has errors; its last good definition is used)\n" in text
    assert "Relay: direct, 239.255.0.1:20000\n" in text
    assert "Cause: its file has errors\n" in text


@pytest.mark.parametrize("render", [show.render_list, show.render_status])
@pytest.mark.parametrize("width", [60, 80])
def test_lines_fit_the_terminal(render: Any, width: int) -> None:
    long = status(
        a_route(
            "r" * 63, "running", thing("r" * 63 + "/" + "o" * 63, "failed", cause="word " * 40), cause="word " * 40
        ),
        diagnostics=(),
    )
    for colour in (False, True):
        text = render(long, Style(colour=colour, width=width), NOW)
        lines = re.sub("\033\\[[0-9]*m", "", text).splitlines()
        assert max(len(line) for line in lines if "rrr:" not in line) <= width
        assert "…" in text


def test_without_a_terminal_nothing_is_cut_or_coloured() -> None:
    text = show.render_list(status(a_route("a", "failed", cause="word " * 40)), PLAIN, NOW)
    assert ("word " * 40).rstrip() in text
    assert "\033" not in text


def test_states_have_colours_on_a_terminal() -> None:
    text = show.render_list(STUDIO, COLOUR, NOW)
    assert "\033[32mrunning" in text
    assert "\033[33mbackoff" in text


def test_without_unicode_symbols_are_plain() -> None:
    assert show.render_status(STUDIO, Style(unicode=False, width=50), NOW).isascii()


def test_nothing_commands_the_terminal() -> None:
    evil = "\033]0;title\a\u202e\n\udcff"
    routes = a_route("a", "running", thing("a/b", "failed", cause=evil, description=evil, url=evil), description=evil)
    whole = status(routes, diagnostics=(DIAGNOSTIC | {"path": evil, "message": evil},))
    for text in (
        show.render_list(whole, PLAIN, NOW),
        show.render_status(whole, PLAIN, NOW),
        show.render_route(routes, PLAIN, NOW),
        show.render_output(routes["outputs"][0], PLAIN, NOW),
    ):
        assert not set(text) & {"\033", "\a", "\u202e", "\udcff"}
    assert plain("gr\u00fc\u00df") == "gr\u00fc\u00df"


def test_the_list_as_json_is_flat() -> None:
    found = show.list_document(STUDIO)
    assert [entry["address"] for entry in found] == ["studio-a", "studio-a/youtube", "studio-a/venue", "b"]
    assert all("outputs" not in entry for entry in found)


def test_steps() -> None:
    steps = [
        {"action": "keep", "address": "a", "unit": "u", "reason": "nothing changed"},
        {"action": "restart", "address": "a/b", "unit": "u", "reason": "its url changed"},
        {"action": "stop", "address": "a/longer", "unit": "u", "reason": "its file is gone"},
    ]
    assert show.render_steps(steps, PLAIN) == (
        "restart  a/b       its url changed\nstop     a/longer  its file is gone\n\n1 unit stays as it is.\n"
    )
    assert show.render_steps(steps[:1], PLAIN) == "Nothing would change: 1 unit stays as it is.\n"
    assert show.render_steps([], PLAIN) == "Nothing would change: 0 units stay as they are.\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1min"), (3725, "1h 2min"), (90061, "1d 1h"), (864000, "10d")],
)
def test_spans(seconds: int, text: str) -> None:
    assert span(seconds * SECOND) == text


def test_an_empty_table() -> None:
    assert table([], COLOUR) == []

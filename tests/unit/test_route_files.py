"""Route files of every kind: the bad ones with the exact diagnostics expected, the good ones with their values."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.route.model import Listen, MediaServer, Settings
from streamd.route.parse import RouteFile, parse_route
from tests.unit.expectations import DATA, expected_of, shown

ROOT = Path(__file__).parents[2]
BAD = sorted((DATA / "bad").glob("*.toml"))
GOOD = sorted((DATA / "good").glob("*.toml"))
EXAMPLES = sorted((ROOT / "etc/examples").glob("*.toml"))


def read(path: Path) -> RouteFile:
    return parse_route(path.name, path.read_bytes(), Settings())


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_file(path: Path) -> None:
    file = read(path)
    assert shown(file.diagnostics) == expected_of(path)
    assert file.diagnostics
    assert file.route is None


def test_bad_files_are_many() -> None:
    assert len(BAD) >= 65


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_no_secret_is_shown(path: Path) -> None:
    told = "\n".join(map(str, read(path).diagnostics))
    for secret in ("hunter2", "hun/ter2", "correct horse", "staple", "abcd-efgh", "12345678901"):
        assert secret not in told


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_file(path: Path) -> None:
    file = read(path)
    assert file.diagnostics == ()
    assert file.route is not None
    outputs = {output.name: output for output in file.route.outputs}
    wanted = expected_of(path)
    assert wanted
    for line in wanted:
        name, _, value = line.partition(" = ")
        where, _, attribute = name.rpartition(".")
        thing: object = file.route if not where else file.route.input if where == "input" else outputs[where]
        assert f"{name} = {getattr(thing, attribute)!r}" == f"{name} = {value}"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path: Path) -> None:
    file = read(path)
    assert file.diagnostics == ()
    assert file.route is not None


def test_a_route_takes_its_name_from_its_file() -> None:
    file = parse_route("/etc/streamd/conf.d/studio-a.toml", '[input]\nurl = "test:"\n', Settings())
    assert file.route is not None
    assert (file.name, file.route.name) == ("studio-a", "studio-a")


def test_settings_move_the_limits() -> None:
    text = (
        '[input]\nurl = "udp://0.0.0.0:7000"\n[output.a]\nurl = "udp://239.255.0.1:1"\n[output.b]\nurl = "udp://::1"\n'
    )
    settings = Settings(input_ports=(7000, 7001), max_outputs=1, relay_groups="239.192.0.0/16")
    messages = [found.headline() for found in parse_route("a.toml", text, settings).diagnostics]
    assert messages == [
        "a.toml:5:9: output.b: a route may have at most 1 output (max_outputs in streamd.toml)",
        "a.toml:6:7: output.b.url: write an IPv6 address in brackets, such as [2001:db8::1]:5000",
    ]


def test_a_broken_file_is_not_told_that_keys_are_missing() -> None:
    """The unreadable line may hold just what else would be missed: the url, the mode, the permission."""
    text = """\
[input
url = "udp://0.0.0.0:5000"

[output.a]
url = = "udp://192.0.2.1:5004"

[output.b]
url = "srt://0.0.0.0:9000"
mode = listener

[output.c]
url = "rtsp://user:word@192.0.2.1/live"
allow_visible_password = True
"""
    found = parse_route("a.toml", text, Settings()).diagnostics
    assert [diagnostic.span.line for diagnostic in found] == [1, 5, 9, 13]


@pytest.mark.parametrize("opening", ['"""', "'''"])
def test_a_long_string_that_never_ends(opening: str) -> None:
    text = f'[input]\nurl = "test:"\n[output.a]\ndescription = {opening}\nsome text\nurl = "upd://192.0.2.1:1"\n'
    found = parse_route("a.toml", text, Settings()).diagnostics
    assert [diagnostic.headline() for diagnostic in found] == [
        f"a.toml:4:15: output.a.description: the string is never closed, write {opening} at its end",
        'a.toml:6:7: output.a.url: must begin with udp://, srt://, rtmp://, rtmps://, rtsp:// or rtsps://, did you mean "udp://"?',
    ]


def test_a_thousand_errors_are_told_as_a_hundred() -> None:
    text = "".join(f"unknown{number} = 1\n" for number in range(1000)) + '[input]\nurl = "test:"\n'
    found = parse_route("a.toml", text, Settings())
    assert found.route is None
    assert len(found.diagnostics) == 100
    assert sum("further errors of this route are left out" in one.message for one in found.diagnostics) == 1


def test_a_listener_of_mediamtx_keeps_its_port() -> None:
    server = MediaServer(srt=Listen("0.0.0.0", 8890), webrtc=Listen("0.0.0.0", 8889))
    for port, key in ((8890, "srt"), (8189, "webrtc_media")):
        text = f'[input]\nurl = "test:"\n[output.x]\nurl = "srt://0.0.0.0:{port}"\nmode = "listener"\n'
        (found,) = parse_route("a.toml", text, Settings(mediamtx=server)).diagnostics
        assert found.headline().endswith(
            f"must have another port than {port}, MediaMTX's ({key} in the [mediamtx] table of streamd.toml)"
        )
        assert not parse_route("a.toml", text, Settings()).diagnostics, "it is off"


def test_no_caret_stands_behind_thousands_of_blanks() -> None:
    """A line that is too long is told at its 4,097th character, and what is hidden of it has fewer."""
    text = '[input]\nurl = "test:"\npassphrase = "' + "x" * 5000 + '"\n'
    (found,) = parse_route("a.toml", text, Settings()).diagnostics
    assert str(found) == "a.toml:3:4097: the line is longer than 4096 characters, break it up"


def test_no_key_is_told_at_any_length() -> None:
    text = '[input]\nurl = "test:"\n' + "x" * 4000 + " = 1\n"
    (found,) = parse_route("a.toml", text, Settings()).diagnostics
    assert str(found) == f"a.toml:3:1: input.{'x' * 234}...: unknown key, remove it\n  {'x' * 240}\n  ^{'~' * 239}"

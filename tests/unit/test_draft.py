"""A file while somebody edits it: what they begin with, how it is judged, and that nothing is lost when it is saved."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from streamd.host.confd import Reader, read_configuration
from streamd.host.draft import DROPIN, ChangedError, Desk, Draft, DraftError, UnknownRouteError

CONF = "etc/streamd/conf.d"
GOOD = '[input]\nurl = "udp://0.0.0.0:5000"\n\n[output.x]\nurl = "srt://192.0.2.1:9000"\n'
OTHER = GOOD.replace("5000", "5001")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, f"{CONF}/a.toml", GOOD)
    return tmp_path


def put(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def judged(root: Path, draft: Draft, text: str) -> list[tuple[str, int, str]]:
    return [
        (found.path.removeprefix(f"{root}/"), found.span.line, found.key)
        for found in Desk(str(root)).judge(draft, text.encode())
    ]


def test_a_route_begins_as_it_is(root: Path) -> None:
    draft = Desk(str(root)).open_route("a")
    assert draft.path == root / CONF / "a.toml"
    assert draft.start == draft.original == GOOD.encode()
    assert judged(root, draft, GOOD) == []


def test_a_new_route_begins_with_comments_that_would_do(root: Path) -> None:
    desk = Desk(str(root))
    draft = desk.open_route("new")
    assert draft.original is None
    begun = draft.start.decode()
    assert "Route new" in begun
    assert judged(root, draft, begun)[0][2] == "input.url"
    wanted = begun.replace('#url = "test:"', 'url = "test:"').replace("#[output.venue]", "[output.venue]")
    wanted = wanted.replace('#url = "srt://venue', 'url = "srt://venue').replace("#latency", "latency")
    assert judged(root, draft, wanted) == []
    desk.save(draft, wanted.encode())
    assert [file.name for file in read_configuration(str(root)).files if file.route] == ["a", "new"]


def test_what_a_file_would_say_is_read_as_if_it_did(root: Path) -> None:
    put(root, f"{CONF}/a.toml.d/10-first.toml", 'description = "x"\n')
    desk, reader = Desk(str(root)), Reader(str(root))

    def inputs(path: str, text: str) -> dict[str, str]:
        found = reader.read(suppose=desk.suppose(root / path, text.encode()))
        return {file.name: file.route.input.url for file in found.files if file.route}

    assert inputs(f"{CONF}/a.toml", OTHER) == {"a": "udp://0.0.0.0:5001"}
    assert inputs(f"{CONF}/b.toml", OTHER) == {"a": "udp://0.0.0.0:5000", "b": "udp://0.0.0.0:5001"}
    assert inputs(f"{CONF}/a.toml.d/20-new.toml", '[input]\nurl = "udp://0.0.0.0:5002"\n') == {
        "a": "udp://0.0.0.0:5002"
    }
    settings = reader.read(suppose=desk.suppose(root / "etc/streamd/streamd.toml", b"max_outputs = 3\n")).settings
    assert settings.max_outputs == 3
    for path in (
        "etc/passwd",
        f"{CONF}/a.txt",
        f"{CONF}/..toml",
        f"{CONF}/a.toml.d",
        f"{CONF}/b/c.toml",
        f"{CONF}/../a.toml",
        f"{CONF}/none.toml.d/10-first.toml",
    ):
        with pytest.raises(DraftError):
            desk.suppose(root / path, b"")


@pytest.mark.parametrize("directory", ["usr/lib/streamd/conf.d", "run/streamd/conf.d"])
def test_a_route_from_elsewhere_is_copied(root: Path, directory: str) -> None:
    put(root, f"{directory}/b.toml", OTHER)
    draft = Desk(str(root)).open_route("b")
    assert draft.path == root / CONF / "b.toml"
    assert draft.original is None
    assert draft.start.decode().partition("\n")[2] == OTHER
    assert judged(root, draft, OTHER.replace("srt", "udp")) == []


def test_a_port_that_another_route_has_is_told_at_its_line(root: Path) -> None:
    put(root, f"{CONF}/b.toml", OTHER)
    draft = Desk(str(root)).open_route("b")
    assert judged(root, draft, GOOD) == [(f"{CONF}/b.toml", 2, "input.url")]
    # Also where the other comes later in the alphabet.
    assert judged(root, Desk(str(root)).open_route("a"), OTHER) == [(f"{CONF}/a.toml", 2, "input.url")]


def test_what_was_wrong_with_others_before_is_not_told(root: Path) -> None:
    put(root, f"{CONF}/b.toml", "broken")
    assert judged(root, Desk(str(root)).open_route("a"), GOOD + "ttl = 4\n") == [(f"{CONF}/a.toml", 6, "output.x.ttl")]
    assert judged(root, Desk(str(root)).open_route("a"), GOOD) == []


def test_a_drop_in_is_judged_with_what_it_is_merged_over(root: Path) -> None:
    put(root, f"{CONF}/a.toml.d/50-streamctl.toml", "[output.x]\nttl = 4\n")
    desk = Desk(str(root))
    draft = desk.open_dropin("a")
    assert draft.path == root / CONF / "a.toml.d" / DROPIN
    assert judged(root, draft, draft.start.decode()) == [(f"{CONF}/a.toml.d/50-streamctl.toml", 2, "output.x.ttl")]
    assert judged(root, draft, '[output.x]\nurl = "udp://239.1.1.1:9000"\n') == []
    assert desk.says_nothing(draft, draft.start)
    assert not desk.says_nothing(draft, b"[output.x]\nenabled = false\n")
    assert not desk.says_nothing(draft, b"[output.x")
    with pytest.raises(UnknownRouteError):
        desk.open_dropin("b")


def test_what_a_later_drop_in_overrules_is_told(root: Path) -> None:
    put(root, f"{CONF}/a.toml.d/50-streamctl.toml", '[output.x]\nlatency = "300ms"\nlimits = { cpu = "30%" }\n')
    desk = Desk(str(root))
    draft = desk.open_route("a")
    assert desk.overruled(draft, GOOD.encode()) == ()
    assert desk.overruled(draft, GOOD.replace("9000", "9001").encode()) == ()
    where = f"{root}/{CONF}/a.toml.d/50-streamctl.toml"
    assert desk.overruled(draft, f'{GOOD}latency = "200ms"\nlimits.tasks = 9\n'.encode()) == (
        f"output.x.latency has no effect: {where}:2 says otherwise",
        f"output.x.limits.tasks has no effect: {where}:3 says otherwise",
    )
    assert desk.overruled(desk.open_settings(), b"max_outputs = 7\n") == ()


def test_a_first_drop_in_makes_its_folder(root: Path) -> None:
    desk = Desk(str(root))
    old = os.umask(0o077)
    try:
        desk.save(desk.open_dropin("a"), b"[output.x]\nenabled = false\n")
    finally:
        os.umask(old)
    folder = root / CONF / "a.toml.d"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / DROPIN)] == [0o755, 0o644]
    (file,) = read_configuration(str(root)).files
    assert file.route is not None
    assert not file.route.outputs[0].enabled


def test_settings_are_judged_with_the_routes(root: Path) -> None:
    draft = Desk(str(root)).open_settings()
    assert draft.original is None
    assert judged(root, draft, draft.start.decode()) == []
    assert judged(root, draft, "max_outputs = 0\n") == [("etc/streamd/streamd.toml", 1, "max_outputs")]
    assert judged(root, draft, 'input_ports = "6000-6010"\n') == [(f"{CONF}/a.toml", 2, "input.url")]


@pytest.mark.parametrize("change", [GOOD + "# theirs\n", None])
def test_what_somebody_else_wrote_meanwhile_stays(root: Path, change: str | None) -> None:
    desk = Desk(str(root))
    draft = desk.open_route("a")
    if change is None:
        draft.path.unlink()
    else:
        draft.path.write_text(change)
    with pytest.raises(ChangedError, match=str(draft.path)):
        desk.save(draft, OTHER.encode())
    assert (draft.path.read_text() if draft.path.exists() else None) == change


def test_a_new_file_does_not_replace_one_that_came_meanwhile(root: Path) -> None:
    desk = Desk(str(root))
    draft = desk.open_route("b")
    put(root, f"{CONF}/b.toml", OTHER)
    with pytest.raises(ChangedError):
        desk.save(draft, GOOD.encode())


def test_mode_and_owner_stay(root: Path) -> None:
    path = root / CONF / "a.toml"
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    desk = Desk(str(root))
    desk.save(desk.open_route("a"), OTHER.encode())
    after = path.stat()
    assert path.read_text() == OTHER
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert [found.name for found in path.parent.iterdir()] == ["a.toml"]


def test_a_link_stays_and_what_it_leads_to_is_written(root: Path) -> None:
    elsewhere = put(root, "srv/a.toml", OTHER)
    path = root / CONF / "a.toml"
    path.unlink()
    path.symlink_to(elsewhere)
    desk = Desk(str(root))
    desk.save(desk.open_route("a"), GOOD.encode())
    assert path.is_symlink()
    assert elsewhere.read_text() == GOOD


def test_what_cannot_be_edited_is_said(root: Path) -> None:
    masked = root / CONF / "b.toml"
    masked.symlink_to("/dev/null")
    (root / CONF / "c.toml").mkdir()
    put(root, f"{CONF}/d.toml", "#" * ((1 << 20) + 1))
    for name, words in (("b", "masks"), ("c", "no regular file"), ("d", "too large")):
        with pytest.raises(DraftError, match=words):
            Desk(str(root)).open_route(name)

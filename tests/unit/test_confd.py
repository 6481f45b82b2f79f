"""Which files are read, and what is made of them."""

from __future__ import annotations

import os
from pathlib import Path

from streamd.host.confd import Reader, read_configuration, read_files
from streamd.route.diagnostic import Diagnostic
from streamd.route.model import Settings

GOOD = '[input]\nurl = "udp://0.0.0.0:{port}"\n'


def put(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_etc_wins_over_run_over_usr_lib(tmp_path: Path) -> None:
    for number, directory in enumerate(("usr/lib", "run", "etc")):
        put(tmp_path, f"{directory}/streamd/conf.d/a.toml", GOOD.format(port=5000 + number))
    put(tmp_path, "usr/lib/streamd/conf.d/b.toml", GOOD.format(port=5009))
    found = read_configuration(str(tmp_path))
    assert [file.path.removeprefix(str(tmp_path)) for file in found.files] == [
        "/etc/streamd/conf.d/a.toml",
        "/usr/lib/streamd/conf.d/b.toml",
    ]
    assert not found.diagnostics


def test_a_link_to_dev_null_masks(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/streamd/conf.d/a.toml", GOOD.format(port=5000))
    (tmp_path / "etc/streamd/conf.d").mkdir(parents=True)
    (tmp_path / "etc/streamd/conf.d/a.toml").symlink_to("/dev/null")
    assert read_configuration(str(tmp_path)).files == ()


def test_hidden_files_and_other_endings_are_left_alone(tmp_path: Path) -> None:
    for name in (".a.toml", "a.toml~", "a.toml.new", "README"):
        put(tmp_path, f"etc/streamd/conf.d/{name}", "garbage")
    found = read_configuration(str(tmp_path))
    assert (found.files, found.diagnostics) == ((), ())


def test_a_fifo_and_a_directory_are_diagnostics_and_block_nobody(tmp_path: Path) -> None:
    put(tmp_path, "etc/streamd/conf.d/a.toml", GOOD.format(port=5000))
    os.mkfifo(tmp_path / "etc/streamd/conf.d/b.toml")
    (tmp_path / "etc/streamd/conf.d/c.toml").mkdir()
    found = read_configuration(str(tmp_path))
    assert [file.name for file in found.files if file.route] == ["a"]
    assert [found.message for found in found.diagnostics] == [
        "the file is no regular file",
        "the file is no regular file",
    ]


def test_all_errors_of_all_files_are_told(tmp_path: Path) -> None:
    put(tmp_path, "etc/streamd/streamd.toml", "max_output = 3\n")
    put(tmp_path, "etc/streamd/conf.d/a.toml", "[input]\nurll = 1\n[output.x]\nurl = 2\n")
    put(tmp_path, "etc/streamd/conf.d/b.toml", "garbage\n")
    found = read_configuration(str(tmp_path)).diagnostics
    assert {Path(one.path).name for one in found} == {"streamd.toml", "a.toml", "b.toml"}
    assert len(found) >= 4


def test_broken_settings_leave_the_last_ones(tmp_path: Path) -> None:
    reader = Reader(str(tmp_path))
    put(tmp_path, "etc/streamd/streamd.toml", "max_outputs = 3\n")
    first = reader.read()
    assert (first.settings.max_outputs, first.settings_broken) == (3, False)
    assert first.settings_text == b"max_outputs = 3\n"
    put(tmp_path, "etc/streamd/streamd.toml", "max_outputs = many\n")
    again = reader.read(last_settings=first.settings)
    assert (again.settings.max_outputs, again.settings_broken) == (3, True)
    assert again.settings_text == b""


def test_only_what_changed_is_parsed_again(tmp_path: Path) -> None:
    reader = Reader(str(tmp_path))
    put(tmp_path, "etc/streamd/conf.d/a.toml", GOOD.format(port=5000))
    put(tmp_path, "etc/streamd/conf.d/b.toml", GOOD.format(port=5001))
    first = reader.read()
    put(tmp_path, "etc/streamd/conf.d/b.toml", GOOD.format(port=50021)[:-3] + '"\n')
    second = reader.read()
    assert first.files[0].route is second.files[0].route
    assert first.files[1].route is not second.files[1].route


def test_what_was_read_once_is_known_again_and_not_parsed_where_it_says_the_same(tmp_path: Path) -> None:
    put(tmp_path, "etc/streamd/conf.d/a.toml", GOOD.format(port=5000))
    put(tmp_path, "etc/streamd/conf.d/a.toml.d/x.toml", 'description = "\u00e4"\n')
    (before,) = Reader(str(tmp_path)).read().files
    texts = [(piece.path, piece.text) for piece in before.pieces]
    reader = Reader(str(tmp_path))
    known = reader.recall(texts, Settings())
    assert known.route == before.route
    (found,) = reader.read().files
    assert found.route is known.route
    put(tmp_path, "etc/streamd/conf.d/a.toml.d/x.toml", "description = 3\n")
    (broken,) = reader.read().files
    assert broken.route is None


def test_what_was_damaged_meanwhile_is_no_route(tmp_path: Path) -> None:
    assert Reader(str(tmp_path)).recall([("/x/a.toml", "\ud800 = \udc80")], Settings()).route is None


def test_a_port_that_was_allocated_is_the_incumbents(tmp_path: Path) -> None:
    put(tmp_path, "etc/streamd/conf.d/z.toml", '[input]\nurl = "udp://0.0.0.0:auto"\n')
    reader = Reader(str(tmp_path))
    good = {file.name: file.route for file in reader.read().files if file.route}
    put(tmp_path, "etc/streamd/conf.d/a.toml", GOOD.format(port=5003))
    found = reader.read(incumbents=good, ports={"z": 5003})
    assert {file.name: file.route is not None for file in found.files} == {"a": False, "z": True}
    assert found.files[1].route == good["z"]


def test_files_by_name_are_checked_against_each_other(tmp_path: Path) -> None:
    one = put(tmp_path, "a.toml", GOOD.format(port=5000))
    two = put(tmp_path, "b.toml", GOOD.format(port=5000))
    found = read_files([str(one), str(two)], str(tmp_path))
    assert len(found.diagnostics) == 1
    assert found.diagnostics[0].path == str(two)


# Drop-ins


def latency(name: str, value: str) -> str:
    return f'[output.{name}]\nlatency = "{value}"\n'


WITH_OUTPUT = GOOD.format(port=5000) + '[output.x]\nurl = "srt://192.0.2.1:9000"\n'


def told(root: Path, found: tuple[Diagnostic, ...]) -> list[str]:
    return [one.headline().removeprefix(str(root)) for one in found]


def test_drop_ins_are_merged_in_the_order_of_their_names_wherever_they_stand(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/streamd/conf.d/a.toml", WITH_OUTPUT)
    put(tmp_path, "etc/streamd/conf.d/a.toml.d/10-first.toml", 'description = "first"\n')
    put(tmp_path, "usr/lib/streamd/conf.d/a.toml.d/20-second.toml", 'description = "second"\n')
    put(tmp_path, "etc/streamd/conf.d/a.toml.d/30-third.toml", latency("x", "1s"))
    put(tmp_path, "run/streamd/conf.d/a.toml.d/30-third.toml", latency("x", "2s"))
    put(tmp_path, "usr/lib/streamd/conf.d/a.toml.d/40-masked.toml", "garbage")
    (tmp_path / "run/streamd/conf.d/a.toml.d/40-masked.toml").symlink_to("/dev/null")
    put(tmp_path, "etc/streamd/conf.d/a.toml.d/.hidden.toml", "garbage")
    put(tmp_path, "etc/streamd/conf.d/a.toml.d/note.txt", "garbage")
    found = read_configuration(str(tmp_path))
    assert found.diagnostics == ()
    (file,) = found.files
    assert file.route is not None
    assert file.route.description == "second"
    assert getattr(file.route.outputs[0].target, "latency", None) == 1000
    assert [piece.path.removeprefix(str(tmp_path)) for piece in file.pieces] == [
        "/usr/lib/streamd/conf.d/a.toml",
        "/etc/streamd/conf.d/a.toml.d/10-first.toml",
        "/usr/lib/streamd/conf.d/a.toml.d/20-second.toml",
        "/etc/streamd/conf.d/a.toml.d/30-third.toml",
    ]


def test_drop_ins_without_a_route_are_told_and_ignored(tmp_path: Path) -> None:
    put(tmp_path, "etc/streamd/conf.d/a.toml.d/x.toml", latency("x", "1s"))
    put(tmp_path, "etc/streamd/conf.d/b.toml.d/x.toml", latency("x", "1s"))
    (tmp_path / "etc/streamd/conf.d/b.toml").symlink_to("/dev/null")
    (tmp_path / "etc/streamd/conf.d/c.toml.d").mkdir()
    (tmp_path / "etc/streamd/conf.d/d.toml.d").write_text("no folder")
    found = read_configuration(str(tmp_path))
    assert found.files == ()
    (orphan,) = told(tmp_path, found.diagnostics)
    assert orphan.startswith(
        "/etc/streamd/conf.d/a.toml.d/x.toml:1:1: the file is a drop-in of a.toml, and there is none"
    )


def test_a_drop_in_that_cannot_be_read_makes_the_route_a_broken_one(tmp_path: Path) -> None:
    put(tmp_path, "etc/streamd/conf.d/a.toml", WITH_OUTPUT)
    put(tmp_path, "etc/streamd/conf.d/a.toml.d/10-x.toml", latency("x", "1s"))
    os.mkfifo(tmp_path / "etc/streamd/conf.d/a.toml.d/20-x.toml")
    put(tmp_path, "etc/streamd/conf.d/b.toml", GOOD.format(port=5001))
    found = read_configuration(str(tmp_path))
    assert [file.route is not None for file in found.files] == [False, True]
    assert told(tmp_path, found.diagnostics) == [
        "/etc/streamd/conf.d/a.toml.d/20-x.toml:1:1: the file is no regular file"
    ]


def test_a_directory_that_cannot_be_looked_into_makes_no_route_vanish(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/streamd/conf.d/b.toml", GOOD.format(port=5001))
    whole = read_configuration(str(tmp_path))
    assert whole.with_missing({"a"}) is whole, "it is gone"
    loop = tmp_path / "etc/streamd/conf.d"
    loop.parent.mkdir(parents=True)
    loop.symlink_to(loop)  # root is kept out, too
    found = read_configuration(str(tmp_path)).with_missing({"a", "b", "c"})
    assert [(file.name, file.route is None) for file in found.files] == [("a", True), ("b", False), ("c", True)]
    (problem,) = found.diagnostics
    assert (problem.path, "cannot be read" in problem.message) == (str(loop), True)


def test_a_change_of_a_drop_in_is_seen(tmp_path: Path) -> None:
    reader = Reader(str(tmp_path))
    put(tmp_path, "etc/streamd/conf.d/a.toml", WITH_OUTPUT)
    put(tmp_path, "etc/streamd/conf.d/b.toml", GOOD.format(port=5001))

    def seen() -> tuple[object, object]:
        a, b = reader.read().files
        return a.route, b.route

    first, other = seen()
    piece = put(tmp_path, "etc/streamd/conf.d/a.toml.d/x.toml", latency("x", "1s"))
    second, again = seen()
    piece.write_text(latency("x", "200ms"))
    third, _ = seen()
    assert seen()[0] is third
    piece.unlink()
    fourth, _ = seen()
    assert first == fourth
    assert len({str(route) for route in (first, second, third)}) == 3
    assert again is other


def test_a_broken_drop_in_leaves_the_last_good_definition_where_it_is(tmp_path: Path) -> None:
    reader = Reader(str(tmp_path))
    put(tmp_path, "etc/streamd/conf.d/b.toml", GOOD.format(port=5000))
    good = {file.name: file.route for file in reader.read().files if file.route}
    put(tmp_path, "etc/streamd/conf.d/b.toml.d/x.toml", "[input\n")
    put(tmp_path, "etc/streamd/conf.d/a.toml", GOOD.format(port=5000))
    found = reader.read(incumbents=good)
    assert [file.route for file in found.files] == [None, None]
    assert [Path(one.path).name for one in found.diagnostics] == ["a.toml", "x.toml"]


def test_files_by_name_take_their_drop_ins(tmp_path: Path) -> None:
    one = put(tmp_path, "here/a.toml", WITH_OUTPUT)
    two = put(tmp_path, "here/a.toml.d/x.toml", latency("x", "1"))
    for named in ([str(one)], [str(two)], [str(one), str(two)]):
        found = read_files(named, str(tmp_path))
        assert len(found.files) == 1
        assert [one.path for one in found.diagnostics] == [str(two)]


def test_the_hosts_files_by_name_take_all_drop_ins(tmp_path: Path) -> None:
    main = put(tmp_path, "usr/lib/streamd/conf.d/a.toml", WITH_OUTPUT)
    mine = put(tmp_path, "etc/streamd/conf.d/a.toml.d/x.toml", latency("x", "1s"))
    put(tmp_path, "run/streamd/conf.d/a.toml.d/y.toml", latency("x", "2s"))
    for named in (main, mine):
        (file,) = read_files([str(named)], str(tmp_path)).files
        assert len(file.pieces) == 3
        assert file.route is not None


def test_a_drop_in_by_name_without_a_route(tmp_path: Path) -> None:
    alone = put(tmp_path, "here/a.toml.d/x.toml", latency("x", "1s"))
    (file,) = read_files([str(alone)], str(tmp_path)).files
    assert [found.message for found in file.diagnostics] == ["the file does not exist"]
    assert file.path == str(tmp_path / "here/a.toml")


def test_a_directory_named_as_a_route_is_none_and_costs_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "etc/streamd/conf.d/a.toml").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        (found,) = read_configuration(str(tmp_path)).diagnostics
        assert "is no regular file" in found.message
    assert len(os.listdir("/proc/self/fd")) == before

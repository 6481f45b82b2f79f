"""Which files are read, and what is made of them."""

from __future__ import annotations

import os
from pathlib import Path

from streamd.host.confd import Reader, read_configuration, read_files

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
        "the file cannot be read: Is a directory",
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
    put(tmp_path, "etc/streamd/streamd.toml", "max_outputs = many\n")
    again = reader.read(last_settings=first.settings)
    assert (again.settings.max_outputs, again.settings_broken) == (3, True)


def test_only_what_changed_is_parsed_again(tmp_path: Path) -> None:
    reader = Reader(str(tmp_path))
    put(tmp_path, "etc/streamd/conf.d/a.toml", GOOD.format(port=5000))
    put(tmp_path, "etc/streamd/conf.d/b.toml", GOOD.format(port=5001))
    first = reader.read()
    put(tmp_path, "etc/streamd/conf.d/b.toml", GOOD.format(port=50021)[:-3] + '"\n')
    second = reader.read()
    assert first.files[0].route is second.files[0].route
    assert first.files[1].route is not second.files[1].route


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

"""What only all files together can tell. Each folder of data/crosscheck is a case.

Its files say in `##` lines which diagnostics they get, and `(refused)` where they lose their route. The last good
definitions stand in `incumbents/`, and what is known of credentials, `NAME: PROBLEM`, in `credentials`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.route.crosscheck import crosscheck
from streamd.route.model import Route, Settings
from streamd.route.parse import RouteFile, parse_route
from tests.unit.expectations import DATA, expected_of, shown

CASES = sorted((DATA / "crosscheck").iterdir())


def read(path: Path) -> RouteFile:
    return parse_route(path.name, path.read_text(), Settings())


def incumbents_of(case: Path) -> dict[str, Route]:
    found = {path.stem: read(path).route for path in sorted((case / "incumbents").glob("*.toml"))}
    return {name: route for name, route in found.items() if route is not None}


def credentials_of(case: Path) -> dict[str, str]:
    path = case / "credentials"
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: problem.strip() for name, _, problem in (line.partition(":") for line in lines)}


def outcome(file: RouteFile) -> list[str]:
    return [*shown(file.diagnostics), *(["(refused)"] if file.route is None else [])]


def check(case: Path, files: list[RouteFile]) -> dict[str, list[str]]:
    checked = crosscheck(files, incumbents=incumbents_of(case), credentials=credentials_of(case))
    assert [file.path for file in checked] == [file.path for file in files]
    return {file.path: outcome(file) for file in checked}


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_case(case: Path) -> None:
    paths = sorted(case.glob("*.toml"))
    wanted = {path.name: expected_of(path) for path in paths}
    assert check(case, [read(path) for path in paths]) == wanted
    # The order in which the files are given makes no difference.
    assert check(case, [read(path) for path in reversed(paths)]) == wanted


def test_two_files_of_one_name() -> None:
    text = '[input]\nurl = "udp://0.0.0.0:5000"\n'
    files = [parse_route(path, text, Settings()) for path in ("new/a.toml", "old/a.toml")]
    first, second = crosscheck(files, incumbents={}, credentials={})
    assert first.route is not None
    assert [found.headline() for found in second.diagnostics] == [
        "old/a.toml:2:7: input.url: 0.0.0.0:5000 is already bound by new/a.toml:2, write another port"
    ]


def test_many_files_on_one_port_are_checked_at_once() -> None:
    text = '[input]\nurl = "udp://0.0.0.0:5000"\n'
    files = [parse_route(f"r{number:04}.toml", text, Settings()) for number in range(500)]
    checked = crosscheck(files, incumbents={}, credentials={})
    assert [file.name for file in checked if file.route] == ["r0000"]

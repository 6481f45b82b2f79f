"""The example routes: good by `streamctl check`, one by one and all at once, and all of them in the manual."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamd.ctl import main as ctl
from streamd.host import confd
from streamd.route.model import RtmpTarget, Settings
from streamd.route.parse import parse_route

TREE = Path(__file__).parents[2]
EXAMPLES = sorted((TREE / "etc/examples").glob("*.toml"))
PAGE = TREE / "debian/man/streamd.route.5"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="this is the installed tree")


@pytest.fixture(autouse=True)
def _credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every secret that an example names."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name in set(re.findall(r'credential = "([^"]+)"', "".join(path.read_text() for path in EXAMPLES))):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text("0123456789\n")
    monkeypatch.setattr(confd, "CREDENTIALS_DIRECTORY", str(folder))


def check(*paths: Path) -> int:
    return ctl.main(["check", *map(str, paths)])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_streamctl_takes_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(path) == ctl.OK, capsys.readouterr()


def test_they_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever copies two of them is not told that they want the same port."""
    assert check(*EXAMPLES) == ctl.OK, capsys.readouterr()


def test_no_two_push_under_one_key() -> None:
    """A platform lets in one of them only, and no check of the files can tell."""
    routes = [parse_route(path.name, path.read_bytes(), Settings()).route for path in EXAMPLES]
    pushed = [
        (output.url, output.target.key)
        for route in routes
        if route
        for output in route.outputs
        if isinstance(output.target, RtmpTarget)
    ]
    assert len(pushed) >= 7
    assert len(set(pushed)) == len(pushed)


def test_the_check_compares_files(tmp_path: Path) -> None:
    twin = tmp_path / "twin.toml"
    twin.write_text(EXAMPLES[0].read_text())
    assert check(EXAMPLES[0], twin) == ctl.FAILURE


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_begins_with_what_it_is_for(path: Path) -> None:
    assert re.match(r"# [A-Z].*[.\w]\n", path.read_text())


def test_the_manual_has_all_of_them() -> None:
    text = PAGE.read_text().split(".SH EXAMPLES\n")[1].split("\n.SH ")[0]
    assert sorted(re.findall(r"^\.TP\n\.I (\S+)$", text, re.MULTILINE)) == [path.name for path in EXAMPLES]

"""The parts of the appliance harness that need no appliance."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness import command, host, lanes, lock, package, source

pytestmark = pytest.mark.host


def test_next_version_is_higher_and_keeps_the_rest() -> None:
    changelog = "streamd (0.1.0) unstable; urgency=medium\n\n  * (1) thing\n"
    assert package.next_version(changelog) == changelog.replace("(0.1.0)", "(0.1.0+next1)")
    code = '"""What it is."""\n\n__version__ = "0.1.0"\nOTHER = "0.1.0"\n'
    assert package.next_code(code) == code.replace('__version__ = "0.1.0"', '__version__ = "0.1.0+next1"')


def ended(stat: Path) -> bool:
    """Tell whether a process is gone, or waits to be reaped, which may be the business of a slow first process."""
    with suppress(OSError):
        return ") Z " in stat.read_text()
    return True


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    script = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    log = tmp_path / "log"
    with pytest.raises(command.HarnessError, match=r"took longer than 1 s: .*\n.*the end of log"):
        command.run([sys.executable, "-c", script], limit=1, log=log)
    child = Path(f"/proc/{log.read_text().strip()}/stat")
    deadline = time.monotonic() + 10
    while not ended(child):
        assert time.monotonic() < deadline, child.read_text()
        time.sleep(0.01)


def test_a_failed_command_is_shown_ready_to_paste(tmp_path: Path) -> None:
    with pytest.raises(command.HarnessError, match=r"exit status 3: .* 'import sys; sys.exit\(3\)'"):
        command.run([sys.executable, "-c", "import sys; sys.exit(3)"], limit=30, log=tmp_path / "log")


def test_a_lock_is_seen_by_others(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.lock(path, shared=True):
        assert lock.is_held(path)
    assert not lock.is_held(path)


def test_the_digest_sees_content_mode_and_links_but_no_tests(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "code.py").write_text("1")
    first = source.digest(tmp_path)
    (tmp_path / "tests/test.py").write_text("1")
    assert source.digest(tmp_path) == first
    (tmp_path / "code.py").chmod(0o755)
    second = source.digest(tmp_path)
    (tmp_path / "link").symlink_to("code.py")
    third = source.digest(tmp_path)
    (tmp_path / "code.py").write_text("2")
    assert len({first, second, third, source.digest(tmp_path)}) == 4


def test_lanes_run_side_by_side_and_each_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cache = host.Cache(tmp_path)
    cache.prepare()
    script = tmp_path / "script.py"
    # A lane notes that it began, and ends when all those have begun that are named: side by side, or never.
    script.write_text(
        "import pathlib, sys, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "me, *awaited = sys.argv[1:]\n"
        "assert (here / 'two-ends').exists() or me != 'fill', 'it began too early'\n"
        "(here / me).touch()\n"
        "while not all((here / name).exists() for name in awaited): time.sleep(0.01)\n"
        "print('I am', me, flush=True)\n"
        "(here / f'{me}-ends').touch()\n"
        "sys.exit(me == 'two')\n"
    )
    wanted = [
        lanes.Lane("a", ("one", "two", "three", "fill")),
        lanes.Lane("b", ("two", "one")),
        lanes.Lane("c", ("three", "one", "fill")),
        lanes.Lane("d", ("fill", "one", "three"), fills=True),
    ]
    assert lanes.run_lanes(cache, script, wanted, limit=30) == {"a": True, "b": False, "c": True, "d": True}
    printed = capfd.readouterr().out
    assert printed.index("I am one") < printed.index("b: what it printed") < printed.index("I am two")


def test_a_lane_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    cache = host.Cache(tmp_path)
    cache.prepare()
    script = tmp_path / "script.py"
    script.write_text("import time\ntime.sleep(60)\n")
    started = time.monotonic()
    with pytest.raises(command.HarnessError, match="a lane took longer than 1 s"):
        lanes.run_lanes(cache, script, [lanes.Lane("a", ())], limit=1)
    assert time.monotonic() - started < 30


def test_every_test_is_in_a_lane() -> None:
    found = [lane.name for lane in lanes.lanes(["trixie", "bookworm"])]
    assert found == [
        *("trixie", "bookworm", "trixie-once-1", "trixie-once-2"),
        *("trixie-pure", "bookworm-pure", "host"),
    ]

"""However a file comes, changes or goes, it is noticed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appliance.host import (
    CONF,
    is_active,
    journal,
    our_units,
    run,
    show,
    status,
    unit_of,
    wait_active,
    wait_until,
    write_route,
)

pytestmark = pytest.mark.once

OUTPUT = '[output.x]\nurl = "udp://127.0.0.1:{port}"\n'
INPUT = '[input]\nurl = "udp://0.0.0.0:5000"\n'
GOOD = INPUT + OUTPUT.format(port=6001)


def in_place(text: str) -> None:
    (CONF / "a.toml").write_text(text)


def renamed(text: str) -> None:
    write_route("a", text)


def replaced_directory(text: str) -> None:
    new, old = CONF.with_name("conf.d.new"), CONF.with_name("conf.d.old")
    new.mkdir()
    (new / "a.toml").write_text(text)
    CONF.rename(old)
    new.rename(CONF)
    shutil.rmtree(old)


@pytest.mark.parametrize("change", [in_place, renamed, replaced_directory])
def test_a_change_takes_effect_within_seconds(change: Callable[[str], None]) -> None:
    for port in (6001, 6002):
        change(INPUT + OUTPUT.format(port=port))
        wait_until(
            lambda port=port: str(port) in show(unit_of("a/x"), "ExecStart").get("ExecStart", ""), 5, "it is used"
        )  # type: ignore[misc]
    replaced_directory(GOOD)
    replaced_directory(INPUT)
    wait_until(lambda: not is_active("a/x"), 5, "it is noticed in a directory that was replaced twice")


def test_a_deleted_file_stops_its_route() -> None:
    write_route("a", GOOD)
    wait_active(("a", "a/x"))
    (CONF / "a.toml").unlink()
    wait_until(lambda: not our_units(), 5, "its units are gone")


def test_a_thousand_files_at_once() -> None:
    for number in range(1000):
        (CONF / f"many-{number:04}.toml").write_text("enabled = false\n" + GOOD)
    wait_until(lambda: len(status()["routes"]) == 1000, 30, "all are known")
    for path in CONF.iterdir():
        path.unlink()
    wait_until(lambda: status()["routes"] == [], 30, "all are gone")


def test_names_and_things_that_are_no_route_stop_nothing() -> None:
    """A file copied from elsewhere may have a name that is no UTF-8, and a directory may be anywhere."""
    before = show("streamd.service", "MainPID", "NRestarts")
    odd = Path(os.fsdecode(bytes(CONF) + b"/caf\xe9.toml"))
    odd.write_text(GOOD)
    (CONF / "directory.toml").mkdir()
    drop_ins = CONF / "a.toml.d"
    drop_ins.mkdir()
    Path(os.fsdecode(bytes(drop_ins) + b"/caf\xe9.toml")).write_text("nonsense")
    begin = time.time()
    write_route("a", GOOD)
    write_route("b", GOOD.replace("5000", "5001"))
    wait_active(("b", "b/x"))
    found = wait_until(lambda: told if len(told := status()["diagnostics"]) >= 3 else None, 10, "errors are told")
    assert {Path(it["path"]).name for it in found} >= {"caf?.toml", "directory.toml"}
    assert show("streamd.service", "MainPID", "NRestarts") == before
    shutil.rmtree(drop_ins)
    wait_active(("a", "a/x"))
    told = journal("-u", "streamd.service", f"--since=@{begin:.6f}")
    assert "caf?.toml" in told
    assert "started a/x" in told, "and the lines after it are there"


def test_run_and_lib_lie_beneath_etc() -> None:
    run_dir = Path("/run/streamd/conf.d")
    run_dir.mkdir(exist_ok=True)
    beneath = run_dir / "a.toml"
    try:
        beneath.write_text(GOOD)
        wait_active(("a", "a/x"))
        write_route("a", INPUT + OUTPUT.format(port=6005))
        wait_until(lambda: "6005" in show(unit_of("a/x"), "ExecStart").get("ExecStart", ""), 5, "etc wins")
        (CONF / "a.toml").unlink()
        wait_until(lambda: "6001" in show(unit_of("a/x"), "ExecStart").get("ExecStart", ""), 5, "run is seen again")
    finally:
        beneath.unlink()


def test_reading_changes_nothing_and_wakes_nobody() -> None:
    write_route("a", GOOD)
    wait_active(("a", "a/x"))
    run("streamctl", "reload")
    before = show("streamd.service", "CPUUsageNSec")["CPUUsageNSec"]
    for _ in range(50):
        (CONF / "a.toml").read_text()
    run("streamctl", "status")
    spent = int(show("streamd.service", "CPUUsageNSec")["CPUUsageNSec"]) - int(before)
    assert spent < 2_000_000_000, f"{spent / 1e9:.1f} s of CPU for fifty reads of a file"

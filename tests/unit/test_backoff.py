"""The helper that waits before a start where systemd cannot."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from streamd.plan.pace import next_try

BACKOFF = Path(__file__).parents[2] / "units/libexec/backoff"


def call(directory: Path | None, *arguments: str) -> int:
    """Return the wait in ms that a call asks for, without waiting."""
    environment = {"PATH": os.environ["PATH"]} | ({"RUNTIME_DIRECTORY": str(directory)} if directory else {})
    argv = ["/bin/sh", BACKOFF, "--print", *arguments]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=10, check=True)
    return int(done.stdout)


def test_waits_grow_from_nothing_to_half_a_minute(tmp_path: Path) -> None:
    assert [call(tmp_path) for _ in range(10)] == [0, 0, 500, 1500, 3500, 7500, 15500, 29500, 29500, 29500]


def test_the_first_and_the_longest_wait_can_be_given(tmp_path: Path) -> None:
    assert [call(tmp_path, "600", "2000") for _ in range(5)] == [0, 0, 600, 1400, 1400]


def test_a_unit_that_was_made_anew_does_not_wait_for_the_old_one(tmp_path: Path) -> None:
    made = ["1795573061"] * 3 + ["1795573099"] * 2
    assert [call(tmp_path, "500", "30000", number) for number in made] == [0, 0, 500, 0, 0]


@pytest.mark.parametrize(("ago", "begins_again"), [(62, False), (58 + 30, False), (62 + 30, True), (10_000, True)])
def test_a_run_of_more_than_a_minute_after_the_wait_is_forgiven(tmp_path: Path, ago: int, begins_again: bool) -> None:
    (tmp_path / "backoff").write_text(f"8 {int(time.time()) - ago} 30000 0\n")
    assert (call(tmp_path) == 0) is begins_again


def test_a_clock_that_was_set_back_counts_as_a_short_run(tmp_path: Path) -> None:
    (tmp_path / "backoff").write_text(f"2 {int(time.time()) + 5000} 500 0\n")
    assert call(tmp_path) == 1500


@pytest.mark.parametrize(
    "text", ["", "\n", "x", "1", "1 2", "1 2 3", "1 2 3 4", "1 2 3 0 5", "-1 2 3 0", "1 $(id) 3 0", "1 . 2 0"]
)
def test_a_damaged_count_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "backoff").write_text(text)
    assert call(tmp_path) == 0


def test_it_prevents_no_start_where_it_cannot_count(tmp_path: Path) -> None:
    assert call(None) == 0
    assert call(tmp_path / "missing") == 0


def test_it_waits(tmp_path: Path) -> None:
    (tmp_path / "backoff").write_text(f"1 {int(time.time())} 0 0\n")
    begin = time.monotonic()
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)}
    done = subprocess.run(["/bin/sh", BACKOFF], env=environment, capture_output=True, text=True, timeout=10, check=True)
    assert time.monotonic() - begin >= 0.4
    assert next_try(done.stderr.strip()) == 500, "the daemon reads what it says"

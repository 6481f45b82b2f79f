"""How the machine is, out of the texts in /proc. What is unknown is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("streamd.web", reason="streamd-web is not installed, so that it is NOT TESTED")

from streamd.web.machine import Machine, parse_meminfo, parse_network, parse_stat

STAT = "cpu  100 20 30 800 40 5 5 0 50 0\ncpu0 1 2 3 4\nintr 5\n"
NETWORK = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls
    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0
  eth0:1000 2 0 0 0 0 0 0 5000 3 0 0 0 0 0 0
"""


def test_the_texts_are_read() -> None:
    assert parse_stat(STAT) == (160, 1000), "waiting for a disk is not busy, and a guest is not counted twice"
    assert parse_meminfo("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  500 kB\n") == {
        "total": 1_024_000,
        "available": 512_000,
    }
    assert parse_network(NETWORK) == [{"interface": "eth0", "received": 1000, "sent": 5000}]


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu a b c d e\n", "intr 1 2 3 4 5 6"])
def test_what_cannot_be_read_is_missing(text: str) -> None:
    assert parse_stat(text) is None
    assert parse_meminfo(text) == {}
    assert parse_network(text) == []


def test_how_busy_it_is_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(STAT)
    machine = Machine(tmp_path, disk=str(tmp_path))
    first = machine.document()
    assert first["cpu"]["used"] == 16.0, "since the boot"
    assert "load" not in first["cpu"]
    assert (first["memory"], first["network"]) == ({}, [])
    assert first["disk"]["total"] > 0
    now += 2
    (tmp_path / "proc/stat").write_text("cpu  150 20 30 850 40 5 5 0 0 0\n")
    assert machine.document()["cpu"]["used"] == 50.0
    (tmp_path / "proc/stat").unlink()
    assert "used" not in machine.document()["cpu"]

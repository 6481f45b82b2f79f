"""What units use, out of a tree like the kernel's."""

from __future__ import annotations

from pathlib import Path

from streamd.host.accounting import Usage, usage
from streamd.plan.address import route_slice


def test_each_unit_has_its_own_and_what_is_unknown_is_none(tmp_path: Path) -> None:
    slices = tmp_path / "streamd.slice" / route_slice("a-1")
    output, ingest = "streamd-output@a-1:x.service", "streamd-ingest@a-1.service"
    for name in (output, ingest):
        (slices / name).mkdir(parents=True)
        (slices / name / "cpu.stat").write_text("usage_usec 123\nuser_usec 100\nodd\n")
    (slices / output / "memory.current").write_text("4096\n")
    (slices / output / "pids.current").write_text("max\n")
    found = usage([output, ingest, "streamd-output@a-1:gone.service", "ssh.service"], [tmp_path / "none", tmp_path])
    assert found == {output: Usage(cpu=123, memory=4096), ingest: Usage(cpu=123)}
    assert usage([output], [tmp_path / "none"]) == {}

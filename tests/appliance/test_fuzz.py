"""Calls made by chance, to the daemon itself: it lives, answers, and touches nothing that they do not name.

`STREAMD_SEARCH=MINUTES` goes on for so long, with other calls each time.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from random import Random

import pytest

from streamd.bus.connection import DisconnectedError, connect_system_bus
from tests.appliance.host import incarnations, journal, run, show, wait_active, wait_until, write_route
from tests.appliance.media import Sender, UdpReceiver, make_stream
from tests.fuzz.bus import Generator, try_message

pytestmark = pytest.mark.once

SEARCH = float(os.environ.get("STREAMD_SEARCH") or 0)
SECONDS = SEARCH * 60 or 20
KEPT = ["kept-1", "kept-1/one", "kept-1/two"]
ROUTE = '[input]\nurl = "udp://127.0.0.1:5050"\n' + "".join(
    f'[output.{name}]\nurl = "udp://127.0.0.1:{port}"\n' for name, port in (("one", 6501), ("two", 6502))
)


async def pelt(seed: int) -> int:
    """Make calls for some seconds and return how many were answered. Raises: BrokenError."""
    generator = Generator(Random(seed))
    connection = await connect_system_bus()
    count = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        message = generator.message()
        try:
            await try_message(connection, message)
        except DisconnectedError:  # the bus does not carry it
            connection = await connect_system_bus()
        else:
            count += 1
    await connection.close()
    return count


def test_calls_made_by_chance_hurt_nobody() -> None:
    stream = make_stream(Path("/var/tmp/stream.ts"))
    seed = time.time_ns() % (1 << 32) if SEARCH else 1
    write_route("kept-1", ROUTE)
    write_route("a", '[input]\nurl = "udp://127.0.0.1:5051"\n[output.x]\nurl = "udp://127.0.0.1:6503"\n')
    with UdpReceiver(stream, (6501, 6502)) as udp, Sender(stream, "127.0.0.1", 5050, bitrate=1_000_000):
        udp.wait_for(20)
        wait_active(KEPT)
        units, daemon = incarnations(KEPT), show("streamd.service", "MainPID", "NRestarts")
        begun = run("date", "+%s").stdout.strip()
        udp.reset()
        count = asyncio.run(pelt(seed))
        told = f"{count} calls, seed {seed}"
        assert count > 5 * SECONDS, told
        assert show("streamd.service", "MainPID", "NRestarts") == daemon, told
        assert incarnations(KEPT) == units, told
        assert all(found.intact for found in udp.report().values()), told
    text = journal(f"--since=@{begun}", "--unit=streamd.service")
    assert "Traceback" not in text, told
    run("streamctl", "status")
    wait_until(lambda: run("streamctl", "reload", check=False).returncode in (0, 1), 60, "it is done with all calls")

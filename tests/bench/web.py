"""How long the gateway's answers take with many clients: 200 outputs, 50 clients that each ask once a second.

Run by `tests/run bench SUITE web`. A follower hangs on each client besides, so that 50 dashboards are open. What asks
runs on the same machine, and its own time is in all numbers.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.gateway import PLACE, add_key, client, memory, revoke_key
from tests.appliance.host import run, wait_until
from tests.bench.health import clear

ROUTES, OUTPUTS = 10, 20
CLIENTS = 50
SECONDS = 30
PATHS = ("/api/inputs", "/api/inputs/r0", "/api/inputs/r0/outputs/o0", "/api/system/status", "/api/health", "/metrics")


def write() -> None:
    """Have 200 outputs whose encoders are silent: it is the gateway that is measured."""
    for number in range(ROUTES):
        text = '[input]\nurl = "udp://0.0.0.0:auto"\n'
        text += "".join(f'[output.o{each}]\nurl = "udp://127.0.0.1:{7000 + each}"\n' for each in range(OUTPUTS))
        Path(f"/etc/streamd/conf.d/r{number}.toml").write_text(text)
    run("streamctl", "reload", seconds=300)


class Asker:
    """A connection that is kept, and as cheap as it can be."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str) -> float:
        """Return the seconds until the whole answer was there."""
        if self._open is None:
            self._open = await asyncio.open_connection(*PLACE)
        reader, writer = self._open
        began = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {self._key}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        return time.perf_counter() - began

    async def follow(self) -> int:
        """Follow until this is cancelled, and return the bytes that came."""
        reader, writer = await asyncio.open_connection(*PLACE)
        size = 0
        try:
            writer.write(f"GET /api/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {self._key}\r\n\r\n".encode())
            while piece := await reader.read(1 << 16):
                size += len(piece)
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()
        return size


async def measure(key: str, path: str) -> list[float]:
    """Return how long each answer took, in seconds."""
    found: list[float] = []

    async def one(number: int) -> None:
        asker = Asker(key)
        await asyncio.sleep(number / CLIENTS)
        for _ in range(SECONDS):
            took = await asker.ask(path)
            found.append(took)
            await asyncio.sleep(max(0.0, 1 - took))

    await asyncio.gather(*(one(number) for number in range(CLIENTS)))
    return sorted(found)


async def load(key: str) -> None:
    followers = [asyncio.create_task(Asker(key).follow()) for _ in range(CLIENTS)]
    print("| answer | median | 99 of 100 | slowest |\n| --- | --- | --- | --- |")
    for path in PATHS:
        found = await measure(key, path)
        times = (statistics.median(found), found[int(len(found) * 0.99)], found[-1])
        print(f"| {path} | " + " | ".join(f"{1000 * each:.1f} ms" for each in times) + " |", flush=True)
    for each in followers:
        each.cancel()
    sizes = await asyncio.gather(*followers)
    print(f"each follower was sent {statistics.median(sizes) / SECONDS / len(PATHS) / 1024:.1f} KiB/s")


def main() -> None:
    clear()
    write()
    key = add_key("bench", "observer")
    try:
        with client(key) as api:
            counts = lambda: api.get("/api/system/status").json()["counts"]["states"]  # noqa: E731
            wait_until(lambda: sum(counts().values()) == ROUTES * OUTPUTS, 120, "all are there")
            print(f"outputs: {counts()}; {CLIENTS} clients ask once a second, {CLIENTS} follow")
            asyncio.run(load(key))
            print(f"the gateway has {memory() >> 20} MiB")
    finally:
        revoke_key("bench")
        clear()


if __name__ == "__main__":
    main()

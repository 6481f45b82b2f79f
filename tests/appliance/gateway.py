"""The gateway as those see it who speak HTTP: keys, a client for each role, and raw connections."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.appliance.host import run, show, wait_until

PLACE = ("127.0.0.1", 8080)
URL = "http://127.0.0.1:8080"
SOCKET = "streamd-web.socket"
SERVICE = "streamd-web.service"
ROLES = ("observer", "operator", "admin")


def add_key(name: str, role: str) -> str:
    """Make a key, and return it."""
    return run("streamctl", "web", "key", "add", name, "--role", role).stdout.strip()


def revoke_key(name: str) -> None:
    run("streamctl", "web", "key", "revoke", name)


def client(key: str = "", **more: Any) -> httpx.Client:
    """Return a client of the gateway."""
    return httpx.Client(base_url=URL, headers={"x-api-key": key} if key else {}, timeout=30, **more)


@contextmanager
def everybody() -> Iterator[dict[str, httpx.Client]]:
    """Yield a client for each role, and one without a key as "nobody"."""
    found = {"nobody": client()}
    try:
        for role in ROLES:
            found[role] = client(add_key(f"the-{role}", role))
        yield found
    finally:
        for each in found.values():
            each.close()
        for role in found.keys() - {"nobody"}:
            revoke_key(f"the-{role}")


def state_of(api: httpx.Client, path: str) -> str:
    """Return the state of an input or output; the status of the answer where there is none."""
    answer = api.get(path)
    return str(answer.json()["state"] if answer.status_code == 200 else answer.status_code)


def wait_state_of(api: httpx.Client, path: str, wanted: str, seconds: float = 30) -> dict[str, Any]:
    wait_until(lambda: state_of(api, path) == wanted, seconds, f"{path} is {wanted}: {api.get(path).text}")
    return dict(api.get(path).json())


def raw(data: bytes, seconds: float = 30) -> bytes:
    """Send bytes, and return all that is answered until the gateway hangs up."""
    with socket.create_connection(PLACE, timeout=seconds) as connection:
        connection.sendall(data)
        found = b""
        try:
            while piece := connection.recv(65536):
                found += piece
        except ConnectionResetError:
            pass
        return found


def status_of(answer: bytes) -> int:
    """Return the status of a raw answer; 0 where there was none."""
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 1 else 0


def memory() -> int:
    """Return the resident bytes of the gateway's process."""
    pid = show(SERVICE, "MainPID")["MainPID"]
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def seconds_of(act: Any) -> float:
    """Return how long a call takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began

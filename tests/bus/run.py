"""streamctl as a process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


async def start(
    bus: str, *argv: str, nobody: bool = False, stdin: int = subprocess.DEVNULL, **more: str
) -> asyncio.subprocess.Process:
    """Start streamctl on the bus; `more` goes into its environment."""
    return await asyncio.create_subprocess_exec(
        *(*(AS_NOBODY if nobody else ()), sys.executable, "-m", "streamd.ctl.main", *argv),
        cwd=ROOT,
        env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus, "PYTHONIOENCODING": "utf-8", **more},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def streamctl(bus: str, *argv: str, nobody: bool = False, **more: str) -> tuple[int, str, str]:
    """Run streamctl; return its exit status, output and errors."""
    process = await start(bus, *argv, nobody=nobody, **more)
    out, err = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in err
    return process.returncode, out.decode(), err.decode()

"""A client in a process and under a user of its own: calls Manager once, and prints the error's name or `ok`.

Arguments: the bus address, the method, and `interactive` or `quiet`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from streamd.bus.connection import BusError, MessageFlag, Variant, connect_system_bus

ROOT = "/org/streamd1"
MANAGER = "org.streamd1.Manager"
_NOBODY = 65534
_METHODS = {
    "Reload": (MANAGER, "a{sv}", [{}]),
    "StartOutput": (MANAGER, "sa{sv}", ["studio-a/youtube", {}]),
    "StopRoute": (MANAGER, "sa{sv}", ["studio-a", {}]),
    "Plan": (MANAGER, "a{sv}", [{}]),
    "PlanChange": (MANAGER, "ssa{sv}a{sv}", ["remove", "studio-a", {}, {}]),
    "PlanFile": (MANAGER, "ssa{sv}", ["/etc/streamd/conf.d/studio-a.toml", "", {}]),
    "Log": (MANAGER, "sa{sv}", ["studio-a", {}]),
    "Check": (MANAGER, "sa{sv}", ["", {}]),
    "GetStatus": (MANAGER, "a{sv}", [{}]),
    "Set": ("org.freedesktop.DBus.Properties", "ssv", [MANAGER, "Version", Variant("s", "x")]),
    "GetManagedObjects": ("org.freedesktop.DBus.ObjectManager", "", []),
}


async def call_as_nobody(address: str, member: str, *, interactive: bool = False) -> tuple[str, str]:
    """Call the service as nobody; return the last part of the error's name, or ok, and its text."""
    mode = "interactive" if interactive else "quiet"
    process = await asyncio.create_subprocess_exec(
        *("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"),
        *(sys.executable, "-m", "tests.bus.caller", address, member, mode),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    printed, _nothing = await process.communicate()
    assert process.returncode == 0
    name, _space, text = printed.decode().strip().partition(" ")
    return name.rpartition(".")[2], text


async def _call(address: str, member: str, mode: str) -> str:
    connection = await connect_system_bus(address)
    flags = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION if mode == "interactive" else MessageFlag.NONE
    interface, signature, body = _METHODS[member]
    try:
        await connection.call("org.streamd1", ROOT, interface, member, signature, body, flags=flags)
    except BusError as error:
        return f"{error.name} {error.text}"
    finally:
        await connection.close()
    return "ok"


if __name__ == "__main__":
    print(asyncio.run(_call(*sys.argv[1:])))

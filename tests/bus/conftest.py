"""A private bus for each test: a dbus-daemon with the policy of the system bus, and coroutines as tests."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Debug.Stats"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Debug.Stats"/>
  </policy>
  <include>{policy}</include>
  {limits}
</busconfig>
"""


def start_bus(directory: Path, limits: dict[str, int]) -> tuple[subprocess.Popen[bytes], str]:
    """Start a dbus-daemon; return it and its address once it listens."""
    directory.chmod(0o755)  # another user connects too
    policy = ROOT / "units/dbus-1/system.d/org.streamd1.conf"
    if not policy.exists():  # the installed tree
        policy = Path("/usr/share/dbus-1/system.d/org.streamd1.conf")
    lines = "".join(f'<limit name="{name}">{value}</limit>' for name, value in limits.items())
    config = directory / "bus.conf"
    config.write_text(_CONFIG.format(directory=directory, policy=policy, limits=lines))
    process = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    return process, f"unix:path={directory}/bus"


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root owns org.streamd1 by the policy that is installed")


@pytest.fixture
def bus(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a private bus; `@pytest.mark.parametrize("bus", [{limit: value}], indirect=True)` sets limits."""
    with tempfile.TemporaryDirectory(prefix="streamd-bus-") as directory:
        process, address = start_bus(Path(directory), getattr(request, "param", {}))
        yield address
        process.terminate()
        process.wait(10)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function as a test; it fails when it takes 30 s or leaves a task behind."""
    if not inspect.iscoroutinefunction(pyfuncitem.function):
        return None
    names = inspect.signature(pyfuncitem.function).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def guarded() -> None:
        async with asyncio.timeout(30):
            await pyfuncitem.obj(**arguments)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks are left: {left}"

    asyncio.run(guarded())
    return True

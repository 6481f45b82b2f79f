"""Every test begins with an empty configuration and leaves no unit behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.appliance import host


def _is(item: pytest.Item, *markers: str) -> bool:
    return any(item.get_closest_marker(marker) for marker in markers)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what prepares a boot be the last before it."""
    items.sort(key=lambda item: _is(item, "before_reboot", "before_damage"))


def _clear() -> None:
    for directory in (host.CONF, host.CREDENTIALS):
        for path in directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    if host.run("systemctl", "is-active", "streamd.service", check=False).stdout.strip() != "active":
        host.run("systemctl", "reset-failed", "streamd.service", check=False)
        host.run("systemctl", "start", "streamd.service")
    host.run("streamctl", "reload")
    host.wait_until(lambda: not host.our_units(), 30, "no unit is left")


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    if _is(request.node, "after_reboot", "after_damage"):
        yield
        return
    _clear()
    yield
    if not _is(request.node, "before_reboot", "before_damage"):
        _clear()

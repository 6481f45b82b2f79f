"""Every test begins with an empty configuration and leaves no unit behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from streamd.bus import names
from tests.appliance import host

_left_clean = False
"""Whether the test before has left nothing behind."""


def _is(item: pytest.Item, *markers: str) -> bool:
    return any(item.get_closest_marker(marker) for marker in markers)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", default="1/1", metavar="I/N", help="run one of N parts alone; a module is in one part")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep to one part, and let what prepares a boot be the last before it."""
    part, parts = map(int, config.getoption("part").split("/"))
    modules = sorted({item.nodeid.partition("::")[0] for item in items})
    mine = set(modules[part - 1 :: parts])
    chosen = [item for item in items if item.nodeid.partition("::")[0] in mine]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
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
    host.run("busctl", "--timeout=60", "call", names.BUS_NAME, names.ROOT, names.MANAGER, "Reload", "a{sv}", "0")
    host.wait_until(lambda: not host.our_units(), 30, "no unit is left")


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    if _is(request.node, "after_reboot", "after_damage"):
        yield
        return
    global _left_clean  # noqa: PLW0603
    if not _left_clean:
        _clear()
    _left_clean = False
    yield
    if not _is(request.node, "before_reboot", "before_damage"):
        _clear()
        _left_clean = True

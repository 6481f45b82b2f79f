"""Imports point one way, and the pure core imports nothing that does I/O."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "streamd"
LAYERS = {
    "route": 0,
    "plan": 1,
    "bus": 2,
    "host": 3,
    "ctl": 4,
    "web": 4,
    "reporter": 4,
    "request": 4,
    "complaints": 4,
    "stops": 4,
    "survey": 5,
    "reconciler": 6,
    "daemon": 7,
    "": 8,
}
"""What may import what: the higher the lower. Of the two edges, host may use the bus's connection, not the reverse."""

PURE = ("route", "plan")
FORBIDDEN = {
    *("asyncio", "dbus_next", "fcntl", "http", "httpx", "io", "multiprocessing", "os", "pathlib", "select", "shutil"),
    *("signal", "socket", "sqlite3", "ssl", "subprocess", "systemd", "tempfile", "threading", "time", "urllib.request"),
    *("watchdog", "random", "logging"),
}
BUILTINS = {"open", "print", "input", "exec", "eval", "__import__"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(tree: ast.AST, path: Path) -> list[str]:
    """Return the dotted names of all that a module imports, also inside functions."""
    found: list[str] = []
    here = path.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: -node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found += [f"{module}.{name.name}" for name in node.names]
    return found


def layer_of(parts: tuple[str, ...]) -> str:
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else ""


def violations(path: Path, source: str) -> list[str]:
    """Return what is wrong with a module's imports."""
    tree = ast.parse(source)
    layer = layer_of(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    wrong = []
    for name in imports(tree, path):
        parts = tuple(name.split("."))
        if layer in PURE and not FORBIDDEN.isdisjoint({parts[0], ".".join(parts[:2])}):
            wrong.append(f"{name} does I/O")
        if parts[0] == "streamd":
            other = layer_of(parts)
            if other and layer and other != layer and LAYERS[other] >= LAYERS[layer]:
                wrong.append(f"{layer} imports {other}")
    if layer in PURE:
        wrong += [
            f"{node.func.id}() does I/O"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS
        ]
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    assert violations(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("route/x.py", "import os.path", ["os.path does I/O"]),
        ("route/x.py", "def f():\n    from asyncio import sleep", ["asyncio.sleep does I/O"]),
        ("route/x.py", "from streamd.plan.plan import plan", ["route imports plan"]),
        ("route/x.py", "from ..host import systemd", ["route imports host"]),
        ("plan/x.py", "from streamd import host", ["plan imports host"]),
        ("plan/x.py", "open('/etc/passwd')", ["open() does I/O"]),
        ("plan/x.py", "from streamd.route.model import Route\nimport re", []),
        ("bus/x.py", "from streamd.host import systemd", ["bus imports host"]),
        ("bus/x.py", "import streamd.reconciler", ["bus imports reconciler"]),
        ("ctl/x.py", "from streamd.daemon import main", ["ctl imports daemon"]),
        ("daemon.py", "import os\nfrom streamd.bus import service\nfrom streamd.reconciler import Reconciler", []),
    ],
)
def test_the_check_itself(module: str, source: str, wrong: list[str]) -> None:
    assert violations(PACKAGE / module, source) == wrong

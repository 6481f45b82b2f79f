"""The D-Bus interface through busctl and gdbus, as root, as somebody whom polkit allows to control, and as nobody."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from xml.etree import ElementTree as ET

import pytest

from tests.appliance.host import (
    CONF,
    CREDENTIALS,
    is_active,
    run,
    status,
    unit_of,
    wait_active,
    wait_until,
    write_route,
)
from tests.appliance.people import become, operator

NAME, ROOT = "org.streamd1", "/org/streamd1"
MANAGER, ROUTE, OUTPUT = "org.streamd1.Manager", "org.streamd1.Route", "org.streamd1.Output"
pytestmark = pytest.mark.once

PATHS = {MANAGER: ROOT, ROUTE: f"{ROOT}/route/cl_2d1", OUTPUT: f"{ROOT}/output/cl_2d1/x"}
ACTION = "org.streamd1.Action"
MAY: Mapping[str, tuple[str, ...]] = {
    "root": ("read", "control", "configure"),
    "streamops": ("read", "control"),
    "nobody": ("read",),
}
DENIED = ("AccessDenied", "Access denied", "InteractiveAuthorizationRequired", "not authorised", "not allowed")

TEXT = '[input]\nurl = "udp://0.0.0.0:5000"\n\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'


@dataclass(frozen=True)
class Method:
    """A method as the XML that ships has it."""

    interface: str
    name: str
    action: str
    takes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.interface.rpartition('.')[2]}.{self.name}"


def shipped(interface: str) -> ET.Element:
    """Return an interface out of the XML that is installed."""
    text = resources.files("streamd.bus").joinpath(f"{interface}.xml").read_text()
    found = ET.fromstring(text).find(f"interface[@name='{interface}']")
    assert found is not None
    return found


def methods() -> list[Method]:
    found = []
    for interface in PATHS:
        for method in shipped(interface).iter("method"):
            annotation = method.find(f"annotation[@name='{ACTION}']")
            takes = tuple(arg.get("type", "") for arg in method.iter("arg") if arg.get("direction") == "in")
            action = "configure" if annotation is None else annotation.get("value", "")
            found.append(Method(interface, method.get("name", ""), action, takes))
    return found


@pytest.fixture(scope="module", autouse=True)
def _people() -> Iterator[None]:
    with operator():
        yield


@pytest.fixture(autouse=True)
def _route(_clean: None) -> None:
    write_route("cl-1", TEXT)
    wait_active(("cl-1", "cl-1/x"))
    wait_until(lambda: status("cl-1/x"), 10, "the daemon tells of it")


def busctl(user: str, path: str, interface: str, member: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    call = ("busctl", "--json=short", "call", NAME, path, interface, member, *arguments)
    return run(*become(user), *call, check=False)


def gdbus(user: str, path: str, interface: str, member: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    call = ("gdbus", "call", "--system", "--dest", NAME, "--object-path", path, "--method", f"{interface}.{member}")
    return run(*become(user), *call, *arguments, check=False)


def is_denied(done: subprocess.CompletedProcess[str]) -> bool:
    assert "Traceback" not in done.stderr
    return done.returncode != 0 and any(word in done.stderr for word in DENIED)


# Arguments that mean nothing there is: who may not call is refused before anybody looks at them, who may gets an error
# about them, or an empty success.
BUSCTL = {"s": ("no-such",), "a{sv}": ("0",), "as": ("0",)}
GDBUS = {"s": "'no-such'", "a{sv}": "@a{sv} {}", "as": "@as []"}


@pytest.mark.parametrize("user", list(MAY))
def test_each_method_asks_for_what_the_xml_says(user: str) -> None:
    seen = set()
    for method in methods():
        seen.add(method.action)
        path = PATHS[method.interface]
        words = [word for kind in method.takes for word in BUSCTL[kind]]
        signature = ["".join(method.takes)] if method.takes else []
        by_busctl = busctl(user, path, method.interface, method.name, *signature, *words)
        by_gdbus = gdbus(user, path, method.interface, method.name, *(GDBUS[kind] for kind in method.takes))
        for done in (by_busctl, by_gdbus):
            may = method.action in MAY[user]
            assert is_denied(done) is not may, f"{user}, {method}: {done.returncode} {done.stdout} {done.stderr}"
            if method.action == "read" and "s" not in method.takes:
                assert done.returncode == 0, f"{method}: {done.stderr}"
    assert seen == {"read", "control", "configure"}
    assert (CREDENTIALS / "no-such").exists() is ("configure" in MAY[user])


@pytest.mark.parametrize("client", [busctl, gdbus])
def test_somebody_allowed_to_control_does_what_he_may_and_no_more(client: object) -> None:
    def call(user: str, member: str, address: str) -> subprocess.CompletedProcess[str]:
        if client is busctl:
            return busctl(user, ROOT, MANAGER, member, "sa{sv}", address, "0")
        return gdbus(user, ROOT, MANAGER, member, f"'{address}'", "@a{sv} {}")

    text = (CONF / "cl-1.toml").read_text()
    assert is_denied(call("nobody", "StopOutput", "cl-1/x"))
    assert is_active("cl-1/x")
    assert call("streamops", "StopOutput", "cl-1/x").returncode == 0
    assert not is_active("cl-1/x")
    assert is_denied(call("nobody", "StartOutput", "cl-1/x"))
    assert not is_active("cl-1/x")
    assert call("streamops", "StartOutput", "cl-1/x").returncode == 0
    assert is_active("cl-1/x")
    for member in ("DisableOutput", "RemoveOutput"):
        assert is_denied(call("streamops", member, "cl-1/x"))
    assert is_active("cl-1/x")
    assert (CONF / "cl-1.toml").read_text() == text
    assert not (CONF / "cl-1.toml.d").exists()
    assert call("root", "DisableOutput", "cl-1/x").returncode == 0
    assert not is_active("cl-1/x")


@pytest.mark.parametrize("user", list(MAY))
def test_reading_is_open_to_everybody(user: str) -> None:
    prefix = become(user)
    everything = busctl(user, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    assert set(json.loads(everything.stdout)["data"][0]) == {PATHS[ROUTE], PATHS[OUTPUT]}
    get = ("busctl", "get-property", NAME, PATHS[OUTPUT], OUTPUT)
    assert run(*prefix, *get, "Address").stdout == 's "cl-1/x"\n'
    assert run(*prefix, *get, "Bytes").stdout.startswith("t ")
    found = gdbus(user, PATHS[OUTPUT], "org.freedesktop.DBus.Properties", "Get", OUTPUT, "Unit")
    assert found.stdout == f"(<'{unit_of('cl-1/x')}'>,)\n"
    assert PATHS[OUTPUT] in run(*prefix, "busctl", "--list", "tree", NAME).stdout.split()
    write = run(*prefix, "busctl", "set-property", NAME, PATHS[OUTPUT], OUTPUT, "Description", "s", "x", check=False)
    assert write.returncode != 0
    assert "Traceback" not in write.stderr


def plain(interface: ET.Element) -> str:
    """Return an interface so that only what it means is compared."""
    return ET.canonicalize(ET.tostring(interface, encoding="unicode"), strip_text=True)


@pytest.mark.parametrize("interface", list(PATHS))
def test_introspection_is_the_xml_that_ships(interface: str) -> None:
    path = PATHS[interface]
    wanted = plain(shipped(interface))
    by_busctl = run("busctl", "introspect", "--xml-interface", NAME, path).stdout
    by_gdbus = run("gdbus", "introspect", "--system", "--dest", NAME, "--object-path", path, "--xml").stdout
    for text in (by_busctl, by_gdbus):
        found = ET.fromstring(text).find(f"interface[@name='{interface}']")
        assert found is not None
        assert plain(found) == wanted
    rows = [line.split() for line in run("busctl", "introspect", NAME, path).stdout.splitlines()]
    begin = next(number for number, row in enumerate(rows) if row[:2] == [interface, "interface"])
    members = {row[0]: row[1] for row in rows[begin + 1 :] if row[0].startswith(".")}
    kinds = {"method", "property", "signal"}
    assert members == {f".{found.get('name')}": found.tag for found in shipped(interface) if found.tag in kinds}


def test_properties_have_the_types_that_the_xml_says() -> None:
    for interface, path in PATHS.items():
        reply = busctl("nobody", path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface)
        values = json.loads(reply.stdout)["data"][0]
        types = {name: value["type"] for name, value in values.items()}
        assert types == {found.get("name"): found.get("type") for found in shipped(interface).iter("property")}


@dataclass
class Monitor:
    """`gdbus monitor`, and the lines that it printed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def until(self, *words: str) -> str:
        """Return the next line that has all these words; the test's own limit ends a wait in vain."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if all(word in line for word in words):
                return line
        raise AssertionError(f"no line with {words}: {self.lines}")


@contextmanager
def monitoring(user: str) -> Iterator[Monitor]:
    argv = ("timeout", "60", *become(user), "gdbus", "monitor", "--system", "--dest", NAME)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        monitor = Monitor(process)
        monitor.until("is owned by")
        yield monitor
        process.terminate()


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_gdbus_monitor_sees_what_happens_in_its_order(user: str) -> None:
    with monitoring(user) as monitor:
        run("streamctl", "add", "new", "--input", "udp://0.0.0.0:5010")
        monitor.until("ObjectManager.InterfacesAdded", f"'{ROOT}/route/new'", "'Bitrate'", "'State'")
        run("streamctl", "add", "new/y", "udp://127.0.0.1:6002")
        added = monitor.until("ObjectManager.InterfacesAdded", f"'{ROOT}/output/new/y'", "'URL'")
        assert "<'udp://127.0.0.1:6002'>" in added
        run("streamctl", "stop", "new/y")
        monitor.until(f"{ROOT}/output/new/y: ", "Properties.PropertiesChanged", "'State': <'stopped'>")
        changed = monitor.until(f"{ROOT}: ", "Manager.StateChanged ('new/y'", "'stopped'")
        assert changed.rstrip().endswith("'stopped', '')"), changed
        run("streamctl", "set", "new/y", "url=udp://127.0.0.1:6003")
        monitor.until(f"{ROOT}/output/new/y: ", "PropertiesChanged", "'URL': <'udp://127.0.0.1:6003'>")
        run("streamctl", "rm", "new")
        monitor.until("ObjectManager.InterfacesRemoved", f"'{ROOT}/output/new/y'", OUTPUT)


def test_busctl_sees_the_signals_as_well() -> None:
    argv = ("timeout", "60", "busctl", "--json=short", "monitor", NAME)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        # It does not tell when it begins to listen; it does by the time when it shows one of these.
        wait_until(lambda: _ping() and select.select([process.stdout], [], [], 0)[0], 20, "busctl monitors")
        run("streamctl", "stop", "cl-1/x")
        for line in process.stdout:
            message = json.loads(line)
            if message.get("member") == "StateChanged" and message["payload"]["data"][2] == "stopped":
                assert message["payload"]["type"] == "ssss"
                assert message["payload"]["data"][0] == "cl-1/x"
                break
        else:
            raise AssertionError("no StateChanged")
        process.terminate()


def _ping() -> bool:
    return busctl("root", ROOT, "org.freedesktop.DBus.Peer", "Ping").returncode == 0


def test_wait_for_the_daemon_without_starting_it() -> None:
    run("systemctl", "stop", "streamd.service")
    try:
        done = busctl("nobody", ROOT, MANAGER, "GetStatus", "a{sv}", "0")
        assert done.returncode != 0
        done = gdbus("nobody", ROOT, MANAGER, "GetStatus", "@a{sv} {}")
        assert done.returncode != 0
        active = run("systemctl", "is-active", "streamd.service", check=False).stdout.strip()
        assert active == "inactive", "what an administrator stopped stays stopped"
        assert is_active("cl-1/x")
    finally:
        run("systemctl", "start", "streamd.service")
    wait_until(
        lambda: busctl("nobody", ROOT, MANAGER, "GetStatus", "a{sv}", "0").returncode == 0, 20, "the daemon answers"
    )

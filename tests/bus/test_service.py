"""Every method, property and signal of org.streamd1, against a control that only remembers."""

from __future__ import annotations

import asyncio
import threading
import xml.etree.ElementTree as ET
from dataclasses import replace
from importlib import resources

import pytest

from streamd.bus.connection import BusError, Message, MessageFlag, NameTakenError, connect_system_bus
from streamd.bus.control import BusyError, DisabledError
from streamd.bus.schema import interfaces
from streamd.bus.service import Service
from streamd.plan.status import State, Statistics
from streamd.route.change import AddRoute, DisableRoute, RemoveOutput, UpdateOutput
from tests.bus.stage import (
    MANAGER,
    OBJECT_MANAGER,
    PROPERTIES,
    ROOT,
    STATUS,
    FakeControl,
    Stage,
    Variant,
    stage,
    unpack,
)
from tests.bus.stage import output as an_output
from tests.bus.stage import route as a_route

OUTPUT_PATH = "/org/streamd1/output/studio_2da/_31st_5frack"
ROUTE_PATH = "/org/streamd1/route/studio_2da"
OWN_INTERFACES = {
    "org.streamd1.Manager": ROOT,
    "org.streamd1.Route": ROUTE_PATH,
    "org.streamd1.Output": OUTPUT_PATH,
}


async def refused(coroutine: object) -> BusError:
    with pytest.raises(BusError) as caught:
        await coroutine  # type: ignore[misc]
    assert "Traceback" not in caught.value.text
    assert caught.value.text
    return caught.value


WELL = {"Reason": "", "Advice": "", "NextTry": 0, "LastError": "", "LastErrorAt": 0}


async def test_every_property_reads_as_published(bus: str) -> None:
    async with stage(bus) as it:
        address = "studio-a/1st_rack"
        it.control.meters[address] = Statistics(address=address, bitrate=5_000_000, bytes=1 << 40, uptime=60_000_000)
        manager = await it.call(ROOT, PROPERTIES, "GetAll", "s", MANAGER)
        assert manager["Version"] == "1.2.3"
        assert (manager["Routes"], manager["Outputs"]) == (2, 2)
        assert manager["Diagnostics"] == [
            {
                "path": "/etc/streamd/conf.d/b.toml",
                "line": 3,
                "column": 5,
                "length": 4,
                "key": "input.url",
                "message": "is wrong",
                "text": "url = 1",
            }
        ]
        assert await it.call(ROUTE_PATH, PROPERTIES, "GetAll", "s", "org.streamd1.Route") == {
            "Name": "studio-a",
            "Path": "/etc/streamd/conf.d/studio-a.toml",
            "Description": "",
            "Enabled": True,
            "Relay": "direct",
            "Input": "udp",
            "URL": "udp://0.0.0.0:5000",
            "Group": "239.255.0.1:20000",
            "Broken": False,
            "Overall": "backoff",
            "Outputs": ["/org/streamd1/output/studio_2da/youtube", OUTPUT_PATH],
            "State": "running",
            "Cause": "",
            "Since": 1_795_418_000_000_000,
            "Unit": "streamd-ingest@studio-a.service",
            "PID": 4700,
            "Restarts": 0,
            "Invocation": "",
            **WELL,
            "Bitrate": 0,
            "Bytes": 0,
            "Uptime": 0,
        }
        output = await it.call(OUTPUT_PATH, PROPERTIES, "GetAll", "s", "org.streamd1.Output")
        assert output == {
            "Name": "1st_rack",
            "Route": "studio-a",
            "Address": "studio-a/1st_rack",
            "Kind": "udp",
            "Mode": "",
            "Engine": "",
            "URL": "udp://192.0.2.1:5004",
            "Description": "",
            "Enabled": True,
            "State": "backoff",
            "Cause": "refused",
            "Since": 1_795_418_000_000_000,
            "Unit": "streamd-output@studio-a:1st_rack.service",
            "PID": 4711,
            "Restarts": 2,
            "Invocation": "ab" * 16,
            **WELL,
            "Bitrate": 5_000_000,
            "Bytes": 1 << 40,
            "Uptime": 60_000_000,
        }
        for name, value in output.items():
            assert await it.call(OUTPUT_PATH, PROPERTIES, "Get", "ss", "org.streamd1.Output", name) == value


async def test_introspection_is_the_xml(bus: str) -> None:
    async with stage(bus) as it:
        for interface, path in OWN_INTERFACES.items():
            file = resources.files("streamd.bus").joinpath(f"{interface}.xml").read_text()
            wanted = ET.fromstring(file).find("interface")
            live = ET.fromstring(await it.call(path, "org.freedesktop.DBus.Introspectable", "Introspect"))
            found = live.find(f"interface[@name='{interface}']")
            assert wanted is not None
            assert found is not None
            assert ET.canonicalize(ET.tostring(found), strip_text=True) == ET.canonicalize(
                ET.tostring(wanted), strip_text=True
            )


async def test_introspection_leads_from_the_root_to_every_object(bus: str) -> None:
    async with stage(bus) as it:
        seen = set()
        paths = ["/"]
        while paths:
            path = paths.pop()
            node = ET.fromstring(await it.call(path, "org.freedesktop.DBus.Introspectable", "Introspect"))
            names = {child.attrib["name"] for child in node.findall("interface")}
            assert "org.freedesktop.DBus.Introspectable" in names
            seen |= {(path, name) for name in names if name.startswith("org.streamd1")}
            paths += [f"{path.rstrip('/')}/{child.attrib['name']}" for child in node.findall("node")]
        assert seen == {
            (ROOT, "org.streamd1.Manager"),
            (ROUTE_PATH, "org.streamd1.Route"),
            ("/org/streamd1/route/empty", "org.streamd1.Route"),
            (OUTPUT_PATH, "org.streamd1.Output"),
            ("/org/streamd1/output/studio_2da/youtube", "org.streamd1.Output"),
        }


async def test_managed_objects_are_all_below_the_root(bus: str) -> None:
    async with stage(bus) as it:
        objects = await it.call(ROOT, OBJECT_MANAGER, "GetManagedObjects")
        assert len(objects) == 4
        for path, interfaces in objects.items():
            for interface, properties in interfaces.items():
                assert properties == await it.call(path, PROPERTIES, "GetAll", "s", interface)
        error = await refused(it.call(ROUTE_PATH, OBJECT_MANAGER, "GetManagedObjects"))
        assert error.name == "org.freedesktop.DBus.Error.UnknownInterface"


async def test_get_status_tells_everything(bus: str) -> None:
    async with stage(bus) as it:
        status = await it.manager("GetStatus", "a{sv}", {})
        assert status["version"] == "1.2.3"
        assert [route["route"] for route in status["routes"]] == ["studio-a", "empty"]
        assert status["routes"][1]["outputs"] == []
        assert status["diagnostics"][0]["line"] == 3
        output = status["routes"][0]["outputs"][1]
        assert output["state"] == "backoff"
        one = await it.manager("GetStatus", "a{sv}", {"address": Variant("s", "studio-a/1st_rack")})
        assert one == output
        assert {"route", "output", "state", "cause", "unit", "pid"} <= one.keys()
        route = await it.manager("GetStatus", "a{sv}", {"address": Variant("s", "studio-a")})
        assert route == status["routes"][0]
        for wrong in ("nowhere", "studio-a/nowhere"):
            error = await refused(it.manager("GetStatus", "a{sv}", {"address": Variant("s", wrong)}))
            assert error.name == "org.streamd1.Error.NotFound"
            assert wrong in error.text


@pytest.mark.parametrize("verb", ["Start", "Stop", "Restart"])
async def test_verbs_reach_the_control(bus: str, verb: str) -> None:
    no_block = {"no-block": Variant("b", True)}
    async with stage(bus) as it:
        await it.manager(f"{verb}Output", "sa{sv}", "studio-a/youtube", {})
        await it.manager(f"{verb}Route", "sa{sv}", "studio-a", no_block)
        await it.call(OUTPUT_PATH, "org.streamd1.Output", verb, "a{sv}", no_block)
        await it.call(ROUTE_PATH, "org.streamd1.Route", verb, "a{sv}", {"no-block": Variant("b", False)})
        assert it.control.asked == [
            (verb.lower(), "studio-a/youtube", True),
            (verb.lower(), "studio-a", False),
            (verb.lower(), "studio-a/1st_rack", False),
            (verb.lower(), "studio-a", True),
        ]
        for member, address, name in (
            (f"{verb}Output", "studio-a/nowhere", "org.streamd1.Error.NotFound"),
            (f"{verb}Route", "nowhere", "org.streamd1.Error.NotFound"),
            (f"{verb}Output", "studio-a", "org.freedesktop.DBus.Error.InvalidArgs"),
            (f"{verb}Route", "studio-a/youtube", "org.freedesktop.DBus.Error.InvalidArgs"),
            (f"{verb}Output", "../../" * 1000, "org.streamd1.Error.NotFound"),
            (f"{verb}Route", "", "org.streamd1.Error.NotFound"),
        ):
            error = await refused(it.manager(member, "sa{sv}", address, {}))
            assert error.name == name
            assert len(error.text) < 250
        assert len(it.control.asked) == 4


async def test_reload_and_plan(bus: str) -> None:
    async with stage(bus) as it:
        result = await it.manager("Reload", "a{sv}", {})
        assert (result["routes"], result["outputs"], len(result["diagnostics"])) == (2, 2, 1)
        assert await it.manager("Plan", "a{sv}", {}) == [
            {"action": "keep", "address": "studio-a", "unit": "u", "reason": "nothing changed"}
        ]
        assert it.control.asked == [("reload",), ("plan",)]


async def test_what_a_change_would_do_is_told_without_making_it(bus: str) -> None:
    async with stage(bus) as it:
        keys = {"input": Variant("a{sv}", {"url": Variant("s", "test:")})}
        steps = await it.manager("PlanChange", "ssa{sv}a{sv}", "add", "c", keys, {})
        assert steps == [{"action": "keep", "address": "studio-a", "unit": "u", "reason": "nothing changed"}]
        remove = {"remove": Variant("as", ["ttl"])}
        await it.manager("PlanChange", "ssa{sv}a{sv}", "update", "studio-a/youtube", {"url": Variant("s", "x")}, remove)
        await it.manager("PlanChange", "ssa{sv}a{sv}", "remove", "studio-a/youtube", {}, {})
        await it.manager("PlanChange", "ssa{sv}a{sv}", "disable", "studio-a", {}, {})
        assert it.control.asked == [
            ("plan_change", AddRoute("c", {"input": {"url": "test:"}})),
            ("plan_change", UpdateOutput("studio-a", "youtube", {"url": "x", "ttl": None})),
            ("plan_change", RemoveOutput("studio-a", "youtube")),
            ("plan_change", DisableRoute("studio-a")),
        ]
        for verb, given, options in (("rm", {}, {}), ("enable", keys, {}), ("add", {}, remove)):
            with pytest.raises(BusError) as found:
                await it.manager("PlanChange", "ssa{sv}a{sv}", verb, "c", given, options)
            assert found.value.name.endswith("InvalidArgs")


async def test_what_a_file_would_do_is_told_without_writing_it(bus: str) -> None:
    async with stage(bus) as it:
        path = "/etc/streamd/conf.d/studio-a.toml"
        steps = await it.manager("PlanFile", "ssa{sv}", path, "[input]", {})
        assert steps == [{"action": "keep", "address": "studio-a", "unit": "u", "reason": "nothing changed"}]
        assert it.control.asked == [("plan_file", path, "[input]")]
        with pytest.raises(BusError, match="64 KiB"):
            await it.manager("PlanFile", "ssa{sv}", path, "#" * 65537, {})


async def test_the_log_of_what_there_is(bus: str) -> None:
    async with stage(bus) as it:
        assert await it.manager("Log", "sa{sv}", "studio-a/youtube", {}) == [
            {"time": 1, "priority": 3, "text": "refused"}
        ]
        await it.manager("Log", "sa{sv}", "studio-a", {"lines": Variant("u", 1000)})
        assert it.control.asked == [("log", "studio-a/youtube", 20), ("log", "studio-a", 1000)]
        for address, lines, name in (("none", 1, "NotFound"), ("studio-a", 0, "InvalidArgs")):
            with pytest.raises(BusError) as found:
                await it.manager("Log", "sa{sv}", address, {"lines": Variant("u", lines)})
            assert found.value.name.endswith(name)


async def test_check_tells_what_is_wrong_with_a_text(bus: str) -> None:
    good = '[input]\nurl = "udp://0.0.0.0:5000"\n'
    async with stage(bus) as it:
        assert await it.manager("Check", "sa{sv}", good, {}) == []
        (found,) = await it.manager("Check", "sa{sv}", good + "ttl = 1\n", {"name": Variant("s", "studio-a")})
        assert (found["path"], found["line"], found["text"]) == ("studio-a.toml", 3, "ttl = 1")
        (found,) = await it.manager("Check", "sa{sv}", '[input]\nurl = "', {})
        assert found["path"] == "route.toml"
        for name in ("../etc/passwd", "", "a\nb", "x" * 1000):
            error = await refused(it.manager("Check", "sa{sv}", good, {"name": Variant("s", name)}))
            assert error.name == "org.freedesktop.DBus.Error.InvalidArgs"
        for size in (65537, 1 << 18):
            error = await refused(it.manager("Check", "sa{sv}", "#" * size, {}))
            assert error.name == "org.freedesktop.DBus.Error.LimitsExceeded"
        many = await it.manager("Check", "sa{sv}", "".join(f"k{n} = 1\n" for n in range(300)), {})
        assert len(many) == 100
        assert not it.control.asked


async def test_a_long_check_holds_up_nobody(bus: str) -> None:
    held, release = threading.Event(), threading.Event()

    def hold(path: str, text: str) -> tuple[()]:
        del path, text
        held.set()
        assert release.wait(20)
        return ()

    async with stage(bus) as it:
        it.service._check_text = hold
        checks = [asyncio.ensure_future(it.manager("Check", "sa{sv}", "", {})) for _ in range(3)]
        await asyncio.to_thread(held.wait, 20)
        await it.manager("GetStatus", "a{sv}", {})
        release.set()
        assert await asyncio.gather(*checks) == [[], [], []]


async def test_many_plans_at_once_are_few(bus: str) -> None:
    async with stage(bus) as it:
        it.control.hold = asyncio.Event()
        first = asyncio.ensure_future(it.manager("Plan", "a{sv}", {}))
        await it.control.reached.wait()
        rest = [asyncio.ensure_future(it.manager("Plan", "a{sv}", {})) for _ in range(20)]
        await asyncio.sleep(0)  # they are sent, and the ping of settle() after them
        await it.settle()
        it.control.hold.set()
        await asyncio.gather(first, *rest)
        assert it.control.asked == [("plan",), ("plan",)]


async def test_errors_have_names_and_sentences(bus: str) -> None:
    async with stage(bus) as it:
        for raised, name, text in (
            (BusyError("systemd does not answer"), "org.streamd1.Error.Busy", "systemd does not answer"),
            (DisabledError("it is disabled"), "org.streamd1.Error.Disabled", "it is disabled"),
            (ValueError("secret detail"), "org.streamd1.Error.Failed", "journal"),
            (RecursionError(), "org.streamd1.Error.Failed", "journal"),
            (BusyError("a\0b\udcff"), "org.streamd1.Error.Busy", "a\ufffdb?"),
        ):
            it.control.error = raised
            error = await refused(it.manager("Reload", "a{sv}", {}))
            assert error.name == name
            assert text in error.text
            assert "secret detail" not in error.text


async def test_unknown_options_are_refused_by_name(bus: str) -> None:
    async with stage(bus) as it:
        for member, signature, *body in (
            ("Reload", "a{sv}"),
            ("Plan", "a{sv}"),
            ("GetStatus", "a{sv}"),
            ("StartOutput", "sa{sv}", "studio-a/youtube"),
        ):
            error = await refused(it.manager(member, signature, *body, {"no-blok": Variant("b", True)}))
            assert error.name == "org.freedesktop.DBus.Error.InvalidArgs"
            assert '"no-blok"' in error.text
        assert 'did you mean "no-block"' in error.text
        wrong_type = {"no-block": Variant("s", "yes")}
        error = await refused(it.manager("StartOutput", "sa{sv}", "studio-a/youtube", wrong_type))
        assert "must be of type b" in error.text
        assert not it.control.asked


@pytest.mark.parametrize(
    ("path", "interface", "member", "signature", "body", "name"),
    [
        (ROOT, MANAGER, "Nothing", "", [], "UnknownMethod"),
        (ROOT, "org.streamd1.Nothing", "Reload", "", [], "UnknownInterface"),
        ("/org/streamd1/route/nowhere", "org.streamd1.Route", "Start", "a{sv}", [{}], "UnknownObject"),
        ("/elsewhere", MANAGER, "Reload", "a{sv}", [{}], "UnknownObject"),
        (ROOT, MANAGER, "Reload", "", [], "InvalidArgs"),
        (ROOT, MANAGER, "Reload", "s", ["x"], "InvalidArgs"),
        (ROOT, MANAGER, "StartOutput", "a{sv}s", [{}, "studio-a/youtube"], "InvalidArgs"),
        (ROOT, MANAGER, "StartOutput", "sa{sv}", ["x" * 300_000, {}], "LimitsExceeded"),
        (ROOT, PROPERTIES, "Get", "ss", [MANAGER, "Nothing"], "UnknownProperty"),
        (ROOT, PROPERTIES, "Get", "ss", ["org.streamd1.Nothing", "Version"], "UnknownInterface"),
        (ROOT, PROPERTIES, "GetAll", "s", ["org.streamd1.Route"], "UnknownInterface"),
        ("/org/streamd1/route", PROPERTIES, "GetAll", "s", [""], "UnknownInterface"),
        (ROOT, PROPERTIES, "Set", "ssv", [MANAGER, "Version", Variant("s", "x")], "PropertyReadOnly"),
        (ROOT, PROPERTIES, "Set", "ssv", [MANAGER, "Nothing", Variant("s", "x")], "UnknownProperty"),
    ],
)
async def test_wrong_calls_get_the_standard_errors(  # noqa: PLR0917
    bus: str, path: str, interface: str, member: str, signature: str, body: list[object], name: str
) -> None:
    async with stage(bus) as it:
        error = await refused(it.call(path, interface, member, signature, *body))
        assert error.name == f"org.freedesktop.DBus.Error.{name}"
        assert not it.control.asked


async def test_peer_answers(bus: str) -> None:
    async with stage(bus) as it:
        for path in (ROOT, OUTPUT_PATH, "/org", "/wherever"):
            await it.call(path, "org.freedesktop.DBus.Peer", "Ping")
        assert (await it.call(ROOT, PROPERTIES, "GetAll", "s", "")).keys() == interfaces()[MANAGER].properties.keys()
        assert await it.call(ROOT, PROPERTIES, "GetAll", "s", "org.freedesktop.DBus.Peer") == {}


async def test_signals_tell_what_changed(bus: str) -> None:
    async with stage(bus) as it:
        heard = await listen(it)
        running = a_route("studio-a", an_output("studio-a", "youtube"), an_output("studio-a", "1st_rack"))
        it.publish_routes(running, a_route("empty"))
        await it.settle()
        assert heard == [
            (ROUTE_PATH, "PropertiesChanged", ["org.streamd1.Route", {"Overall": "running"}, []]),
            (OUTPUT_PATH, "PropertiesChanged", ["org.streamd1.Output", {"State": "running", "Cause": ""}, []]),
            (ROOT, "PropertiesChanged", [MANAGER, {"Running": 2, "Failing": 0}, []]),
            (ROOT, "StateChanged", ["studio-a/1st_rack", "backoff", "running", ""]),
        ]
        heard.clear()
        it.publish_routes(running, a_route("empty"))
        await it.settle()
        assert heard == []

        it.publish_routes(a_route("studio-a", an_output("studio-a", "youtube")), a_route("new", an_output("new", "x")))
        await it.settle()
        assert [(path, member, body[0]) for path, member, body in heard] == [
            (ROOT, "InterfacesRemoved", OUTPUT_PATH),
            (ROOT, "InterfacesRemoved", "/org/streamd1/route/empty"),
            (ROOT, "InterfacesAdded", "/org/streamd1/route/new"),
            (ROOT, "InterfacesAdded", "/org/streamd1/output/new/x"),
            (ROUTE_PATH, "PropertiesChanged", "org.streamd1.Route"),
        ]
        assert heard[0][2] == [OUTPUT_PATH, ["org.streamd1.Output"]]
        properties = await it.call("/org/streamd1/output/new/x", PROPERTIES, "GetAll", "s", "org.streamd1.Output")
        assert heard[3][2][1] == {"org.streamd1.Output": properties}
        assert heard[4][2][1] == {"Outputs": ["/org/streamd1/output/studio_2da/youtube"]}
        error = await refused(it.call(OUTPUT_PATH, PROPERTIES, "GetAll", "s", "org.streamd1.Output"))
        assert error.name == "org.freedesktop.DBus.Error.UnknownObject"


async def test_who_listened_and_who_asks_late_see_the_same(bus: str) -> None:
    async with stage(bus) as it:
        known = await it.call(ROOT, OBJECT_MANAGER, "GetManagedObjects")

        def follow(message: Message) -> None:
            body = unpack(message.body)
            if message.member == "InterfacesAdded":
                known[body[0]] = body[1]
            elif message.member == "InterfacesRemoved":
                del known[body[0]]
            elif message.member == "PropertiesChanged" and message.path in known:
                known[message.path][body[0]].update(body[1])

        await it.client.subscribe("type='signal',sender='org.streamd1'", follow)
        states = list(State)
        for step in range(60):
            routes = [
                a_route(f"r{n}", *(an_output(f"r{n}", f"o{m}", states[(step + n + m) % 8]) for m in range(step % 5)))
                for n in range(step % 7)
            ]
            it.publish_routes(*routes)
        await it.settle()
        assert known == await it.call(ROOT, OBJECT_MANAGER, "GetManagedObjects")


async def listen(it: Stage) -> list[tuple[str, str, list[object]]]:
    heard: list[tuple[str, str, list[object]]] = []

    def note(message: Message) -> None:
        if message.path != "/org/freedesktop/DBus":
            heard.append((message.path, message.member, unpack(message.body)))

    await it.client.subscribe("type='signal',sender='org.streamd1'", note)
    return heard


async def test_constant_properties_do_not_emit(bus: str) -> None:
    async with stage(bus) as it:
        heard = await listen(it)
        it.publish(replace(STATUS, version="2", diagnostics=()))
        await it.settle()
        assert heard == [(ROOT, "PropertiesChanged", [MANAGER, {"Diagnostics": []}, []])]


async def test_text_that_no_bus_carries_is_made_fit(bus: str) -> None:
    async with stage(bus) as it:
        broken = replace(STATUS.diagnostics[0], path="/etc/streamd/conf.d/\udcff.toml", line_text="a\0b")
        it.publish(replace(STATUS, diagnostics=(broken,)))
        (found,) = await it.call(ROOT, PROPERTIES, "Get", "ss", MANAGER, "Diagnostics")
        assert found["path"] == "/etc/streamd/conf.d/?.toml"
        assert found["text"] == "a\ufffdb"


async def test_a_call_that_wants_no_reply_gets_none(bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(bus) as it:
        sent: list[Message] = []
        send = it.server.send
        monkeypatch.setattr(it.server, "send", lambda message: (sent.append(message), send(message))[1])
        for member in ("Reload", "Plan", "GetStatus", "Nothing"):
            it.client.send_call("org.streamd1", ROOT, MANAGER, member, "a{sv}", [{}])
        await it.manager("Plan", "a{sv}", {})
        await it.control.reached.wait()
        replies = [message for message in sent if message.destination == it.client.unique_name]
        assert len(replies) == 1


async def test_a_call_without_interface_finds_its_method(bus: str) -> None:
    async with stage(bus) as it:
        client = it.client
        message = Message(destination="org.streamd1", path=ROOT, member="Plan", signature="a{sv}", body=[{}])
        reply = await client._exchange(message)
        assert unpack(reply.body)[0][0]["action"] == "keep"
        assert not message.flags & MessageFlag.NO_REPLY_EXPECTED


@pytest.mark.parametrize(
    ("path", "signature", "body"),
    [(ROOT, "s", ["\ud800"]), (ROOT, "t", [1 << 64]), (ROOT, "s", []), (ROOT, "s(", []), ("no path", "", [])],
)
async def test_a_call_that_cannot_be_sent_is_an_error_of_its_own(
    bus: str, path: str, signature: str, body: list[object]
) -> None:
    connection = await connect_system_bus(bus)
    error = await refused(connection.call("org.streamd1", path, MANAGER, "Plan", signature, body))
    assert error.name == "org.freedesktop.DBus.Error.InvalidArgs"
    await connection.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.Peer", "Ping")
    await connection.close()


async def test_the_name_has_one_owner(bus: str) -> None:
    async with stage(bus):
        second = await connect_system_bus(bus)
        service = Service(second, FakeControl())
        with pytest.raises(NameTakenError):
            await service.open()
        await service.close()
        await second.close()

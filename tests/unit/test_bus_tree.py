"""Objects and what changed between two statuses; pure."""

from __future__ import annotations

import pytest

from streamd.bus.names import MANAGER, escape, output_path
from streamd.bus.schema import Access, interfaces
from streamd.bus.tree import MOVING, Added, Builder, Changed, Removed, addresses, build, changes
from streamd.plan.status import OutputStatus, RouteStatus, State, Status, UnitStatus


def a_status(**outputs: State) -> Status:
    made = tuple(
        OutputStatus(
            route="a",
            name=name,
            kind="udp",
            url="udp://192.0.2.1:1",
            enabled=True,
            state=state,
            cause="",
            since=0,
            unit=UnitStatus(unit="u"),
        )
        for name, state in outputs.items()
    )
    route = RouteStatus(
        name="a",
        path="/p",
        enabled=True,
        relay="direct",
        input_kind="udp",
        input_url="udp://0.0.0.0:5000",
        group="",
        broken=False,
        state=State.RUNNING,
        cause="",
        since=0,
        unit=UnitStatus(unit="u"),
        outputs=made,
    )
    return Status(version="1", routes=(route,))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("studio-a", "studio_2da"),
        ("a_b", "a_5fb"),
        ("1st", "_31st"),
        ("a1", "a1"),
        ("", "_"),
        ("\u00e9", "_c3_a9"),
        ("\u0661", "_d9_a1"),
    ],
)
def test_names_are_escaped_as_systemd_does(name: str, path: str) -> None:
    assert escape(name) == path


def test_nothing_changed() -> None:
    assert not list(changes(build(a_status(x=State.RUNNING)), build(a_status(x=State.RUNNING))))


def test_what_did_not_change_is_not_made_anew() -> None:
    builder = Builder()
    old = builder.build(a_status(x=State.RUNNING, y=State.RUNNING))
    new = builder.build(a_status(x=State.RUNNING, y=State.FAILED))
    same = [path for path in new if new[path] is old[path]]
    assert same == [output_path("a", "x")]
    assert new == build(a_status(x=State.RUNNING, y=State.FAILED))
    assert list(new) == list(old)


def test_changes_come_in_order() -> None:
    old, new = build(a_status(x=State.RUNNING, y=State.RUNNING)), build(a_status(y=State.FAILED, z=State.STOPPED))
    assert list(changes(old, new)) == [
        Removed(output_path("a", "x"), ("org.streamd1.Output",)),
        Added(output_path("a", "z")),
        Changed("/org/streamd1/route/a", "org.streamd1.Route", ("Overall", "Outputs")),
        Changed(output_path("a", "y"), "org.streamd1.Output", ("State",)),
        Changed("/org/streamd1", "org.streamd1.Manager", ("Running", "Failing")),
    ]


def test_a_new_count_comes_last() -> None:
    found = list(changes(build(a_status()), build(a_status(x=State.RUNNING))))
    assert found[-1] == Changed("/org/streamd1", "org.streamd1.Manager", ("Outputs", "Running"))


def test_addresses() -> None:
    assert addresses(a_status(x=State.RUNNING)) == {"/org/streamd1/route/a": "a", "/org/streamd1/output/a/x": "a/x"}


def test_objects_have_exactly_the_properties_of_the_xml() -> None:
    for found in build(a_status(x=State.RUNNING)).values():
        for name, properties in found.items():
            moving = () if name == MANAGER else MOVING
            assert [*properties, *moving] == list(interfaces()[name].properties)


def test_a_method_without_annotation_is_locked() -> None:
    import xml.etree.ElementTree as ET

    from streamd.bus.schema import _method

    assert _method(ET.fromstring('<method name="X"/>')).access is Access.CONFIGURE
    with pytest.raises(ValueError, match="everybody"):
        _method(ET.fromstring('<method name="X"><annotation name="org.streamd1.Action" value="everybody"/></method>'))


def test_every_element_of_the_xml_is_commented() -> None:
    import re
    from importlib import resources

    for name in ("Manager", "Route", "Output"):
        text = resources.files("streamd.bus").joinpath(f"org.streamd1.{name}.xml").read_text()
        for kind, member in re.findall(r'<(method|property) name="(\w+)"', text):
            before = text[: text.index(f'<{kind} name="{member}"')].rstrip()
            assert before.endswith("-->"), member
            assert before[before.rindex("<!--") :].removeprefix("<!--").strip().startswith(f"{member}: "), member

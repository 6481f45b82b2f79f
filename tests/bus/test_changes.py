"""The methods that change the configuration: what is sent arrives as a change, what is refused as an error."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.bus.client import translate
from streamd.bus.connection import BusError, Variant
from streamd.bus.control import ByHandError, ExistsError, InvalidConfigurationError
from streamd.bus.names import OUTPUT, ROUTE
from streamd.bus.values import pack_table
from streamd.route.change import (
    AddOutput,
    AddRoute,
    Change,
    DisableOutput,
    DisableRoute,
    EnableOutput,
    EnableRoute,
    RemoveOutput,
    RemoveRoute,
    UpdateOutput,
    UpdateRoute,
)
from tests.bus.stage import DIAGNOSTIC, stage

TABLE = {"url": "srt://192.0.2.1:9000", "ttl": 4, "enabled": False, "limits": {"memory": "150M"}}


@pytest.mark.parametrize(
    ("member", "signature", "body", "change"),
    [
        ("AddRoute", "sa{sv}a{sv}", ["a", pack_table({"input": TABLE}), {}], AddRoute("a", {"input": TABLE})),
        ("RemoveRoute", "sa{sv}", ["a", {}], RemoveRoute("a")),
        ("AddOutput", "sa{sv}a{sv}", ["a/x", pack_table(TABLE), {}], AddOutput("a", "x", TABLE)),
        (
            "UpdateOutput",
            "sa{sv}a{sv}",
            ["a/x", pack_table({"ttl": 5}), {"remove": Variant("as", ["limits"])}],
            UpdateOutput("a", "x", {"ttl": 5, "limits": None}),
        ),
        (
            "UpdateRoute",
            "sa{sv}a{sv}",
            [
                "a",
                pack_table({"description": "A", "input": {"url": "test:"}}),
                {"remove": Variant("as", ["enabled", "input.latency"])},
            ],
            UpdateRoute("a", {"description": "A", "input": {"url": "test:", "latency": None}, "enabled": None}),
        ),
        (
            "UpdateRoute",
            "sa{sv}a{sv}",
            ["a", {}, {"remove": Variant("as", ["input.mode"])}],
            UpdateRoute("a", {"input": {"mode": None}}),
        ),
        ("EnableRoute", "sa{sv}", ["a", {}], EnableRoute("a")),
        ("DisableRoute", "sa{sv}", ["a", {}], DisableRoute("a")),
        ("RemoveOutput", "sa{sv}", ["a/x", {}], RemoveOutput("a", "x")),
        ("EnableOutput", "sa{sv}", ["a/x", {}], EnableOutput("a", "x")),
        ("DisableOutput", "sa{sv}", ["a/x", {}], DisableOutput("a", "x")),
    ],
)
async def test_a_change_arrives_as_it_was_sent(
    bus: str, member: str, signature: str, body: list[Any], change: Change
) -> None:
    async with stage(bus) as it:
        await it.manager(member, signature, *body)
        assert it.control.asked == [("change", change)]


@pytest.mark.parametrize(
    ("called", "body", "change"),
    [
        (
            ("/org/streamd1/route/empty", ROUTE, "Update", "a{sv}a{sv}"),
            [pack_table({"description": "E"}), {"remove": Variant("as", ["input.mode"])}],
            UpdateRoute("empty", {"description": "E", "input": {"mode": None}}),
        ),
        (("/org/streamd1/route/empty", ROUTE, "Enable", "a{sv}"), [{}], EnableRoute("empty")),
        (("/org/streamd1/route/studio_2da", ROUTE, "Disable", "a{sv}"), [{}], DisableRoute("studio-a")),
        (
            ("/org/streamd1/output/studio_2da/_31st_5frack", OUTPUT, "Update", "a{sv}a{sv}"),
            [pack_table({"ttl": 5}), {}],
            UpdateOutput("studio-a", "1st_rack", {"ttl": 5}),
        ),
        (
            ("/org/streamd1/output/studio_2da/youtube", OUTPUT, "Enable", "a{sv}"),
            [{}],
            EnableOutput("studio-a", "youtube"),
        ),
        (
            ("/org/streamd1/output/studio_2da/youtube", OUTPUT, "Disable", "a{sv}"),
            [{}],
            DisableOutput("studio-a", "youtube"),
        ),
    ],
)
async def test_objects_are_changed_by_their_own_methods(
    bus: str, called: tuple[str, str, str, str], body: list[Any], change: Change
) -> None:
    async with stage(bus) as it:
        await it.call(*called, *body)
        assert it.control.asked == [("change", change)]


async def test_a_secret_goes_in_and_no_answer_has_it(bus: str) -> None:
    async with stage(bus) as it:
        answer = await it.manager("SetCredential", "ssa{sv}", "venue", "correct-horse", {})
        assert not answer
        assert it.control.asked == [("set_credential", "venue", 13)]


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ExistsError("there is one"), "AlreadyExists"),
        (ByHandError("remove /etc/streamd/conf.d/a.toml by hand"), "WrittenByHand"),
        (InvalidConfigurationError("a.toml:1:1: input.url: no"), "InvalidConfiguration"),
    ],
)
async def test_a_refusal_has_a_name_and_a_sentence(bus: str, error: Exception, name: str) -> None:
    async with stage(bus) as it:
        it.control.error = error
        with pytest.raises(BusError) as caught:
            await it.manager("RemoveRoute", "sa{sv}", "a", {})
        assert (caught.value.name, caught.value.text) == (f"org.streamd1.Error.{name}", str(error))


async def test_a_refusal_carries_its_diagnostics(bus: str) -> None:
    async with stage(bus) as it:
        it.control.error = InvalidConfigurationError("route b would not be valid", (DIAGNOSTIC,))
        with pytest.raises(BusError) as caught:
            await it.manager("RemoveRoute", "sa{sv}", "b", {})
        assert caught.value.text == "route b would not be valid"
        found = translate(caught.value)
        assert (found.name, [each["message"] for each in found.diagnostics]) == ("InvalidConfiguration", ["is wrong"])


@pytest.mark.parametrize("address", ["a", "a/b/c", ""])
async def test_an_output_has_to_be_addressed_as_one(bus: str, address: str) -> None:
    async with stage(bus) as it:
        with pytest.raises(BusError, match="ROUTE/OUTPUT"):
            await it.manager("RemoveOutput", "sa{sv}", address, {})
        assert not it.control.asked


async def test_a_key_cannot_be_set_and_removed(bus: str) -> None:
    async with stage(bus) as it:
        options = {"remove": Variant("as", ["ttl"])}
        with pytest.raises(BusError, match="ttl"):
            await it.manager("UpdateOutput", "sa{sv}a{sv}", "a/x", pack_table({"ttl": 5}), options)
        options = {"remove": Variant("as", ["input.url"])}
        for keys in ({"input": {"url": "test:"}}, {"input": "test:"}):
            with pytest.raises(BusError, match="input"):
                await it.manager("UpdateRoute", "sa{sv}a{sv}", "a", pack_table(keys), options)
        assert not it.control.asked

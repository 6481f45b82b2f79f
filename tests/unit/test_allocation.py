"""Relay groups and automatic ports are chosen once and kept."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from streamd.plan.allocation import PROGRESS_NETWORK, Allocation, allocate
from streamd.route.model import Settings
from tests.unit.make import route, udp_output

NOTHING = Allocation()


def test_the_same_name_gets_the_same_group_even_without_a_memory() -> None:
    first = allocate(NOTHING, [route("a"), route("b")], Settings(), ())
    again = allocate(NOTHING, [route("b")], Settings(), ())
    assert first.groups["b"] == again.groups["b"]


def test_an_automatic_port_is_kept_while_it_is_in_use_by_its_own_ingest() -> None:
    first = allocate(NOTHING, [route("a", port=None)], Settings(), ())
    again = allocate(first, [route("a", port=None)], Settings(), {first.ports["a"]})
    assert again.ports == first.ports


def test_an_automatic_port_is_never_one_in_use_nor_one_that_a_file_names() -> None:
    settings = Settings(input_ports=(5000, 5003))
    made = allocate(NOTHING, [route("a", port=None), route("b", port=5001)], settings, {5000})
    assert made.ports["a"] == 5002


def test_a_file_that_names_an_automatic_port_gets_it_and_the_other_moves() -> None:
    settings = Settings(input_ports=(5000, 5003))
    first = allocate(NOTHING, [route("a", port=None)], settings, ())
    again = allocate(first, [route("a", port=None), route("b", port=first.ports["a"])], settings, ())
    assert again.ports["a"] != first.ports["a"]


def test_a_full_range_leaves_the_last_without_a_port() -> None:
    settings = Settings(input_ports=(5000, 5001))
    made = allocate(NOTHING, [route(name, port=None) for name in "abc"], settings, ())
    assert sorted(made.ports) == ["a", "b"]


def test_a_port_of_a_route_that_is_gone_is_given_away_last() -> None:
    settings = Settings(input_ports=(5000, 5001))
    first = allocate(NOTHING, [route("a", port=None)], settings, ())
    second = allocate(first, [route("b", port=None)], settings, ())
    assert second.ports == {"a": 5000, "b": 5001}
    third = allocate(second, [route("b", port=None), route("c", port=None)], settings, ())
    assert third.ports == {"b": 5001, "c": 5000}


def test_a_route_that_returns_gets_its_port_again_unless_somebody_else_has_it() -> None:
    first = allocate(NOTHING, [route("a", port=None)], Settings(), ())
    free = allocate(first, [route("a", port=None)], Settings(), (), returning=("a",))
    assert free.ports == first.ports
    taken = allocate(first, [route("a", port=None)], Settings(), {first.ports["a"]}, returning=("a",))
    assert taken.ports["a"] != first.ports["a"]


def test_a_new_range_of_groups_moves_everybody_into_it() -> None:
    first = allocate(NOTHING, [route("a")], Settings(), ())
    moved = allocate(first, [route("a")], Settings(relay_groups="239.192.7.0/24"), ())
    assert moved.groups["a"].startswith("239.192.7.")


names = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), unique=True, max_size=30)


@given(names=names, later=names, in_use=st.sets(st.integers(5000, 5010)))
def test_nobody_shares_and_nobody_moves(names: list[str], later: list[str], in_use: set[int]) -> None:
    settings = Settings(input_ports=(5000, 5040), relay_groups="239.255.0.0/27")
    first = allocate(NOTHING, [route(name, port=None) for name in names], settings, in_use)
    second = allocate(first, [route(name, port=None) for name in later], settings, in_use)
    for made in (first, second):
        assert len(set(made.groups.values())) == len(made.groups)
        assert len(set(made.ports.values())) == len(made.ports)
        assert not in_use & set(made.ports.values())
    for name in set(names) & set(later):
        assert second.groups[name] == first.groups[name]
        assert second.ports.get(name) == first.ports.get(name)


def test_every_unit_has_a_channel_of_its_own_and_keeps_it() -> None:
    routes = [route(f"r{number}", *(udp_output(f"o{index}") for index in range(20))) for number in range(101)]
    first = allocate(NOTHING, routes, Settings(), ())
    assert len(first.channels) == len(set(first.channels.values())) == 101 * 21
    assert all(IPv4Address(address) in PROGRESS_NETWORK for address in first.channels.values())
    away = allocate(first, routes[:1], Settings(), ())
    more = allocate(away, [routes[0], route("another", udp_output("x"))], Settings(), ())
    again = allocate(more, routes, Settings(), ())
    assert {name: again.channels[name] for name in first.channels} == first.channels


def test_names_that_are_away_are_not_remembered_without_end() -> None:
    many = Allocation(channels={f"gone/{number}": f"127.65.{number // 250}.{number % 250}" for number in range(10_100)})
    assert allocate(many, [route("a")], Settings(), ()).channels.keys() == {"a"}

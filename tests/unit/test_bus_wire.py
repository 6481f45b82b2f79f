"""What is marshalled here is, byte for byte, what a D-Bus library makes of the same values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("dbus_next")

from streamd.bus.connection import Variant
from streamd.bus.values import clean, pack_document
from streamd.bus.wire import (
    Counters,
    Entries,
    dictionary,
    document_entries,
    documents,
    entries,
    joined,
    numbers,
    object_entry,
    properties_changed,
)

TEXT = st.one_of(st.text(max_size=8), st.sampled_from(["\ud800", "a\0b", "é\udfff"]))
SMALL = st.one_of(st.booleans(), st.integers(0, 2**64 - 1), TEXT)
DOCUMENTS = st.recursive(
    st.dictionaries(TEXT, SMALL, max_size=4),
    lambda inner: st.dictionaries(TEXT, st.one_of(SMALL, st.lists(inner, max_size=3)), max_size=4),
    max_leaves=8,
)
VALUES = st.dictionaries(
    TEXT,
    st.one_of(
        st.tuples(st.just("s"), TEXT),
        st.tuples(st.just("b"), st.booleans()),
        st.tuples(st.just("u"), st.integers(0, 2**32 - 1)),
        st.tuples(st.just("t"), st.integers(0, 2**64 - 1)),
        st.tuples(st.just("ao"), st.lists(st.sampled_from(["/", "/a", "/org/x_2d"]), max_size=3)),
        st.tuples(st.just("as"), st.lists(TEXT, max_size=3)),
    ),
    max_size=6,
)


def reference(signature: str, value: Any) -> bytes:
    from dbus_next._private.marshaller import Marshaller

    return bytes(Marshaller(signature, [value]).marshall())


def cleaned(document: dict[str, Any]) -> dict[str, Any]:
    return {
        clean(key): [cleaned(item) for item in value] if isinstance(value, list) else clean(value)
        for key, value in document.items()
    }


def size(document: dict[str, Any]) -> int:
    """Return how many keys there are at all depths; fewer after cleaning where two became one."""
    lists = (value for value in document.values() if isinstance(value, list))
    return len(document) + sum(size(item) for items in lists for item in items)


def nested(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document in which every inner one is marshalled already."""
    return {
        key: [document_entries(nested(item)) for item in value] if isinstance(value, list) else value
        for key, value in document.items()
    }


@given(DOCUMENTS)
@settings(deadline=None, max_examples=60)
def test_documents(document: dict[str, Any]) -> None:
    assume(size(cleaned(document)) == size(document))
    wanted = reference("a{sv}", pack_document(cleaned(document)))
    assert dictionary(document_entries(document)) == wanted
    assert dictionary(document_entries(nested(document))) == wanted


@given(st.lists(DOCUMENTS, max_size=4))
@settings(deadline=None, max_examples=60)
def test_lists_of_documents(many: list[dict[str, Any]]) -> None:
    many = [cleaned(one) for one in many]
    assert documents([document_entries(one) for one in many]) == reference("aa{sv}", [pack_document(it) for it in many])


@given(
    st.lists(
        st.tuples(st.sampled_from(["/a", "/ab", "/abc/d"]), VALUES, VALUES), max_size=4, unique_by=lambda it: it[0]
    )
)
@settings(deadline=None, max_examples=60)
def test_objects(objects: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
    def packed(values: dict[str, Any]) -> dict[str, Variant]:
        return {clean(key): Variant(signature, clean(value)) for key, (signature, value) in values.items()}

    if any(len(packed(values)) != len(values) for it in objects for values in it[1:]):
        return
    found = [object_entry(path, {"x.One": entries(one), "x.Two2": entries(two)}) for path, one, two in objects]
    wanted = {path: {"x.One": packed(one), "x.Two2": packed(two)} for path, one, two in objects}
    assert dictionary(joined(found)) == reference("a{oa{sa{sv}}}", wanted)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="type i"):
        entries({"x": ("i", 1)})
    assert entries({}) == Entries(b"")
    assert dictionary(joined([])) == reference("a{sv}", {})


@given(VALUES)
@settings(deadline=None, max_examples=60)
def test_signals(values: dict[str, Any]) -> None:
    from dbus_next._private.marshaller import Marshaller

    packed = {clean(key): Variant(signature, clean(value)) for key, (signature, value) in values.items()}
    if len(packed) == len(values):
        body = Marshaller("sa{sv}as", ["org.x", packed, []]).marshall()
        assert properties_changed("org.x", entries(values)) == bytes(body)
        body = Marshaller("oa{sa{sv}}", ["/x", {"org.x": packed}]).marshall()
        assert object_entry("/x", {"org.x": entries(values)}) == bytes(body)


@given(
    st.dictionaries(
        st.sampled_from(["a", "bb", "ccc", "dddd", "eeeeeeee"]),
        st.one_of(st.integers(0, 2**64 - 1), st.floats(allow_nan=False)),
    )
)
def test_numbers_are_a_document(values: dict[str, float]) -> None:
    assert numbers(values) == document_entries(values)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), TEXT)
def test_counters_are_put_in_where_they_were(old: int, new: int, text: str) -> None:
    counters = Counters({"one": "t", "other": "t"})

    def made(value: int) -> bytes:
        kept = entries({"key": ("s", text)})
        return object_entry("/a", {"i": Entries(joined((kept, counters.entries({"one": value, "other": 7}))))})

    changed = bytearray(made(old))
    counters.put(changed, {"one": new}, len(changed))
    assert changed == made(new)

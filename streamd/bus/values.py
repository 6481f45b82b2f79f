"""Python values to D-Bus values and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamd.bus.connection import Variant


def clean(value: Any) -> Any:  # noqa: ANN401 (any value that can be sent)
    """Return a value with every text in it fit for D-Bus.

    File names and broken files bring NUL and lone surrogates. The bus disconnects whoever sends them.
    """
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return str(value)
        return value.encode("utf-8", "replace").decode("utf-8", "replace").replace("\0", "\ufffd")
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def pack(signature: str, value: Any) -> Variant:  # noqa: ANN401
    """Return a value as a variant of the given signature; Documents in it are packed."""
    if signature == "aa{sv}":
        return Variant(signature, [pack_document(item) for item in value])
    return Variant(signature, clean(value))


def pack_document(document: Mapping[str, Any]) -> dict[str, Variant]:
    """Return a Document as a{sv}: str is s, bool is b, int is t, float is d, a list of Documents is aa{sv}."""
    return {key: pack(_signature(value), value) for key, value in document.items()}


def _signature(value: object) -> str:
    if isinstance(value, bool):
        return "b"
    if isinstance(value, int):
        return "t"
    if isinstance(value, float):
        return "d"
    return "s" if isinstance(value, str) else "aa{sv}"


def pack_table(table: Mapping[str, Any]) -> dict[str, Variant]:
    """Return a table of a route file as a{sv}: str is s, bool is b, int is x, a list is av, a table is a{sv}."""
    return {key: _pack_value(value) for key, value in table.items()}


def _pack_value(value: Any) -> Variant:  # noqa: ANN401
    match value:
        case bool():
            return Variant("b", value)
        case int():
            return Variant("x", value)
        case list():
            return Variant("av", [_pack_value(item) for item in value])
        case dict():
            return Variant("a{sv}", pack_table(value))
    return Variant("s", clean(str(value)))


def unpack(value: Any) -> Any:  # noqa: ANN401
    """Return a received value without the variants in it."""
    if isinstance(value, Variant):
        return unpack(value.value)
    if isinstance(value, dict):
        return {key: unpack(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unpack(item) for item in value]
    return value

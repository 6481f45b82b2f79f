"""Dictionaries in D-Bus' wire format, marshalled once and joined often. Pure.

With 1,000 outputs, marshalling everything anew for whoever asks for everything would keep all others waiting. All here
is little-endian, and begins at a multiple of 8 bytes, where D-Bus puts every message's body and every entry of a
dictionary: so what is marshalled once is right wherever it is put.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from streamd.bus.values import clean

_PADDING: Final = tuple(bytes(number) for number in range(8))
_UINT32: Final = Struct("<I").pack
_UINT64: Final = Struct("<Q").pack
_DOUBLE: Final = Struct("<d").pack
_FALSE, _TRUE = _UINT32(0), _UINT32(1)
_PUT: Final = {"t": Struct("<Q").pack_into, "d": Struct("<d").pack_into}


@dataclass(frozen=True, slots=True)
class Marshalled:
    """The body of a reply, ready to be sent; it stands in for the list of return values."""

    body: bytes


class Entries(bytes):
    """The entries of one a{sv}, without the length that stands before them."""

    __slots__ = ()


def entries(values: Mapping[str, tuple[str, Any]]) -> Entries:
    """Return an a{sv}.

    Args:
        values: signature and value by key. Signatures are b, u, t, d, s, o, ao, as and aa{sv}; the value of the last is
            a list of Documents or Entries. Texts are made fit for D-Bus.
    """
    out = bytearray()
    for key, (signature, value) in values.items():
        out += _PADDING[-len(out) & 7]
        _string(out, key)
        out.append(len(signature))
        out += signature.encode("ascii")
        out.append(0)
        _value(out, signature, value)
    return Entries(out)


def document_entries(document: Mapping[str, Any]) -> Entries:
    """Return a Document as an a{sv}: str is s, bool is b, int is t, float is d, a list of Documents is aa{sv}."""
    return entries({key: (signature_of(value), value) for key, value in document.items()})


def signature_of(value: object) -> str:
    """Return the signature of a value in a Document."""
    if isinstance(value, bool):
        return "b"
    if isinstance(value, int):
        return "t"
    if isinstance(value, float):
        return "d"
    return "s" if isinstance(value, str) else "aa{sv}"


class Counters:
    """Entries of numbers that are never the same twice: marshalled once, with the numbers put in when asked for."""

    def __init__(self, signatures: Mapping[str, str]) -> None:
        """Take the signature by key, which is t or d."""
        values: dict[str, tuple[str, Any]] = {}
        template = b""
        self._places: dict[str, tuple[int, Callable[[bytearray, int, Any], None]]] = {}
        for name, signature in signatures.items():
            values[name] = (signature, 0)
            template = entries(values)
            self._places[name] = (len(template) - 8, _PUT[signature])
        self._template = template

    def entries(self, values: Mapping[str, float]) -> Entries:
        """Return an a{sv} of all keys; one without a value is 0."""
        out = bytearray(self._template)
        self.put(out, values, len(out))
        return Entries(out)

    def put(self, out: bytearray, values: Mapping[str, float], end: int) -> None:
        """Put numbers into the entries that end there; one without a value stays as it is."""
        begin = end - len(self._template)
        for name, value in values.items():
            place, put = self._places[name]
            put(out, begin + place, value)


@lru_cache(maxsize=256)
def _counters(*keys_and_types: Any) -> Counters:  # noqa: ANN401 (keys, then types of their values)
    half = len(keys_and_types) // 2
    pairs = zip(keys_and_types[:half], keys_and_types[half:], strict=True)
    return Counters({key: "d" if kind is float else "t" for key, kind in pairs})


def numbers(values: Mapping[str, float]) -> Entries:
    """Return a Document of numbers alone as an a{sv}; there are few sets of keys, and each is marshalled once."""
    return _counters(*values, *map(type, values.values())).entries(values)


def dictionary(entries: bytes) -> bytes:
    """Return what a body holds that is one a{sv}, or another dictionary with these entries."""
    return _UINT32(len(entries)) + _PADDING[4] + entries


def object_entry(path: str, interfaces: Mapping[str, Entries]) -> bytes:
    """Return one entry of a{oa{sa{sv}}}."""
    out = bytearray()
    _string(out, path)
    inner = joined(_named(name, found) for name, found in interfaces.items())
    _array(out, inner, 8)
    return bytes(out)


def properties_changed(interface: str, changed: Entries) -> bytes:
    """Return the body of PropertiesChanged, sa{sv}as: nothing is ever invalidated without its value."""
    out = bytearray()
    _string(out, interface)
    _array(out, changed, 8)
    out += _PADDING[-len(out) & 3]
    out += _FALSE
    return bytes(out)


def _named(name: str, properties: Entries) -> bytes:
    out = bytearray()
    _string(out, name)
    _array(out, properties, 8)
    return bytes(out)


def joined(parts: Iterable[bytes | bytearray | memoryview]) -> bytes:
    """Return entries one after the other, each at a multiple of 8."""
    found: list[bytes | bytearray | memoryview] = []
    for part in parts:
        found += (part, _PADDING[-len(part) & 7])
    return b"".join(found[:-1])


def documents(contents: Sequence[Entries]) -> bytes:
    """Return what a body holds that is one aa{sv}."""
    out = bytearray()
    _value(out, "aa{sv}", contents)
    return bytes(out)


def _value(out: bytearray, signature: str, value: Any) -> None:  # noqa: ANN401
    match signature:
        case "s" | "o":
            out += _PADDING[-len(out) & 3]
            _string(out, value)
        case "b":
            out += _PADDING[-len(out) & 3]
            out += _TRUE if value else _FALSE
        case "u":
            out += _PADDING[-len(out) & 3]
            out += _UINT32(value)
        case "t":
            out += _PADDING[-len(out) & 7]
            out += _UINT64(value)
        case "d":
            out += _PADDING[-len(out) & 7]
            out += _DOUBLE(value)
        case "ao" | "as":
            begin = _begin_array(out)
            for item in value:
                out += _PADDING[-len(out) & 3]
                _string(out, item)
            _end_array(out, begin)
        case "aa{sv}":
            begin = _begin_array(out)
            for item in value:
                out += _PADDING[-len(out) & 3]
                _array(out, item if isinstance(item, Entries) else document_entries(item), 8)
            _end_array(out, begin)
        case _:
            raise ValueError(f"values of type {signature} are not marshalled here")


def _string(out: bytearray, text: str) -> None:
    """Append a string at a multiple of 4, where the caller stands."""
    data = clean(text).encode()
    out += _UINT32(len(data))
    out += data
    out.append(0)


def _array(out: bytearray, content: bytes, alignment: int) -> None:
    out += _PADDING[-len(out) & 3]
    out += _UINT32(len(content))
    out += _PADDING[-len(out) & (alignment - 1)]
    out += content


def _begin_array(out: bytearray) -> int:
    """Append room for the length of an array, and return where its elements begin: they are aligned to 4."""
    out += _PADDING[-len(out) & 3]
    out += _FALSE
    return len(out)


def _end_array(out: bytearray, begin: int) -> None:
    out[begin - 4 : begin] = _UINT32(len(out) - begin)

"""The exported objects: what is at which path, introspection, properties, and the signals that tell of a change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from streamd.bus.call import CallError, quoted
from streamd.bus.connection import Connection, Variant
from streamd.bus.managed import ManagedObjects
from streamd.bus.names import INTROSPECTABLE, OBJECT_MANAGER, PEER, PROPERTIES, ROOT
from streamd.bus.schema import Interface, interfaces
from streamd.bus.tree import MOVING, Added, Changed, Removed, Tree, changes, moving_properties
from streamd.bus.values import pack
from streamd.bus.wire import Counters, Entries, dictionary, entries, joined, object_entry, properties_changed
from streamd.plan.status import Moving

_LOG: Final = logging.getLogger(__name__)
_DOCTYPE: Final = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)
_EVERYWHERE: Final = (INTROSPECTABLE, PEER)
_COUNTERS: Final = Counters(dict.fromkeys(MOVING, "t"))


class Objects:
    """All objects of one moment; `replace` leads to the next and returns what tells listeners of it.

    What an object looks like on the wire is kept until it changes, but for its counters, which are those of the last
    second in the reply with all objects.
    """

    def __init__(self, connection: Connection, meter: Callable[[str], Moving]) -> None:
        """Take the bus, and what returns the moving counters of an address."""
        self._connection = connection
        self._meter = meter
        self._addresses: dict[str, str] = {}
        self._tree: Tree = {}
        self._children: dict[str, tuple[str, ...]] = {}
        self._entries: dict[str, dict[str, Entries]] = {}
        self._managed = ManagedObjects(_COUNTERS, self._object, self._moving)

    def replace(self, tree: Tree, addresses: dict[str, str]) -> list[Callable[[], None]]:
        """Export these objects in place of the last ones; those that stand for an address have moving properties.

        Returns:
            what is to be called, in this order, to tell listeners of it.
        """
        old, self._tree = self._tree, tree
        self._addresses = addresses
        found = list(changes(old, tree))
        if any(not isinstance(change, Changed) for change in found):
            self._children = _children(tree)
        for change in found:
            self._entries.pop(change.path, None)
            if change.path != ROOT:
                self._managed.change(change.path)
        # The first objects are there before anybody can know the name.
        return [partial(self._tell, change, tree) for change in found] if old else []

    def _tell(self, change: Added | Removed | Changed, tree: Tree) -> None:
        match change:
            case Added(path):
                if path in self._tree:  # it has not gone since
                    body = self._object(path)
                    self._connection.emit_ready(ROOT, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", body)
            case Removed(path, names):
                self._connection.emit(ROOT, OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, list(names)])
            case Changed(path, interface, names):
                schema = interfaces()[interface].properties
                values = tree[path][interface]
                changed = {name: (schema[name].signature, values[name]) for name in names if schema[name].emits}
                if changed:
                    body = properties_changed(interface, entries(changed))
                    self._connection.emit_ready(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body)

    def interfaces_at(self, path: str) -> list[Interface]:
        """Return the interfaces of an object, the standard ones first; empty where there is no such path."""
        if path in self._tree:
            standard = [*_EVERYWHERE, PROPERTIES, *([OBJECT_MANAGER] if path == ROOT else [])]
            names: Iterable[str] = [*standard, *self._tree[path]]
        else:
            names = _EVERYWHERE if path in self._children else ()
        return [interfaces()[name] for name in names]

    def introspect(self, path: str) -> str:
        """Return the introspection XML of a path, those between objects included."""
        parts = [_DOCTYPE, "<node>\n"]
        parts += [f"  {interface.xml}\n" for interface in self.interfaces_at(path)]
        parts += [f'  <node name="{child}"/>\n' for child in self._children.get(path, ())]
        return "".join([*parts, "</node>\n"])

    def _interfaces(self, path: str) -> dict[str, Entries]:
        """Return the properties of all interfaces of an object, by interface."""
        found = self._entries.get(path)
        if found is None:
            found = {
                name: entries(
                    {
                        key: (schema.signature, properties[key])
                        for key, schema in interfaces()[name].properties.items()
                        if key in properties
                    }
                )
                for name, properties in self._tree[path].items()
            }
            self._entries[path] = found
        counters = self._moving(path)
        if counters is None:
            return found
        moving = _COUNTERS.entries(counters)
        return {name: Entries(joined((kept, moving))) for name, kept in found.items()}

    def _object(self, path: str) -> bytes:
        """Return an object as an entry of GetManagedObjects' reply."""
        return object_entry(path, self._interfaces(path))

    def _named(self, path: str, interface: str) -> list[str]:
        """Return the interfaces that a caller means, which are all where `interface` is empty. Raises: CallError."""
        if path not in self._tree:
            raise CallError.standard("UnknownObject", f"there is no object {quoted(path)} with properties")
        if not interface:
            return list(self._tree[path])
        if interface in self._tree[path]:
            return [interface]
        if any(interface == known.name for known in self.interfaces_at(path)):
            return []
        raise CallError.standard("UnknownInterface", f"the object has no interface {quoted(interface)}")

    def all_properties(self, path: str, interface: str) -> bytes:
        """Return GetAll's reply. Raises: CallError."""
        names = self._named(path, interface)
        return dictionary(joined(self._interfaces(path)[name] for name in names))

    def property(self, path: str, interface: str, name: str) -> Variant:
        """Return one property. Raises: CallError."""
        for found in self._named(path, interface):
            if name in self._tree[path][found]:
                return pack(interfaces()[found].properties[name].signature, self._tree[path][found][name])
            if name in MOVING and (moving := self._moving(path)) is not None:
                return Variant("t", moving[name])
        raise CallError.standard("UnknownProperty", f"there is no property {quoted(name)}")

    def managed(self) -> bytes:
        """Return GetManagedObjects' reply: all objects below the root, which is the ObjectManager itself."""
        return self._managed.reply([path for path in self._tree if path != ROOT], time.monotonic())

    def _moving(self, path: str) -> dict[str, int] | None:
        """Return the moving properties of an object, None where it has none."""
        address = self._addresses.get(path)
        return None if address is None else moving_properties(self._meter(address))


def _children(tree: Tree) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for path in tree:
        parent = path
        while parent != "/":
            parent, _slash, name = parent.rpartition("/")
            parent = parent or "/"
            found.setdefault(parent, {})[name] = None
    return {path: tuple(sorted(names)) for path, names in found.items()}

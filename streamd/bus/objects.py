"""The exported objects: what is at which path, introspection, properties, and the signals that a change sends."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from streamd.bus.call import CallError, quoted
from streamd.bus.connection import Connection, Variant
from streamd.bus.names import INTROSPECTABLE, OBJECT_MANAGER, PEER, PROPERTIES, ROOT
from streamd.bus.schema import Interface, interfaces
from streamd.bus.tree import Added, Changed, Removed, Tree, changes
from streamd.bus.values import pack

_LOG: Final = logging.getLogger(__name__)
_DOCTYPE: Final = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)
_EVERYWHERE: Final = (INTROSPECTABLE, PEER)

Packed = dict[str, Variant]
"""Properties as a{sv}."""


class Objects:
    """All objects of one moment; `replace` leads to the next and sends what listeners must know."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tree: Tree = {}
        self._children: dict[str, tuple[str, ...]] = {}
        self._packed: dict[str, dict[str, Packed]] = {}

    def replace(self, tree: Tree) -> None:
        """Export these objects in place of the last ones."""
        old, self._tree = self._tree, tree
        found = list(changes(old, tree))
        if any(not isinstance(change, Changed) for change in found):
            self._children = _children(tree)
        for change in found:
            self._packed.pop(change.path, None)
        if old:  # the first objects are there before anybody can know the name
            for change in found:
                self._tell(change)

    def _tell(self, change: Added | Removed | Changed) -> None:
        match change:
            case Added(path):
                self._connection.emit(ROOT, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, self.packed(path)])
            case Removed(path, names):
                self._connection.emit(ROOT, OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, list(names)])
            case Changed(path, interface, names):
                schema = interfaces()[interface].properties
                values = self.packed(path)[interface]
                changed = {name: values[name] for name in names if schema[name].emits}
                if changed:
                    body = [interface, changed, []]
                    self._connection.emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body)

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

    def packed(self, path: str) -> dict[str, Packed]:
        """Return the properties of all interfaces of an object, by interface."""
        found = self._packed.get(path)
        if found is None:
            found = {
                name: {
                    key: pack(schema.signature, properties[key])
                    for key, schema in interfaces()[name].properties.items()
                }
                for name, properties in self._tree[path].items()
            }
            self._packed[path] = found
        return found

    def properties(self, path: str, interface: str) -> Packed:
        """Return the properties of one interface, or of all where `interface` is empty. Raises: CallError."""
        if path not in self._tree:
            raise CallError.standard("UnknownObject", f"there is no object {quoted(path)} with properties")
        packed = self.packed(path)
        if not interface:
            return {name: value for values in packed.values() for name, value in values.items()}
        if interface in packed:
            return packed[interface]
        if any(interface == known.name for known in self.interfaces_at(path)):
            return {}
        raise CallError.standard("UnknownInterface", f"the object has no interface {quoted(interface)}")

    def property(self, path: str, interface: str, name: str) -> Variant:
        """Return one property. Raises: CallError."""
        values = self.properties(path, interface)
        if name not in values:
            raise CallError.standard("UnknownProperty", f"there is no property {quoted(name)}")
        return values[name]

    def managed(self) -> dict[str, dict[str, Packed]]:
        """Return all objects below the root, which is the ObjectManager itself."""
        return {path: self.packed(path) for path in self._tree if path != ROOT}


def _children(tree: Tree) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for path in tree:
        parent = path
        while parent != "/":
            parent, _slash, name = parent.rpartition("/")
            parent = parent or "/"
            found.setdefault(parent, {})[name] = None
    return {path: tuple(sorted(names)) for path, names in found.items()}

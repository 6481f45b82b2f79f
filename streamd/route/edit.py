"""Changes of routes: what to write and what to delete so that the pieces of a route say what was asked for.

What streamd wrote itself, and nobody touched since, is rewritten. What a person wrote never is: the change goes into
a drop-in of streamd's own, `NAME.toml.d/50-streamctl.toml`. Each way of writing a change is tried on the pieces, and
taken if the merged whole is then exactly what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from streamd.route.change import (
    AddOutput,
    AddRoute,
    Change,
    DisableOutput,
    DisableRoute,
    EnableOutput,
    EnableRoute,
    Kind,
    OutputChange,
    Refusal,
    RemoveOutput,
    RemoveRoute,
    RouteUpdate,
    UpdateOutput,
    UpdateRoute,
    check_change,
    route_of,
)
from streamd.route.document import Document, read_document
from streamd.route.merge import GONE, Merged, Node, document_node, merge_documents, node_data
from streamd.route.pieces import DROPIN, Action, Delete, Edit, Found, Mask, Write, signed
from streamd.route.render import data_node, render_node


def decide(change: Change, found: Found) -> Edit | Refusal:
    """Return how to make a change, or why not; whether the result is a valid route is for the parser to say."""
    if refusal := check_change(change):
        return refusal
    if isinstance(change, AddRoute):
        return _add_route(change, found)
    if found.main is None:
        return Refusal(Kind.NOT_FOUND, f'there is no route "{route_of(change)}"')
    if isinstance(change, RemoveRoute):
        return _remove_route(found, found.main)
    return _update(change, found, found.main)


def _outputs(data: Mapping[str, Any]) -> Mapping[str, Any]:
    outputs = data.get("output", {})
    return outputs if isinstance(outputs, dict) else {}


def _normal(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a route's data without what makes no difference: enabled = true, and tables with nothing in them."""
    outputs = {
        name: {key: value for key, value in output.items() if key != "enabled" or value is not True}
        if isinstance(output, dict)
        else output
        for name, output in _outputs(data).items()
    }
    rest = {
        key: value
        for key, value in data.items()
        if not (key == "output" and isinstance(value, dict))
        and not (key == "enabled" and value is True)
        and not (key == "input" and value == {})
    }
    return {**rest, **({"output": outputs} if outputs else {})}


# Routes


def _add_route(change: AddRoute, found: Found) -> Edit | Refusal:
    if found.main:
        return Refusal(Kind.EXISTS, f'there is a route "{change.name}" already, in {found.main.path}')
    if found.path in found.links:
        return Refusal(Kind.BY_HAND, f"{found.path} is a link, to /dev/null or elsewhere, remove it to add the route")
    leftover = found.dropin_path in found.own and found.dropin_path not in found.hiding
    actions: tuple[Action, ...] = (Delete(found.dropin_path),) if leftover else ()
    actions = (*actions, Write(found.path, signed(render_node(data_node(change.table)))))
    edit = _outcome(found, actions)
    after = merge_documents(edit.pieces)
    if after.diagnostics:
        return _unwritable(after)
    if _normal(after.data) != _normal(change.table):
        return Refusal(
            Kind.BY_HAND,
            f"{edit.pieces[-1].path} would be merged over the new route, remove it or add the route by hand",
        )
    return edit


def _remove_route(found: Found, main: Document) -> Edit | Refusal:
    own_dropin = found.dropin_path in found.own
    others = [piece.path for piece in found.dropins if piece.path != found.dropin_path or not own_dropin]
    drop: tuple[Action, ...] = (Delete(found.dropin_path),) if own_dropin else ()
    if found.path in found.own:
        if others:
            return Refusal(Kind.BY_HAND, f"streamd did not write {others[0]}, remove it by hand first")
        gone: Action = Mask(found.path) if found.path in found.hiding else Delete(found.path)
        return Edit((gone, *drop), ())
    if found.vendor:
        return Edit((Mask(found.path), *drop), ())
    return Refusal(Kind.BY_HAND, f"streamd did not write {main.path}, remove it by hand")


# What is there already


def _update(change: OutputChange | RouteUpdate, found: Found, main: Document) -> Edit | Refusal:
    before = merge_documents(found.pieces)
    if not before.is_complete or before.diagnostics:
        return Refusal(Kind.INVALID, f"{main.path} or a drop-in of it has errors, mend them first", before.diagnostics)
    if isinstance(change, RouteUpdate):
        wanted: dict[str, Any] | Refusal = _wanted_route(change, before.data)
    else:
        wanted = _wanted(change, before.data)
    if isinstance(wanted, Refusal):
        return wanted
    if _normal(before.data) == wanted:
        return Edit((), found.pieces)
    unwritable: Refusal | None = None
    for actions in _ways(change, found, main):
        edit = _outcome(found, actions)
        after = merge_documents(edit.pieces)
        if after.diagnostics:
            unwritable = _unwritable(after)
        elif _normal(after.data) == wanted:
            return edit
    return unwritable or _no_way(change, found, before)


def _unwritable(after: Merged) -> Refusal:
    """Return the refusal of a file that the parser's limits do not allow, such as that of a line's length."""
    return Refusal(
        Kind.INVALID, f"what would be written is not valid: {after.diagnostics[0].message}", after.diagnostics
    )


def _wanted(change: OutputChange, data: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    """Return what the merged whole must be after a change."""
    outputs = dict(_outputs(data))
    output = outputs.get(change.name)
    if isinstance(change, AddOutput):
        if output is not None:
            return Refusal(Kind.EXISTS, f'route "{change.route}" has an output "{change.name}" already')
        outputs[change.name] = dict(change.table)
    elif output is None:
        return Refusal(Kind.NOT_FOUND, f'route "{change.route}" has no output "{change.name}"')
    elif isinstance(change, RemoveOutput):
        del outputs[change.name]
    else:
        keys = {**(output if isinstance(output, dict) else {}), **_keys(change)}
        outputs[change.name] = {key: value for key, value in keys.items() if value is not None}
    return _normal({**data, "output": outputs})


def _wanted_route(change: RouteUpdate, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the merged whole must be after a change of a route."""
    keys = {**data, **_keys(change)}
    if isinstance(keys.get("input"), dict):
        below = data.get("input")
        inner = {**(below if isinstance(below, dict) else {}), **keys["input"]}
        keys["input"] = {key: value for key, value in inner.items() if value is not None}
    return _normal({key: value for key, value in keys.items() if value is not None})


def _keys(change: OutputChange | RouteUpdate) -> Mapping[str, Any]:
    """Return the keys that a change sets; None removes one."""
    if isinstance(change, AddOutput | UpdateOutput | UpdateRoute):
        return change.table
    return {"enabled": isinstance(change, EnableOutput | EnableRoute)}


def _ways(change: OutputChange | RouteUpdate, found: Found, main: Document) -> Iterator[tuple[Action, ...]]:
    """Return the ways to write a change, the most natural first."""
    changes: list[OutputChange | RouteUpdate] = [change]
    before, mine = _split(found)
    below = _outputs(merge_documents(before).data)
    bare = below
    if isinstance(change, EnableOutput | DisableOutput):
        # To say nothing is better than to repeat what a person's file says: that stays in force if they change it.
        changes.insert(0, UpdateOutput(change.route, change.name, {"enabled": None}))
        bare = {**below, change.name: {}} if change.name in below else below
    if isinstance(change, EnableRoute | DisableRoute):
        changes.insert(0, UpdateRoute(change.name, {"enabled": None}))
    for one in changes:
        if found.path in found.own and (node := _changed(one, _node(main, 0), None)) is not None:
            yield (Write(found.path, signed(render_node(node))),)
    if found.dropin_path in found.links:
        return
    for one in changes:
        node = _changed(one, _node(mine, 1) if mine else Node(children={}), below if one is change else bare)
        if node is not None:
            yield _with_dropin(node, found, mine)
    if isinstance(change, RouteUpdate) and found.path in found.own and mine and mine.path in found.own:
        # Both are streamd's, and both may say something of the same keys.
        node, rest = _changed_route(change, _node(main, 0)), _changed_route(_silence(change), _node(mine, 1))
        if node is not None and rest is not None:
            yield (Write(found.path, signed(render_node(node))), *_with_dropin(rest, found, mine))


def _with_dropin(node: Node, found: Found, mine: Document | None) -> tuple[Action, ...]:
    """Return how streamd's drop-in comes to say this; it goes where it would say nothing."""
    if node.children or found.dropin_path in found.hiding or (mine and mine.path not in found.own):
        return (Write(found.dropin_path, signed(render_node(node))),)
    return (Delete(found.dropin_path),) if mine else ()


def _silence(change: RouteUpdate) -> UpdateRoute:
    """Return the change after which a file says nothing of what a change is about."""
    keys = _keys(change)
    inner = keys.get("input")
    table = {**dict.fromkeys(keys), **({"input": dict.fromkeys(inner)} if isinstance(inner, dict) else {})}
    return UpdateRoute(change.name, table)


def _split(found: Found) -> tuple[tuple[Document, ...], Document | None]:
    """Return the pieces that come before streamd's drop-in, and that drop-in."""
    before = tuple(piece for number, piece in enumerate(found.pieces) if not number or _file(piece.path) < DROPIN)
    return before, next((piece for piece in found.dropins if _file(piece.path) == DROPIN), None)


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def _node(document: Document, number: int) -> Node:
    return document_node(document, number, [])


def _changed(change: OutputChange | RouteUpdate, root: Node, below: Mapping[str, Any] | None) -> Node | None:
    """Return a file's node with the change in it; None where what the file has there is no table.

    Args:
        change: what to change.
        root: what the file says.
        below: the outputs of what the file is merged over; None for a main file.
    """
    if isinstance(change, RouteUpdate):
        return _changed_route(change, root)
    table = (root.children or {}).get("output", Node(children={}))
    if table.children is None:
        return None
    under = below is not None and change.name in below
    outputs = dict(table.children)
    if isinstance(change, AddOutput):
        output = data_node(change.table, ("output", change.name))
        outputs[change.name] = replace(output, whole=under)
    elif isinstance(change, RemoveOutput):
        outputs.pop(change.name, None)
        if under:
            outputs[change.name] = _GONE
    else:
        keys = below[change.name] if below is not None and under and isinstance(below[change.name], dict) else {}
        output = _updated(outputs.get(change.name), _keys(change), keys)
        outputs[change.name] = output
        if not output.children and not output.whole and under:
            del outputs[change.name]
    children = {**(root.children or {}), "output": replace(table, children=outputs)}
    if not outputs and not table.whole:
        del children["output"]
    return replace(root, children=children)


def _changed_route(change: RouteUpdate, root: Node) -> Node | None:
    keys = dict(_keys(change))
    inner = keys.pop("input", None) if isinstance(keys.get("input"), dict) else None
    children = _with_keys(root.children or {}, keys)
    if inner is not None:
        table = children.get("input", Node(children={}))
        if table.children is None:
            return None
        below = _with_keys(table.children, inner)
        children["input"] = replace(table, children=below)
        if not below and not table.whole:
            del children["input"]
    return replace(root, children=children)


def _with_keys(children: Mapping[str, Node], keys: Mapping[str, Any]) -> dict[str, Node]:
    """Return a table's keys with some set, and those gone from it that are None."""
    found = dict(children)
    for key, value in keys.items():
        found.pop(key, None)
        if value is not None:
            found[key] = replace(data_node({key: value}).children[key], whole=True)  # type: ignore[index]
    return found


_GONE: Final = Node(value=GONE, whole=True)


def _updated(output: Node | None, keys: Mapping[str, Any], below: Mapping[str, Any]) -> Node:
    """Return an output's table with keys set, and those removed that are None."""
    if output is None:
        output = Node(children={})
    elif output.children is None:
        output = Node(children={}, whole=True)
    children = dict(output.children or {})
    for key, value in keys.items():
        children.pop(key, None)
        if value is not None:
            children[key] = replace(data_node({key: value}).children[key], whole=True)  # type: ignore[index]
        elif key in below and not output.whole:
            children[key] = _GONE
    return replace(output, children=children)


def _outcome(found: Found, actions: Sequence[Action]) -> Edit:
    """Return the pieces of a route that is there after the actions."""
    main = found.main
    dropins = {_file(piece.path): piece for piece in found.dropins}
    for action in actions:
        if isinstance(action, Write) and action.path == found.path:
            main = read_document(action.path, action.text)
        elif isinstance(action, Write):
            dropins[DROPIN] = read_document(action.path, action.text)
        else:
            dropins.pop(DROPIN, None)
    pieces = (*([main] if main else []), *(piece for _name, piece in sorted(dropins.items())))
    return Edit(tuple(actions), pieces)


def _no_way(change: OutputChange | RouteUpdate, found: Found, before: Merged) -> Refusal:
    """Return why no way of writing a change has the result that was asked for."""
    if found.dropin_path in found.links:
        return Refusal(Kind.BY_HAND, f"{found.dropin_path} is a link, remove it to let streamd write there")
    if isinstance(change, RouteUpdate):
        # A drop-in takes keys away from outputs alone, and what comes after it wins.
        paths = [piece.path for piece in before.pieces if piece.path not in found.own and _says(piece, _keys(change))]
        where = paths[-1] if paths else before.pieces[0].path
        return Refusal(Kind.BY_HAND, f"{where} says otherwise about that, change it there")
    later = _saying(change.name, (piece for piece in before.pieces[1:] if _file(piece.path) > DROPIN))
    if later:
        return Refusal(Kind.BY_HAND, f'{later} says otherwise about output "{change.name}", change it there')
    message = f'output "{change.name}" cannot be changed by a drop-in of {before.pieces[0].path}, change it there'
    return Refusal(Kind.BY_HAND, message)


def _says(piece: Document, keys: Mapping[str, Any]) -> bool:
    """Return whether a piece has a say in what is to be changed of a route."""
    return not keys.keys().isdisjoint(node_data(_node(piece, 0)))


def _saying(output: str, pieces: Iterable[Document]) -> str:
    """Return the path of the last piece that says something of an output, or nothing."""
    paths = [piece.path for piece in pieces if output in _outputs(node_data(_node(piece, 0)))]
    return paths[-1] if paths else ""

"""What only all files together can tell: two that bind one port, and credentials that are not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streamd.route.claims import Claim, overlap, route_claims
from streamd.route.diagnostic import nearest
from streamd.route.fields import CREDENTIAL_FOLDER
from streamd.route.merge import Merged
from streamd.route.model import Credential, Hooks, PublishSource, Route, RtmpTarget, SrtSource, SrtTarget, WebHook
from streamd.route.parse import RouteFile
from streamd.route.scanner import KeyPath

_HELD: Final = 0  # by a definition that keeps running, because the file that should replace it is broken
_KEPT: Final = 1  # by a file whose last good definition had the claim already
_NEW: Final = 2


@dataclass(frozen=True, slots=True)
class _Entry:
    """A claim of a route; of two that overlap, the one of lower rank, name, path and number stays."""

    rank: int
    name: str
    file: str
    """Path of the route's file."""
    number: int
    """Of the claim in its route."""
    path: KeyPath
    claim: Claim


@dataclass(frozen=True, slots=True)
class _Conflict:
    path: KeyPath
    """The key of the file that must give way."""
    claim: Claim
    holder: _Entry


def crosscheck(
    files: Sequence[RouteFile],
    *,
    incumbents: Mapping[str, Route],
    credentials: Mapping[str, str],
) -> tuple[RouteFile, ...]:
    """Return the files, in their order, with what the whole of them adds.

    Of two files that claim one address and port the one stays whose last good definition has the claim already, else
    the first by name; the other is left without a route. A credential that is missing or bad leaves the route as it is.

    Args:
        files: usually one for each route name; two of one name are checked against each other like any others.
        incumbents: the last good definition of each route that has one; those without a file claim nothing any more.
        credentials: what is wrong with each credential that there is, empty for a good one.
    """
    by_path = {file.path: file for file in files}
    conflicts = _conflicts(by_path, incumbents)
    return tuple(
        _with_conflict(_with_credentials(file, credentials), conflicts.get(file.path), by_path) for file in files
    )


def _conflicts(files: Mapping[str, RouteFile], incumbents: Mapping[str, Route]) -> dict[str, _Conflict]:
    """Return, by path, why a route that was parsed well cannot be."""
    refused: dict[str, _Conflict] = {}
    # A route that is refused falls back to its incumbent, which may in turn be in somebody's way.
    while found := _losers(_entries(files, incumbents, refused)):
        refused |= found
    # And somebody may have been refused for the sake of a route that was itself refused afterwards.
    for path in sorted(refused):
        holder = refused[path].holder
        if holder.rank == _HELD or holder.file == path or holder.file not in refused:
            continue
        trial = {other: conflict for other, conflict in refused.items() if other != path}
        if not _losers(_entries(files, incumbents, trial)):
            refused = trial
    return refused


def _entries(
    files: Mapping[str, RouteFile],
    incumbents: Mapping[str, Route],
    refused: Mapping[str, _Conflict],
) -> list[_Entry]:
    """Return the claims of all routes as they would run, those that stay first."""
    entries: list[_Entry] = []
    for file in files.values():
        incumbent = incumbents.get(file.name)
        route = file.route if file.path not in refused else None
        if route is None:
            if incumbent is not None:
                held = route_claims(incumbent)
                entries += [
                    _Entry(_HELD, file.name, file.path, number, path, claim)
                    for number, (path, claim) in enumerate(held)
                ]
            continue
        before = {claim for _, claim in route_claims(incumbent)} if incumbent is not None else set()
        for number, (path, claim) in enumerate(route_claims(route)):
            rank = _KEPT if claim in before else _NEW
            entries.append(_Entry(rank, file.name, file.path, number, path, claim))
    return sorted(entries, key=lambda entry: (entry.rank, entry.name, entry.file, entry.number))


def _losers(entries: Sequence[_Entry]) -> dict[str, _Conflict]:
    """Return the routes that claim what an entry before them has."""
    taken: defaultdict[int, list[_Entry]] = defaultdict(list)
    losers: dict[str, _Conflict] = {}
    for entry in entries:
        if entry.file in losers:
            continue
        holder = next((other for other in taken[entry.claim.port] if overlap(other.claim, entry.claim)), None)
        if holder is None:
            taken[entry.claim.port].append(entry)
        elif entry.rank != _HELD:
            losers[entry.file] = _Conflict(entry.path, entry.claim, holder)
    return losers


def _with_conflict(file: RouteFile, conflict: _Conflict | None, files: Mapping[str, RouteFile]) -> RouteFile:
    if conflict is None:
        return file
    holder = conflict.holder
    other = files[holder.file]
    if holder.rank == _HELD:
        owner = f"route {holder.name}, whose file {other.path} has errors and whose last good definition stays"
    else:
        owner = other.merged.where(holder.path)
    message = f"{conflict.claim} is already bound by {owner}, write another port"
    if conflict.claim != holder.claim:
        message = f"{conflict.claim} overlaps {holder.claim}, already bound by {owner}, write another port"
    return file.with_diagnostic(conflict.path, message, fatal=True)


def _with_credentials(file: RouteFile, credentials: Mapping[str, str]) -> RouteFile:
    """Return the file with a diagnostic for each reference to a credential that cannot be used."""
    for path, credential in credential_references(file.route) if file.route is not None else ():
        message = credential_fault(credential, credentials)
        if message:
            file = file.with_diagnostic(credential_path(path, file.merged), message, fatal=False)
    return file


def credential_fault(credential: Credential, credentials: Mapping[str, str]) -> str:
    """Return why a credential cannot be used, or nothing; see crosscheck."""
    problem = credentials.get(credential.name)
    if problem is None:
        hint = nearest(credential.name, credentials)
        return f'there is no credential "{credential.name}" in {CREDENTIAL_FOLDER}{hint}'
    return f'the credential "{credential.name}" {problem}' if problem else ""


def credential_path(path: KeyPath, merged: Merged) -> KeyPath:
    """Return the path of a credential's name in a document, which may have one thing where there may be a list."""
    is_single = isinstance(path[-1], int) and path not in merged.origins
    return (*(path[:-1] if is_single else path), "credential")


def credential_references(route: Route) -> tuple[tuple[KeyPath, Credential], ...]:
    """Return the credentials that a route needs, with the paths of the keys that name them."""
    found: list[tuple[KeyPath, object]] = []
    if isinstance(route.input.source, SrtSource):
        found.append((("input", "passphrase"), route.input.source.passphrase))
    elif isinstance(route.input.source, PublishSource):
        found.append((("input", "password"), route.input.source.password))
    for output in route.outputs:
        path = ("output", output.name)
        if isinstance(output.target, SrtTarget):
            found.append(((*path, "passphrase"), output.target.passphrase))
            found.append(((*path, "streamid"), output.target.streamid))
        elif isinstance(output.target, RtmpTarget):
            found.append(((*path, "key"), output.target.key))
    found += hook_credentials(route.hooks)
    return tuple((path, value) for path, value in found if isinstance(value, Credential))


def hook_credentials(hooks: Hooks) -> tuple[tuple[KeyPath, Credential], ...]:
    """Return the credentials that hooks need, with the paths of the keys that name them."""
    found: list[tuple[KeyPath, Credential]] = []
    for key, several in (("on_failure", hooks.on_failure), ("on_recovery", hooks.on_recovery)):
        for number, hook in enumerate(several or ()):
            if isinstance(hook, WebHook) and isinstance(hook.url, Credential):
                found.append((("hooks", key, number), hook.url))
    return tuple(found)

"""Hooks: the units to start and the webhooks to call when a stream fails, and when it is well again."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from streamd.route.fields import CREDENTIAL_FOLDER, CREDENTIAL_PATTERN, Table, type_name
from streamd.route.model import NO_HOOKS, Credential, Hook, Hooks, UnitHook, WebHook
from streamd.route.scanner import KeyPath

HOOK_KEYS: Final = ("on_failure", "on_recovery", "delay")
DELAY_RANGE: Final = (1_000, 3_600_000)
"""ms."""
_MOST: Final = 8
"""Hooks of one key: each starts a process for each event."""
_LONGEST_UNIT: Final = 100
"""Characters as written; with the longest names in it a unit's name is still no longer than systemd's 255."""
_LONGEST_URL: Final = 2000

_UNIT: Final = re.compile(r"[A-Za-z0-9:_.\\-]+(?:@(?:[A-Za-z0-9:_.\\@-]|%[in])*)?\.(?:service|target)")
_SPECIFIERS: Final = {"%i": "the instance, ROUTE:OUTPUT", "%n": "the whole name of the unit that failed"}
_EXAMPLE: Final = '"notify-mail@%i.service"'
_WHAT: Final = f'write a unit such as {_EXAMPLE}, the URL of a webhook, or {{ credential = "NAME" }} that holds one'


def parse_hooks(table: Table | None) -> Hooks:
    """Return the hooks in a table [hooks], None for each key that is not given."""
    if table is None:
        return NO_HOOKS
    hooks = Hooks(
        on_failure=_several(table, "on_failure"),
        on_recovery=_several(table, "on_recovery"),
        delay=table.duration("delay", *DELAY_RANGE),
    )
    table.finish(HOOK_KEYS)
    return hooks


def url_fault(url: str) -> str:
    """Return why a webhook's URL cannot be one, without repeating any of it; empty for a good one."""
    if len(url) > _LONGEST_URL:
        return f"must be no longer than {_LONGEST_URL} characters"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be of printable ASCII characters, write others as %XX"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return 'must be a URL such as "https://alerts.example.net/hook"'
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return 'must be a URL such as "https://alerts.example.net/hook"'
    return "must have no # part" if parts.fragment else ""


def shown_url(url: str) -> str:
    """Return what may be shown of a webhook's URL: its scheme, host and port; the rest may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _several(table: Table, key: str) -> tuple[Hook, ...] | None:
    """Return the hooks of a key: one, or a list of some."""
    if not table.has(key):
        return None
    table.accept((key,))
    value = table.data[key]
    if not isinstance(value, list):
        hook = _one(table, (key,), value)
        return () if hook is None else (hook,)
    if len(value) > _MOST:
        table.wrong(key, f"must be {_MOST} at most")
        return ()
    found = (_one(table, (key, number), item) for number, item in enumerate(value))
    return tuple(hook for hook in found if hook is not None)


def _one(table: Table, key: KeyPath, value: object) -> Hook | None:
    path = (*table.path, *key)
    if isinstance(value, dict):
        return _secret(Table(table.report, path, value))
    if not isinstance(value, str):
        table.report.at_value(path, f"found {type_name(value)}, {_WHAT}")
        return None
    fault = _plain_url_fault(value) if "://" in value else _unit_fault(value)
    if fault:
        table.report.at_value(path, fault)
        return None
    return WebHook(value) if "://" in value else UnitHook(value)


def _secret(table: Table) -> WebHook | None:
    """Return the webhook whose URL is a credential."""
    name = table.string("credential")
    if not table.has("credential"):
        table.missing("credential", 'missing, write { credential = "NAME" }')
    table.finish(("credential",))
    if name is None:
        return None
    if not CREDENTIAL_PATTERN.fullmatch(name):
        table.wrong(
            "credential",
            f"must be the name of a file in {CREDENTIAL_FOLDER}, of letters, digits, dots, dashes and underscores",
        )
        return None
    return WebHook(Credential(name))


def _plain_url_fault(url: str) -> str:
    fault = url_fault(url)
    if fault:
        return fault
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query:
        return (
            f"what stands before the @ or behind the ? of a URL may be a secret, write the whole URL into"
            f' {CREDENTIAL_FOLDER}/NAME (mode 0600) and {{ credential = "NAME" }} here'
        )
    return ""


def _unit_fault(name: str) -> str:
    for specifier in re.findall(r"%.?", name):
        if specifier not in _SPECIFIERS:
            known = ", ".join(f"{key} ({what})" for key, what in _SPECIFIERS.items())
            return f"only these stand for something: {known}"
    if "%" in name.partition("@")[0]:
        return f"% stands behind the @ alone, such as {_EXAMPLE}"
    if not _UNIT.fullmatch(name):
        return _WHAT
    if "@." in name and name.partition("@")[2].count(".") == 1:
        return f'is a template without an instance, write "{name.replace("@.", "@%i.")}"'
    return f"must be no longer than {_LONGEST_UNIT} characters" if len(name) > _LONGEST_UNIT else ""

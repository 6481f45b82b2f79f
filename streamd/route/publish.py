"""Inputs that an encoder publishes to MediaMTX."""

from __future__ import annotations

import re
from typing import Final

from streamd.route.fields import CREDENTIAL_FOLDER, Table
from streamd.route.model import PublishSource

PUBLISH_KEYS: Final = ("user", "password")
NEVER_PATHS: Final = frozenset({"all", "all_others"})
"""Good names of routes that MediaMTX takes for "whatever path is asked for"."""
# What may stand in an SRT stream id between colons, and in a URL as it is.
USER_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def parse_publish(table: Table, url: str, name: str) -> PublishSource | None:
    """Return the source, or None with diagnostics. `name` is the route's, and the user's where no other is given."""
    user = table.string("user")
    password = table.credential("password", name)
    if not table.has("password"):
        table.missing(
            "password",
            f"missing, write one into {CREDENTIAL_FOLDER}/{name} (mode 0600)"
            f' and password = {{ credential = "{name}" }} below',
        )
    if url.lower() != "publish:":
        table.wrong("url", 'write "publish:", with nothing after it: encoders publish to the route\'s name')
        return None
    if name in NEVER_PATHS:
        table.wrong("url", f"a route that is published to must not be called {name}, which MediaMTX takes for any")
        return None
    if user is not None and not USER_PATTERN.fullmatch(user):
        table.wrong("user", "must be of letters, digits, dots, dashes and underscores, 64 at most")
        return None
    return None if password is None else PublishSource(user=user or name, password=password)

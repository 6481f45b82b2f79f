"""What a browser holds once it has logged in: a key's name and an end, signed. Pure; times are seconds since 1970.

Nothing of it is stored here, so that it outlives a restart of the gateway. It ends with the key: its signature is made
with the key's digest, too, so that neither a revoked key nor a new one of the same name lets an old cookie in. What is
to be stored is which of them were ended before their time.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from streamd.host.webkeys import Key

COOKIE: Final = "streamd_session"
LASTS: Final = 12 * 3600
"""Seconds."""
_LONGEST: Final = 512
_MOST_ENDED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has logged in."""

    key: Key
    id: str
    ends: int
    """Seconds since 1970."""


class Sessions:
    """Makes and reads cookies."""

    def __init__(
        self,
        secret: bytes,
        find: Callable[[str], Key | None],
        lasts: int = LASTS,
        *,
        ended: Mapping[str, int] | None = None,
        keep: Callable[[Mapping[str, int]], None] = lambda _ended: None,
    ) -> None:
        """Prepare to make and read.

        Args:
            secret: what signs.
            find: finds a key by its name.
            lasts: for how long a session lasts, in seconds.
            ended: those that were ended before their time, and when that is, by id.
            keep: is told all of these when there is one more.
        """
        self._secret = secret
        self._find = find
        self.lasts = lasts
        self._ended = OrderedDict(sorted((ended or {}).items(), key=itemgetter(1)))
        self._keep = keep

    def begin(self, key: Key, now: float) -> str:
        """Return a cookie's value."""
        body = f"{key.name}.{int(now) + self.lasts}.{secrets.token_hex(16)}"
        return f"{body}.{self._sign(body, key)}"

    def read(self, cookie: str, now: float) -> Session | None:
        """Return whose session it is; None when it is none, is over, or was ended."""
        body, dot, signature = cookie.rpartition(".")
        words = body.split(".")
        if not dot or len(cookie) > _LONGEST or len(words) != 3 or not cookie.isascii():
            return None
        name, ends, number = words
        key = self._find(name)
        if key is None or not hmac.compare_digest(signature, self._sign(body, key)):
            return None
        session = Session(key, number, int(ends))
        return session if self.stands(session, now) else None

    def stands(self, session: Session, now: float) -> bool:
        """Return whether a session that was read before is still one; its key is not looked at."""
        return now < session.ends and session.id not in self._ended

    def end(self, session: Session, now: float) -> None:
        """Let a session be none from now on."""
        self._ended[session.id] = session.ends
        while self._ended and (len(self._ended) > _MOST_ENDED or next(iter(self._ended.values())) <= now):
            self._ended.popitem(last=False)
        self._keep(self._ended)

    def _sign(self, body: str, key: Key) -> str:
        return hmac.new(self._secret, f"{body}.{key.digest}".encode(), hashlib.sha256).hexdigest()

"""MediaMTX's HTTP API: who watches, whom to kick, and whether it answers at all. It never holds the daemon up."""

from __future__ import annotations

import asyncio
import logging
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from streamd.plan.mediamtx import API_USER
from streamd.plan.viewers import LIST_OF, PathView, Viewer, lists_wanted, view_paths
from streamd.route.model import Listen

if TYPE_CHECKING:
    import httpx

_LOG: Final = logging.getLogger(__name__)
_PATIENCE: Final = 5.0
"""Seconds for an answer; on the loopback interface it takes some ms."""
_PAGE: Final = 1000
_PAGES: Final = 20
_FRESH: Final = 1.0
"""Seconds for which an answer is not asked for again: everybody may ask who watches."""


class MediaApiError(Exception):
    """It did not answer, or not as it should; the text is one clause for a person."""


class Pulse(Enum):
    """How MediaMTX takes a question."""

    ANSWERS = 1
    ABSENT = 2
    """Nobody listens."""
    SILENT = 3
    """Somebody listens, and says nothing."""


class MediaApi:
    """The API at one address at a time."""

    def __init__(self, password: str, *, patience: float = _PATIENCE) -> None:
        """Take the password that MediaMTX asks for, and the seconds that it has for an answer."""
        self._password = password
        self._patience = patience
        self._client: httpx.AsyncClient | None = None
        self._lock = asyncio.Lock()
        self._view: tuple[PathView, ...] = ()
        self._view_of: tuple[Listen, float] | None = None

    async def pulse(self, at: Listen) -> Pulse:
        """Tell whether it answers."""
        import httpx  # noqa: PLC0415 (slow to load, and not needed without MediaMTX)

        try:
            await self._open().get(f"http://{at}/v3/paths/list", params={"itemsPerPage": 1})
        except (httpx.ReadTimeout, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Pulse.SILENT
        except httpx.HTTPError:
            return Pulse.ABSENT
        return Pulse.ANSWERS

    async def view(self, at: Listen) -> tuple[PathView, ...]:
        """Return all paths and who reads them. Raises: MediaApiError."""
        async with self._lock:
            now = time.monotonic()
            if self._view_of is None or self._view_of[0] != at or now - self._view_of[1] > _FRESH:
                paths = await self._list(at, "paths")
                names = lists_wanted(paths)
                items = await asyncio.gather(*(self._further(at, name) for name in names))
                self._view = view_paths(paths, dict(zip(names, items, strict=True)))
                self._view_of = (at, time.monotonic())
            return self._view

    async def kick(self, at: Listen, viewer: Viewer) -> None:
        """End a viewer's connection. Raises: MediaApiError."""
        name = LIST_OF.get(viewer.kind)
        if name is None:
            raise MediaApiError(f"a viewer of the kind {viewer.kind} cannot be kicked")
        self._view_of = None
        await self._ask(at, "POST", f"{name}/kick/{quote(viewer.id, safe='')}")

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _further(self, at: Listen, name: str) -> list[Any]:
        """Return a list that only adds to what is known: its listener may be closed just now."""
        try:
            return await self._list(at, name)
        except MediaApiError as error:
            _LOG.debug("%s: %s", name, error)
            return []

    async def _list(self, at: Listen, name: str) -> list[Any]:
        found: list[Any] = []
        for page in range(_PAGES):
            answer = await self._ask(at, "GET", f"{name}/list", params={"itemsPerPage": _PAGE, "page": page})
            if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
                raise MediaApiError("MediaMTX answers something else than it should")
            found += answer["items"]
            if page + 1 >= (answer.get("pageCount") or 0):
                break
        return found

    async def _ask(self, at: Listen, method: str, path: str, **more: Any) -> Any:  # noqa: ANN401
        import httpx  # noqa: PLC0415

        try:
            answer = await self._open().request(method, f"http://{at}/v3/{path}", **more)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                raise MediaApiError(f"what listens on {at} is no MediaMTX of streamd's")
            if not answer.is_success:
                raise MediaApiError(f"MediaMTX answers {answer.status_code} to {path}")
            return answer.json() if answer.content else None
        except httpx.TimeoutException:
            raise MediaApiError("MediaMTX does not answer") from None
        except httpx.HTTPError:
            raise MediaApiError("MediaMTX does not run, see: systemctl status streamd-mediamtx") from None
        except ValueError:
            raise MediaApiError("MediaMTX answers something else than it should") from None

    def _open(self) -> httpx.AsyncClient:
        import httpx  # noqa: PLC0415

        if self._client is None:
            self._client = httpx.AsyncClient(
                auth=(API_USER, self._password),
                timeout=self._patience,
                limits=httpx.Limits(max_connections=8, max_keepalive_connections=2),
                verify=False,  # noqa: S501 - plain HTTP on the loopback interface: this spares reading all certificates
                trust_env=False,
            )
        return self._client

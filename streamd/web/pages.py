"""The dashboard's files, and Bootstrap's where Debian has them. None of them holds anything that needs a key."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from streamd.web.problem import Problem

STATIC: Final = Path(__file__).parent / "static"
BOOTSTRAP: Final = Path("/usr/share/javascript/bootstrap5")
_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_OF_BOOTSTRAP: Final[Mapping[str, tuple[str, ...]]] = {
    "bootstrap.min.css": ("css/bootstrap.min.css", "dist/css/bootstrap.min.css"),
}
"""What the page uses of it, and where Debian's releases have that."""

router = APIRouter(include_in_schema=False)


class Files:
    """Files that are named beforehand, so that no path of a request ever reaches the file system."""

    def __init__(self, static: Path = STATIC, bootstrap: Path = BOOTSTRAP) -> None:
        found = {f"/static/{path.name}": path for path in sorted(static.glob("*.*")) if path.suffix in _TYPES}
        for name, places in _OF_BOOTSTRAP.items():
            found |= {f"/bootstrap/{name}": bootstrap / place for place in places if (bootstrap / place).is_file()}
        if "/static/index.html" in found:
            found["/"] = found["/static/index.html"]
        self._files = found

    def answer(self, path: str, seen: str) -> Response:
        """Return a file; nothing where the browser has it already. Raises: Problem."""
        file = self._files.get(path)
        if file is None:
            raise Problem(404, "not-found", "there is no such page")
        content = file.read_bytes()
        tag = f'"{sha256(content).hexdigest()[:32]}"'
        headers = {
            "etag": tag,
            "cache-control": "no-cache",
            "last-modified": formatdate(file.stat().st_mtime, usegmt=True),
        }
        if tag in seen:
            return Response(status_code=304, headers=headers)
        return Response(content, headers={**headers, "content-type": _TYPES[file.suffix]})


@router.get("/")
@router.get("/static/{name}")
@router.get("/bootstrap/{name}")
async def page(request: Request) -> Response:
    """Return a file of the dashboard: small, and read often enough to be in memory."""
    files: Files = request.app.state.files
    # Not request.url: that is made with what stands in Host, and may be none.
    return files.answer(request.scope["path"], request.headers.get("if-none-match", ""))

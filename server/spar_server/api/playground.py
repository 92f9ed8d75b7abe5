"""The playground: a page for browsers at /ui, built from clients/playground and shipped as package data.

The page is public; what it shows comes from the API, with the key that the page asks for. Where the setting
`playground` is off, there is no page.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from spar_server.http.headers import DOCS, PLAYGROUND, PLAYGROUND_FILES, header_of
from spar_server.settings import Settings

router = APIRouter(include_in_schema=False)

_PAGE: Final = "index.html"
_MEDIA_TYPES: Final = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_HEADERS: Final = {
    # Nothing is loaded from or sent to other origins, and no inline script or style is used.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # File names stay the same from build to build, so browsers ask each time, and mostly hear that nothing changed.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    compressed: bytes
    etag: str
    media_type: str


@cache
def _read(name: str) -> _File:
    content = (files("spar_server") / "playground" / name).read_bytes()
    return _File(
        content,
        gzip.compress(content, mtime=0),
        f'W/"{sha256(content).hexdigest()[:16]}"',
        _MEDIA_TYPES[name.rpartition(".")[2]],
    )


@router.get("/")
@router.head("/")
async def root(request: Request) -> Response:
    """Redirect browsers to the playground, and others, or all if it is off, to the documentation."""
    wants_page = "text/html" in (header_of(request.scope, b"accept") or "")
    target = PLAYGROUND if wants_page and _is_on(request) else DOCS
    # Relative, so that it also works behind a proxy's path prefix.
    return RedirectResponse(target.removeprefix("/"), headers={"Vary": "Accept"})


@router.get(PLAYGROUND)
@router.head(PLAYGROUND)
async def page(request: Request) -> Response:
    return _serve(_PAGE, request)


@router.get(f"{PLAYGROUND}/")
async def page_with_slash() -> Response:
    """Redirect, because the page's relative URLs would lead elsewhere from here."""
    return RedirectResponse(f"..{PLAYGROUND}")


@router.get(f"{PLAYGROUND}/{{name}}")
@router.head(f"{PLAYGROUND}/{{name}}")
async def file(name: str, request: Request) -> Response:
    if name not in PLAYGROUND_FILES:
        raise HTTPException(404, "Not Found")
    return _serve(name, request)


def _serve(name: str, request: Request) -> Response:
    if not _is_on(request):
        raise HTTPException(404, "the playground is off; the setting playground turns it on")
    found = _read(name)
    headers = {**_HEADERS, "ETag": found.etag}
    if header_of(request.scope, b"if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in (header_of(request.scope, b"accept-encoding") or ""):
        return Response(found.compressed, media_type=found.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(found.content, media_type=found.media_type, headers=headers)


def _is_on(request: Request) -> bool:
    settings: Settings = request.app.state.settings
    return settings.playground

"""The documentation page: Swagger UI, with all of its files served locally, and the OpenAPI document."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response

from spar_server.http.headers import DOCS, DOCS_FILES

router = APIRouter(include_in_schema=False)

# Nothing is loaded from or sent to other origins, and no inline script runs. Swagger UI's images are in its CSS.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Relative URLs, so that the page also works behind a proxy's path prefix.
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SPaR Server</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  showCommonExtensions: true,
  // Otherwise Swagger UI sends the document's address to a validator on the internet.
  validatorUrl: null,
});
"""


@router.get(DOCS)
async def page() -> Response:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"})


@router.get(f"{DOCS}/{{name}}")
async def file(name: str) -> Response:
    if name not in DOCS_FILES:
        raise HTTPException(404, "Not Found")
    headers = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
    if name == "start.js":
        return Response(_START, media_type="text/javascript", headers=headers)
    # Only the static files of the package are used.
    return FileResponse(Path(str(files("fastapi_offline"))) / "static" / name, headers=headers)


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    rendered: bytes = request.app.openapi_document
    return Response(rendered, media_type="application/json")

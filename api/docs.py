"""The page that shows the API's description, all of which comes from here: it works on a machine without a way out."""

import base64
import hashlib
import re
from importlib import resources

from fastapi import FastAPI, HTTPException, Response
from fastapi.openapi.docs import get_swagger_ui_html

PAGE = "/docs"
_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_OPTIONS = {
    "tryItOutEnabled": True,
    "persistAuthorization": True,
    "filter": True,
    "displayRequestDuration": True,
    # Else the page has a server elsewhere look at the description.
    "validatorUrl": None,
}


def add_docs(app: FastAPI) -> None:
    """Add the page and what it loads. The addresses name no host, as a proxy in front may have another."""
    assert app.openapi_url is not None
    script, style, icon = (f"/swagger/{name}" for name in _FILES)
    page = bytes(
        get_swagger_ui_html(
            openapi_url=app.openapi_url,
            title=f"{app.title} API",
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url=icon,
            swagger_ui_parameters=_OPTIONS,
        ).body
    )
    policy = {"Content-Security-Policy": _policy(page)}
    files = resources.files("fastapi_swagger.resources")
    held = {name: (files / name).read_bytes() for name in _FILES}

    @app.get(PAGE, include_in_schema=False)
    async def docs() -> Response:
        return Response(page, media_type="text/html", headers=policy)

    @app.get("/swagger/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        if name not in held:
            raise HTTPException(404)
        return Response(held[name], media_type=_FILES[name])


def _policy(page: bytes) -> str:
    """What the page may load: its own files, the description, and the one script that stands in it, by its hash."""
    inline = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in inline)
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

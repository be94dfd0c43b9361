"""The headers that every response has.

A page that needs more than nothing sets ``Content-Security-Policy`` itself (``PAGE_POLICY``), and
a file that may be kept sets ``Cache-Control``; whoever sets nothing gets the strictest.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For what is no page: nothing may be loaded, sent or framed."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
"""For pages: our own files and nothing inline, nothing of anybody else."""

_FIXED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), browsing-topics=()",
    "x-robots-tag": "noindex, nofollow, noarchive",
}
_DEFAULTS = {"content-security-policy": API_POLICY, "cache-control": "no-store"}
_HSTS = "max-age=31536000"


class SecurityHeaders:
    """Sets them on every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                set_headers(headers, tls=scope["scheme"] == "https")
            await send(message)

        await self._app(scope, receive, with_headers)


def set_headers(headers: MutableHeaders, *, tls: bool) -> None:
    """Set what is fixed, and what the response did not set itself."""
    headers.update(_FIXED)
    for name, value in _DEFAULTS.items():
        headers.setdefault(name, value)
    if tls:
        headers["strict-transport-security"] = _HSTS

"""The cookies of people who sign on. Visitors of public pages get none.

``__Host-``: the browser takes it from us alone, over TLS (or this very machine), for all paths.
"""

from fastapi import Request, Response

SESSION = "__Host-delist-session"
KNOWN = "__Host-delist-known"
PENDING = "__Host-delist-sign-on"
_MOST = 2_000


def token_of(request: Request) -> str:
    """Return the session's token; empty without one."""
    return read(request, SESSION)


def read(request: Request, name: str) -> str:
    """Return a cookie; empty where there is none, or nothing of ours."""
    value = request.cookies.get(name, "")
    return value if len(value) <= _MOST else ""


def put(response: Response, name: str, value: str, *, max_age_s: int | None = None) -> None:
    """Set a cookie; without an age it goes when the browser is closed."""
    response.set_cookie(
        name, value, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="lax"
    )


def drop(response: Response, name: str) -> None:
    """Let the browser forget a cookie."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")

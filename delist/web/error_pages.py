"""Errors as pages where a person looks, and as problems where a program does.

Nothing of what was sent comes back, and a page says no more than what to do next.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from delist.errors import DelistError
from delist.web import problems
from delist.web.pages import is_page, render
from delist.web.people import SignOnNeeded
from delist.web.public.errors import is_for_strangers, public_error
from indexer.errors import IndexerError

_Handler = Callable[[Request, Exception], Awaitable[Response]]

_WORDS: dict[int, tuple[str, str]] = {
    400: ("That did not arrive whole", "Go back, reload the page and try again."),
    403: ("This is not open to you", "Your role does not include this page."),
    404: ("There is nothing here", "The page does not exist, or is no longer there."),
    405: ("That is not possible here", "Go back and use the buttons of the page."),
    409: ("Something has changed meanwhile", "Nothing was done. Reload the page and look again."),
    413: ("That is too large", "Send less at once."),
    422: ("Something in the form is not right", "Go back, look at the fields and try again."),
    429: ("Too many tries", "Wait a little, then try again."),
    500: ("Something went wrong on our side", "It was noted. Try again in a while."),
    503: (
        "Not available just now",
        "Try again in a while; nothing was lost that was saved before.",
    ),
}
_RESTORED = (
    "Put back from a backup",
    "Nothing is decided before the feeds were read anew. Tell whoever runs this installation.",
)
_FORGED = (
    "This form cannot be used any more",
    "Nothing was done. Go back, reload the page and fill it in again.",
)


def error_page(
    request: Request, status: int, words: tuple[str, str] | None = None, *, retry: str = ""
) -> Response:
    """Write an error in the frame; in that of public pages where nobody signs on."""
    if getattr(request.state, "person", None) is None and is_for_strangers(request.url.path):
        return public_error(request, status, forged=words is _FORGED, retry=retry)
    known = _WORDS.get(
        status, _WORDS[500] if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _WORDS[400]
    )
    heading, told = words or known
    headers = {"Retry-After": retry} if retry else {}
    return render(
        request,
        "error.html",
        status=status,
        headers=headers,
        heading=heading,
        words=told,
        number=status,
    )


def install(app: FastAPI) -> None:
    """Take over, for pages, from what ``problems.install`` has put there."""
    theirs = dict(app.exception_handlers)

    def taken_over(kind: type[Exception], page: Callable[[Request, Exception], Response]) -> None:
        handler: _Handler = theirs[kind]

        async def either(request: Request, error: Exception) -> Response:
            if is_page(request.scope):
                return page(request, error)
            return await handler(request, error)

        app.add_exception_handler(kind, either)

    taken_over(HTTPException, _http)
    taken_over(RequestValidationError, lambda request, _error: error_page(request, 422))
    for base in (DelistError, IndexerError):
        taken_over(base, _ours)


def unforeseen(scope: Scope) -> Response | None:
    """Write the page for an error that nobody foresaw; None where a program asked."""
    return error_page(Request(scope), 500) if is_page(scope) else None


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as it was registered
    if isinstance(error, SignOnNeeded):
        if "hx-request" in request.headers:  # a part of a page must not become the sign-on page
            return Response(status_code=401, headers={"HX-Redirect": error.location})
        return RedirectResponse(error.location, HTTPStatus.SEE_OTHER)
    words = _FORGED if error.detail == "forged_form" else None
    retry = (error.headers or {}).get("Retry-After", "")
    return error_page(request, error.status_code, words, retry=retry)


def _ours(request: Request, error: Exception) -> Response:
    problem = problems.of_error(error)
    if problem is None:
        raise error
    problems.note(problem, error)
    words = _RESTORED if problem.code == problems.RESTORED else None
    return error_page(request, problem.status_code, words)

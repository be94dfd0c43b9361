"""Errors as RFC 9457 problem details. Nothing that was sent comes back in one.

``code`` is the machine's word and stable; ``title`` and ``detail`` are for people.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from delist.errors import (
    AccessError,
    BusyError,
    DatabaseError,
    DelistError,
    PolicyChangedError,
    ProofError,
    QuotaError,
    RestoredError,
    UnknownAppealError,
    UnknownCaseError,
    UnknownConsumerError,
    UnknownRecordError,
    UsageError,
)
from indexer.errors import (
    ImageRefusedError,
    IndexerError,
    InvalidDigestError,
    InvalidUrlError,
    StoreError,
)

MEDIA_TYPE = "application/problem+json"
RESTORED = "restored"
_TYPE = "urn:delist:problem:"
_RETRY_S = 5
_EXTRA = "extra_forbidden"
_FROM_VALUES = frozenset({"value_error", "assertion_error", _EXTRA})
"""Kinds of pydantic errors whose words may repeat what was sent."""

_log = structlog.get_logger()

_KNOWN: tuple[tuple[type[Exception], int, str], ...] = (
    (ImageRefusedError, 422, "image_refused"),
    (InvalidUrlError, 422, "invalid_url"),
    (InvalidDigestError, 422, "invalid_digest"),
    (UnknownCaseError, 404, "unknown_case"),
    (UnknownAppealError, 404, "unknown_appeal"),
    (UnknownRecordError, 404, "unknown_record"),
    (UnknownConsumerError, 404, "unknown_consumer"),
    (BusyError, 503, "busy"),
    (QuotaError, 429, "quota_spent"),
    (AccessError, 403, "access_refused"),
    (ProofError, 409, "not_proved"),
    (UsageError, 409, "not_possible"),
    (PolicyChangedError, 503, "policy_changed"),
    (RestoredError, 503, RESTORED),
    (DatabaseError, 503, "store_unavailable"),
    (StoreError, 503, "store_unavailable"),
)
"""Our errors, whose words hold no values; the first that fits counts."""

_LATER = {
    RESTORED: "the store was put back from a backup; nothing is decided before its feeds were read"
}
"""What is said where trying again in a moment does not help."""


class Problem(HTTPException):
    """An answer that says what is wrong.

    Attributes:
        code: a constant for machines.
        more: further members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        super().__init__(status, detail or HTTPStatus(status).phrase, dict(headers or {}))
        self.code = code
        self.more = more


class ProblemDocument(BaseModel):
    """RFC 9457: what is wrong."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A URN that ends in `code`.")
    title: str
    status: int
    code: str = Field(description="A constant for machines.")
    detail: str = ""


def response(problem: Problem) -> JSONResponse:
    """Write a problem as a response."""
    document = {
        "type": f"{_TYPE}{problem.code.replace('_', '-')}",
        "title": HTTPStatus(problem.status_code).phrase,
        "status": problem.status_code,
        "code": problem.code,
        "detail": problem.detail,
        **problem.more,
    }
    return JSONResponse(
        document, problem.status_code, headers=dict(problem.headers or {}), media_type=MEDIA_TYPE
    )


def busy(code: str, detail: str, *, retry_s: int = _RETRY_S) -> Problem:
    """Say that it may work in a while."""
    return Problem(503, code, detail, headers={"Retry-After": str(retry_s)})


def of_error(error: Exception) -> Problem | None:
    """Translate one of our errors; None for one that nobody foresaw."""
    for kind, status, code in _KNOWN:
        if isinstance(error, kind):
            headers = (
                {"Retry-After": str(_RETRY_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
            )
            more = {"refusal": error.code.value} if isinstance(error, ImageRefusedError) else {}
            # The words of a store name files of ours.
            detail = _LATER.get(code, "try again later") if headers else str(error)
            return Problem(status, code, detail, headers=headers, **more)
    return None


def install(app: FastAPI) -> None:
    """Let every error that reaches FastAPI be answered as a problem."""

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Problem):
            return response(error)
        # Starlette's own words for a body that is no JSON or has no end say nothing of it.
        code = HTTPStatus(error.status_code).name.lower()
        return response(Problem(error.status_code, code, headers=error.headers))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        if any(entry["type"] == "json_invalid" for entry in found):
            return response(Problem(400, "invalid_json", "the body is not JSON"))
        return response(Problem(422, "invalid_request", errors=[_described(e) for e in found]))

    async def _ours(_request: Request, error: Exception) -> JSONResponse:
        problem = of_error(error)
        if problem is None:
            raise error
        note(problem, error)
        return response(problem)

    for base in (DelistError, IndexerError):
        app.add_exception_handler(base, _ours)


def note(problem: Problem, error: Exception) -> None:
    """Log what an operator has to mend."""
    if problem.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        _log.error("web.unavailable", error=type(error).__name__)


def _described(entry: Mapping[str, Any]) -> dict[str, object]:
    """Say where something is wrong and what, without the value and without names we do not know."""
    kind = str(entry["type"])
    where: Sequence[object] = entry["loc"][:-1] if kind == _EXTRA else entry["loc"]
    words = "a member that is not known" if kind == _EXTRA else str(entry["msg"])
    if kind in _FROM_VALUES - {_EXTRA}:
        words = "not acceptable"
    return {"pointer": "/" + "/".join(map(str, where)), "error": kind, "message": words}


class NothingUnforeseen:
    """The outermost layer: an error that nobody foresaw is a 500, and a line without values.

    Args:
        page: writes it for people; None where a program asked.
    """

    def __init__(
        self, app: ASGIApp, *, page: Callable[[Scope], Response | None] = lambda _scope: None
    ) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 - the boundary of a request
            frames = traceback.extract_tb(error.__traceback__)
            place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
            _log.error("web.failed", error=type(error).__name__, place=place)
            if not started:
                problem = response(Problem(500, "internal_error", "please report it"))
                await (self._page(scope) or problem)(scope, receive, send)

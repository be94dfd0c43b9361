"""What requests and answers of several routers share."""

from typing import Annotated, Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from delist.build import Delist
from delist.web.metrics import Metrics
from delist.web.problems import MEDIA_TYPE, Problem, ProblemDocument
from delist.web.work import HashingPool

_WORDS = {
    400: "The body is not JSON.",
    401: "There is no token, or it opens nothing.",
    403: "The token is not for that.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "It cannot be done now; `detail` says why.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "The request is not as described, or an input was refused.",
    429: "Too many requests, or the day's checks are used up.",
    503: "A store, the queue or the memory cannot take it now; `Retry-After` says when.",
}
_ALWAYS = (401, 403, 429, 503)


class Given(BaseModel):
    """What is sent to us: nothing is converted, and nothing unknown is taken."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Told(BaseModel):
    """What is answered; made from our records."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
"""A whole number as JSON has it, in which 1.0 is one; true is none."""

Text = Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]
"""Words of a person: not empty, not only blanks."""

Url = Annotated[str, Field(min_length=1, max_length=8_000, json_schema_extra={"format": "uri"})]

KEY_PATTERN = r"^[0-9a-f]{32}$"
ID_PATTERN = r"^[0-9A-Za-z_-]{1,64}$"
"""Names of cases and appeals. A store answers to a zero byte as if it had failed."""


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route may answer with, besides those of all routes."""
    return {
        status: {
            "model": ProblemDocument,
            "description": _WORDS[status],
            "content": {MEDIA_TYPE: {}},
        }
        for status in sorted({*statuses, *_ALWAYS})
    }


def only_known_queries(request: Request) -> None:
    """Refuse a parameter that the route does not know: a misspelt one must not be ignored.

    Raises:
        Problem: 422.
    """
    route = request.scope.get("route")
    if isinstance(route, APIRoute):
        known = {field.alias for field in route.dependant.query_params}
        if not known.issuperset(request.query_params):
            raise Problem(422, "unknown_parameter", "a parameter that is not known here")


def delist_of(request: Request) -> Delist:
    """Return the open whole of the app."""
    found = request.app.state.delist
    assert isinstance(found, Delist)  # noqa: S101 - set by create_app
    return found


def metrics_of(request: Request) -> Metrics:
    """Return the counters of the app."""
    found = request.app.state.metrics
    assert isinstance(found, Metrics)  # noqa: S101 - set by create_app
    return found


def pool_of(request: Request) -> HashingPool:
    """Return the threads that hash."""
    found = request.app.state.pool
    assert isinstance(found, HashingPool)  # noqa: S101 - set by create_app
    return found

"""The suppression log: what consumers read and acknowledge.

A consumer is the token's name, so nobody reads, or acknowledges, in the name of another. Of an
address it learns a hash under its own key (``delist.consumers``).
"""

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from delist.consumers import document
from delist.consumers.following import MOST
from delist.web.api.shapes import Given, Integer, Told, answers, delist_of
from delist.web.problems import Problem, busy
from delist.web.tokens import AdminCaller, FollowCaller

_MOST_SEQUENCE = 2**53
_LONGEST_WAIT_S = 300.0
_MOST_WAITING = 20

router = APIRouter(tags=["suppression log"])


class Instructions(Told):
    """Instructions in order; `delist/schemas/instruction-1.json` describes one."""

    instructions: list[dict[str, Any]]
    next: int = Field(description="Ask behind this next; acknowledge it when all is done.")
    head: int = Field(description="Number of the newest record.")


class Ack(Given):
    """Everything up to a number was done."""

    sequence: Integer = Field(ge=0, le=_MOST_SEQUENCE)


class Acknowledged(Told):
    """Where the consumer stands."""

    name: str
    position: int
    head: int
    lag: int


class Consumer(Acknowledged):
    """Where a consumer stands, as operators see it."""

    kind: str
    set_aside: int
    overdue: bool
    trouble: str


class Consumers(Told):
    """All consumers, by name."""

    consumers: list[Consumer]


@router.get("/v1/suppressions", responses=answers(404, 409, 422))
async def read_log(
    request: Request,
    caller: FollowCaller,
    after: Annotated[
        int | None,
        Query(ge=0, le=_MOST_SEQUENCE, description="Default: what was acknowledged last."),
    ] = None,
    wait_s: Annotated[float, Query(ge=0, le=_LONGEST_WAIT_S, allow_inf_nan=False)] = 0.0,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 500,
) -> Instructions:
    """Read what follows a number, waiting up to `wait_s` where there is nothing yet.

    No longer than `[web] wait_s`: an answer without instructions says that there is no news.
    """
    waiting, stopping = request.app.state.waiting, request.app.state.stopping
    assert isinstance(stopping, threading.Event)  # noqa: S101 - set by create_app
    # Each one that waits holds a thread.
    if wait_s and len(waiting) >= _MOST_WAITING:
        raise busy("too_many_waiting", "ask without waiting, or later", retry_s=1)
    followers = delist_of(request).sinks.followers
    mark = object()
    waiting.add(mark)
    try:
        page = await run_in_threadpool(
            followers.read,
            caller.name,
            after=after,
            limit=limit,
            wait_s=min(wait_s, delist_of(request).settings.web.wait_s),
            stopped=stopping.is_set,
        )
    finally:
        waiting.discard(mark)
    return Instructions(
        instructions=[document(entry) for entry in page.instructions],
        next=page.next,
        head=page.head,
    )


@router.post("/v1/consumers/{name}/ack", responses=answers(400, 404, 408, 409, 413, 422))
def acknowledge(
    request: Request,
    caller: FollowCaller,
    given: Ack,
    name: Annotated[str, Path(min_length=1, max_length=63)],
) -> Acknowledged:
    """Note that everything up to a number was done; a lower one changes nothing."""
    if name != caller.name:
        raise Problem(403, "other_consumer", "this token is another consumer's")
    standing = delist_of(request).sinks.followers.acknowledge(name, given.sequence)
    return Acknowledged.model_validate(standing)


@router.get("/v1/consumers", responses=answers())
def list_consumers(request: Request, _caller: AdminCaller) -> Consumers:
    """Say where every consumer stands, sinks included."""
    standings = delist_of(request).sinks.followers.standings()
    return Consumers(consumers=[Consumer.model_validate(entry) for entry in standings])

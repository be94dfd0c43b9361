"""What load balancers and monitoring ask."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field

from delist.monitoring import Health
from delist.web.api.shapes import Told, answers
from delist.web.metrics import Metrics
from delist.web.ready import Readiness, State
from delist.web.tokens import AdminCaller, MetricsCaller

router = APIRouter(tags=["operation"])


class Alive(Told):
    """The process answers."""

    status: str = "ok"


class Ready(Told):
    """Whether the process can do its work, by part."""

    ready: bool
    parts: dict[str, State]
    troubles: list[str] = Field(description="Codes of what is stale or missing; no names.")


class Trouble(Told):
    """Something that is not as it should be, as `delist doctor` says it."""

    code: str
    health: Health
    subject: str
    detail: str
    mend: str


class Standing(Ready):
    """The same, with the feeds by name, and everything that is stale or wrong."""

    feed_ages_s: dict[str, float | None]
    signals: dict[str, int]
    conditions: list[Trouble]


@router.get("/healthz")
async def health() -> Alive:
    """Say that the process answers; nothing is looked at."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Ready, "description": "A part is not ready."}})
def ready(request: Request, response: Response) -> Ready:
    """Say which parts are ready; names no feed."""
    found = _readiness(request).look()
    response.status_code = 200 if found.is_ready else 503
    return Ready(ready=found.is_ready, parts=dict(found.parts), troubles=list(found.troubles))


@router.get("/v1/status", responses=answers())
def status(request: Request, _caller: AdminCaller) -> Standing:
    """Say which parts are ready, how old and large each feed is, and what is stale or wrong."""
    readiness = _readiness(request)
    found = readiness.look()
    return Standing(
        ready=found.is_ready,
        parts=dict(found.parts),
        troubles=list(found.troubles),
        conditions=[
            Trouble(
                code=condition.code,
                health=condition.health,
                subject=condition.subject,
                detail=condition.detail,
                mend=condition.mend,
            )
            for condition in readiness.conditions()
        ],
        feed_ages_s=dict(found.feed_ages_s),
        signals=dict(found.signals),
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics."},
        **answers(),
    },
)
def metrics(request: Request, _caller: MetricsCaller) -> Response:
    """Write Prometheus metrics: sums that would tell a stranger that something was found."""
    found = request.app.state.metrics
    assert isinstance(found, Metrics)  # noqa: S101 - set by create_app
    return Response(found.text(), media_type=CONTENT_TYPE_LATEST)


def _readiness(request: Request) -> Readiness:
    found = request.app.state.readiness
    assert isinstance(found, Readiness)  # noqa: S101 - set by create_app
    return found

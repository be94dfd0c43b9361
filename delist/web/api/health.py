"""What load balancers and monitoring ask."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

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


class Standing(Ready):
    """The same, with the feeds by name."""

    feed_ages_s: dict[str, float | None]
    signals: dict[str, int]


@router.get("/healthz")
async def health() -> Alive:
    """Say that the process answers; nothing is looked at."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Ready, "description": "A part is not ready."}})
def ready(request: Request, response: Response) -> Ready:
    """Say which parts are ready; names no feed."""
    found = _readiness(request).look()
    response.status_code = 200 if found.is_ready else 503
    return Ready(ready=found.is_ready, parts=dict(found.parts))


@router.get("/v1/status", responses=answers())
def status(request: Request, _caller: AdminCaller) -> Standing:
    """Say which parts are ready, and how old and large each feed is."""
    found = _readiness(request).look()
    return Standing(
        ready=found.is_ready,
        parts=dict(found.parts),
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

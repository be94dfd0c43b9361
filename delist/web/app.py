"""``create_app``: the whole of the web side on one open ``Delist``."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from delist.build import Delist
from delist.web import error_pages, pages, problems
from delist.web.api import appeals, cases, health, images, log, results, signals
from delist.web.api.shapes import only_known_queries
from delist.web.bodies import Bodies
from delist.web.console import MODULES as CONSOLE
from delist.web.headers import SecurityHeaders
from delist.web.limits import RateLimiter
from delist.web.metrics import Measuring, Metrics
from delist.web.people import login, me
from delist.web.people.provider import Provider
from delist.web.public import MODULES as PUBLIC
from delist.web.public.state import public_of
from delist.web.ready import Readiness
from delist.web.tokens import Authentication
from delist.web.work import HashingPool
from indexer.comparing import processors

_ROUTERS = (health, images, results, log, cases, appeals, signals, login, me)
_API, _METRICS = "/v1", "/metrics"


def create_app(delist: Delist) -> FastAPI:
    """Put the web side together; ``delist`` stays the caller's to close.

    ``app.state`` has ``delist``, ``pool``, ``results``, ``readiness``, ``metrics`` and
    ``stopping``, an event that ends what waits.
    """
    settings, oidc = delist.settings.web, delist.settings.oidc
    app = FastAPI(
        title="Delist",
        version=version("delist"),
        summary="Which results must not be shown, and how that is decided.",
        # FastAPI's own spans and logs would hold paths, queries and messages; ours hold routes.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        # The pages that show the document load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
        generate_unique_id_function=_name_of,
    )
    monitor = delist.monitor()
    readiness = Readiness(monitor, delist.indexer, limits=delist.limits)
    metrics = Metrics(monitor, readiness, limits=delist.limits)
    state: dict[str, Any] = {
        "delist": delist,
        "pool": HashingPool(
            on_end=metrics.note_refusal,
            threads=settings.hash_threads or processors(),
            queue=settings.hash_queue,
            timeout_s=settings.timeout_s,
        ),
        "results": delist.suppression_filter(),
        "readiness": readiness,
        "metrics": metrics,
        "provider": Provider(oidc, key=delist.people_secret) if oidc.issuer else None,
        "sign_on_limit": RateLimiter(
            per_s=settings.sign_ons_per_minute / 60, burst=settings.sign_ons_per_minute
        ),
        "public": public_of(delist),
        "stopping": threading.Event(),
        "waiting": set(),
    }
    for name, value in state.items():
        setattr(app.state, name, value)
    for module in _ROUTERS:
        app.include_router(module.router, dependencies=[Depends(only_known_queries)])
    for module in CONSOLE:
        app.include_router(module.router, dependencies=[Depends(only_known_queries)])
    for module in PUBLIC:
        app.include_router(module.router, dependencies=[Depends(only_known_queries)])
    pages.mount_static(app)
    problems.install(app)
    error_pages.install(app)
    _surround(app, delist)
    return app


def needs_token(path: str) -> bool:
    """Say whether a path is nothing for strangers."""
    return path in {_METRICS, _API} or path.startswith(f"{_API}/")


def api_routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Iterate over method and path of every route, as ``docs/security.md`` lists them."""
    for path, methods in app.openapi()["paths"].items():
        yield from ((method.upper(), path) for method in methods)
    yield "GET", app.openapi_url or ""


def _surround(app: FastAPI, delist: Delist) -> None:
    """Put the layers around the app, the innermost first."""
    settings, hashing = delist.settings.web, delist.settings.indexer.hashing
    app.add_middleware(
        Authentication,
        tokens=delist.tokens,
        clock=delist.clock,
        private=needs_token,
        per_s=settings.requests_per_s,
        wrong_per_minute=settings.wrong_tokens_per_minute,
    )
    app.add_middleware(
        Bodies,
        limits={
            images.HASH: hashing.max_bytes,
            images.CHECK: hashing.max_bytes,
            images.CHECK_BATCH: settings.batch_bytes,
            images.INDEX: settings.batch_bytes,
        },
        timeout_s=settings.timeout_s,
        memory_bytes=settings.memory_bytes,
        private=needs_token,
    )
    app.add_middleware(Measuring, metrics=app.state.metrics)
    app.add_middleware(problems.NothingUnforeseen, page=error_pages.unforeseen)
    app.add_middleware(SecurityHeaders)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Hand the server what ends waiting requests, and stop the threads in the end."""
    app.state.stopping.clear()
    yield {"stopping": app.state.stopping}
    app.state.stopping.set()
    app.state.pool.close()


def _name_of(route: APIRoute) -> str:
    return f"{str(route.tags[0]).replace(' ', '_')}_{route.name}"

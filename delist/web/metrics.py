"""Prometheus metrics: what this process answered, and how the whole stands.

Several workers share their counters through files, which ``delist.web.server`` sets up.
"""

import os
from collections.abc import Iterable, Iterator
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from delist.monitoring import Limits, Monitor
from delist.monitoring.exposition import StandingCollector
from delist.web.ready import Readiness
from indexer.errors import ImageRefusedError
from indexer.tracing import HTTP_REQUEST, span

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The library looks here for the folder that workers share."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counters of one app."""

    def __init__(self, monitor: Monitor, readiness: Readiness, *, limits: Limits) -> None:
        self._counted = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter(
            "delist_http_requests",
            "Requests that were answered.",
            labels,
            registry=self._counted,
        )
        self.seconds = Histogram(
            "delist_http_request_duration_seconds",
            "Time until the last byte of an answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._counted,
        )
        self.lookups = Counter(
            "delist_lookups",
            "Addresses, images and digests that were looked up.",
            ("of",),
            registry=self._counted,
        )
        self.refusals = Counter(
            "delist_image_refusals",
            "Images that were not hashed, by reason.",
            ("reason",),
            registry=self._counted,
        )
        self._standing = CollectorRegistry()
        self._standing.register(StandingCollector(monitor, limits))
        self._standing.register(_Ready(readiness))

    def note_refusal(self, error: BaseException | None) -> None:
        """Count what an image was refused for."""
        if isinstance(error, ImageRefusedError):
            self.refusals.labels(error.code.value).inc()

    def families(self) -> Iterator[Metric]:
        """Iterate over all metrics of this process."""
        yield from self._counted.collect()
        yield from self._standing.collect()

    def text(self) -> bytes:
        """Write all metrics in the text format; a store that fails is one of them."""
        counted = self._counted
        if SHARED in os.environ:
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        return generate_latest(counted) + generate_latest(self._standing)


class Measuring:
    """Counts and times every request by the template of its route, never by its path."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with span(HTTP_REQUEST) as current:
            try:
                await self._app(scope, receive, noting)
            finally:
                route, method = _names(scope)
                current.set("http.route", route)
                current.set("http.request.method", method)
                current.set("http.response.status_code", status)
                self._metrics.requests.labels(method, route, str(status)).inc()
                self._metrics.seconds.labels(route).observe(perf_counter() - started)


class _Ready(Collector):
    """Whether each part of this process is ready."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: nothing is looked at before somebody asks us."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Look."""
        ready = GaugeMetricFamily("delist_ready", "Whether a part is ready.", labels=["part"])
        for part, state in self._readiness.look().parts.items():
            ready.add_metric([part], float(state.is_ready))
        yield ready


def _names(scope: Scope) -> tuple[str, str]:
    """Return route and method: of what strangers make up one each."""
    # A route is there for a wrong method too, and each name would be a series for ever.
    route, method = scope.get("route"), scope["method"]
    return getattr(route, "path", _OTHER), method if route and method in _METHODS else _OTHER

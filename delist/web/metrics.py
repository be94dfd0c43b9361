"""Prometheus metrics: what this process answered, and how the whole stands.

Several workers share their counters through files, which ``delist.web.server`` sets up.
"""

import os
from collections.abc import Iterable, Iterator
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from delist.build import Delist
from delist.web.ready import Readiness

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The library looks here for the folder that workers share."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_OTHER = "other"


class Metrics:
    """The counters of one app."""

    def __init__(self, delist: Delist, readiness: Readiness) -> None:
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
        self._standing = CollectorRegistry()
        self._standing.register(_Standing(delist, readiness))

    def text(self) -> bytes:
        """Write all metrics in the text format.

        Raises:
            DatabaseError, StoreError: a store cannot be asked.
        """
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

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", _OTHER)
            method = scope["method"] if scope.get("route") else _OTHER
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(perf_counter() - started)


class _Standing(Collector):
    """Figures that are looked up when somebody asks."""

    def __init__(self, delist: Delist, readiness: Readiness) -> None:
        self._delist = delist
        self._readiness = readiness

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Describe nothing: the stores are not asked before somebody asks us."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Look the figures up."""
        found = self._readiness.look()
        ready = GaugeMetricFamily("delist_ready", "Whether a part is ready.", labels=["part"])
        for part, state in found.parts.items():
            ready.add_metric([part], float(state.is_ready))
        yield ready
        age = GaugeMetricFamily(
            "delist_feed_sync_age_seconds", "Time since a feed's last sync.", labels=["feed"]
        )
        for feed, seconds in found.feed_ages_s.items():
            if seconds is not None:
                age.add_metric([feed], seconds)
        yield age
        signals = GaugeMetricFamily(
            "delist_signals", "Live signals of a feed that are matched.", labels=["feed"]
        )
        for feed, number in found.signals.items():
            signals.add_metric([feed], number)
        yield signals
        yield GaugeMetricFamily(
            "delist_cases_awaiting_person", "Cases that wait for a person.", value=found.awaiting
        )
        yield GaugeMetricFamily(
            "delist_ledger_records", "Records of the ledger.", value=found.records
        )

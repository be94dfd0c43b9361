"""Spans around pieces of work, as an OpenTelemetry exporter gets them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from delist.settings import TracingSettings, load_settings
from delist.tracing import provider, start
from indexer import tracing
from indexer.errors import SettingsError
from tests.fakes.delisting import FEED, digest_of, image_near
from tests.fakes.web import opened

MARK = "marked-secret-value"
SIGNAL = digest_of("signal")
URL = f"https://site.example/{MARK}.jpg"


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    made = provider(exporter, share=1.0, part="test", at_once=True)
    yield exporter
    tracing.use(None)
    made.shutdown()


def test_work_leaves_spans_that_identify_nobody(
    exported: InMemorySpanExporter, tmp_path: Path
) -> None:
    """Feed page, scan, intake and request: names and attributes of which there are few."""
    with opened(tmp_path / "data") as web:
        web.world.visit(URL, image_near({SIGNAL: 5}))
        web.world.offer(SIGNAL, cases={MARK: "Active"})
        web.world.settle()
        headers = web.headers("serve", "review")
        web.client.post("/v1/suppressed", json={"urls": [URL]}, headers=headers)
        web.client.get(f"/v1/cases/{MARK}?{MARK}=1", headers=headers)
        web.client.get(f"/{MARK}")
    spans = exported.get_finished_spans()

    assert {span.name for span in spans} == set(tracing.NAMES) - {tracing.SINK_DELIVERY}
    assert {key for span in spans for key in span.attributes or ()} <= tracing.ATTRIBUTES
    routes = [span.attributes["http.route"] for span in spans if span.name == tracing.HTTP_REQUEST]
    assert routes == ["/v1/suppressed", "/v1/cases/{case_id}", "other"]
    (page,) = (span for span in spans if span.name == tracing.FEED_PAGE)
    assert dict(page.attributes) == {"feed": FEED, "records": 1}
    text = "".join(span.to_json() for span in spans)
    assert MARK not in text
    assert SIGNAL.hex() not in text


def test_of_an_error_only_the_type_is_told(exported: InMemorySpanExporter) -> None:
    """Its message may hold anything."""
    with pytest.raises(ValueError, match=MARK), tracing.span(tracing.FEED_PAGE, feed=FEED):
        raise ValueError(MARK)

    (span,) = exported.get_finished_spans()
    assert dict(span.attributes or {}) == {"feed": FEED, "error.type": "ValueError"}
    assert MARK not in span.to_json()


def test_an_attribute_that_is_not_listed_is_refused() -> None:
    """Also where nothing is traced: a test of ours would find it."""
    with tracing.span(tracing.FEED_PAGE) as span, pytest.raises(ValueError, match="url"):
        span.set("url", URL)


def test_no_provider_is_set_for_libraries(exported: InMemorySpanExporter) -> None:
    """FastAPI would put paths and queries into spans of its own."""
    del exported
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_tracing_is_off_unless_configured(tmp_path: Path) -> None:
    """And no trace goes in the clear over a network."""
    start(TracingSettings(), part="run")
    config = tmp_path / "delist.toml"
    config.write_text('[tracing]\nendpoint = "http://collector.example/v1/traces"\n')
    with tracing.span(tracing.FEED_PAGE) as span:
        span.set("records", 1)

    with pytest.raises(SettingsError, match=r"tracing\.endpoint"):
        load_settings(config)


def test_fastapi_sends_nothing_of_its_own(tmp_path: Path) -> None:
    """Its spans, metrics and logs would hold paths, queries and messages of errors."""
    with opened(tmp_path / "data") as web:
        telemetry = web.app._telemetry

    assert not any(telemetry[name] for name in ("tracing", "metrics", "logs", "auto_configure"))

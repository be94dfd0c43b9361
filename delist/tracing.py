"""OpenTelemetry: the spans of ``indexer.tracing`` sent to a collector. Off unless configured.

The process's global provider stays unset: libraries that look for one, FastAPI among them, would
put paths and queries into spans of their own.
"""

from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import TYPE_CHECKING

from delist.settings import TracingSettings
from indexer import tracing
from indexer.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_TIMEOUT_S = 5


def start(settings: TracingSettings, *, part: str) -> None:
    """Send the spans of this process to the configured collector, if there is one.

    Args:
        part: what the process is, such as ``run`` or ``serve``.

    Raises:
        SettingsError: the extra is not installed.
    """
    if not settings.endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
    except ImportError:
        raise SettingsError(
            'tracing.endpoint: needs a package that is not installed; install delist with "otel"'
        ) from None
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=_TIMEOUT_S)
    provider(exporter, share=settings.share, part=part)


def provider(
    exporter: "SpanExporter", *, share: float, part: str, at_once: bool = False
) -> "TracerProvider":
    """Have spans go to an exporter.

    Args:
        share: of spans that are kept, 0-1.
        at_once: whether each goes by itself when it ends, rather than with others.
    """
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        SimpleSpanProcessor,
    )
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased  # noqa: PLC0415
    from opentelemetry.trace import Span  # noqa: PLC0415

    # Not Resource.create: it would add host names, paths and whatever the environment holds.
    resource = Resource({"service.name": f"delist-{part}", "service.version": version("delist")})
    made = TracerProvider(resource=resource, sampler=TraceIdRatioBased(share))
    made.add_span_processor(
        SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter)
    )
    tracer = made.get_tracer("delist")

    def open_span(name: str) -> AbstractContextManager[Span]:
        # An exception's message may hold anything.
        return tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        )

    tracing.use(open_span)
    return made

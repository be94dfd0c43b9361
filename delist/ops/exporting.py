"""The metrics of `delist run`, over HTTP on this machine only."""

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from delist.build import Delist
from delist.errors import UsageError
from delist.monitoring.exposition import StandingCollector

_LOOPBACK = "127.0.0.1"


def export(delist: Delist) -> int:
    """Serve metrics from a thread until the process ends, as [metrics] says.

    A process that stands by serves them too: they are of the stores, not of one process.

    Returns:
        The port, or 0 where none is configured.

    Raises:
        UsageError: the port is taken.
    """
    port = delist.settings.metrics.port
    if not port:
        return 0
    registry = CollectorRegistry()
    registry.register(StandingCollector(delist.monitor(), delist.limits))
    ProcessCollector(registry=registry)
    try:
        start_http_server(port, addr=_LOOPBACK, registry=registry)
    except OSError as error:
        raise UsageError(f"[metrics] port {port} cannot be used: {error.strerror}") from None
    return port

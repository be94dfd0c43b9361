"""The metrics of `delist run`, over HTTP on this machine only."""

import errno
import threading
import time
from contextlib import suppress

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from delist.build import Delist
from delist.errors import UsageError
from delist.monitoring.exposition import StandingCollector

_LOOPBACK = "127.0.0.1"
_AGAIN_S = 1.0


def export(delist: Delist, *, stands_by: bool = False) -> int:
    """Serve metrics from a thread until the process ends, as [metrics] says.

    A process that stands by serves them too: they are of the stores, not of one process. On the
    machine of the one that leads, that one has the port, and it is taken over when it is free.

    Args:
        stands_by: whether another process of this machine does the periodic work.

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
        if not (stands_by and error.errno == errno.EADDRINUSE):
            raise UsageError(f"[metrics] port {port} cannot be used: {error.strerror}") from None
        threading.Thread(target=_take_over, args=(port, registry), daemon=True).start()
    return port


def _take_over(port: int, registry: CollectorRegistry) -> None:
    while True:
        time.sleep(_AGAIN_S)
        with suppress(OSError):
            start_http_server(port, addr=_LOOPBACK, registry=registry)
            return

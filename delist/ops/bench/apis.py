"""``delist bench api``: requests a second to ``delist serve`` on loopback, by several clients.

Server and clients share this machine's processors, so the rates are of both together.
"""

import json
import multiprocessing
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from delist.build import Delist, FailedSync
from delist.errors import DelistError, UsageError
from delist.ops.bench.asking import Load, ask, loaded
from delist.ops.bench.timing import Say
from delist.tokens import TokenScope
from indexer.model import DIGEST_BYTES

HMA_RATE, HMA_PODS = (450.0, 500.0), 10
"""Requests a second that HMA's README publishes, of so many pods; look-ups of hashes."""

_MOST = 1_000
_HEAD_S = 0.3
"""Seconds in which every client has its work, before all begin at once."""
_START_S = 60.0
_CONFIGURATION = """\
data_dir = "data"
[web]
requests_per_s = 1000000
checks_per_day = 1000000000
[feeds.bank]
type = "file"
path = "bank.txt"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """What is measured.

    Attributes:
        workers: processes of the server.
        clients: processes that ask, each one request at a time on one connection.
        seconds: that each route is asked for.
        batch: addresses, or digests, in one request of the batch routes.
        signals: random ones that digests are looked up in.
    """

    workers: int = 2
    clients: int = 4
    seconds: float = 5.0
    batch: int = 100
    signals: int = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiReport:
    """What one route reached.

    Attributes:
        items: addresses or digests in each request.
        rate: requests a second, of all clients together.
        p50_ms, p99_ms: from sending a request to the last byte of its answer.
        failed: answers that were not 200.
    """

    what: str
    items: int
    rate: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def item_rate(self) -> float:
        """Addresses or digests a second."""
        return self.rate * self.items


def measure_api(options: ApiOptions, say: Say = lambda _word: None) -> Iterator[ApiReport]:
    """Measure one route after the other.

    Raises:
        UsageError: an option makes no sense.
        DelistError: the server did not start.
    """
    if options.batch > _MOST:
        raise UsageError(f"--batch: {_MOST} at most")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "delist.toml"
        config.write_text(_CONFIGURATION)
        say("signals")
        token = _prepare(config, options.signals)
        clients = multiprocessing.get_context("spawn").Pool(options.clients)
        with clients, _server(config, options.workers) as url:
            clients.map(loaded, range(options.clients), chunksize=1)
            for what, path, items, document in _requests(options.batch):
                say(what)
                load = Load(
                    url=url,
                    path=path,
                    token=token,
                    body=json.dumps(document).encode(),
                    starts_at=time.time() + _HEAD_S,
                    seconds=options.seconds,
                )
                yield _measured(
                    what, items, load, clients.map(ask, [load] * options.clients, chunksize=1)
                )


def _prepare(config: Path, signals: int) -> str:
    digests = secrets.token_bytes(signals * DIGEST_BYTES).hex()
    size = 2 * DIGEST_BYTES
    lines = (digests[at : at + size] for at in range(0, len(digests), size))
    (config.parent / "bank.txt").write_text("\n".join(lines))
    with Delist.open(config) as delist:
        delist.create()
        for outcome in delist.sync_feeds():
            if isinstance(outcome, FailedSync):
                raise outcome.error
        scopes = {TokenScope.SERVE, TokenScope.INDEX}
        return delist.tokens.add("bench", scopes, actor="bench")[1]


def _requests(batch: int) -> Iterator[tuple[str, str, int, object]]:
    urls = [f"https://www.site{n % 97}.example/albums/{n}.jpg?width=800" for n in range(batch)]
    digests = [secrets.token_hex(DIGEST_BYTES) for _ in range(batch)]
    for number in dict.fromkeys((1, batch)):
        yield "is it suppressed?", "/v1/suppressed", number, {"urls": urls[:number]}
        yield "digest look-up", "/v1/digests/check", number, {"digests": digests[:number]}


def _measured(
    what: str, items: int, load: Load, found: Sequence[tuple[list[float], int]]
) -> ApiReport:
    times = np.concatenate([np.asarray(taken) for taken, _ in found]) * 1000
    if not len(times):
        raise DelistError("no request was answered in this time; give it more --seconds")
    p50, p99 = (float(value) for value in np.percentile(times, (50, 99)))
    return ApiReport(
        what=what,
        items=items,
        rate=len(times) / load.seconds,
        p50_ms=p50,
        p99_ms=p99,
        failed=sum(failed for _, failed in found),
    )


@contextmanager
def _server(config: Path, workers: int) -> Iterator[str]:
    command = [sys.executable, "-m", "delist", "--config", str(config), "--json", "serve"]
    running = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--port", "0", "--workers", str(workers)], stdout=subprocess.PIPE, text=True
    )
    try:
        line = running.stdout.readline() if running.stdout else ""
        if not line:
            raise DelistError("delist serve did not start")
        url = str(json.loads(line)["url"])
        _wait_for(url)
        yield url
    finally:
        running.terminate()
        with suppress(subprocess.TimeoutExpired):
            running.wait(15)
        running.kill()
        running.communicate()


def _wait_for(url: str) -> None:
    """Wait until a worker answers: the socket takes connections before that."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_START_S)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    except OSError:
        raise DelistError("delist serve does not answer") from None
    finally:
        connection.close()

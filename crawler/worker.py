"""The child process of one crawl; see ``crawler.runner`` for what goes in and out.

Scrapy and Twisted write URLs into their logs. Here no message of a library is
written: one handler says that there was one, from which logger and with which
exception type.
"""

import asyncio
import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import structlog
from scrapy import signals
from scrapy.crawler import AsyncCrawlerProcess, Crawler
from scrapy.utils.reactor import install_reactor

from crawler.pacing import pacing_of, use_pacing
from crawler.pipelines import STOPPED, image_looked, internal_error, store_failed
from crawler.settings import (
    CrawlJob,
    CrawlSettings,
    SharedCrawl,
    scrapy_settings,
    shared_settings,
)
from crawler.spiders.pages import PagesSpider
from crawler.tally import Tally
from indexer.build import Indexer
from indexer.errors import IndexerError
from indexer.settings import settings_of

PROGRESS_EVERY_S = 1.0
GRACE_S = 10.0
"""How long transfers may go on after a stop before the process ends."""
STOP_RETRY_S = 0.02

_REPEATS = 10
_log = structlog.get_logger()


def main() -> int:
    """Run the crawl that standard input describes; 0 when a result was written."""
    out = _take_stdout()
    _silence()
    order = json.loads(sys.stdin.readline())
    try:
        result = _crawl(order, out)
    except IndexerError as error:
        _write(out, {"error": str(error)})
        return 1
    if isinstance(result, str):
        _write(out, {"error": result})
        return 1
    _write(out, {"result": result})
    return 0


def _crawl(order: dict[str, Any], out: IO[str]) -> dict[str, Any] | str:
    """Crawl; returns the counters, or what went wrong with the store."""
    seeds = {name: tuple(order["job"][name]) for name in ("urls", "image_urls")}
    job = CrawlJob(**{**order["job"], **seeds})
    settings = CrawlSettings(**order["settings"])
    if order.get("sharing"):
        return _crawl_shared(order, job, settings, out)
    # Opened and closed once here: a configuration that is wrong fails before anything starts.
    with Indexer.open(order["config"], data_dir=order["data_dir"]) as indexer:
        max_image_bytes = indexer.settings.hashing.max_bytes
    values = scrapy_settings(
        settings,
        allow_private_addresses=job.allow_private_addresses,
        max_image_bytes=max_image_bytes,
    )
    values["DELIST_CONFIG"], values["DELIST_DATA_DIR"] = order["config"], order["data_dir"]
    values["DELIST_ITEM_HASHES"] = False
    install_reactor(values["TWISTED_REACTOR"])
    process = AsyncCrawlerProcess(values)
    crawler = process.create_crawler(PagesSpider)
    watch = _Watch(crawler, out)
    process.crawl(crawler, job=job, crawl_settings=settings)
    process.start(install_signal_handlers=True)
    return watch.result()


def _crawl_shared(
    order: dict[str, Any], job: CrawlJob, settings: CrawlSettings, out: IO[str]
) -> dict[str, Any] | str:
    """Crawl with others, without a store; as ``_crawl``."""
    # Loaded here, since others need no client of Redis and NATS.
    from crawler.frontier import SharedPacing  # noqa: PLC0415
    from crawler.sharing import Connections, use_connections  # noqa: PLC0415
    from crawler.spiders.shared import SharedSpider  # noqa: PLC0415

    shared = SharedCrawl.of_order(order["sharing"])
    indexer = settings_of(order["config"], data_dir=order["data_dir"])
    values = scrapy_settings(
        settings,
        allow_private_addresses=job.allow_private_addresses,
        max_image_bytes=indexer.hashing.max_bytes,
    )
    values["DELIST_ITEM_HASHES"] = False
    install_reactor(values["TWISTED_REACTOR"])
    process = AsyncCrawlerProcess(shared_settings(values))
    crawler = process.create_crawler(SharedSpider)
    connections = Connections(shared.frontier, shared.queue, indexer)
    use_connections(crawler, connections)
    use_pacing(crawler, SharedPacing(settings, connections.frontier))
    watch = _Watch(crawler, out, on_stop=connections.stop, may_stop=job.stay)
    reserved = shared.frontier.reserved
    process.crawl(crawler, job=job, crawl_settings=settings, reserved=reserved)
    process.start(install_signal_handlers=True)
    return watch.result()


class _Watch:
    """Reports progress, and stops the crawl when the parent is gone or the store fails."""

    def __init__(
        self,
        crawler: Crawler,
        out: IO[str],
        *,
        on_stop: Callable[[], None] = lambda: None,
        may_stop: bool = False,
    ) -> None:
        from twisted.internet import reactor  # noqa: PLC0415 - installed just before

        self._crawler = crawler
        self._out = out
        self._started_at = time.monotonic()
        self._store_error: str | None = None
        self._opened = False
        self._stopped = False
        self._on_stop = on_stop
        self._may_stop = may_stop
        self._reactor: Any = reactor
        crawler.signals.connect(self._note_internal_error, signal=internal_error)
        crawler.signals.connect(self._note_store_error, signal=store_failed)
        crawler.signals.connect(self._note_look, signal=image_looked)
        crawler.signals.connect(self._note_start, signal=signals.engine_started)
        threading.Thread(target=self._await_end_of_input, daemon=True).start()

    def result(self) -> dict[str, Any] | str:
        """Return the counters, or why there is no whole result."""
        if self._store_error is not None:
            return self._store_error
        if not self._opened:
            return "the crawl did not start; the log names the error"
        reason = self._crawler.stats.get_value("finish_reason")
        if (self._stopped or reason != "finished") and not (self._stopped and self._may_stop):
            return "the crawl was stopped before it was done; what it had recorded is kept"
        return {**self._counts(), "seconds": round(time.monotonic() - self._started_at, 3)}

    def _counts(self) -> dict[str, Any]:
        return Tally(self._crawler.stats).counts()

    def _note_start(self) -> None:
        self._opened = True
        self._progress()

    def _progress(self) -> None:
        if self._crawler.crawling:
            counts = self._counts()
            del counts["refused_seeds"]
            _write(self._out, {"progress": counts})
        self._reactor.callLater(PROGRESS_EVERY_S, self._progress)

    def _await_end_of_input(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self._reactor.callFromThread(self._stop)

    def _stop(self) -> None:
        self._stopped = True
        pacing_of(self._crawler).stopping = True
        self._on_stop()
        self._limit_grace()
        self._stop_engine()

    def _stop_engine(self) -> None:
        """Stop the engine as soon as it runs: Scrapy never ends a crawl stopped while it starts."""
        if self._opened and self._crawler.engine.running:
            asyncio.ensure_future(self._crawler.stop_async())  # noqa: RUF006 - the reactor outlives it
        else:
            self._reactor.callLater(STOP_RETRY_S, self._stop_engine)

    def _limit_grace(self) -> None:
        timer = threading.Timer(GRACE_S, os._exit, args=(1,))
        timer.daemon = True
        timer.start()

    def _note_store_error(self, error: Exception) -> None:
        if self._store_error is None:
            self._store_error = str(error)
            self._limit_grace()

    def _note_look(self, position: int, code: str | None) -> None:
        if code != STOPPED:  # nobody has looked
            _write(self._out, {"looked": [position, code]})

    def _note_internal_error(self, error: Exception) -> None:
        _log.error("crawler.internal_error", **_describe(error))


def _describe(error: BaseException) -> dict[str, str]:
    """Describe an error by its type and the last line of ours, never by its message."""
    ours = str(Path(__file__).resolve().parents[1])
    place = ""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename.startswith(ours) and "site-packages" not in code.co_filename:
            place = f"{Path(code.co_filename).name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return {"exception": type(error).__name__, "at": place}


class _TypeOnlyHandler(logging.Handler):
    """Writes that a library logged something, without what it said: that may hold URLs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write logger, level and exception type, the first few times."""
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        key = (record.name, record.levelname, error)
        self._seen[key] += 1
        if self._seen[key] <= _REPEATS:
            _log.warning("crawler.library_message", logger=key[0], severity=key[1], exception=error)


def _silence() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    root = logging.getLogger()
    root.handlers[:] = [_TypeOnlyHandler()]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False
    sys.excepthook = lambda _type, error, _trace: _log.error("crawler.died", **_describe(error))
    threading.excepthook = lambda args: _log.error(
        "crawler.thread_died", exception=args.exc_type.__name__
    )
    sys.unraisablehook = lambda args: _log.error(
        "crawler.unraisable", exception=args.exc_type.__name__
    )


def _take_stdout() -> IO[str]:
    """Keep standard output for our lines; what else is printed goes to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def _write(out: IO[str], message: dict[str, Any]) -> None:
    try:
        out.write(json.dumps(message) + "\n")
        out.flush()
    except OSError:
        pass  # the parent is gone; the end of our input stops us


if __name__ == "__main__":
    sys.exit(main())

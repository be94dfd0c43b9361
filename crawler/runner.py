"""One crawl is one child process (docs/adr/0004): Twisted's reactor cannot start twice.

The job goes in as one line of JSON on standard input, so that no URL stands in
an argument list that other users can read. Lines of JSON come out: now and then
``{"progress": {...}}``, for each of ``image_urls`` ``{"looked": [position, code]}``, at
last ``{"result": {...}}`` or ``{"error": "..."}``.
Standard input stays open: when it ends, the parent is gone or wants no more, and
the child records what it has in hand and stops.

Importing this module does not load Scrapy; the child does, in ``crawler.worker``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crawler.errors import CrawlFailedError, CrawlSettingsError
from crawler.settings import CrawlJob, CrawlSettings, SharedCrawl

STOP_TIMEOUT_S = 15.0
"""How long a child that was told to stop may take before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlResult:
    """What one crawl did.

    Attributes:
        pages: pages that were visited.
        images: distinct images and videos looked at: hashed, unchanged or refused.
        videos: how many of those that were hashed or unchanged are videos.
        refused: how many pages, links and images were refused, by code.
        matches: signals matched by the images that were hashed.
        seconds: wall time.
        refused_seeds: (position among the job's URLs, code) of seeds that could not be visited.
    """

    pages: int = 0
    images: int = 0
    hashed: int = 0
    unchanged: int = 0
    videos: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    matches: int = 0
    seconds: float = 0.0
    refused_seeds: tuple[tuple[int, str], ...] = ()


def run_crawl(
    job: CrawlJob,
    *,
    config: Path | None = None,
    data_dir: Path | None = None,
    crawl_settings: CrawlSettings | None = None,
    shared: SharedCrawl | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    on_looked: Callable[[int, str | None], None] | None = None,
) -> CrawlResult:
    """Crawl in a child process, and wait for its result.

    An exception here, ``KeyboardInterrupt`` and one from ``on_progress`` or ``on_looked``
    included, stops the child first; what it has recorded stays.

    Args:
        job: what to visit.
        config: configuration file of the indexer; None for the built-in defaults.
        data_dir: takes the place of the file's ``data_dir``.
        crawl_settings: the [crawler] table.
        shared: where other crawlers take part; then no store is opened here, URLs may be left
            out, and what is found goes to the queue.
        on_progress: called about once a second with the counters so far.
        on_looked: called for each of the job's ``image_urls`` once what was found is on disk:
            with its position, and why it was refused, or None.

    Raises:
        CrawlSettingsError: the job makes no sense.
        CrawlFailedError: the child ended without a result.
    """
    _check(job, is_shared=shared is not None)
    order = {
        "job": asdict(job),
        "settings": asdict(crawl_settings or CrawlSettings()),
        "config": None if config is None else str(Path(config).absolute()),
        "data_dir": None if data_dir is None else str(Path(data_dir).absolute()),
        "sharing": None if shared is None else shared.order(),
    }
    child = _start_child()
    try:
        result = _converse(child, order, on_progress, on_looked)
    finally:
        _stop(child)
    return result


def _check(job: CrawlJob, *, is_shared: bool) -> None:
    if is_shared and job.image_urls:
        raise CrawlSettingsError("images alone are looked at on one machine")
    if not is_shared and not job.urls and not job.image_urls:
        raise CrawlSettingsError("nothing to crawl: give at least one URL")
    if job.depth < 0:
        raise CrawlSettingsError("depth must be 0 or more")
    if job.max_pages is not None and job.max_pages < 1:
        raise CrawlSettingsError("max_pages must be 1 or more")


def _start_child() -> subprocess.Popen[str]:
    # The child loads the same packages as we do, whatever lies in the working directory.
    packages = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "crawler.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C reaches us alone; we stop the child
    )


def _converse(
    child: subprocess.Popen[str],
    order: dict[str, Any],
    on_progress: Callable[[dict[str, Any]], None] | None,
    on_looked: Callable[[int, str | None], None] | None,
) -> CrawlResult:
    assert child.stdin is not None  # noqa: S101 - PIPE above
    assert child.stdout is not None  # noqa: S101 - PIPE above
    try:
        child.stdin.write(json.dumps(order) + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        pass  # its exit status says more, below
    for line in child.stdout:
        try:
            message = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut off by a crash
        if "result" in message:
            seeds = tuple((position, code) for position, code in message["result"]["refused_seeds"])
            return CrawlResult(**{**message["result"], "refused_seeds": seeds})
        if "error" in message:
            raise CrawlFailedError(message["error"])
        if "looked" in message and on_looked is not None:
            on_looked(*message["looked"])
        if "progress" in message and on_progress is not None:
            on_progress(message["progress"])
    status = child.wait()
    raise CrawlFailedError(
        f"the crawl process ended early ({_describe(status)}); "
        "what it had recorded is kept, so the crawl can be run again"
    )


def _describe(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


def _stop(child: subprocess.Popen[str]) -> None:
    """Let a child end: by the end of its input first, by force if it does not listen."""
    try:
        if child.stdin is not None:
            child.stdin.close()
    except BrokenPipeError:
        pass
    if child.stdout is not None:
        child.stdout.close()
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()

"""A crawl on several machines: ``crawl --frontier … --to …``, and ``index-from``."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from crawler.settings import CrawlJob, SharedCrawl
from delist.cli.context import Context, Exit, context_of, leave
from delist.cli.output import document_of
from delist.cli.steps import take_in
from delist.errors import UsageError
from delist.settings import DelistSettings, load_settings
from indexer.errors import SettingsError
from indexer.settings import FAST, QueueSettings

if TYPE_CHECKING:
    from delist.build import Delist
    from indexer.queue.taking import TakenReport

_INTAKE_EVERY_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("index-from")(index_from)


def crawl_with_others(
    context: Context, job: CrawlJob, *, frontier: str | None, to: str | None, name: str | None
) -> None:
    """Take part in a shared crawl; opens no store.

    Raises:
        UsageError, SettingsError: something is missing, or makes no sense here.
        CrawlFailedError: the crawl ended early; what this crawler had in hand goes to others.
    """
    from crawler.runner import run_crawl

    _check_extra()
    settings = load_settings(context.config_in_use, data_dir=context.data_dir)
    shared = _shared(settings, frontier=frontier, to=to, name=name)
    with _leaving_on_sigterm(), context.output.progress("crawl") as advance:

        def on_progress(counts: dict[str, Any]) -> None:
            word = f"{counts.get('pages', 0)} pages, {counts.get('images', 0)} images"
            advance(0, None, word)

        result = run_crawl(
            job,
            config=context.config_in_use,
            data_dir=settings.indexer.data_dir,
            crawl_settings=settings.crawler,
            shared=shared,
            on_progress=on_progress,
        )
    document = document_of(result, "matches", "unchanged")
    document["refused_seeds"] = [
        {"url": job.urls[position], "code": code} for position, code in result.refused_seeds
    ]
    for position, reason in result.refused_seeds:
        context.output.error(f"{job.urls[position]}: refused ({reason})")
    context.output.result(document)
    leave(Exit.REFUSED if result.refused_seeds else Exit.DONE)


def index_from(
    ctx: typer.Context,
    servers: Annotated[
        list[str] | None, typer.Argument(help="tls://HOST:4222; default: queue.servers.")
    ] = None,
    until_idle: Annotated[
        float | None, typer.Option(help="End when nothing has come for so many seconds.", min=1)
    ] = None,
    parked: Annotated[
        bool, typer.Option("--parked", help="Try again what could not be taken in.")
    ] = False,
    intake: Annotated[
        bool, typer.Option(help="Turn matches into cases and records; else `delist run` does.")
    ] = True,
) -> None:
    """Take what crawlers found into the store, until SIGTERM.

    Messages are acknowledged when they are on disk. What cannot be read is parked under its reason
    and counted.
    """
    _check_extra()
    context = context_of(ctx)
    with context.open() as delist:
        queue = _queue(delist.settings, tuple(servers or ()))
        if not queue.servers:
            raise UsageError("index-from: name a server, or set queue.servers")
        taking = _take(context, delist, queue, until_idle=until_idle, parked=parked, intake=intake)
        report = asyncio.run(taking)
        document = document_of(report)
        if intake:
            document["intake"] = take_in(context, delist)
    context.output.result(document)


async def _take(
    context: Context,
    delist: "Delist",
    queue: QueueSettings,
    *,
    until_idle: float | None,
    parked: bool,
    intake: bool,
) -> "TakenReport":
    from indexer.queue.taking import Taker

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    taken_at, matches = loop.time(), 0

    def on_batch(report: "TakenReport") -> None:
        nonlocal taken_at, matches
        if intake and report.matches > matches and loop.time() - taken_at >= _INTAKE_EVERY_S:
            take_in(context, delist)
            taken_at, matches = loop.time(), report.matches

    taker = await Taker.open(queue, parked=parked)
    try:
        return await taker.run(
            delist.indexer.record_visits,
            delist.indexer.record_page_keys,
            stop=stop,
            idle_s=until_idle,
            on_batch=on_batch,
        )
    finally:
        await taker.close()


def _check_extra() -> None:
    if not (find_spec("redis") and find_spec("nats")):
        raise SettingsError(
            'a crawl on several machines needs the extra "cluster": delist[cluster]'
        )


def _shared(
    settings: DelistSettings, *, frontier: str | None, to: str | None, name: str | None
) -> SharedCrawl:
    if settings.indexer.hashing.tier != FAST:
        raise SettingsError(
            'hashing.tier: a crawler of a shared crawl hashes for the tier "fast" alone: what the'
            " others look at does not leave its memory"
        )
    given = settings.frontier
    meeting = replace(given, url=frontier or given.url, crawl=name or given.crawl)
    queue = _queue(settings, (to,) if to else ())
    if not meeting.url or not queue.servers:
        raise UsageError("crawl: --frontier and --to go together")
    meeting.key(), queue.key()
    return SharedCrawl(frontier=meeting, queue=queue)


def _queue(settings: DelistSettings, servers: tuple[str, ...]) -> QueueSettings:
    return replace(settings.queue, servers=servers) if servers else settings.queue


@contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """End in order on SIGTERM: the crawl's process gives back what it has in hand."""

    def leave_now(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(Exit.DONE)

    before = signal.signal(signal.SIGTERM, leave_now)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""``delist feed``: syncing the feeds of signals, and how they stand."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from delist.cli.context import Context, Exit, context_of, leave
from delist.cli.output import document_of
from delist.cli.steps import take_in
from indexer.errors import SettingsError
from indexer.match import MATCHED_KINDS

if TYPE_CHECKING:
    from delist.build import Delist
    from indexer.sync import SyncReport

feed_app = typer.Typer(help="The feeds of signals.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(feed_app, name="feed")


@feed_app.command("sync")
def sync(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Feeds; all when none is named.")
    ] = None,
    full: Annotated[bool, typer.Option(help="Read the feeds from their beginning.")] = False,
    scan: Annotated[bool, typer.Option(help="Compare new signals with stored images.")] = True,
    intake: Annotated[bool, typer.Option(help="Turn matches into cases and records.")] = True,
) -> None:
    """Fetch the feeds, update the index, re-scan stored images for new signals, and take in."""
    context = context_of(ctx)
    with context.open() as delist:
        if not delist.settings.indexer.feeds:
            raise SettingsError(
                "no feed is configured; add a [feeds.NAME] table (see `delist init`)"
            )
        documents, code = _sync_all(context, delist, names or [], full=full)
        if scan:
            with context.output.progress("re-scan") as advance:
                report = delist.scan_delta(on_progress=lambda done, total: advance(done, total, ""))
            documents[-1]["scan"] = document_of(report)
        if intake:
            documents[-1]["intake"] = take_in(context, delist)
        delist.indexer.keep_indexes()
    for document in documents:
        context.output.result(document)
    leave(code)


def _sync_all(
    context: Context, delist: "Delist", names: list[str], *, full: bool
) -> tuple[list[dict[str, Any]], Exit]:
    from delist.build import FailedSync

    documents: list[dict[str, Any]] = []
    code = Exit.DONE
    with context.output.progress("sync") as advance:

        def on_page(report: "SyncReport") -> None:
            advance(report.pages, None, f"{report.feed}: {report.records} records")

        for outcome in delist.sync_feeds(names, full=full, on_page=on_page):
            if isinstance(outcome, FailedSync):
                context.output.error(str(outcome.error))
                wrong = isinstance(outcome.error, SettingsError)
                code = Exit.USAGE if wrong and code is Exit.DONE else max(code, Exit.FAILED)
                documents.append({"feed": outcome.feed, "error": str(outcome.error)})
            else:
                documents.append(document_of(outcome))
    return documents, code


@feed_app.command("status")
def status(ctx: typer.Context) -> None:
    """Show how far each feed was applied, and what is held of it."""
    context = context_of(ctx)
    with context.open() as delist, delist.indexer.store.read() as txn:
        for feed in delist.settings.indexer.feeds:
            cursor = delist.indexer.store.feed_cursors.load(txn, feed.name)
            counts = delist.indexer.store.signals.counts(txn, feed.name)
            age = None
            if cursor.synced_at is not None:
                age = round((delist.clock() - cursor.synced_at).total_seconds())
            context.output.result(
                {
                    "feed": feed.name,
                    "type": feed.type,
                    "cursor": cursor.cursor,
                    "synced_at": cursor.synced_at,
                    "age_s": age,
                    "set_under_way": cursor.token is not None,
                    "active": sum(counts.get(kind, 0) for kind in MATCHED_KINDS),
                    "kinds": counts,
                    "quarantined": delist.indexer.store.signals.quarantined(txn, feed.name),
                }
            )


@feed_app.command("feedback")
def feedback(ctx: typer.Context) -> None:
    """Send the feedback that waits in the outbox now."""
    context = context_of(ctx)
    with context.open() as delist:
        report = delist.send_feedback()
        for feed, reason in report.failed.items():
            context.output.error(f"feedback to {feed} waits: {reason}")
        context.output.result(document_of(report))
    leave(Exit.FAILED if report.failed else Exit.DONE)

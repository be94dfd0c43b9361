"""``delist direct``: what people report to us directly, and their withdrawals."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delist.cli.context import Context, Exit, context_of, leave
from delist.cli.output import document_of
from delist.cli.steps import take_in
from delist.errors import UsageError
from delist.model import ReportOutcome
from indexer.errors import InvalidDigestError

if TYPE_CHECKING:
    from delist.build import Delist
    from delist.direct import ReportedHash
    from indexer.sync import SyncReport

direct_app = typer.Typer(
    help="Images that people reported to us directly; they always wait for a person.",
    no_args_is_help=True,
)
_Report = Annotated[str, typer.Argument(metavar="REPORT", help="Its id, as `list` has it.")]
_LEFT_OUT = ("pages", "restarts", "cursor", "complete", "unknown", "kept", "quarantined", "stale")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(direct_app, name="direct")


@direct_app.command("add")
def add(
    ctx: typer.Context,
    reference: Annotated[str, typer.Option(help="Case reference of ours for this person.")],
    actor: Annotated[str, typer.Option(help="Who took the report.")],
    image: Annotated[
        list[Path] | None, typer.Option(help="An image or a video; only its hash is kept.")
    ] = None,
    digest: Annotated[
        list[str] | None, typer.Option(help="64 hex digits of PDQ, 32 of a video's MD5.")
    ] = None,
) -> None:
    """Take in what a person reported; stored images are compared, and a person decides."""
    context = context_of(ctx)
    code = Exit.DONE
    with context.open() as delist:
        found, refused = _hashes(context, delist, image or [], digest or [])
        code = Exit.REFUSED if refused else code
        if found or not refused:
            report = delist.direct.add(found, reference=reference, actor=actor)
            _settle(context, delist, report)
    leave(code)


@direct_app.command("list")
def list_reports(ctx: typer.Context) -> None:
    """List the reports made on our page that wait for a person; nothing of what they say."""
    from delist.survivors import reviewing

    context = context_of(ctx)
    with context.open() as delist:
        for report in reviewing.waiting(delist.reports):
            context.output.result(document_of(report))


@direct_app.command("show")
def show(
    ctx: typer.Context,
    report: _Report,
    actor: Annotated[str, typer.Option(help="Who looks at it; that is on record.")],
) -> None:
    """Show what a report says: statement, contact, addresses."""
    from delist.survivors import reviewing

    context = context_of(ctx)
    with context.open() as delist:
        shown = reviewing.show(delist.reports, report, actor=actor)
        context.output.result(document_of(shown))


@direct_app.command("close")
def close(
    ctx: typer.Context,
    report: _Report,
    outcome: Annotated[ReportOutcome, typer.Option(help="What came of it, as its holder is told.")],
    actor: Annotated[str, typer.Option(help="Who has looked.")],
) -> None:
    """Note what came of a report. Verdicts on images are given on their cases."""
    from delist.survivors import reviewing

    context = context_of(ctx)
    with context.open() as delist:
        closed = reviewing.close(delist.reports, report, outcome, actor=actor)
        context.output.result(document_of(closed))


@direct_app.command("purge")
def purge(ctx: typer.Context) -> None:
    """Erase contact and statement of old reports, as `delist run` does; takes in what waits."""
    context = context_of(ctx)
    with context.open() as delist:
        erased, taken = delist.reports.erase_old(), delist.reports.catch_up()
        context.output.result({"erased": erased, "taken_in": taken})


@direct_app.command("withdraw")
def withdraw(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The case reference.")],
    actor: Annotated[str, typer.Option(help="Who takes it back for them.")],
) -> None:
    """Take a report back: its hashes leave the store, and what rested on them is lifted."""
    context = context_of(ctx)
    with context.open() as delist:
        report = delist.reports.withdraw(reference, actor=actor)
        _settle(context, delist, report)


def _hashes(
    context: Context, delist: "Delist", images: list[Path], digests: list[str]
) -> tuple[list["ReportedHash"], int]:
    """Hash files and read digests; those that are refused are named and counted."""
    from delist.cli.files import hash_paths
    from delist.direct import hash_of_image, parse_hash

    found, refused = list["ReportedHash"](), 0

    def refuse(name: str, code: str, message: str) -> None:
        document = {"name": name, "error": {"code": code, "message": message}}
        context.output.result(document, f"{name}: {message}")

    for outcome in hash_paths(images, delist.settings.indexer.hashing):
        name = str(outcome.path)
        if outcome.hashed is None:
            code, message = outcome.error or ("unreadable", "cannot be read")
            refuse(name, code, message)
            refused += 1
            continue
        try:
            found.append(hash_of_image(outcome.hashed))
        except UsageError as error:
            refuse(name, "too_plain", str(error))
            refused += 1
    for number, text in enumerate(digests, 1):
        try:
            found.append(parse_hash(text))
        except (InvalidDigestError, UsageError) as error:
            # Not the digits: they are as good as a picture.
            refuse(f"digest {number}", "invalid_digest", str(error))
            refused += 1
    return found, refused


def _settle(context: Context, delist: "Delist", report: "SyncReport") -> None:
    """Compare with what is stored, take in, and say what came of it."""
    delist.indexer.publish_index()
    with context.output.progress("re-scan") as advance:
        scan = delist.scan_delta(on_progress=lambda done, total: advance(done, total, ""))
    document: dict[str, Any] = document_of(report, *_LEFT_OUT)
    document["scan"] = document_of(scan)
    document["intake"] = take_in(context, delist)
    context.output.result(document)

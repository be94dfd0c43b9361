"""Commands on an existing index: ``ingest``, and ``export`` of what is stored."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delist.cli.context import Exit, context_of, leave
from delist.cli.output import document_of
from delist.cli.people import operator
from delist.cli.steps import take_in

if TYPE_CHECKING:
    from delist.export import ExportReport
    from delist.ingest.reports import IngestProgress

_MINUTE, _HOUR = 60, 3600

To = Annotated[
    Path, typer.Option("--to", "--out", help="A folder; what is exported becomes one in it.")
]
Actor = Annotated[
    str | None, typer.Option(help="Who exports, for the audit log; else the account.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("ingest")(ingest)
    exports = typer.Typer(help="What is stored, as Parquet.", no_args_is_help=True)
    exports.command("images")(export_images)
    exports.command("matches")(export_matches)
    exports.command("suppressions")(export_suppressions)
    app.add_typer(exports, name="export")


def ingest(  # noqa: PLR0913, PLR0917 - typer reads options off the arguments
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(help="Folders, images, JSON lines, Parquet files, WARC files.")
    ],
    format: Annotated[str, typer.Option(help="auto, folder, jsonl, parquet or warc.")] = "auto",
    base_url: Annotated[
        str | None,
        typer.Option(help="What the names of files in a folder are put behind to be addresses."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="What paths in tables are below; else the table's folder.")
    ] = None,
    processes: Annotated[
        int, typer.Option(help="How many hash; 0 for one on each processor.", min=0, max=1024)
    ] = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Read anew what was read to its end before.")
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(help="Folder for the files that name what was refused; else the data's."),
    ] = None,
    intake: Annotated[bool, typer.Option(help="Turn matches into cases and records.")] = True,
) -> None:
    """Take an existing index or archive in: hash, store, match; goes on where it was left."""
    from delist.ingest.reports import IngestOptions

    context = context_of(ctx)
    options = IngestOptions(
        form=format,
        base_url=base_url,
        root=root,
        processes=processes,
        again=again,
        rejects=rejects,
    )
    with context.open() as delist:
        with context.output.progress("ingest") as advance:
            pace = _Pace()

            def show(progress: "IngestProgress") -> None:
                advance(progress.done_bytes, progress.total_bytes, pace.word(progress))

            report = delist.ingestion.run(paths, options, on_progress=show)
        document = document_of(report)
        if intake:
            document["intake"] = take_in(context, delist)
    for source in report.refused_sources:
        context.output.error(f"{source.source}: refused ({source.broken})")
    context.output.result(document, None if context.output.json_lines else _text(document))
    leave(Exit.REFUSED if report.refused_sources else Exit.DONE)


def export_images(
    ctx: typer.Context,
    to: To,
    prefix_digits: Annotated[
        int, typer.Option(help="Hex digits of image keys that have a folder of their own.")
    ] = 1,
    actor: Actor = None,
) -> None:
    """Write hashes and addresses of all stored images; they leave this machine only encrypted."""
    context = context_of(ctx)
    with context.open() as delist, context.output.progress("export") as advance:
        report = delist.exports.images(
            to,
            actor=actor or operator(),
            prefix_digits=prefix_digits,
            on_progress=lambda done, total: advance(done, total, ""),
        )
    context.output.result(document_of(report), _written(report))


def export_matches(ctx: typer.Context, to: To, actor: Actor = None) -> None:
    """Write which images match which signals: keys and distances, no address, no digest."""
    context = context_of(ctx)
    with context.open() as delist:
        report = delist.exports.matches(to, actor=actor or operator())
    context.output.result(document_of(report), _written(report))


def export_suppressions(ctx: typer.Context, to: To, actor: Actor = None) -> None:
    """Write the ledger's records with their addresses, and nothing of why."""
    context = context_of(ctx)
    with context.open() as delist:
        report = delist.exports.suppressions(to, actor=actor or operator())
    context.output.result(document_of(report), _written(report))


class _Pace:
    """Says how fast it goes, and how long it may take."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._stage = ""
        self._before_bytes = 0

    def word(self, progress: "IngestProgress") -> str:
        """Name rate and time left of the pass that is under way."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._began_at = progress.stage, now
            self._before_bytes = progress.done_bytes
            return progress.stage
        seconds = max(now - self._began_at, 1e-9)
        done = progress.done_bytes - self._before_bytes
        left = max(0, progress.total_bytes - progress.done_bytes)
        word = f"{progress.stage}, {progress.images / seconds:,.0f} images/s"
        return f"{word}, {_duration(seconds * left / done)} left" if done > 0 else word


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


def _text(document: dict[str, Any]) -> str:
    names = ("rows", "images", "hashed", "unchanged", "outdated", "videos", "pages", "matches")
    lines = [f"{name:<10}{document[name]:>12,}" for name in names if document[name]]
    lines += [f"refused   {count:>12,}  {code}" for code, count in document["refused"].items()]
    lines += [f"see {source['rejects']}" for source in document["sources"] if source["rejects"]]
    if any(source["was_done"] for source in document["sources"]):
        lines.append("some sources were taken in before; --again reads them anew")
    return "\n".join(lines) or "nothing to take in"


def _written(report: "ExportReport") -> str:
    return (
        f"{report.folder}: {report.rows:,} rows, {report.files} files, {report.size_bytes:,} bytes"
    )

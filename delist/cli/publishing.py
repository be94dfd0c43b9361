"""Reports for the public: ``report transparency|dsa|lumen``."""

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delist.cli.context import Context, context_of
from delist.errors import UsageError

if TYPE_CHECKING:
    from delist.build import Delist

Out = Annotated[
    Path | None, typer.Option("--out", help="Write to this file, which only you can read.")
]
Lang = Annotated[str, typer.Option("--lang", help="Language: cy, en, es or ur; en-GB is en.")]
After = Annotated[
    int, typer.Option(min=0, help="Number of the last record that was exported before.")
]


class PublicFormat(StrEnum):
    """How the transparency report is written."""

    JSON = "json"
    HTML = "html"
    CSV = "csv"


def register(reports: typer.Typer) -> None:
    """Add the commands of this module to those of ``report``."""
    for command in (transparency, dsa, lumen):
        reports.command(command.__name__)(command)


def transparency(
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="A day of the first month; default: a year back.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="The last day; default: the last of last month.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write transparency.html, .csv and .json to this folder.")
    ] = None,
    format: Annotated[
        PublicFormat | None, typer.Option(help="Default: json, or with --out all three.")
    ] = None,
) -> None:
    """Report what came in, what was done and how long it took, in whole months."""
    from delist.reporting import transparency as page

    context = context_of(ctx)
    first, last = _day(since, "--since"), _day(until, "--until")
    with context.open() as delist:
        report = page.transparency_report(
            delist.indexer.store, delist.database, since=first, until=last, now=delist.clock()
        )
    if report.since == report.before:
        context.output.error("no whole month that is over lies in this period")
    document = page.as_json(report)
    written = {
        PublicFormat.JSON: lambda: json.dumps(document, indent=2) + "\n",
        PublicFormat.HTML: lambda: page.as_html(report) + "\n",
        PublicFormat.CSV: lambda: page.as_csv(report),
    }
    if out is not None:
        kinds = list(PublicFormat) if format is None else [format]
        for kind in kinds:
            path = out / f"transparency.{kind.value}"
            write_out(context, path, written[kind]().encode(), make_folder=True)
    elif format in {None, PublicFormat.JSON} or context.output.json_lines:
        context.output.json_lines = True
        context.output.result(document)
    else:
        write_out(context, None, written[format or PublicFormat.HTML]().encode())


def dsa(ctx: typer.Context, after: After = 0, out: Out = None) -> None:
    """Write statements for the EU's DSA database: lines, each one request's body."""
    from delist.reporting.dsa import requests

    context = context_of(ctx)
    with context.open() as delist, delist.database.read() as connection:
        made = list(requests(connection, after=after, until=_told_until(delist)))
    number = sum(len(body["statements"]) for _, body in made)
    told = {"statements": number, "last_sequence": made[-1][0] if made else after}
    write_out(context, out, _lines(body for _, body in made), told=told)


def lumen(
    ctx: typer.Context,
    after: After = 0,
    out: Out = None,
    recipient: Annotated[
        str, typer.Option(help="Name of the search engine, as the notice says it.")
    ] = "Search engine",
) -> None:
    """Write a notice for Lumen, with hosts and counts only; none for too few records."""
    from delist.reporting.lumen import notice

    context = context_of(ctx)
    with context.open() as delist, delist.database.read() as connection:
        last, body = notice(
            connection,
            after=after,
            until=_told_until(delist),
            recipient=recipient,
            now=delist.clock(),
        )
    bodies = [] if body is None else [body]
    told = {"notices": len(bodies), "last_sequence": last}
    write_out(context, out, _lines(bodies), told=told)


def write_out(
    context: Context,
    out: Path | None,
    content: bytes,
    *,
    make_folder: bool = False,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Write a report to a file that only its owner can read, or to standard output.

    Args:
        told: what else is to be known of it. It goes where the report does not.
    """
    told = told or {}
    words = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in told.items())
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        if told:
            context.output.error(words)
        return
    new = out.with_name(f".{out.name}.new")
    try:
        if make_folder:
            out.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        new.touch(mode=0o600, exist_ok=False)
        new.write_bytes(content)
        new.replace(out)
    except OSError as error:
        raise UsageError(f"--out: {error.strerror or type(error).__name__}") from None
    document = {"written": str(out), "size_bytes": len(content), **told}
    context.output.result(document, f"written: {out}" + (f"; {words}" if words else ""))


def _lines(documents: Iterable[object]) -> bytes:
    return "".join(f"{json.dumps(document)}\n" for document in documents).encode()


def _told_until(delist: "Delist") -> datetime:
    """Records up to this time are old enough to be told of."""
    return delist.clock() - timedelta(hours=delist.settings.appeals.statement_delay_hours)


def _day(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: a day is written as 2026-01-31") from None

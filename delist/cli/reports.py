"""Reports: ``report survivor``; those for the public are in ``publishing``."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from delist.cli import publishing
from delist.cli.context import context_of
from delist.cli.publishing import Lang, Out, write_out
from delist.errors import UsageError

if TYPE_CHECKING:
    from delist.reporting import Language, SurvivorReport


class ReportFormat(StrEnum):
    """How a survivor report is written."""

    JSON = "json"
    HTML = "html"
    PDF = "pdf"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    reports = typer.Typer(help="Reports.", no_args_is_help=True)
    reports.callback()(_reports)
    reports.command("survivor")(survivor)
    publishing.register(reports)
    app.add_typer(reports, name="report")


def _reports() -> None:
    """Write a report."""


def survivor(
    ctx: typer.Context,
    case_ref: str,
    access_code: Annotated[
        str | None, typer.Option(help="Shows addresses, not only hosts.")
    ] = None,
    format: Annotated[
        ReportFormat, typer.Option(help="How the report is written.")
    ] = ReportFormat.JSON,
    lang: Lang = "en",
    country: Annotated[
        str | None,
        typer.Option(help="Whose helplines it names, as GB; else those of the language."),
    ] = None,
    out: Out = None,
) -> None:
    """Report what was found and delisted for one case reference."""
    from delist.reporting import as_json, helplines, language

    context, words = context_of(ctx), language(lang)
    helplines.choose(words, country)  # refuses what is no country before anything is opened
    if format is ReportFormat.PDF and out is None and sys.stdout.isatty():
        raise UsageError("--format pdf: a terminal cannot show it; name a file with --out")
    with context.open() as delist:
        report = delist.survivor_report(case_ref, access_code=access_code)
    if access_code is not None and report.access != "full":
        context.output.error("the access code is not valid for this case; addresses are left out")
    if format is ReportFormat.JSON or (context.output.json_lines and out is None):
        context.output.json_lines = True
        context.output.result(as_json(report, words, country=country))
    else:
        write_out(context, out, _written(report, words, country, format))


def _written(
    report: "SurvivorReport", words: "Language", country: str | None, kind: ReportFormat
) -> bytes:
    from delist.reporting import as_html

    if kind is ReportFormat.HTML:
        return as_html(report, words, country=country).encode() + b"\n"
    from delist.reporting.pdf import as_pdf

    return as_pdf(as_html(report, words, country=country, for_paper=True), words)

"""For survivors, through those who support them: ``access-code``, ``report survivor``."""

from enum import StrEnum
from typing import Annotated

import typer

from delist.cli.context import context_of


class ReportFormat(StrEnum):
    """How a report is written."""

    JSON = "json"
    HTML = "html"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("access-code")(access_code)
    reports = typer.Typer(help="Reports.", no_args_is_help=True)
    reports.callback()(_reports)
    reports.command("survivor")(survivor)
    app.add_typer(reports, name="report")


def _reports() -> None:
    """Write a report."""


def access_code(ctx: typer.Context, case_ref: str) -> None:
    """Issue a survivor's access code; it is shown this once and replaces an older one."""
    context = context_of(ctx)
    with context.open() as delist:
        code = delist.issue_access_code(case_ref)
    context.output.result({"case_ref": case_ref, "code": code}, code)


def survivor(
    ctx: typer.Context,
    case_ref: str,
    access_code: Annotated[
        str | None, typer.Option(help="Shows addresses, not only hosts.")
    ] = None,
    format: Annotated[
        ReportFormat, typer.Option(help="How the report is written.")
    ] = ReportFormat.JSON,
    lang: Annotated[
        str, typer.Option(help="Language of the HTML report; this version has en.")
    ] = "en",
) -> None:
    """Report what was found and delisted for one case reference."""
    from delist.reporting import as_html, as_json

    context = context_of(ctx)
    if lang.lower().partition("-")[0] != "en":
        context.output.error(f'--lang: this version has no "{lang}"; the report is in English')
    with context.open() as delist:
        report = delist.survivor_report(case_ref, access_code=access_code)
    if access_code is not None and report.access != "full":
        context.output.error("the access code is not valid for this case; addresses are left out")
    if format is ReportFormat.HTML and not context.output.json_lines:
        typer.echo(as_html(report))
    else:
        context.output.json_lines = True
        context.output.result(as_json(report))

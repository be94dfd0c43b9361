"""Who looked at what, and who did what: ``audit list|verify``."""

import json
from typing import Annotated, Any

import typer

from delist.cli.context import context_of
from delist.cli.output import document_of


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(
        help="The audit log: every view and every act of a person.", no_args_is_help=True
    )
    commands.command("list")(list_entries)
    commands.command("verify")(verify)
    app.add_typer(commands, name="audit")


def list_entries(
    ctx: typer.Context,
    subject: Annotated[
        str | None, typer.Option(help="Only of one case, appeal, feed or signal.")
    ] = None,
    after: Annotated[int, typer.Option(help="Only entries behind this number.", min=0)] = 0,
) -> None:
    """List the entries, the oldest first."""
    context = context_of(ctx)
    with context.open() as delist:
        for entry in delist.audit_entries(after, subject=subject):
            document = document_of(entry) | {"detail": _detail_of(entry.detail)}
            text = (
                f"{entry.sequence:>8}  {entry.at:%Y-%m-%d %H:%M:%S}Z  {entry.act:<22}  "
                f"{entry.subject}  {entry.actor}"
            )
            context.output.result(document, text)


def verify(ctx: typer.Context) -> None:
    """Check the audit log: any edit, gap or changed order ends with exit code 1."""
    context = context_of(ctx)
    with context.open() as delist:
        entries = delist.verify_audit_log()
    context.output.result(
        {"entries": entries, "verified": True}, f"{entries} entries, all as written"
    )


def _detail_of(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text)
    except ValueError:  # somebody has edited it; `verify` says so
        return text

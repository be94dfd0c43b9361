"""For survivors, through those who support them: ``access-code``."""

import typer

from delist.cli.context import context_of


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("access-code")(access_code)


def access_code(ctx: typer.Context, case_ref: str) -> None:
    """Issue a survivor's access code; it is shown this once and replaces an older one."""
    context = context_of(ctx)
    with context.open() as delist:
        code = delist.issue_access_code(case_ref)
    context.output.result({"case_ref": case_ref, "code": code}, code)

"""Looking after an installation: ``doctor``, ``compact``."""

import typer

from delist.cli.context import Exit, context_of, leave
from delist.cli.output import document_of


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("doctor")(doctor)
    app.command("compact")(compact)


def doctor(ctx: typer.Context) -> None:
    """Check installation, configuration, stores, feeds, clock and disk; say how to mend."""
    from delist.ops.doctor import Health, examine

    context = context_of(ctx)
    code = Exit.DONE
    with context.open() as delist:
        for check in examine(delist):
            if check.health is Health.FAILED:
                code = Exit.FAILED
            mend = f"\n{'':<10}to mend: {check.mend}" if check.mend else ""
            text = f"{check.health.value:<8}  {check.name}: {check.detail}{mend}"
            context.output.result(document_of(check), text)
    leave(code)


def compact(ctx: typer.Context) -> None:
    """Overwrite what was withdrawn or dropped in all files, now; close gaps in the store."""
    context = context_of(ctx)
    with context.open() as delist:
        context.output.result(document_of(delist.compact()))

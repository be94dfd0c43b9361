"""``delist sinks``: bringing search engines and others what is new."""

from typing import Annotated

import typer

from delist.cli.consumers import standing_text
from delist.cli.context import Exit, context_of, leave
from delist.cli.output import document_of
from delist.cli.people import Actor

Name = Annotated[str, typer.Argument(help="Name of the sink, as configured.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(
        help="Search engines and others that are brought what the ledger says.",
        no_args_is_help=True,
    )
    for name, command in (
        ("list", list_sinks),
        ("deliver", deliver),
        ("check", check),
        ("aside", aside),
        ("drop", drop),
    ):
        commands.command(name)(command)
    app.add_typer(commands, name="sinks")


def list_sinks(ctx: typer.Context) -> None:
    """List the configured sinks: lag, clock, trouble."""
    context = context_of(ctx)
    with context.open() as delist:
        sinks = delist.sinks
        sinks.check_settings()
        found = {entry.name: entry for entry in sinks.followers.standings()}
        for name in sinks.names:
            if name in found:
                context.output.result(document_of(found[name]), standing_text(found[name]))
            else:
                context.output.result({"name": name, "position": 0}, f"{name}  not begun yet")


def deliver(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Sinks; all without a name.")] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Also what waits for another attempt.")
    ] = False,
) -> None:
    """Bring sinks what is new; `delist run` does so within a second or two."""
    context = context_of(ctx)
    code = Exit.DONE
    with context.open() as delist:
        for done in delist.sinks.deliver(names or (), force=now):
            text = f"{done.sink}  {done.delivered} delivered, {done.waiting} waiting"
            if done.trouble:
                code = Exit.FAILED
                text += f"; {done.trouble}: {done.reason}"
            context.output.result(document_of(done), text)
    leave(code)


def check(
    ctx: typer.Context,
    name: Name,
    mend: Annotated[
        bool, typer.Option("--mend", help="Hide again what is in effect, show what is not.")
    ] = False,
) -> None:
    """Compare what a search engine hides with what the ledger says."""
    context = context_of(ctx)
    with context.open() as delist:
        found = delist.sinks.check(name, mend=mend)
    text = (
        f"{found.in_effect} addresses in effect, {found.hidden} documents hidden,"
        f" {found.unfounded} of them without a record in effect"
    )
    if mend:
        text += f"; {found.brought_again} brought again, {found.lifted} shown again"
    context.output.result(document_of(found), text)


def aside(ctx: typer.Context, name: Name) -> None:
    """List the records that a sink did not take, and what waits behind them."""
    context = context_of(ctx)
    with context.open() as delist:
        for entry in delist.sinks.aside(name):
            context.output.result(
                document_of(entry, "subject"),
                f"{entry.sequence:>8}  {entry.reason}  since {entry.since:%Y-%m-%d %H:%M}Z, "
                f"{entry.attempts} attempts",
            )


def drop(
    ctx: typer.Context,
    name: Name,
    sequence: Annotated[int, typer.Argument(help="Number of the record.", min=1)],
    actor: Actor,
    reason: Annotated[str, typer.Option(help="Why; no addresses, no names.")],
) -> None:
    """Give up bringing one record to a sink; what waited behind it goes on."""
    context = context_of(ctx)
    with context.open() as delist:
        delist.sinks.drop(name, sequence, actor=actor, reason=reason)
    context.output.result({"dropped": sequence}, f"record {sequence} is not brought to {name}")

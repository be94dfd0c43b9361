"""``delist brakes``: what is stopped, stopping more, and releasing it."""

from typing import Annotated

import typer

from delist.cli.context import context_of
from delist.cli.output import document_of
from delist.cli.steps import take_in
from delist.model import BrakeKind

brakes_app = typer.Typer(
    help="Brakes: feeds and signals that are stopped, by people or by the machine.",
    no_args_is_help=True,
)

Kind = Annotated[BrakeKind, typer.Argument(help="What NAME is; a bank is a feed.")]
Name = Annotated[str, typer.Argument(help="Name of the feed, or key of the signal.")]
Actor = Annotated[str, typer.Option(help="Who does it.")]
Reason = Annotated[str, typer.Option(help="Why, for the record; no addresses, no names.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(brakes_app, name="brakes")


@brakes_app.command("list")
def list_brakes(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also those that were released.")] = False,
) -> None:
    """List the brakes that are on, the newest first."""
    context = context_of(ctx)
    with context.open() as delist:
        for brake in delist.governance.brakes(every=every):
            text = (
                f"{brake.set_at:%Y-%m-%d %H:%M}Z  {brake.kind.value} {brake.name}  "
                f"{brake.code} by {brake.set_by}: {brake.detail}"
            )
            if brake.released_at is not None:
                text += f"; released {brake.released_at:%Y-%m-%d %H:%M}Z by {brake.released_by}"
            context.output.result(document_of(brake, "id"), text)


@brakes_app.command("set")
def set_brake(ctx: typer.Context, kind: Kind, name: Name, actor: Actor, reason: Reason) -> None:
    """Stop a feed or a signal at once: what rests on it alone goes on hold."""
    context = context_of(ctx)
    with context.open() as delist:
        done = delist.governance.stop(kind, name, actor=actor, reason=reason)
        context.output.result(document_of(done) | {"intake": take_in(context, delist)})


@brakes_app.command("release")
def release_brake(ctx: typer.Context, kind: Kind, name: Name, actor: Actor, reason: Reason) -> None:
    """Release what people or the machine have stopped; its cases are looked at again."""
    context = context_of(ctx)
    with context.open() as delist:
        done = delist.governance.release(kind, name, actor=actor, reason=reason)
        context.output.result(document_of(done) | {"intake": take_in(context, delist)})

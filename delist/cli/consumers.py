"""``delist consumers``: those who ask for what is new, and how far each has come."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delist.cli.context import Exit, context_of, leave
from delist.cli.output import document_of
from delist.cli.people import Actor
from indexer.errors import InvalidUrlError

if TYPE_CHECKING:
    from delist.consumers import Standing

Name = Annotated[str, typer.Argument(help="Name of the consumer.")]

_LONGEST_WAIT_S = 3_600
_MOST = 5_000


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(help="Those who obey the ledger.", no_args_is_help=True)
    for name, command in (
        ("list", list_consumers),
        ("add", add),
        ("remove", remove),
        ("key", key),
        ("url-key", url_key),
        ("read", read),
        ("ack", acknowledge),
        ("exclusion-list", exclusion_list),
    ):
        commands.command(name)(command)
    app.add_typer(commands, name="consumers")


def list_consumers(ctx: typer.Context) -> None:
    """List everybody who follows the ledger, sinks included: lag, clock, trouble."""
    context = context_of(ctx)
    with context.open() as delist:
        for found in delist.sinks.followers.standings():
            context.output.result(document_of(found), standing_text(found))


def add(
    ctx: typer.Context,
    name: Name,
    actor: Actor,
    from_now: Annotated[
        bool, typer.Option("--from-now", help="Only what comes from now on.")
    ] = False,
) -> None:
    """Add a consumer that asks by itself, and print its key for addresses."""
    context = context_of(ctx)
    with context.open() as delist:
        made = delist.sinks.followers.add(name, actor=actor, from_start=not from_now)
    context.output.result({"name": name, "key": made.secret.hex()}, made.secret.hex())


def remove(ctx: typer.Context, name: Name, actor: Actor) -> None:
    """Forget a consumer, or a sink that is no longer configured, and its key."""
    context = context_of(ctx)
    with context.open() as delist:
        delist.sinks.followers.remove(name, actor=actor)
    context.output.result({"removed": name}, f"{name} is removed")


def key(ctx: typer.Context, name: Name) -> None:
    """Print the key with which a consumer makes keys of addresses, in hex; it is a secret."""
    context = context_of(ctx)
    with context.open() as delist:
        secret = delist.sinks.followers.key(name).secret.hex()
    context.output.result({"name": name, "key": secret}, secret)


def url_key(
    ctx: typer.Context,
    name: Name,
    urls: Annotated[list[str], typer.Argument(help="Addresses.")],
) -> None:
    """Make the keys of addresses as a consumer makes them."""
    context = context_of(ctx)
    code = Exit.DONE
    with context.open() as delist:
        made = delist.sinks.followers.key(name)
    for url in urls:
        try:
            found = made.of_url(url)
        except InvalidUrlError as error:
            code = Exit.REFUSED
            refusal = {"code": "invalid_url", "message": str(error)}
            context.output.result({"url": url, "error": refusal}, f"{url}  {error}")
        else:
            context.output.result({"url": url, "url_key": found}, found)
    leave(code)


def read(
    ctx: typer.Context,
    name: Name,
    after: Annotated[
        int | None, typer.Option(help="Behind this number; else what is not acknowledged.", min=0)
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=_MOST)] = 500,
    wait: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Wait so long for news.", min=0, max=_LONGEST_WAIT_S),
    ] = 0.0,
) -> None:
    """Write what a consumer has to obey, in order, as JSON lines."""
    from delist.consumers import document

    context = context_of(ctx)
    context.output.json_lines = True
    with context.open() as delist:
        page = delist.sinks.followers.read(name, after=after, limit=limit, wait_s=wait)
    for instruction in page.instructions:
        context.output.result(document(instruction))


def acknowledge(
    ctx: typer.Context,
    name: Name,
    sequence: Annotated[int, typer.Argument(help="Everything up to here is obeyed.", min=0)],
) -> None:
    """Note that a consumer has obeyed everything up to a number."""
    context = context_of(ctx)
    with context.open() as delist:
        found = delist.sinks.followers.acknowledge(name, sequence)
    context.output.result(document_of(found), standing_text(found))


def exclusion_list(
    ctx: typer.Context,
    name: Name,
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
) -> None:
    """Write the keys of all addresses in effect, for one consumer, as Parquet."""
    from delist.consumers.exclusion import write_exclusion_list

    context = context_of(ctx)
    with context.open() as delist:
        made = write_exclusion_list(
            delist.database,
            out,
            delist.sinks.followers.key(name),
            consumer=name,
            now=delist.clock(),
        )
    context.output.result(
        document_of(made), f"{made.keys:,} addresses as of record {made.sequence} in {out}"
    )


def standing_text(found: "Standing") -> str:
    """Say in one line where a consumer stands."""
    text = f"{found.name}  {found.kind}  at {found.position} of {found.head}, lag {found.lag}"
    if found.set_aside:
        text += f", {found.set_aside} set aside"
    if found.deadline is not None:
        word = "OVERDUE since" if found.overdue else "to be there by"
        text += f", {word} {found.deadline:%Y-%m-%d %H:%M}Z"
    if found.trouble:
        text += f", {found.trouble} ({found.attempts} attempts)"
    return text

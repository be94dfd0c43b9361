"""Tokens of the HTTP API: ``token add|list|revoke``."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from delist.cli.context import context_of
from delist.cli.output import document_of
from delist.cli.people import operator
from delist.errors import UsageError

_WHEN = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]
_Who = Annotated[
    str | None, typer.Option(help="Who you are, for the audit log (default: the account).")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(help="Tokens of the HTTP API.", no_args_is_help=True)
    commands.command("add")(add)
    commands.command("list")(list_tokens)
    commands.command("revoke")(revoke)
    app.add_typer(commands, name="token")


def add(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="Who acts with it: a program, a consumer of the log, or for review a person."
        ),
    ],
    scope: Annotated[
        list[str],
        typer.Option(help="index, serve, follow, review, metrics, admin; commas between several."),
    ],
    expires: Annotated[
        datetime | None, typer.Option(formats=_WHEN, help="When it ends, UTC (default: never).")
    ] = None,
    actor: _Who = None,
) -> None:
    """Make a token; it is shown this once and stored as a hash only."""
    from delist.tokens import TokenScope

    context = context_of(ctx)
    names = [word.strip() for given in scope for word in given.split(",")]
    unknown = [word for word in names if word not in set(TokenScope)]
    if unknown:
        raise UsageError(f"--scope: there are {', '.join(TokenScope)}")
    until = None if expires is None else expires.replace(tzinfo=UTC)
    with context.open() as delist:
        token, text = delist.tokens.add(
            name,
            {TokenScope(word) for word in names},
            actor=actor or operator(),
            expires_at=until,
        )
    context.output.result(_document(token) | {"token": text}, text)


def list_tokens(ctx: typer.Context) -> None:
    """List all tokens: who, what for, until when, last used; never the tokens themselves."""
    context = context_of(ctx)
    with context.open() as delist:
        now = delist.clock()
        for token in delist.tokens.every():
            state = "valid" if token.is_valid(now) else "revoked" if token.revoked_at else "expired"
            used = token.used_on or "never"
            text = f"{token.id}  {state:<7}  {','.join(sorted(token.scopes))}  used {used}"
            context.output.result(_document(token) | {"state": state}, f"{text}  {token.name}")


def revoke(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME_OR_ID")],
    actor: _Who = None,
) -> None:
    """Revoke every token of a name, or the one with this id; within a second nothing takes it."""
    context = context_of(ctx)
    with context.open() as delist:
        for token in delist.tokens.revoke(name, actor=actor or operator()):
            context.output.result(
                {"id": token.id, "name": token.name, "state": "revoked"}, f"{token.id}  revoked"
            )


def _document(token: Any) -> dict[str, Any]:  # noqa: ANN401 - loaded late
    return document_of(token) | {"scopes": sorted(token.scopes)}

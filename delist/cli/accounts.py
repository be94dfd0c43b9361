"""Accounts of people: ``account add|list|disable|enable|role|reset``."""

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delist.cli.context import Context, context_of
from delist.cli.output import document_of
from delist.cli.people import operator
from delist.errors import UsageError

if TYPE_CHECKING:
    from delist.people import Role
    from delist.people.second_factor import Enrolment

_Name = Annotated[str, typer.Argument(help="The name that stands on record beside what they do.")]
_Role = Annotated[str, typer.Option(help="reviewer, lead, auditor or admin.")]
_Who = Annotated[
    str | None, typer.Option(help="Who you are, for the audit log (default: the account).")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(help="Accounts of the people who sign on.", no_args_is_help=True)
    commands.command("add")(add)
    commands.command("list")(list_accounts)
    commands.command("disable")(disable)
    commands.command("enable")(enable)
    commands.command("role")(role)
    commands.command("reset")(reset)
    app.add_typer(commands, name="account")


def add(ctx: typer.Context, name: _Name, role: _Role, actor: _Who = None) -> None:
    """Add an account; its password is asked for, or read from standard input.

    Prints what an authenticator needs for one-time codes, and recovery codes, this once.
    """
    context, given = context_of(ctx), _role(role)
    password = _password()
    with context.open() as delist:
        enrolment = delist.accounts.add(name, given, password, actor=actor or operator())
    _show(context, name, enrolment)


def list_accounts(ctx: typer.Context) -> None:
    """List everybody who may sign on, or has come from the organisation's sign-on."""
    context = context_of(ctx)
    with context.open() as delist:
        for account in delist.accounts.every():
            _say(context, account)


def disable(ctx: typer.Context, name: _Name, actor: _Who = None) -> None:
    """Let somebody sign on no more, and end their sessions."""
    context = context_of(ctx)
    with context.open() as delist:
        _say(context, delist.accounts.disable(name, actor=actor or operator()))


def enable(ctx: typer.Context, name: _Name, actor: _Who = None) -> None:
    """Let somebody sign on again."""
    context = context_of(ctx)
    with context.open() as delist:
        account = delist.accounts.disable(name, actor=actor or operator(), disabled=False)
        _say(context, account)


def role(
    ctx: typer.Context,
    name: _Name,
    role: Annotated[str, typer.Argument(help="reviewer, lead, auditor or admin.")],
    actor: _Who = None,
) -> None:
    """Give somebody another role, and end their sessions."""
    context, given = context_of(ctx), _role(role)
    with context.open() as delist:
        _say(context, delist.accounts.set_role(name, given, actor=actor or operator()))


def reset(
    ctx: typer.Context,
    name: _Name,
    keep_password: Annotated[
        bool, typer.Option("--keep-password", help="Only new one-time codes.")
    ] = False,
    actor: _Who = None,
) -> None:
    """Set a new password and make new one-time and recovery codes; ends all sessions."""
    context = context_of(ctx)
    password = None if keep_password else _password()
    with context.open() as delist:
        enrolment = delist.accounts.reset(name, password=password, actor=actor or operator())
    _show(context, name, enrolment)


def _role(given: str) -> "Role":
    from delist.people import Role

    if given not in set(Role):
        raise UsageError(f"the role is one of {', '.join(Role)}")
    return Role(given)


def _password() -> str:
    """Ask twice on a terminal; read one line of standard input otherwise."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password (at least 12 characters): ")
    if getpass.getpass("Once more: ") != first:
        raise UsageError("the two are not the same")
    return first


def _show(context: Context, name: str, enrolment: "Enrolment") -> None:
    document = document_of(enrolment) | {"name": name}
    lines = (
        "one-time codes: add this to an authenticator, as a QR code or by hand",
        f"  {enrolment.uri}",
        f"  secret {enrolment.secret}",
        "recovery codes: each stands for one code, once; keep them on paper",
        *(f"  {code}" for code in enrolment.recovery_codes),
        "none of this is shown again",
    )
    context.output.result(document, "\n".join(lines))


def _say(context: Context, account: Any) -> None:  # noqa: ANN401 - loaded late
    kind = "account" if account.local else "organisation"
    state = "disabled" if account.disabled else f"{account.sessions} sessions"
    text = f"{account.name}  {account.role.value}  {kind}  {state}"
    context.output.result(document_of(account), text)

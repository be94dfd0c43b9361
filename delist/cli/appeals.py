"""Asking to look again: ``appeal open|prove|list|show|decide|statement``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from delist.appeal_record import Appeal, AppealState, Asks, Finding
from delist.cli.context import context_of
from delist.cli.output import document_of
from delist.cli.publishing import Lang
from delist.cli.steps import send_feedback
from delist.errors import UsageError

if TYPE_CHECKING:
    from delist.appeals import ToProve

_Id = Annotated[str, typer.Argument(metavar="APPEAL")]
_PRIVATE = ("party_key", "proof_hash", "content_sha256", "image_url", "contact", "statement")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(help="Requests to look again.", no_args_is_help=True)
    commands.command("open")(open_appeal)
    commands.command("prove")(prove)
    commands.command("list")(list_appeals)
    commands.command("show")(show)
    commands.command("decide")(decide)
    commands.command("statement")(statement)
    app.add_typer(commands, name="appeal")


def open_appeal(
    ctx: typer.Context,
    url: Annotated[str, typer.Option(help="Address of the image.")],
    text: Annotated[str, typer.Option(help="Why it should be looked at again.")],
    contact: Annotated[
        str | None, typer.Option(help="A site owner's: where the answer is to go.")
    ] = None,
    case_ref: Annotated[str | None, typer.Option(help="A survivor's case reference.")] = None,
    access_code: Annotated[str | None, typer.Option(help="The code that goes with it.")] = None,
    asks: Annotated[
        Asks, typer.Option(help="keep: out of results; lift: show it again.")
    ] = Asks.LIFT,
) -> None:
    """Ask to look again, as a site's owner (--contact) or as a survivor (--case-ref).

    A site's owner gets a token, shown this once, and puts it where only they can.
    """
    from delist import appeals

    context = context_of(ctx)
    if (contact is None) == (case_ref is None):
        raise UsageError("either --contact (a site's owner) or --case-ref (a survivor) is needed")
    with context.open() as delist:
        if contact is not None:
            if asks is not Asks.LIFT or access_code is not None:
                raise UsageError("a site's owner can ask to lift only, and has no access code")
            opened = appeals.open_for_site(delist.appeal_desk, url, contact=contact, text=text)
            context.output.result(
                {
                    "appeal": opened.appeal_id,
                    "token": opened.token,
                    "until": opened.until,
                    "places": list(opened.places),
                },
                _how_to_prove(opened),
            )
            return
        made = appeals.open_for_survivor(
            delist.appeal_desk, case_ref or "", access_code or "", url, asks=asks, text=text
        )
    context.output.result(_summary(made))


def prove(
    ctx: typer.Context,
    appeal_id: _Id,
    allow_private_addresses: Annotated[
        bool, typer.Option(help="Also look on sites of this machine or network.")
    ] = False,
) -> None:
    """Look for the token on the site; the appeal is open once it was found."""
    from delist import appeals
    from delist.site_proof import SiteFetch

    context = context_of(ctx)
    with context.open() as delist:
        fetch = SiteFetch(allow_private=allow_private_addresses)
        appeal = appeals.prove(delist.appeal_desk, appeal_id, fetch)
        hours = delist.settings.appeals.statement_delay_hours
    context.output.result(_summary(appeal))
    if appeal.state is AppealState.NO_RECORD:
        context.output.error(
            "there is nothing to look at again: no result of this address is away from results"
            f" for {hours} hours or more"
        )


def list_appeals(
    ctx: typer.Context,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that are not proved, or are decided.")
    ] = False,
) -> None:
    """List the appeals that wait for a decision, the next deadline first; no addresses."""
    from delist.appeals import deciding

    context = context_of(ctx)
    with context.open() as delist:
        found = deciding.every(delist.appeal_desk, waiting=not every)
    for appeal in found:
        until = f"{appeal.deadline_at:%Y-%m-%d %H:%M}Z"
        text = (
            f"{appeal.id}  {appeal.state.value:<14}  {appeal.party.value} asks to"
            f" {appeal.asks.value}  until {until}"
        )
        context.output.result(_summary(appeal), text)


def show(
    ctx: typer.Context,
    appeal_id: _Id,
    actor: Annotated[str, typer.Option(help="Who looks; it is put on record.")],
) -> None:
    """Show everything about an appeal; this prints the address, the contact and the text."""
    from delist.appeals import deciding

    context = context_of(ctx)
    with context.open() as delist:
        file = deciding.show(delist.appeal_desk, appeal_id, actor=actor)
    case = file.case
    context.output.result(
        _summary(file.appeal)
        | {
            "image_url": file.appeal.image_url,
            "contact": file.appeal.contact,
            "text": file.appeal.statement,
            "case_state": None if case is None else case.state,
            "verdict": None if case is None else case.verdict,
            "references": file.references,
            "seen": file.seen,
            "decided_before": list(file.decided_before),
            "decisions": [
                document_of(entry, "case_id", "content_sha256") for entry in file.decisions
            ],
        }
    )


def decide(
    ctx: typer.Context,
    appeal_id: _Id,
    outcome: Annotated[
        Finding, typer.Option(help="Whether the decision before stands or is reversed.")
    ],
    actor: Annotated[str, typer.Option(help="Who decides: nobody who decided before.")],
    reason: Annotated[str, typer.Option(help="Why, for the record; no addresses, no names.")],
    seen: Annotated[
        str, typer.Option(help="What `appeal show` gave: decide only about those bytes.")
    ] = "",
) -> None:
    """Decide an appeal; results follow at once."""
    from delist.appeals import deciding

    context = context_of(ctx)
    with context.open() as delist:
        appeal = deciding.decide(
            delist.appeal_desk, appeal_id, outcome, actor=actor, reason=reason, seen=seen
        )
        context.output.result(_summary(appeal))
        if appeal.state is AppealState.ENDED:
            context.output.error("there was nothing left to decide: the case has moved on since")
        send_feedback(context, delist)


def statement(
    ctx: typer.Context,
    url: Annotated[str | None, typer.Argument(metavar="URL")] = None,
    proof: Annotated[
        str | None, typer.Option(help="An appeal in which control of the site was proved.")
    ] = None,
    record: Annotated[
        str | None, typer.Option(help="For operators: id of a suppression record.")
    ] = None,
    actor: Annotated[str, typer.Option(help="With --record: who asks.")] = "",
    lang: Lang = "en",
    html: Annotated[bool, typer.Option("--html", help="Write a page.")] = False,
) -> None:
    """Write the statement of reasons for an address: URL with --proof, or --record."""
    from delist.appeals import statements
    from delist.reporting import language

    context, words = context_of(ctx), language(lang)
    if (url is None or proof is None) == (record is None):
        raise UsageError("either URL with --proof APPEAL, or --record RECORD, is needed")
    with context.open() as delist:
        desk = delist.appeal_desk
        if record is not None:
            found = statements.statement_of_record(desk, record, actor=actor)
        else:
            found = statements.statement_for_owner(desk, url or "", appeal_id=proof or "")
    text = statements.as_html(found, words) if html else statements.as_text(found, words)
    context.output.result(statements.as_json(found, words), text)


def _summary(appeal: Appeal) -> dict[str, Any]:
    """Say where an appeal stands, without address, contact and text."""
    return document_of(appeal, *_PRIVATE)


def _how_to_prove(opened: "ToProve") -> str:
    from delist.site_proof import META_NAME

    files = "\n".join(f"  {place}" for place in opened.places[::2])
    pages = "\n".join(f"  {place}" for place in opened.places[1::2])
    return (
        f"appeal  {opened.appeal_id}\n"
        f"token   {opened.token}\n\n"
        f"Prove control of the site until {opened.until:%Y-%m-%d %H:%M}Z, in one of these ways:\n"
        f"a text file that holds the token, in a line of its own:\n{files}\n"
        f"or in the head of the front page:\n{pages}\n"
        f'  <meta name="{META_NAME}" content="{opened.token}">\n\n'
        f"Then: delist appeal prove {opened.appeal_id}"
    )

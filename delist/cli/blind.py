"""A second look without seeing the first: ``cases blind next|decide``, ``review agreement``."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delist.cli.context import context_of
from delist.cli.output import document_of
from delist.cli.people import Actor
from delist.model import Verdict

if TYPE_CHECKING:
    from delist.build import Delist
    from delist.review.desk import CaseView

_SINCE = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


def register(app: typer.Typer, cases: typer.Typer) -> None:
    """Add the commands of this module, some of them below ``cases``."""
    commands = typer.Typer(
        help="Decisions that are made again by a second reviewer.", no_args_is_help=True
    )
    commands.command("next")(next_blind)
    commands.command("decide")(decide_blind)
    cases.add_typer(commands, name="blind")
    review = typer.Typer(help="How the work of reviewers goes.", no_args_is_help=True)
    review.callback()(lambda: None)
    review.command("agreement")(agreement)
    app.add_typer(review, name="review")


def next_blind(ctx: typer.Context, actor: Actor) -> None:
    """Show a case that somebody else has decided, and nothing of what was decided.

    It stays with you for `[review] claim_minutes`. This prints addresses of images and pages.
    """
    context = context_of(ctx)
    with context.open() as delist:
        view = delist.desk.blind_next(actor)
        if view is None:
            context.output.error("nothing to look at a second time for you")
            return
        context.output.result(shown(delist, view))


def decide_blind(
    ctx: typer.Context,
    review_id: Annotated[int, typer.Argument(metavar="ID")],
    verdict: Annotated[
        Verdict,
        typer.Option(help="ncii: an intimate image without consent; not_ncii: not one; unsure."),
    ],
    actor: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why, for the record; no addresses, no names.")],
    seen: Annotated[
        str, typer.Option(metavar="TOKEN", help="content_token of what you looked at.")
    ] = "",
) -> None:
    """Say what you found. It lifts nothing: where you disagree, a third person decides."""
    from delist.review import Ruling

    context = context_of(ctx)
    ruling = Ruling(verdict=verdict, actor=actor, reason=reason, seen=seen)
    with context.open() as delist:
        outcome = delist.desk.blind_decide(review_id, ruling)
    context.output.result(
        {
            "blind_review": review_id,
            "id": outcome.case.id,
            "agrees": outcome.agrees,
            "disputed": outcome.case.disputed,
        }
    )


def agreement(
    ctx: typer.Context,
    since: Annotated[
        datetime | None, typer.Option(formats=_SINCE, help="Only from this time on, UTC.")
    ] = None,
) -> None:
    """Report how often second reviewers came to the same, with a 95 % interval (Wilson)."""
    context = context_of(ctx)
    with context.open() as delist:
        found = delist.desk.agreement(None if since is None else since.replace(tzinfo=UTC))
    rate = found.rate
    context.output.result(
        {
            "reviewed": found.reviewed,
            "agreed": found.agreed,
            "rate": None if rate is None else round(rate.value, 4),
            "low": None if rate is None else round(rate.low, 4),
            "high": None if rate is None else round(rate.high, 4),
            "pairs": [document_of(pair) for pair in found.pairs],
            "waiting": found.waiting,
        }
    )


def shown(delist: "Delist", view: "CaseView") -> dict[str, Any]:
    """Say what a second reviewer may see of a case: nothing of what was decided."""
    file, case = view.file, view.file.case
    evidence = delist.evidence(case)
    return {
        "blind_review": view.blind_review,
        "id": case.id,
        "content_token": view.token,
        "image_url": case.image_url,
        "alias_urls": list(file.alias_urls),
        "page_urls": list(file.page_urls),
        "reach": case.reach,
        "matches": [
            document_of(match, "content_sha256", "support")
            | {"evidence": document_of(evidence[match.signal_key], "image_key", "signal_key")}
            for match in case.matches
        ],
    }

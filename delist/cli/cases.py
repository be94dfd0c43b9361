"""Review from the terminal: ``cases list|next|claim|release|show``, ``decide``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delist.cli import blind
from delist.cli.context import context_of
from delist.cli.output import document_of
from delist.cli.people import Actor, operator
from delist.cli.steps import send_feedback
from delist.errors import UsageError
from delist.model import Case, Verdict

if TYPE_CHECKING:
    from delist.build import Delist
    from delist.review.desk import CaseView, Place

CaseId = Annotated[str, typer.Argument(metavar="CASE")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(help="Cases that people review.", no_args_is_help=True)
    commands.command("list")(list_cases)
    commands.command("next")(next_case)
    commands.command("claim")(claim)
    commands.command("release")(release)
    commands.command("show")(show_case)
    blind.register(app, commands)
    app.add_typer(commands, name="cases")
    app.command("decide")(decide)


def list_cases(
    ctx: typer.Context,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that a person has decided or that ended.")
    ] = False,
) -> None:
    """List the cases that wait for a person in the order of the queue: by deadline and by risk."""
    context = context_of(ctx)
    with context.open() as delist:
        for place in delist.desk.places(awaiting_person=not every):
            context.output.result(_document_of_place(place), _line_of(place))


def next_case(ctx: typer.Context, actor: Actor) -> None:
    """Take the first case of the queue that nobody is at work on, and show it.

    Never one that waits for a second person's word after one's own. It stays with whoever took it
    for `[review] claim_minutes`. This prints addresses of images and pages.
    """
    context = context_of(ctx)
    with context.open() as delist:
        view = delist.desk.claim_next(actor)
        if view is None:
            context.output.error("nothing in the queue for you")
            return
        context.output.result(_shown(delist, view))


def claim(ctx: typer.Context, case_id: CaseId, actor: Actor) -> None:
    """Take one case, so that nobody else decides it meanwhile; again: keep it longer."""
    context = context_of(ctx)
    with context.open() as delist:
        case = delist.desk.claim(case_id, actor)
    document = {"claimed_by": case.claimed_by, "claimed_until": case.claimed_until}
    context.output.result(summary(case) | document)


def release(ctx: typer.Context, case_id: CaseId, actor: Actor) -> None:
    """Give a case back to the queue."""
    context = context_of(ctx)
    with context.open() as delist:
        case = delist.desk.release(case_id, actor)
    context.output.result(summary(case) | {"claimed_by": "", "claimed_until": None})


def show_case(
    ctx: typer.Context,
    case_id: CaseId,
    actor: Annotated[
        str | None, typer.Option(help="Who looks, for the audit log (default: the account).")
    ] = None,
) -> None:
    """Show everything about one case; this prints addresses of images and pages."""
    context = context_of(ctx)
    with context.open() as delist:
        view = delist.desk.show(case_id, operator() if actor is None else actor)
        shown = _shown(delist, view) if view.blind_review is None else blind.shown(delist, view)
    context.output.result(shown)


def decide(
    ctx: typer.Context,
    case_id: CaseId,
    actor: Annotated[str, typer.Option(help="Who decides.")],
    verdict: Annotated[
        Verdict | None,
        typer.Option(help="ncii: an intimate image without consent; not_ncii: not one; unsure."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why, for the record; no addresses, no names.")
    ] = None,
    seen: Annotated[
        str, typer.Option(metavar="TOKEN", help="content_token of what you looked at.")
    ] = "",
    group: Annotated[
        bool, typer.Option("--group", help="Also near-duplicates that wait for a person.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back what you have just decided.")
    ] = False,
) -> None:
    """Decide on a case: an intimate image without consent, not one, or unsure."""
    context = context_of(ctx)
    if undo and (verdict is not None or reason is not None or seen or group):
        raise UsageError("--undo: takes CASE and --actor, nothing else")
    with context.open() as delist:
        others: dict[str, Any] = {}
        if undo:
            case = delist.desk.undo(case_id, actor)
        else:
            case, others = _decided(delist, case_id, _ruling(verdict, actor, reason, seen), group)
        context.output.result(
            summary(case)
            | {"verdict": case.verdict, "pending": case.pending, "disputed": case.disputed}
            | others
        )
        send_feedback(context, delist)


def summary(case: Case) -> dict[str, Any]:
    """Say where a case stands, without any address."""
    matches = case.active_matches or case.matches
    nearest = min(matches, key=lambda match: match.distance_bits)
    return {
        "id": case.id,
        "state": case.state,
        "deadline": case.deadline_at,
        "distance_bits": nearest.distance_bits,
        "hasher": nearest.hasher,
        "variant": nearest.variant,
        "quality": nearest.quality,
        "feed": nearest.feed,
        "confirmed": case.verdict is Verdict.NCII,
        "awaits_person": case.awaits_person,
    }


def _ruling(verdict: Verdict | None, actor: str, reason: str | None, seen: str) -> Any:  # noqa: ANN401 - loaded late
    from delist.review import Ruling

    if verdict is None:
        raise UsageError("--verdict: ncii, not_ncii or unsure is needed")
    if reason is None:
        raise UsageError("--reason: a reason is needed")
    return Ruling(verdict=verdict, actor=actor, reason=reason, seen=seen)


def _decided(
    delist: "Delist",
    case_id: str,
    ruling: Any,  # noqa: ANN401 - loaded late
    group: bool,  # noqa: FBT001 - a flag of the command line
) -> tuple[Case, dict[str, Any]]:
    if not group:
        return delist.decide(case_id, ruling), {}
    done = delist.desk.decide_group(case_id, ruling)
    return done.case, {
        "near_duplicates": [_member(case) for case in done.decided],
        "left_out": [{"id": entry.case_id, "reason": entry.reason} for entry in done.left_out],
    }


def _document_of_place(place: "Place") -> dict[str, Any]:
    case = place.case
    return summary(case) | {
        "risk": case.risk,
        "reach": case.reach,
        "claimed_by": place.claimed_by,
        "needs_second": place.needs_second,
        "pending": case.pending is not None,
        "disputed": case.disputed,
        "group_size": place.group_size,
    }


def _line_of(place: "Place") -> str:
    case = place.case
    document = summary(case)
    words = [
        f"{case.id}  {case.state.value:<11}  until {case.deadline_at:%Y-%m-%d %H:%M}Z",
        f"risk {case.risk:>3}",
        f"reach {case.reach}",
        f"{document['distance_bits']} bits",
        document["variant"],
    ]
    if place.group_size > 1:
        words.append(f"{place.group_size} near-duplicates")
    if case.disputed:
        words.append("disputed")
    elif case.pending is not None:
        words.append("needs a second person")
    if place.claimed_by:
        words.append(f"with {place.claimed_by}")
    return "  ".join(words)


def _shown(delist: "Delist", view: "CaseView") -> dict[str, Any]:
    file, case = view.file, view.file.case
    evidence = delist.evidence(case)
    checks = [entry.checks for entry in file.decisions if entry.checks]
    return summary(case) | {
        "content_token": view.token,
        "verdict": case.verdict,
        "risk": case.risk,
        "reach": case.reach,
        "needs_second": view.needs_second,
        "pending": case.pending,
        "pending_by": case.pending_by,
        "disputed": case.disputed,
        "claimed_by": case.claimed_by,
        "claimed_until": case.claimed_until,
        "opened_at": case.opened_at,
        "image_url": case.image_url,
        "alias_urls": list(file.alias_urls),
        "page_urls": list(file.page_urls),
        "provenance": list(file.provenance),
        "group": [_member(member) for member in view.members],
        "matches": [
            document_of(match, "content_sha256")
            | {"evidence": document_of(evidence[match.signal_key], "image_key", "signal_key")}
            for match in case.matches
        ],
        "checks": json.loads(checks[-1]) if checks else [],
        "decisions": [
            document_of(entry, "case_id", "content_sha256", "checks") for entry in file.decisions
        ],
        "records": [document_of(record) for record in file.records],
    }


def _member(case: Case) -> dict[str, Any]:
    return {"id": case.id, "state": case.state, "verdict": case.verdict}

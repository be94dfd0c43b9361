"""Review from the terminal: ``cases list``, ``cases show``, ``decide``."""

from typing import Annotated, Any

import typer

from delist.cli.context import context_of
from delist.cli.output import document_of
from delist.cli.steps import send_feedback
from delist.model import Case, Verdict


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(help="Cases that people review.", no_args_is_help=True)
    commands.command("list")(list_cases)
    commands.command("show")(show_case)
    app.add_typer(commands, name="cases")
    app.command("decide")(decide)


def list_cases(
    ctx: typer.Context,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that a person has decided or that ended.")
    ] = False,
) -> None:
    """List the cases that wait for a person, the next deadline first."""
    context = context_of(ctx)
    with context.open() as delist:
        for case in delist.cases(awaiting_person=not every):
            document = summary(case)
            deadline = f"{case.deadline_at:%Y-%m-%d %H:%M}Z"
            text = (
                f"{case.id}  {case.state.value:<10}  until {deadline}  "
                f"{document['distance_bits']} bits  {document['variant']}"
            )
            context.output.result(document, text)


def show_case(ctx: typer.Context, case_id: Annotated[str, typer.Argument(metavar="CASE")]) -> None:
    """Show everything about one case; this prints addresses of images and pages."""
    context = context_of(ctx)
    with context.open() as delist:
        file = delist.case_file(case_id)
        evidence = delist.evidence(file.case)
    document = summary(file.case) | {
        "verdict": file.case.verdict,
        "opened_at": file.case.opened_at,
        "image_url": file.case.image_url,
        "alias_urls": list(file.alias_urls),
        "page_urls": list(file.page_urls),
        "matches": [
            document_of(match, "content_sha256")
            | {"evidence": document_of(evidence[match.signal_key], "image_key", "signal_key")}
            for match in file.case.matches
        ],
        "decisions": [document_of(entry, "case_id", "content_sha256") for entry in file.decisions],
        "records": [document_of(record) for record in file.records],
    }
    context.output.result(document)


def decide(
    ctx: typer.Context,
    case_id: Annotated[str, typer.Argument(metavar="CASE")],
    verdict: Annotated[Verdict, typer.Option(help="What the image is.")],
    actor: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why, for the record; no addresses, no names.")],
) -> None:
    """Decide on a case: an intimate image without consent, not one, or unsure."""
    from delist.review import Ruling

    context = context_of(ctx)
    with context.open() as delist:
        case = delist.decide(case_id, Ruling(verdict=verdict, actor=actor, reason=reason))
        context.output.result(summary(case) | {"verdict": case.verdict})
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

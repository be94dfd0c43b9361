"""``POST /console/cases/ID/image``: the image itself, live, small, re-encoded, never kept.

``.../image/again``: the page, which still has it, is about to show it once more.

By a form of this session only: no link, prefetch or page of a stranger can make somebody look, or
make us ask an address. What was shown is on record before the first byte leaves.
"""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import PlainTextResponse, Response

from delist.errors import FetchError, QuotaError, UsageError
from delist.review.viewing import Step, why_not
from delist.web.console.frame import Id, Reviewer, delist_of, shift_now
from indexer.errors import ImageRefusedError
from indexer.hashing.preview import MIME

router = APIRouter(include_in_schema=False, tags=["console"])


@router.post("/console/cases/{case_id}/image")
def show_image(
    request: Request,
    person: Reviewer,
    case_id: Id,
    step: Annotated[Step, Form()] = Step.VEILED,
) -> Response:
    """Show the image of a case, blurred first."""
    liked = person.preferences
    try:
        shown = delist_of(request).viewing.show(
            case_id,
            person.name,
            step,
            grey=liked.grey,
            blur_px=liked.blur_px,
            shown_s=liked.shown_s,
        )
    except (FetchError, ImageRefusedError) as error:
        return PlainTextResponse(why_not(error), 422)
    except UsageError as error:
        return PlainTextResponse(f"It is not shown: {error}.", 409)
    except QuotaError as error:
        return PlainTextResponse(f"Not now: {error}.", 429)
    shift = shift_now(request, person)
    headers = {
        "Delist-Changed": "yes" if shown.changed else "no",
        "Delist-Video": "yes" if shown.picture.is_video else "no",
        "Delist-Frame": str(shown.picture.frame),
        "Delist-Seen": str(shift.seen),
        "Content-Disposition": "inline",
    }
    return Response(shown.picture.data, media_type=MIME, headers=headers)


@router.post("/console/cases/{case_id}/image/again")
def show_again(
    request: Request,
    person: Reviewer,
    case_id: Id,
    step: Annotated[Step, Form()] = Step.VEILED,
) -> Response:
    """Put another look at it on record."""
    try:
        delist_of(request).viewing.show_again(
            case_id, person.name, step, shown_s=person.preferences.shown_s
        )
    except UsageError as error:
        return PlainTextResponse(f"It is not shown: {error}.", 409)
    return Response(status_code=204, headers={"Delist-Seen": str(shift_now(request, person).seen)})

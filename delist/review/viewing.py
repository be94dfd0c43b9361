"""Looking at an image itself: fetched live, made harmless, put on record before it is shown.

(1) Whoever is at work on the case, or nobody is: no second person is exposed for nothing.
(2) The address is asked as the crawler would, guarded (``delist.fetching``), for each redirect
    anew; to a limit of bytes and time.
(3) What came is decoded in a process of its own and encoded anew, small; the first step is
    blurred, here, so that a browser never has more than what the person asked for. Of an animation
    or a video the frame is shown that matched: the first may be put there to look harmless.
(4) The view goes on record. Only then the bytes leave this function; they are nowhere else.

Whoever looks again at what their page still has goes on record again. How often somebody looked,
and how often they did without, is counted from that record.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from urllib.parse import urljoin

from sqlalchemy import Connection

from delist.casework.views import Rules
from delist.errors import FetchError, QuotaError, UsageError
from delist.fetching import OK, REDIRECTS, GuardedFetch
from delist.model import Case, Support
from delist.review.deciding import checked_actor, get_case
from delist.rulings import person_key
from delist.store import Database, audit, exposures
from indexer.deadline import Deadline
from indexer.errors import ImageRefusedError, InvalidUrlError
from indexer.hashing.opening import Limits
from indexer.hashing.preview import Preview, preview
from indexer.model import Background, layer_of
from indexer.settings import HashingSettings
from indexer.url import canonical_url

_MAX_REDIRECTS = 5
_AT_ONCE = 4
_SIDES = {"veiled": 360, "clear": 960}
_LEAST_BLUR, _BLUR_SCALE = 4.0, 0.5
"""CSS pixels of a picture of 720 that is drawn half as large: half as many of its own."""


class Step(StrEnum):
    """How much is unveiled."""

    VEILED = "veiled"
    """Small and blurred."""
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An image as a person sees it.

    Attributes:
        changed: other bytes are at the address than those that the case is about.
    """

    picture: Preview = field(repr=False)
    step: Step
    changed: bool


class Viewing:
    """Fetches and shows. Thread-safe; a few at once."""

    def __init__(
        self,
        database: Database,
        fetch: GuardedFetch,
        limits: HashingSettings,
        *,
        rules: Callable[[], Rules],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._rules = rules
        self._fetch = fetch
        self._max_bytes = limits.max_bytes
        self._limits = Limits(
            max_bytes=limits.max_bytes,
            max_pixels=limits.max_pixels,
            max_frames=limits.max_frames,
            max_video_frames=limits.max_video_frames,
            timeout_s=limits.timeout_s,
        )
        self._first_frame = replace(
            self._limits, max_frames=1, max_video_frames=min(1, limits.max_video_frames)
        )
        self._clock = clock
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def show(
        self,
        case_id: str,
        actor: str,
        step: Step,
        *,
        grey: bool = True,
        blur_px: float = 24,
        shown_s: int = 0,
    ) -> Shown:
        """Show the image of a case to a person.

        Args:
            grey: without colour.
            blur_px: how strongly the first step is blurred; it is never sharp.
            shown_s: how long the page shows it after one press; 0: while it is held.

        Raises:
            UnknownCaseError: no case has this id.
            UsageError: somebody else is at work on the case.
            FetchError: the address gives no image now.
            ImageRefusedError: what it gives shows nothing.
            QuotaError: too many are being looked at.
        """
        actor = checked_actor(actor)
        with self._database.read() as connection:
            case = self._case(connection, case_id, actor)  # (1)
        with self._place():
            data = self._load(case.image_url)  # (2)
            blur = max(_LEAST_BLUR, blur_px * _BLUR_SCALE) if step is Step.VEILED else 0
            frame, background = _layer_of(case)
            picture = preview(  # (3)
                data,
                self._limits if frame else self._first_frame,
                most_side=_SIDES[step.value],
                grey=grey,
                blur_px=blur,
                frame=frame,
                background=background,
            )
        changed = sha256(data).hexdigest() != case.content_sha256
        with self._database.write() as connection:  # (4)
            case = self._case(connection, case_id, actor)
            self._note(connection, case, actor, step, shown_s, {"changed": changed})
        return Shown(picture=picture, step=step, changed=changed)

    def show_again(self, case_id: str, actor: str, step: Step, *, shown_s: int = 0) -> None:
        """Put on record that a person looks again at what their page still has.

        Raises:
            UnknownCaseError: no case has this id.
            UsageError: somebody else is at work on the case, or it was not shown before.
        """
        actor = checked_actor(actor)
        with self._database.write() as connection:
            case = self._case(connection, case_id, actor)
            if not exposures.has_seen(connection, actor, case_id, step.value):
                raise UsageError("it was not shown before")
            self._note(connection, case, actor, step, shown_s, {"again": True})

    def may_decide_unseen(self) -> bool:
        """Say whether the policy lets a person decide from the evidence alone."""
        return self._rules().policy.people.decide_unseen

    def check_seen(self, case_id: str, actor: str) -> None:
        """Make sure that a person has seen what the policy wants them to have seen.

        Raises:
            UnknownCaseError: no case has this id.
            UsageError: they have seen neither the image nor a near-duplicate.
        """
        if self.may_decide_unseen():
            return
        with self._database.read() as connection:
            case = get_case(connection, case_id)
            if exposures.seen_in_group(connection, actor, case.group_id) is None:
                raise UsageError("the policy wants the image to be looked at before a decision")

    def _note(
        self,
        connection: Connection,
        case: Case,
        actor: str,
        step: Step,
        shown_s: int,
        more: dict[str, object],
    ) -> None:
        detail = {"step": step.value, "group": case.group_id, **more}
        audit.append(
            connection,
            actor=actor,
            act=exposures.IMAGE_VIEWED,
            subject=case.id,
            now=self._clock(),
            detail=detail | ({"shown_s": shown_s} if shown_s else {}),
        )

    def _case(self, connection: Connection, case_id: str, actor: str) -> Case:
        case = get_case(connection, case_id)
        claimant = case.claimant(self._clock())
        if claimant and person_key(claimant) != person_key(actor):
            raise UsageError(f"{claimant} is at work on this case: one person looks at a time")
        return case

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise QuotaError("too many images are being fetched; try again in a moment")
        try:
            yield
        finally:
            self._places.release()

    def _load(self, url: str) -> bytes:
        """Fetch what an address gives, following redirects.

        Raises:
            FetchError: no bytes, or too many.
        """
        if "#" in url:  # canonical addresses have none, but for the mark of such an image
            raise FetchError("the image lies in its page and has no address of its own")
        with Deadline(self._fetch.limits.deadline_s) as deadline:
            for _ in range(_MAX_REDIRECTS + 1):
                response, body = self._fetch.ask(
                    url, max_bytes=self._max_bytes + 1, deadline=deadline
                )
                if response.status_code in REDIRECTS:
                    url = _next_url(url, response.headers.get("location", ""))
                    continue
                if response.status_code != OK:
                    raise FetchError(f"the site answered {response.status_code}")
                if len(body) > self._max_bytes:
                    raise FetchError("more bytes than are fetched")
                return body
        raise FetchError("too many redirects")


def _layer_of(case: Case) -> tuple[int, Background]:
    """Choose what a person sees: what the nearest match is of, of those that count if any does."""
    own = [match for match in case.matches if match.content_sha256 == case.content_sha256]
    counted = [match for match in own if match.support is Support.ACTIVE] or own
    nearest = min(counted, key=lambda match: match.distance_bits, default=None)
    return (0, Background.WHITE) if nearest is None else layer_of(nearest.variant)


def why_not(error: FetchError | ImageRefusedError) -> str:
    """Say in a sentence for a person why there is nothing to see."""
    return f"It could not be shown: {error}."


def _next_url(url: str, location: str) -> str:
    try:
        return canonical_url(urljoin(url, location)) if location else _nowhere()
    except (InvalidUrlError, ValueError):
        return _nowhere()


def _nowhere() -> str:
    raise FetchError("a redirect leads nowhere")

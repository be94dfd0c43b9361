"""What the stand-in holds: records, page tokens and feedback. No HTTP.

Pages follow the order of changes, as a Cosmos DB change feed does: a record that changes
while a set is read moves behind, and so can come twice in one set.
"""

import base64
import json
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

SIGNAL_TYPES = frozenset({"ImagePDQ", "VideoMD5", "VideoTMK", "Text", "URL"})
FEEDBACK_WORDS = frozenset(
    {"None", "QualityUnknown", "PendingReview", "Blocked", "NotBlocked", "Withdrawn", "Deleted"}
)


class BadRequestError(Exception):
    """The request is not one that the API takes; the text goes into the 400 answer."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What a page token stands for."""

    start: int
    serial: int
    issued_at: int


@dataclass(slots=True)
class _Held:
    serial: int
    record: Any = field(repr=False)


class FeedState:
    """Records and what is asked of them. Thread-safe.

    Args:
        records: the entries of ``hashRecords`` to begin with; need not be well-formed.
        now: unix seconds; stamps feedback and the age of tokens.
        source: name under which our feedback appears.
        page_size_cap: largest page, whatever is asked for.
        token_life_s: seconds after which a page token is refused.
        repeats: records of a page that come again on the next one.
        rewind_s: how far the last page's ``nextSetTimestamp`` lies behind the latest record.
        refuses: hash values that are never taken: a request that holds one is answered 400, which
            names none.
    """

    def __init__(
        self,
        records: Iterable[Any] = (),
        *,
        now: Callable[[], int],
        source: str = "Delist",
        page_size_cap: int = 1000,
        token_life_s: int = 3600,
        repeats: int = 1,
        rewind_s: int = 20,
        refuses: Iterable[str] = (),
    ) -> None:
        self.refuses = frozenset(refuses)
        self.feedback: list[dict[str, Any]] = []
        self._now, self._source = now, source
        self._page_size_cap, self._token_life_s = page_size_cap, token_life_s
        self._repeats, self._rewind_s = repeats, rewind_s
        self._held: dict[Any, _Held] = {}
        self._tokens: dict[str, _Place] = {}
        self._serial = 0
        self._issued = 0
        self._lock = threading.RLock()
        for record in records:
            self.put(record)

    def put(self, record: Any) -> None:  # noqa: ANN401 - any JSON value can be served
        """Hold a record; a full snapshot that replaces the one of the same kind and value."""
        with self._lock:
            self._serial += 1
            key: Any = self._serial
            if isinstance(record, dict):
                key = json.dumps([record.get("signalType"), record.get("hashValue", key)])
            self._held.pop(key, None)
            self._held[key] = _Held(self._serial, record)

    def expire_tokens(self) -> None:
        """Refuse every page token handed out so far."""
        with self._lock:
            self._tokens.clear()

    def fetch(self, *, start: int, page_size: int, token: str | None) -> dict[str, Any]:
        """Answer ``FetchHashes``.

        Raises:
            BadRequestError: the token is unknown, expired or of another start timestamp.
        """
        with self._lock:
            after = self._redeem(token, start) if token is not None else 0
            changed = [held for held in self._held.values() if _modified_at(held.record) >= start]
            size = max(1, min(page_size, self._page_size_cap))
            rest = [held for held in changed if held.serial > after]
            again = [held for held in changed if held.serial <= after][-self._repeats :]
            page = rest[:size]
            more = len(rest) > size
            served = [*(again if self._repeats and token is not None else ()), *page]
            return {
                "count": len(served),
                "nextSetTimestamp": self._next_set(changed, start, more=more),
                # Also on the last page, as in the public fixture.
                "nextPageToken": self._issue(start, page[-1].serial if page else after),
                "hasMoreRecords": more,
                "hashRecords": [held.record for held in served],
            }

    def take_feedback(self, body: Any) -> dict[str, Any]:  # noqa: ANN401 - unchecked JSON
        """Answer ``SubmitFeedback``: seen on the next fetch, under our source.

        Raises:
            BadRequestError: wrong shape, count or word. Nothing of the request was taken.
        """
        items = _read_items(body, "hashFeedbacks")
        for item in items:
            _check_feedback(item)
            if not isinstance(item.get("hashValue"), str):
                raise BadRequestError("hashValue is missing")
        self._check_values(items)
        with self._lock:
            for item in items:
                self.feedback.append(item)
                self._apply(item)
        return {"count": len(items)}

    def take_hashes(self, body: Any) -> dict[str, Any]:  # noqa: ANN401 - unchecked JSON
        """Answer ``SubmitHashes``.

        Raises:
            BadRequestError: wrong shape, count or word. Nothing of the request was taken.
        """
        items = _read_items(body, "hashRecords")
        for item in items:
            if item.get("signalType") not in SIGNAL_TYPES:
                raise BadRequestError("signalType is not a known word")
            for feedback in item.get("CSPFeedbacks", ()):
                _check_feedback(feedback)
            if not isinstance(item.get("hashValue"), str):
                raise BadRequestError("hashValue is missing")
        self._check_values(items)
        with self._lock:
            for item in items:
                self._take_hash(item)
        return {"count": len(items)}

    def _take_hash(self, item: dict[str, Any]) -> None:
        """Hold a platform's own hash; one that is held keeps its cases."""
        key = json.dumps([item.get("signalType"), item["hashValue"]])
        held = self._held[key].record if key in self._held else {}
        ours = [{**feedback, "source": self._source} for feedback in item.get("CSPFeedbacks", ())]
        others = [
            feedback
            for feedback in held.get("CSPFeedbacks") or ()
            if feedback.get("source") != self._source
        ]
        # No case stands behind a platform's own hash; the empty map comes as a list.
        new = {"hashStatus": "Received", "caseNumbers": []}
        feedbacks = {"CSPFeedbacks": [*others, *ours]}
        self.put({**new, **item, **held, **feedbacks, "lastModtimestamp": self._now()})

    def _check_values(self, items: Iterable[dict[str, Any]]) -> None:
        if any(item["hashValue"] in self.refuses for item in items):
            raise BadRequestError("the request is not valid")

    def _apply(self, item: dict[str, Any]) -> None:
        ours = {
            "source": self._source,
            "feedbackValue": item["feedbackValue"],
            "tags": item.get("tags", []),
        }
        # The item names no signalType: the value alone says which records are meant.
        meant = [
            held.record
            for held in self._held.values()
            if isinstance(held.record, dict) and held.record.get("hashValue") == item["hashValue"]
        ]
        for record in meant:
            others = [
                feedback
                for feedback in record.get("CSPFeedbacks") or ()
                if feedback.get("source") != self._source
            ]
            self.put({**record, "lastModtimestamp": self._now(), "CSPFeedbacks": [*others, ours]})

    def _next_set(self, changed: list[_Held], start: int, *, more: bool) -> int:
        """Set both traps of the public fixture: ahead of the data early, lower at the end."""
        times = [_modified_at(held.record) for held in changed]
        latest = max((time for time in times if math.isfinite(time)), default=start)
        return int(latest if more else max(start, latest - self._rewind_s))

    def _issue(self, start: int, serial: int) -> str:
        self._issued += 1
        place = {
            "token": f"+RID:~12tVAJ8K56c{self._issued}==#RT:{self._issued}#TRC:{serial}",
            "range": {"min": "", "max": "FF"},
        }
        token = base64.b64encode(json.dumps([{"compositeToken": place}]).encode()).decode()
        self._tokens[token] = _Place(start, serial, self._now())
        return token

    def _redeem(self, token: str, start: int) -> int:
        place = self._tokens.get(token)
        if place is None or place.issued_at + self._token_life_s < self._now():
            raise BadRequestError("nextPageToken is not valid")
        if place.start != start:
            raise BadRequestError("nextPageToken belongs to another startTimestamp")
        return place.serial


def _modified_at(record: Any) -> float:  # noqa: ANN401 - any JSON value
    """Read a record's time; an entry without one is part of every set."""
    try:
        return float(record["lastModtimestamp"])
    except (TypeError, KeyError, ValueError):
        return math.inf


def _read_items(body: Any, name: str) -> list[dict[str, Any]]:  # noqa: ANN401 - unchecked JSON
    items = body.get(name) if isinstance(body, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadRequestError(f"{name} is not a list of objects")
    if body.get("count") != len(items):
        raise BadRequestError(f"count is not the length of {name}")
    return items


def _check_feedback(item: dict[str, Any]) -> None:
    if item.get("feedbackValue") not in FEEDBACK_WORDS:
        raise BadRequestError("feedbackValue is not a known word")
    if not isinstance(item.get("tags", []), list):
        raise BadRequestError("tags is not a list")

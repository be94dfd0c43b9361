"""Bringing a case's matches up to date with what its image matches now.

Whether a person has seen a match, and whether its signal has returned since, is told by times. So
no match is dated before what it follows, however the clock was set.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from delist.model import Case, CaseMatch, Support
from indexer.model import ImageRecord, Match, Signal

FindSignal = Callable[[bytes], Signal | None]
_NEXT = timedelta(microseconds=1)


def with_matches(
    case: Case,
    record: ImageRecord | None,
    matches: Iterable[Match],
    *,
    find_signal: FindSignal,
    idle: Collection[str],
    now: datetime,
) -> Case:
    """Bring the matches up to date; those of other bytes have ended.

    Args:
        record: of the image, None where it is no longer held.
        matches: what it matches now.
        find_signal: by its key.
        idle: hex keys of hashes of our own that ended with what they were derived from, though
            their feed still lists them.
    """
    held = {match.signal_key: match for match in case.matches}
    merged = [
        _merged(
            held.pop(match.signal_key.hex(), None),
            match,
            _matched_at(case, find_signal(match.signal_key), now),
        )
        for match in matches
    ]
    merged += [_ended(match, find_signal, idle) for match in held.values()]
    merged.sort(key=lambda match: (match.distance_bits, match.signal_key))
    # Bytes that nothing matches are nobody's: the case keeps what it was last about.
    supported = any(match.support is Support.ACTIVE for match in merged)
    content = record.sha256.hex() if record and supported else case.content_sha256
    return replace(case, content_sha256=content, matches=tuple(merged))


def _matched_at(case: Case, signal: Signal | None, now: datetime) -> datetime:
    """Date a match that is new: behind its signal, and behind a decision that did not see it."""
    times = [now]
    if signal is not None:
        times.append(signal.added_at)
    if case.decided_at is not None:
        times.append(case.decided_at + _NEXT)
    return max(times)


def _merged(held: CaseMatch | None, match: Match, matched_at: datetime) -> CaseMatch:
    fresh = CaseMatch(
        signal_key=match.signal_key.hex(),
        feed=match.feed,
        distance_bits=match.distance_bits,
        threshold_bits=match.threshold_bits,
        hasher=match.hasher.value if match.hasher else "",
        variant=match.variant or "",
        quality=match.quality or 0,
        content_sha256=match.content_sha256.hex(),
        support=Support.ACTIVE,
        matched_at=matched_at,
        weighted_bits=match.weighted_bits,
    )
    if (
        held is not None
        and held.support is Support.ACTIVE
        and held.content_sha256 == fresh.content_sha256
    ):
        # The same bytes under another threshold, say, are no new match: dated anew, it would
        # ask people again, and count for the blast radius.
        return replace(fresh, matched_at=held.matched_at)
    return fresh


def _ended(match: CaseMatch, find_signal: FindSignal, idle: Collection[str]) -> CaseMatch:
    if match.support is Support.WITHDRAWN:
        return match
    live = find_signal(bytes.fromhex(match.signal_key))
    # One that was added since has returned from a withdrawal, and waits for its re-scan.
    withdrawn = live is None or live.added_at > match.matched_at or match.signal_key in idle
    return replace(match, support=Support.WITHDRAWN if withdrawn else Support.ENDED)

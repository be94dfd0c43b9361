"""Giving back: hashes of confirmed copies that a feed's own hash does not reach.

A crop that a person confirmed is out of reach of every platform that compares plain hashes. Its
own hash is offered to the feed, where the policy says so, and comes back as a signal: an *echo*.
An echo is no evidence of its own. It speaks for other images as long as what it was derived
from does, never for the image that it is of, and it ends with that:

(1) It was derived from the signals of the feed that matched the copy, its *roots*, and from a
    person's verdict ``ncii`` on those bytes. Echoes are no roots, so none keeps itself alive.
(2) It stands while one of its roots is live and that verdict is in force, whatever becomes of
    the page.
(3) A signal that a survivor's own case is behind is no echo, whoever offered it first.

All of it follows from facts, at each assessment, in its transaction; ``submitting`` sends.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

import lmdb
from sqlalchemy import Connection

from delist.feedback.offered import VARIANT, upright_digest
from delist.model import Case, CaseMatch, Verdict
from delist.policy import DIRECT_FEED, Policy
from delist.rulings import standing_of
from delist.store import cases, reassessments, submissions
from delist.store.submissions import Submission
from indexer.match import FEED_KIND_PDQ
from indexer.model import PARTIAL, Hasher, ImageRecord, Match, Signal, has_ended
from indexer.store import Store

_MOST_IMAGES = 100_000
_REASON = "own_hash"


class GivingBack:
    """What one assessor has to know, and to keep, of hashes that were given back."""

    def __init__(
        self,
        store: Store,
        image_txn: lmdb.Transaction,
        connection: Connection,
        *,
        policy: Policy,
        now: datetime,
    ) -> None:
        self._store = store
        self._txn = image_txn
        self._connection = connection
        self._offers = policy.giving_back.submit_confirmed_edits
        self._now = now
        self._any = submissions.exists(connection)

    def split(
        self, matches: Mapping[bytes, Match], case: Case | None, content_sha256: str
    ) -> tuple[dict[bytes, Match], frozenset[str]]:
        """Split what matches an image into what may stand behind its case, and echoes that may not.

        Args:
            matches: by signal key.
            case: of the image, if there is one.
            content_sha256: of the bytes that are there now.

        Returns:
            The matches that count, and the keys, in hex, of the others.
        """
        if not matches or not self._any:
            return dict(matches), frozenset()
        ours = submissions.of_signals(self._connection, [key.hex() for key in matches])
        idle = {
            key
            for key, rows in ours.items()
            if self._is_echo(key)
            and not any(
                row.ended_at is None and not _is_of(row, case, content_sha256) for row in rows
            )
        }
        kept = {key: match for key, match in matches.items() if key.hex() not in idle}
        return kept, frozenset(idle)

    def follow(self, case: Case, record: ImageRecord | None) -> dict[str, str]:
        """Bring in line what was and what is to be offered of a case, after its assessment.

        Returns:
            Signals that their feeds are perhaps to be told something of, with the feed.
        """
        rows = submissions.of_case(self._connection, case.id) if self._any else []
        touched = dict(self._kept_up(case, rows))
        offered = {row.feed for row in rows if row.content_sha256 == case.content_sha256}
        offered.add(DIRECT_FEED)  # nobody to offer it to
        if self._offers and case.verdict is Verdict.NCII and record is not None:
            for feed in sorted({match.feed for match in case.active_matches} - offered):
                touched.update(self._offered(case, record, feed))
        return touched

    def _kept_up(self, case: Case, rows: list[Submission]) -> Iterator[tuple[str, str]]:
        for row in rows:
            stands = self._stands(case, row)  # (2)
            if not stands:
                yield row.signal_key, row.feed
            if stands == (row.ended_at is None):
                continue
            change = submissions.resume if stands else submissions.end
            change(self._connection, row, now=self._now)
            self._ask_again(row.signal_key, but=case.image_key)
            yield row.signal_key, row.feed

    def _stands(self, case: Case, row: Submission) -> bool:
        if not (self._offers or row.is_with_feed):
            return False
        verdict = case.verdict
        if row.content_sha256 != case.content_sha256:
            content = row.content_sha256
            given = cases.rulings(self._connection, case.id, content_sha256=content)
            verdict = standing_of(given).verdict
        if verdict is not Verdict.NCII:
            return False
        roots = submissions.roots_of(self._connection, row.id)
        return any(self._signal(root) is not None for root in roots)

    def _offered(self, case: Case, record: ImageRecord, feed: str) -> Iterator[tuple[str, str]]:
        """Queue the image's own hash for a feed that does not reach it."""
        matches = [match for match in case.active_matches if match.feed == feed]
        roots = [match.signal_key for match in matches if not self._is_own(match.signal_key)]  # (1)
        if not roots or not all(map(_is_edit, matches)):
            return
        if record.sha256.hex() != case.content_sha256:
            return
        hasher = Hasher(matches[0].hasher or Hasher.CPP)
        digest = upright_digest(self._store, self._txn, record, hasher)
        if digest is None:
            return
        key = self._store.signals.key(feed=feed, kind=FEED_KIND_PDQ, value=digest).hex()
        submissions.queue(
            self._connection,
            now=self._now,
            derived=roots,
            case_id=case.id,
            image_key=case.image_key,
            content_sha256=case.content_sha256,
            feed=feed,
            signal_key=key,
            hasher=hasher.value,
            variant=VARIANT.value,
        )
        self._any = True
        yield key, feed

    def _ask_again(self, signal_key: str, *, but: str) -> None:
        """Have every image looked at again that an echo matches."""
        key = bytes.fromhex(signal_key)
        found = self._store.images.matching_images(
            self._txn, key, start=bytes(16), most=_MOST_IMAGES
        )
        keys = [image_key.hex() for image_key in found if image_key.hex() != but]
        reassessments.ask_for_any_images(self._connection, keys, reason=_REASON, now=self._now)

    def _is_own(self, signal_key: str) -> bool:
        """Whether a signal is an echo."""
        if not self._any or not submissions.of_signals(self._connection, [signal_key]):
            return False
        return self._is_echo(signal_key)

    def _is_echo(self, signal_key: str) -> bool:
        """Whether nobody's own case is behind a signal that we offered."""  # (3)
        signal = self._signal(signal_key)
        return signal is None or all(has_ended(case.status) for case in signal.cases)

    def _signal(self, signal_key: str) -> Signal | None:
        return self._store.signals.find(self._txn, bytes.fromhex(signal_key))


def _is_of(row: Submission, case: Case | None, content_sha256: str) -> bool:
    """Whether a hash is of the very bytes that a case is about."""
    return case is not None and row.case_id == case.id and row.content_sha256 == content_sha256


def _is_edit(match: CaseMatch) -> bool:
    """Whether the signal's hash alone does not reach the image as it should."""
    return match.weighted_bits is not None or PARTIAL in match.variant.split("+")

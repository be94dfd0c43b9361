"""Index time: what a visit of an image found enters the store and meets the signals.

The steps of one batch, all in one write transaction:

(1) Match outside the transaction, so that the store is locked briefly.
(2) Inside it, match again if a signal was committed in between: whatever is
    committed before this batch has been compared with it, and whatever comes
    later finds the batch in the store (the delta scan).
(3) Replace what is stored of each image, and append to the match log what changed.

What is stored stays where what came is worth less: bytes that an archive saw earlier (4), or a
digest that somebody brought where bytes were hashed here (5).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import lmdb

from indexer.exact import file_matches, signals_of
from indexer.lookup import (
    DeepVariant,
    HashRows,
    Lookup,
    NearestVariant,
    deep_match_of,
    match_of,
)
from indexer.model import (
    HASHER_VERSION,
    HashedImage,
    ImageRecord,
    ImageVisit,
    Match,
    MatchEvent,
    MatchEventKind,
    VisitOutcome,
    VisitResult,
)
from indexer.page_marks import note_marks
from indexer.store import Store
from indexer.store.columns import ColumnWriter
from indexer.url import canonical_url, url_key


@dataclass(frozen=True, slots=True)
class _Writing:
    txn: lmdb.Transaction
    rows: ColumnWriter
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepResult:
    """What the deep tier found of one image.

    Attributes:
        version: of the signals that it was compared with.
        threshold_bits: on the weighted scale.
        found: by signal key.
    """

    version: int
    threshold_bits: float
    found: Mapping[bytes, DeepVariant]


Beside = Callable[[lmdb.Transaction, Sequence[VisitResult]], None]
"""Called with the write transaction of a batch, and what became of its visits."""


def _nothing(_txn: lmdb.Transaction, _results: Sequence[VisitResult]) -> None:
    pass


class VisitRecorder:
    """Records visits of images."""

    def __init__(self, store: Store, lookup: Lookup) -> None:
        self._store = store
        self._lookup = lookup

    def record(
        self,
        visits: Sequence[ImageVisit],
        *,
        now: datetime,
        deep: Sequence[DeepResult | None] = (),
        beside: Beside = _nothing,
    ) -> list[VisitResult]:
        """Record a batch of visits in one durable transaction; results in the same order.

        Args:
            visits: what was found.
            now: time of the visits.
            deep: what the deep tier found, one for each visit; empty where it was not asked.
            beside: writes what belongs to the batch in the same transaction.

        Raises:
            InvalidUrlError: a URL is not an absolute http(s) URL; nothing was recorded.
            StoreError: nothing was recorded.
        """
        keys = [url_key(canonical_url(visit.image_url)) for visit in visits]
        images: list[HashRows] = [visit.hashed.rows if visit.hashed else () for visit in visits]
        view = self._lookup.views.newest()
        found = self._lookup.nearest(view, images)  # (1)
        with self._store.write() as txn, self._store.images.column.writer(txn) as rows:
            if self._store.signals.version(txn) != view.version:  # (2)
                found = self._lookup.nearest(self._lookup.views.in_(txn), images)
            writing = _Writing(txn, rows, now)
            results = [
                self._record(writing, key, visit, nearest, searched)  # (3)
                for key, visit, nearest, searched in zip(
                    keys, visits, found, deep or [None] * len(visits), strict=True
                )
            ]
            beside(txn, results)
        return results

    def _record(
        self,
        writing: _Writing,
        key: bytes,
        visit: ImageVisit,
        nearest: dict[bytes, NearestVariant],
        searched: DeepResult | None,
    ) -> VisitResult:
        held = self._store.images.find(writing.txn, key)
        hashed = visit.hashed
        if hashed is None and held is None:
            return VisitResult(image_key=key, outcome=VisitOutcome.NOT_HELD)
        if held is not None and hashed is not None and not same_content(held, hashed):
            if hashed.is_brought and not held.is_brought:
                visit, hashed = replace(visit, hashed=None), None  # (5)
            elif _is_older(visit, hashed, held):
                return VisitResult(image_key=key, outcome=VisitOutcome.OUTDATED)  # (4)
        if held is None or (hashed is not None and not same_content(held, hashed)):
            assert hashed is not None  # noqa: S101 - without hashes and record: not held, above
            self._store_image(writing, key, visit, hashed, held, searched)
            matches = self._store_matches(writing, key, hashed, nearest, searched)
            self._note_places(writing, key, visit)
            return VisitResult(image_key=key, outcome=VisitOutcome.HASHED, matches=matches)
        record = self._refresh(writing, visit, held, searched)
        renamed = record.document_id != held.document_id
        self._note_places(writing, key, visit, renamed=renamed)
        known = self._store.images.matches(writing.txn, key)
        if hashed is not None and searched is not None:
            found = self._deep_matches(writing, key, hashed, searched, but=known)
            known |= {match.signal_key: match for match in found}
            replace_matches(self._store, writing.txn, key, list(known.values()), now=writing.now)
        return VisitResult(
            image_key=key,
            outcome=VisitOutcome.UNCHANGED,
            matches=nearest_first(known.values()),
        )

    def _store_image(
        self,
        writing: _Writing,
        key: bytes,
        visit: ImageVisit,
        hashed: HashedImage,
        held: ImageRecord | None,
        searched: DeepResult | None,
    ) -> None:
        images = self._store.images
        rows = images.put_rows(writing.rows, key, held.rows if held else (), hashed)
        record = ImageRecord(
            key=key,
            image_url=canonical_url(visit.image_url),
            document_id=visit.document_id or (held.document_id if held else None),
            sha256=hashed.sha256,
            mime=hashed.mime,
            width=hashed.width,
            height=hashed.height,
            quality=hashed.quality,
            hasher_version=HASHER_VERSION,
            rows=rows,
            labels=hashed.labels,
            etag=visit.etag,
            last_modified=visit.last_modified,
            hashed_at=_not_after(writing.now, visit.known_since),
            seen_at=_not_after(writing.now, visit.seen_at),
            searched_to=searched.version if searched else 0,
            traits=hashed.traits,
            md5=hashed.md5,
            provenance=hashed.provenance,
            is_unfinished=hashed.is_unfinished,
        )
        images.put(writing.txn, record)
        images.files.replace(writing.txn, key, held=held.md5 if held else b"", md5=hashed.md5)

    def _refresh(
        self,
        writing: _Writing,
        visit: ImageVisit,
        held: ImageRecord,
        searched: DeepResult | None,
    ) -> ImageRecord:
        record = replace(
            held,
            document_id=visit.document_id or held.document_id,
            etag=visit.etag or held.etag,
            last_modified=visit.last_modified or held.last_modified,
            seen_at=max(held.seen_at, _not_after(writing.now, visit.seen_at)),
            searched_to=searched.version if searched else held.searched_to,
            traits=held.traits or (visit.hashed.traits if visit.hashed else ()),
            provenance=visit.hashed.provenance if visit.hashed else held.provenance,
            is_unfinished=held.is_unfinished and visit.hashed is None,
        )
        self._store.images.put(writing.txn, record)
        return record

    def _store_matches(
        self,
        writing: _Writing,
        key: bytes,
        hashed: HashedImage,
        nearest: dict[bytes, NearestVariant],
        searched: DeepResult | None,
    ) -> tuple[Match, ...]:
        """Bring what the image matches up to date with its new bytes."""
        matches = self._deep_matches(writing, key, hashed, searched, but=nearest)
        signals = signals_of(self._store, writing.txn, hashed.md5)
        matches += file_matches(signals, content_sha256=hashed.sha256, image_key=key)
        for signal_key, variant in nearest.items():
            signal = self._store.signals.find(writing.txn, signal_key)
            if signal is None:
                continue
            matches.append(
                match_of(
                    variant,
                    signal_key=signal_key,
                    feed=signal.feed,
                    threshold_bits=self._lookup.threshold_bits,
                    label=hashed.label(variant.row),
                    content_sha256=hashed.sha256,
                    image_key=key,
                )
            )
        replace_matches(self._store, writing.txn, key, matches, now=writing.now)
        return nearest_first(matches)

    def _deep_matches(
        self,
        writing: _Writing,
        key: bytes,
        hashed: HashedImage,
        searched: DeepResult | None,
        but: Collection[bytes] = (),
    ) -> list[Match]:
        """Name what the deep tier found, as far as the signals are still live."""
        matches = []
        for signal_key, variant in searched.found.items() if searched else ():
            signal = self._store.signals.find(writing.txn, signal_key)
            if searched and signal is not None and signal_key not in but:
                match = deep_match_of(
                    variant,
                    signal_key=signal_key,
                    feed=signal.feed,
                    threshold_bits=searched.threshold_bits,
                    quality=hashed.quality,
                    content_sha256=hashed.sha256,
                    image_key=key,
                )
                matches.append(match)
        return matches

    def _note_places(
        self, writing: _Writing, key: bytes, visit: ImageVisit, *, renamed: bool = False
    ) -> None:
        """Note pages and other URLs; where an image that matches changes its names, log it."""
        images = self._store.images
        for page_url in visit.page_urls:
            images.add_page(writing.txn, key, page_url)
        note_marks(self._store, writing.txn, key, visit, now=writing.now)
        affected = set(images.drop_alias(writing.txn, key))  # it is an image of its own now
        if renamed:
            affected.add(key)
        for alias in (*visit.aliases, *self._forget_moved(writing, key, visit.aliases)):
            affected.update(images.add_alias(writing.txn, key, alias))
        for image_key in sorted(affected):
            matches = nearest_first(images.matches(writing.txn, image_key).values())
            for match in matches[:1]:
                event = MatchEvent(kind=MatchEventKind.ALIAS, match=match, at=writing.now)
                images.log.append(writing.txn, event)

    def _forget_moved(self, writing: _Writing, key: bytes, aliases: Sequence[str]) -> Iterator[str]:
        """Forget images whose own URL now leads to another; yield what led to them before.

        The bytes that were there cannot be had under that URL any more, so nothing may
        rest on them.
        """
        images = self._store.images
        for alias in aliases:
            alias_key = url_key(canonical_url(alias))
            held = None if alias_key == key else images.find(writing.txn, alias_key)
            if held is not None:
                replace_matches(self._store, writing.txn, alias_key, [], now=writing.now)
                images.drop(writing.txn, writing.rows, held)
                yield from images.aliases(writing.txn, alias_key)


def same_content(held: ImageRecord, hashed: HashedImage) -> bool:
    """Say whether bytes are those that are stored, hashed by today's hasher, and not better now.

    Of a video that was stored by its MD5 alone, or without, more may be known now; so it may of
    whatever took too long, or met a crash, the last time.
    """
    return (
        held.sha256 == hashed.sha256
        and held.hasher_version == HASHER_VERSION
        and not (hashed.md5 and not held.md5)
        and not (hashed.rows and not held.rows)
        and not (held.is_unfinished and len(hashed.rows) > len(held.rows))
    )


def _is_older(visit: ImageVisit, hashed: HashedImage, held: ImageRecord) -> bool:
    """Say whether a visit found other bytes than those that are stored, and before them."""
    return (
        visit.seen_at is not None
        and visit.seen_at < held.seen_at
        and hashed.sha256 != held.sha256
        and not held.is_brought
    )


def _not_after(now: datetime, then: datetime | None) -> datetime:
    """Return a time that somebody else noted, or now: nothing was seen in the future."""
    return now if then is None else min(now, then)


def nearest_first(matches: Iterable[Match]) -> tuple[Match, ...]:
    """Sort matches by distance, then by key so that the order is stable."""
    return tuple(sorted(matches, key=lambda match: (match.distance_bits, match.signal_key)))


def replace_matches(
    store: Store,
    txn: lmdb.Transaction,
    image_key: bytes,
    matches: Sequence[Match],
    *,
    now: datetime,
) -> int:
    """Make ``matches`` all that an image matches; log what is new, changed or ended.

    Returns:
        How many were logged as new or changed.
    """
    held = store.images.matches(txn, image_key)
    logged = 0
    for match in matches:
        if held.pop(match.signal_key, None) == match:
            continue
        store.images.put_match(txn, match)
        store.images.log.append(txn, MatchEvent(kind=MatchEventKind.MATCHED, match=match, at=now))
        logged += 1
    for ended in held.values():
        store.images.drop_match(txn, ended)
        store.images.log.append(txn, MatchEvent(kind=MatchEventKind.ENDED, match=ended, at=now))
    return logged

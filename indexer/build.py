"""Settings to working objects: ``Indexer``, what indexing jobs hold in their hands."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from os import PathLike
from typing import Self

import numpy as np
import structlog

from indexer.ann import ExactIndexes
from indexer.compaction import Compaction, CompactionReport
from indexer.deep import DeepSearch
from indexer.errors import IndexDamagedError, SettingsError, StoreError
from indexer.evidence import Evidence, EvidenceReader
from indexer.exact import file_matches, signals_of
from indexer.feed import StopNciiFeed, open_feed
from indexer.hashing import VideoFile, hash_bytes, hash_video
from indexer.hashing.corroboration import CorroboratingHash
from indexer.lookup import Lookup, deep_match_of, match_of
from indexer.match import checked_digest, checked_md5
from indexer.model import (
    DIGEST_BYTES,
    HASHER_VERSION,
    HashedImage,
    ImageRecord,
    ImageVisit,
    Match,
    PageMark,
    VisitResult,
)
from indexer.page_marks import end_marks
from indexer.ports import Digests, FeedbackReceiver, HashReceiver
from indexer.scan import Scanner
from indexer.settings import (
    FAST,
    STOPNCII,
    TIERS,
    FeedSettings,
    IndexerSettings,
    settings_of,
)
from indexer.store import Store
from indexer.stored import StoredIndexes
from indexer.sync import FeedSync
from indexer.tier import Tier
from indexer.url import canonical_url, url_key
from indexer.view import FoundSignals, SignalViews
from indexer.visits import Beside, DeepResult, VisitRecorder, nearest_first

_log = structlog.get_logger()


def utc_now() -> datetime:
    """Return the time; the one clock of the indexer, replaceable in ``Indexer``."""
    return datetime.now(UTC)


class Indexer:
    """Hashes images, keeps what is known of them, and finds which signals they match.

    Cheap to open, safe in many processes at once and from several threads; to be
    opened after a fork, never before.
    """

    def __init__(
        self, settings: IndexerSettings, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """Open the store that ``settings`` name, creating what is missing.

        Raises:
            StoreError: the store cannot be opened.
        """
        self.settings = settings
        self.clock = clock
        self.store = Store(settings.data_dir, settings.store)
        index_dir = settings.data_dir / "index"
        purge_after = timedelta(seconds=settings.store.purge_after_s)
        self._views = SignalViews(self.store, ExactIndexes(), index_dir, purge_after=purge_after)
        matching = settings.matching
        self._lookup = Lookup(
            self._views,
            threshold_bits=matching.threshold_bits,
            deep_threshold_bits=matching.deep_threshold_bits,
        )
        search = DeepSearch(
            self.store,
            self._views,
            threshold_bits=matching.deep_threshold_bits,
            budget_s=settings.hashing.deep_budget_ms / 1000,
        )
        self._tier = Tier(
            settings.hashing,
            self._views,
            search,
            threshold_bits=matching.deep_threshold_bits,
        )
        self._visits = VisitRecorder(self.store, self._lookup)
        self._stored = StoredIndexes(
            self.store, ExactIndexes(), index_dir, most_bytes=settings.scan.index_bytes
        )
        self.scanner = Scanner(self.store, self._lookup, self._stored, settings.scan)
        self._evidence = EvidenceReader(self.store, clock)
        self._compaction = Compaction(
            self.store, self._views, self._stored, purge_after=purge_after
        )

    @classmethod
    def open(
        cls,
        config: str | PathLike[str] | None = None,
        *,
        data_dir: str | PathLike[str] | None = None,
    ) -> Self:
        """Open the indexer of a configuration file.

        Args:
            config: path of a ``delist.toml``; None for the built-in defaults.
            data_dir: takes the place of the file's ``data_dir``.

        Raises:
            SettingsError: the file cannot be read, or a value is wrong.
            StoreError: the store cannot be opened.
        """
        return cls(settings_of(config, data_dir=data_dir))

    def hash_image(self, data: bytes, *, tier: str | None = None) -> HashedImage:
        """Hash the encoded bytes of an image in all variants; nothing is stored.

        A video is hashed too: the MD5 of its bytes, and its frames where they can be decoded.

        Args:
            data: as it came from the web.
            tier: "fast" or "deep"; None for the configuration's. A deep image carries what
                edits are guessed from, in memory, until it has been matched.

        Raises:
            ImageRefusedError: the bytes were not hashed; ``code`` says why.
            SettingsError: no such tier.
        """
        tier = tier or self.settings.hashing.tier
        if tier not in TIERS:
            raise SettingsError(f'no tier is called "{tier}"; there are {", ".join(TIERS)}')
        return hash_bytes(data, self.settings.hashing, deep=tier != FAST)

    def hash_video(self, video: VideoFile) -> HashedImage:
        """Hash a video that was digested as it came in: its frames too, if its bytes are held.

        Nothing is stored. It is never refused: its MD5 is known; ``incomplete`` says why there
        are no frames.
        """
        limits = self.settings.hashing
        return hash_video(video, limits, deep=limits.tier != FAST)

    def match(self, hashed: HashedImage) -> list[Match]:
        """Find the signals that an image matches, the nearest first; nothing is stored.

        One that was hashed for the deep tier is searched deeply.
        """
        deep = self._tier.find(hashed)
        view = self._views.newest()
        nearest = self._lookup.nearest(view, [hashed.rows])[0]
        with self.store.read() as txn:
            matches = [
                match_of(
                    variant,
                    signal_key=key,
                    feed=signal.feed,
                    threshold_bits=self._lookup.threshold_bits,
                    label=hashed.label(variant.row),
                    content_sha256=hashed.sha256,
                )
                for key, variant in nearest.items()
                if (signal := self.store.signals.find(txn, key)) is not None
            ]
            matches += [
                deep_match_of(
                    variant,
                    signal_key=key,
                    feed=signal.feed,
                    threshold_bits=self._lookup.deep_threshold_bits,
                    quality=hashed.quality,
                    content_sha256=hashed.sha256,
                )
                for key, variant in deep.items()
                if key not in nearest and (signal := self.store.signals.find(txn, key)) is not None
            ]
            signals = signals_of(self.store, txn, hashed.md5)
            matches += file_matches(signals, content_sha256=hashed.sha256)
        return list(nearest_first(matches))

    def match_digests(self, digests: Digests) -> FoundSignals:
        """Look digests up, uint8[n, 32]; one entry a match, by row and then by distance.

        Returns:
            Rows in ``digests`` (int64[m]), keys of the signals (uint8[m, 16]) and distances
            in bits (int32[m]).

        Raises:
            InvalidDigestError: not uint8[n, 32].
        """
        view = self._views.newest()
        return self._live(view.find(digests, threshold_bits=self._lookup.threshold_bits))

    def near_digests(self, digests: Digests, *, threshold_bits: int) -> FoundSignals:
        """Find signals within any threshold of digests, uint8[n, 32]: probable beyond 31 bits.

        For the guesses of the deep tier, all of many images in one batch. What it returns is
        right, each pair once with its exact distance, but beyond 31 bits a pair may be missed:
        ``near_probability`` says how seldom. No decision rests on it alone.

        Args:
            digests: what to look up.
            threshold_bits: the largest distance, in bits, inclusive, 0-80.

        Returns:
            As ``match_digests``: live signals only, by row and then by distance.

        Raises:
            InvalidDigestError: not uint8[n, 32].
            ValueError: a threshold below 0 or above 80.
        """
        view = self._views.newest()
        return self._live(view.find_probable(digests, threshold_bits=threshold_bits))

    def near_probability(self, distance_bits: int) -> float:
        """Return the least chance that ``near_digests`` meets a signal at a distance, 0-80 bits.

        1.0 up to 31 bits; see ``AnnIndex.meeting_probability``.

        Raises:
            ValueError: a distance below 0 or above 80.
        """
        return self._views.newest().meeting_probability(distance_bits)

    def _live(self, found: FoundSignals) -> FoundSignals:
        """Keep what is found of signals that were not withdrawn since."""
        rows, keys, distances = found
        names = [key.tobytes() for key in keys]
        with self.store.read() as txn:
            held = {name for name in set(names) if self.store.signals.find(txn, name) is not None}
        live = np.fromiter((name in held for name in names), np.bool_, len(names))
        return rows[live], keys[live], distances[live]

    def match_digest_list(self, digests: Sequence[bytes]) -> list[list[Match]]:
        """Look 32-byte digests up; for each the signals that match, the nearest first.

        Raises:
            InvalidDigestError: a digest has not 32 bytes.
        """
        queries = np.frombuffer(b"".join(map(checked_digest, digests)), np.uint8)
        found: list[list[Match]] = [[] for _ in digests]
        hits = zip(*self.match_digests(queries.reshape(-1, DIGEST_BYTES)), strict=True)
        with self.store.read() as txn:
            for row, signal_key, distance in hits:
                signal = self.store.signals.find(txn, signal_key.tobytes())
                if signal is not None:
                    match = Match(
                        signal_key=signal.key,
                        feed=signal.feed,
                        distance_bits=int(distance),
                        threshold_bits=self._lookup.threshold_bits,
                    )
                    found[int(row)].append(match)
        return found

    def match_md5s(self, md5s: Sequence[bytes]) -> list[list[Match]]:
        """Look MD5s of whole files up, 16 bytes each; for each the signals that name the file.

        Raises:
            InvalidDigestError: an MD5 has not 16 bytes.
        """
        with self.store.read() as txn:
            named = [signals_of(self.store, txn, checked_md5(md5)) for md5 in md5s]
        return [file_matches(signals) for signals in named]

    def index_image(
        self,
        data: bytes,
        *,
        image_url: str,
        page_urls: Sequence[str] = (),
        document_id: str | None = None,
        page_context: Collection[PageMark | str] | None = None,
    ) -> list[Match]:
        """Hash an image, store and match it, and log what it matches; durable on return.

        Args:
            page_context: what its pages say of themselves and of the image, as ``PageMark`` or
                its words; None leaves what is stored, empty ends it.

        Raises:
            ImageRefusedError: the bytes were not hashed; nothing was stored.
            InvalidUrlError: a URL is not an absolute http(s) URL; nothing was stored.
            ValueError: a word that is not a ``PageMark``; nothing was stored.
        """
        marks = None if page_context is None else frozenset(map(PageMark, page_context))
        visit = ImageVisit(
            image_url=image_url,
            page_urls=tuple(page_urls),
            document_id=document_id,
            hashed=self.hash_image(data),
            page_marks=marks,
        )
        return list(self.record_visits([visit])[0].matches)

    def record_visits(self, visits: Sequence[ImageVisit]) -> list[VisitResult]:
        """Record a batch of visits in one durable transaction; see ``VisitRecorder.record``."""
        return self._visits.record(visits, now=self.clock(), deep=self._tier.results(visits))

    def record_searched(
        self,
        visits: Sequence[ImageVisit],
        searched: Sequence[DeepResult | None],
        *,
        beside: Beside,
    ) -> list[VisitResult]:
        """Record visits that another process has searched; see ``VisitRecorder.record``."""
        return self._visits.record(visits, now=self.clock(), deep=searched, beside=beside)

    def search(self, visit: ImageVisit) -> DeepResult | None:
        """Search the image of a visit deeply, if it was hashed for that and is picked."""
        return self._tier.results([visit])[0]

    def record_page(self, page_url: str, image_urls: Collection[str]) -> int:
        """End what a page said of images that it no longer names; see ``end_marks``.

        Raises:
            InvalidUrlError: a URL is not an absolute http(s) URL; nothing was written.
        """
        return self.record_page_keys(page_url, {url_key(canonical_url(url)) for url in image_urls})

    def record_page_keys(self, page_url: str, image_keys: Collection[bytes]) -> int:
        """Do what ``record_page`` does, given ``url_key`` of each image."""
        return end_marks(self.store, page_url, image_keys, now=self.clock())

    def is_current(self, image_url: str, found: bytes | VideoFile | HashedImage) -> bool:
        """Say whether bytes are those that are stored, and there is nothing to hash anew.

        Args:
            image_url: where they were found.
            found: the bytes, or what was made of them.

        Raises:
            InvalidUrlError: not an absolute http(s) URL.
        """
        record = self.find_image(image_url)
        return (
            record is not None
            # not that of an image that it redirected to before
            and record.key == url_key(canonical_url(image_url))
            and record.hasher_version == HASHER_VERSION
            and not record.lacks_md5
            and self.is_searched(record)
            and record.sha256
            == (sha256(found).digest() if isinstance(found, bytes) else found.sha256)
        )

    def is_searched(self, record: ImageRecord) -> bool:
        """Say whether a stored image needs no pixels to meet the signals that are known now."""
        return self._tier.is_searched(record)

    def find_image(self, image_url: str) -> ImageRecord | None:
        """Find what is stored of an image by its URL, or by a URL that redirects to it.

        Raises:
            InvalidUrlError: not an absolute http(s) URL.
        """
        with self.store.read() as txn:
            return self.store.images.find_by_url(txn, image_url)

    def evidence(self, image_key: bytes, signal_key: bytes) -> Evidence:
        """Say what else can be said about a match; see ``EvidenceReader.evidence``.

        Raises:
            StoreError: the store failed.
        """
        return self._evidence.evidence(image_key, signal_key)

    def corroboration(
        self, image_key: bytes, signal_key: bytes, reported: CorroboratingHash
    ) -> float | None:
        """Compare a match with a reporter's second hash; see ``EvidenceReader.corroboration``.

        Raises:
            StoreError: the store failed.
        """
        return self._evidence.corroboration(image_key, signal_key, reported)

    def evidence_session(self) -> EvidenceReader:
        """Make a reader of evidence for one piece of work; see ``EvidenceReader.session``."""
        return self._evidence.session()

    def feed_names(self, names: Sequence[str] = ()) -> list[str]:
        """Check names of feeds; none given means all that are configured.

        Raises:
            SettingsError: a name that is not configured.
        """
        for name in names:
            self._feed_settings(name)
        return list(names) or [feed.name for feed in self.settings.feeds]

    def feed_sync(self, name: str) -> FeedSync:
        """Prepare the sync of a feed.

        Raises:
            SettingsError: a name that is not configured.
        """
        settings = self._feed_settings(name)
        return FeedSync(self.store, open_feed(settings), overlap_s=settings.overlap_s)

    def publish_index(self) -> bool:
        """Write the index as a file that all processes share, if there is reason to.

        Without it every process builds its own in memory, so a full disk costs speed only.
        """
        try:
            return self._views.publish_if_due(now=self.clock())
        except OSError as error:
            _log.warning("index.not_published", error=type(error).__name__, errno=error.errno)
            return False

    def keep_indexes(self, *, stopped: Callable[[], bool] = lambda: False) -> int:
        """Build indexes of stored hashes where they would have paid; returns how many.

        A full disk costs speed only: re-scans stream what has no index.
        """
        try:
            return self._stored.build_due(now=self.clock(), stopped=stopped)
        except OSError as error:
            _log.warning("stored_index.not_built", error=type(error).__name__, errno=error.errno)
            return 0

    def compact(
        self, *, at_once: bool = True, stopped: Callable[[], bool] = lambda: False
    ) -> CompactionReport:
        """Close gaps in the columns and overwrite what has gone; see ``Compaction.run``.

        Raises:
            StoreError: the store failed, or no new index could be written; what was done
                before stays done, and the next run goes on.
        """
        try:
            return self._compaction.run(now=self.clock(), at_once=at_once, stopped=stopped)
        except OSError as error:
            raise StoreError(
                f"cannot replace the index that holds withdrawn signals: {error.strerror}"
            ) from None

    def verify_index(self) -> int | None:
        """Check all indexes whole; returns the version of the signals that are published.

        Raises:
            IndexDamagedError: a byte is not what was written, or the file is gone.
        """
        try:
            self._stored.verify()
            return self._views.verify()
        except OSError as error:
            raise IndexDamagedError(f"cannot read the index: {error.strerror}") from None

    def feedback_receivers(self) -> dict[str, FeedbackReceiver]:
        """Map the names of the feeds that take feedback to where it is sent.

        Sending tries once: what is not delivered waits in its sender's outbox.
        """
        return dict(self._stopncii_feeds())

    def hash_receivers(self) -> dict[str, HashReceiver]:
        """Map the names of the feeds that take hashes of ours to where they are sent, as above."""
        return dict(self._stopncii_feeds())

    def _stopncii_feeds(self) -> Iterator[tuple[str, StopNciiFeed]]:
        for feed in self.settings.feeds:
            if feed.type == STOPNCII:
                yield feed.name, StopNciiFeed(feed, tries=1)

    def _feed_settings(self, name: str) -> FeedSettings:
        for feed in self.settings.feeds:
            if feed.name == name:
                return feed
        configured = ", ".join(sorted(feed.name for feed in self.settings.feeds)) or "none"
        raise SettingsError(f'no feed is called "{name}"; configured: {configured}')

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""Made-up digests, records and hashed images, and feeds that do what a test tells them."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from delist.ops.standin.state import BadRequestError, FeedState
from indexer.ann import ExactIndexes, FlatIndex
from indexer.errors import PageTokenExpiredError
from indexer.feed.records import read_records, read_seconds
from indexer.lookup import Lookup
from indexer.model import (
    DIGEST_BYTES,
    ROW_BYTES,
    Background,
    CaseStatus,
    FeedPage,
    FeedRecord,
    HashedImage,
    ImageVisit,
    Match,
    MatchEvent,
    RefusedRecord,
    Signal,
    SignalEvent,
    SignalEventKind,
)
from indexer.ports import AnnIndex, Digests
from indexer.settings import StoreSettings
from indexer.store import Store
from indexer.store.sealed import SealedRecords
from indexer.sync import FeedSync, SyncReport
from indexer.view import SignalViews

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
SETTINGS = StoreSettings(map_size_bytes=64 * 1024 * 1024, max_readers=64)
Dump = dict[str, list[tuple[bytes, bytes]]]


def make_digest(seed: int) -> bytes:
    """Make a digest with 128 of 256 bits set; two of them are some 128 bits apart."""
    drawn = random.Random(seed)
    while (bits := drawn.getrandbits(256)).bit_count() != 128:
        pass
    return bits.to_bytes(DIGEST_BYTES)


def flip(digest: bytes, bits: int) -> bytes:
    """Change that many bits, the lowest first."""
    return (int.from_bytes(digest) ^ ((1 << bits) - 1)).to_bytes(DIGEST_BYTES)


def make_record(value: bytes | str, **changes: Any) -> FeedRecord:  # noqa: ANN401 - as the class
    """Make a live PDQ entry without cases."""
    text = value if isinstance(value, str) else value.hex()
    fields: dict[str, Any] = {"kind": "ImagePDQ", "value": text, "status": "Received"}
    return FeedRecord(**{**fields, "modified_at": 1000, **changes})


def make_cases(**status: str) -> tuple[CaseStatus, ...]:
    return tuple(CaseStatus(case_ref=ref, status=word) for ref, word in status.items())


def make_image(
    content: int,
    near: Mapping[int, bytes] | None = None,
    *,
    black: Mapping[int, bytes] | None = None,
    quality: int = 80,
) -> HashedImage:
    """Make the hashes of an image without pixels.

    Args:
        content: names the bytes; equal numbers are equal bytes.
        near: digests at positions of the row; all others are far from everything.
        black: the same for a second row, as a transparent image has.
        quality: 0-100.
    """
    rows = [(Background.WHITE, _make_row(content, near or {}))]
    if black is not None:
        rows.append((Background.BLACK, _make_row(content + 500_000, black)))
    return HashedImage(
        rows=tuple(rows),
        quality=quality,
        sha256=content.to_bytes(32),
        size_bytes=1000 + content,
        mime="image/png",
        width=320,
        height=240,
    )


def _make_row(content: int, near: Mapping[int, bytes]) -> bytes:
    row = bytearray(random.Random(content).randbytes(ROW_BYTES))
    for at, digest in near.items():
        row[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES] = digest
    return bytes(row)


def make_visit(url: str, hashed: HashedImage | None, **changes: Any) -> ImageVisit:  # noqa: ANN401 - as the class
    return ImageVisit(image_url=url, hashed=hashed, **changes)


def open_store(folder: Path, settings: StoreSettings = SETTINGS) -> Store:
    return Store(folder, settings)


class InMemory(ExactIndexes):
    """Builds every index with one function; generations are as ever."""

    def __init__(self, make_index: Callable[[Digests], AnnIndex]) -> None:
        self._make_index = make_index

    def build(self, digests: Digests) -> AnnIndex:
        return self._make_index(digests)


def make_lookup(
    store: Store,
    make_index: Callable[[Digests], AnnIndex] = FlatIndex,
    *,
    threshold_bits: int = 31,
    folder: Path = Path("no-generations"),
) -> Lookup:
    views = SignalViews(store, InMemory(make_index), folder)
    return Lookup(views, threshold_bits=threshold_bits)


class FakeFeed:
    """A feed of given pages; a set is all of them.

    Attributes:
        pages: records of each page; may be changed between sets.
        cursor: what every page names as the start of the next set.
        before: taken one a fetch: an error to raise, a function to call, or None.
        asked: (since, token) of each fetch.
    """

    def __init__(
        self,
        *pages: Sequence[FeedRecord | RefusedRecord],
        name: str = "stopncii",
        lists_everything: bool = False,
        cursor: int | Sequence[int | None] | None = None,
    ) -> None:
        self.pages = list(pages)
        self.cursor = cursor
        self.before: list[Exception | Callable[[], object] | None] = []
        self.asked: list[tuple[int, str | None]] = []
        self._name, self._lists_everything = name, lists_everything

    @property
    def name(self) -> str:
        return self._name

    @property
    def lists_everything(self) -> bool:
        return self._lists_everything

    def fetch_page(self, *, since: int, token: str | None) -> FeedPage:
        self.asked.append((since, token))
        action = self.before.pop(0) if self.before else None
        if isinstance(action, Exception):
            raise action
        if action is not None:
            action()
        number = int(token or 0)
        last = number + 1 >= len(self.pages)
        page = self.pages[number] if self.pages else ()
        cursor = self.cursor
        return FeedPage(
            records=tuple(entry for entry in page if isinstance(entry, FeedRecord)),
            refused=tuple(entry for entry in page if isinstance(entry, RefusedRecord)),
            last=last,
            next_token=None if last else str(number + 1),
            cursor=cursor if cursor is None or isinstance(cursor, int) else cursor[number],
        )


class SnapshotFeed:
    """The stand-in's state as a feed, without HTTP: pages, repeats, rewinds, dying tokens."""

    name = "stopncii"
    lists_everything = False

    def __init__(self, state: FeedState, *, page_size: int) -> None:
        self._state, self._page_size = state, page_size
        self.before: list[Exception | None] = []

    def fetch_page(self, *, since: int, token: str | None) -> FeedPage:
        action = self.before.pop(0) if self.before else None
        if action is not None:
            raise action
        try:
            page = self._state.fetch(start=since, page_size=self._page_size, token=token)
        except BadRequestError:
            raise PageTokenExpiredError("expired") from None
        records, refused = read_records(page["hashRecords"])
        more = page["hasMoreRecords"]
        return FeedPage(
            records=records,
            refused=refused,
            last=not more,
            next_token=page["nextPageToken"] if more else None,
            cursor=read_seconds(page["nextSetTimestamp"]),
        )


def sync(store: Store, *pages: Sequence[FeedRecord | RefusedRecord], **changes: Any) -> SyncReport:  # noqa: ANN401 - as FakeFeed
    """Sync a set of pages of a StopNCII-like feed."""
    return FeedSync(store, FakeFeed(*pages, **changes), overlap_s=0).run(now=NOW)


def add_signals(store: Store, digests: Iterable[bytes], *, feed: str = "stopncii") -> None:
    sync(store, [make_record(digest) for digest in digests], name=feed)


def withdraw(store: Store, *digests: bytes, feed: str = "stopncii", at: int = 5000) -> None:
    records = [make_record(value, status="Withdrawn", modified_at=at) for value in digests]
    sync(store, records, name=feed)


def signals(store: Store) -> dict[tuple[str, str, bytes], Signal]:
    """List all live signals by feed, kind and value."""
    with store.read() as txn:
        held = list(store.signals.every(txn))
    return {(signal.feed, signal.kind, signal.digest): signal for signal in held}


def key_of(store: Store, digest: bytes, *, feed: str = "stopncii") -> bytes:
    return store.signals.key(feed=feed, kind="ImagePDQ", value=digest)


def column_bytes(store: Store) -> bytes:
    """Join everything in the live chunks of the signals' hash column."""
    column = store.signals.column
    with store.read() as txn:
        chunks = [column.chunk(txn, number) for number in range(column.chunk_count(txn))]
        return b"".join(chunk.digests.tobytes() + chunk.owners.tobytes() for chunk in chunks)


def matching(store: Store, digest: bytes, *, threshold_bits: int = 31) -> dict[bytes, int]:
    """Look a digest up: keys of the live signals within the threshold, and distances."""
    lookup = make_lookup(store, threshold_bits=threshold_bits)
    row = make_image(0, {0: digest}).rows
    found = lookup.nearest(lookup.views.newest(), [row])[0]
    with store.read() as txn:
        return {
            key: nearest.distance_bits
            for key, nearest in found.items()
            if store.signals.find(txn, key) is not None
        }


def signal_log(store: Store) -> list[SignalEvent]:
    with store.read() as txn:
        return list(store.signals.log.after(txn, 0, limit=1_000_000))


def signal_words(store: Store) -> list[SignalEventKind]:
    return [event.kind for event in signal_log(store)]


def match_log(store: Store, *, after: int = 0) -> list[MatchEvent]:
    with store.read() as txn:
        return list(store.images.log.after(txn, after, limit=1_000_000))


def all_matches(store: Store) -> dict[tuple[bytes, bytes], Match]:
    with store.read() as txn:
        return {
            (image_key, signal_key): match
            for image_key in store.images.matching_keys(txn)
            for signal_key, match in store.images.matches(txn, image_key).items()
        }


def dump(store: Store) -> Dump:
    """Read every database of the store, byte for byte; what is sealed, opened.

    Without what is never the same twice: the keys of sealed records, and the stamps, which
    count transactions.
    """
    environment = store._environment
    with store.read() as txn, txn.cursor() as cursor:
        names = [bytes(name) for name in cursor.iternext(values=False)]
    names = [name for name in names if not name.endswith((b".stamps", b".keys"))]
    found: Dump = {}
    for name in names:
        database = environment.database(name)
        with store.read() as txn, txn.cursor(db=database) as cursor:
            found[name.decode()] = [(bytes(key), bytes(value)) for key, value in cursor]
    records: list[SealedRecords[Any]] = [store.signals._records, store.signals._quarantine]
    for name, sealed in zip(("signals", "quarantine"), records, strict=True):
        with store.read() as txn:
            found[name] = [(key, sealed._codec.encode(record)) for key, record in sealed.every(txn)]
    return found

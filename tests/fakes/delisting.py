"""Real stores with a clock that a test sets, a feed that it writes, and images without pixels.

An image is a row of sixteen digests. ``row_near`` builds one that lies a chosen number of
bits away from chosen signals and far from everything else, so that a test says what
matches without drawing a picture.
"""

import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Self

from delist.build import Delist
from delist.feedback import DeliveryReport, deliver, submitting
from delist.intake import IntakeReport
from delist.model import Case, CaseState, SuppressionRecord, Verdict
from delist.review import Ruling
from delist.serving import SuppressionFilter
from delist.settings import DatabaseSettings, DelistSettings
from delist.store import cases
from indexer.errors import FeedError, FeedProtocolError
from indexer.model import (
    DIGESTS_PER_ROW,
    HASHERS,
    VARIANTS,
    Background,
    CaseStatus,
    FeedPage,
    FeedRecord,
    HashedImage,
    Hasher,
    ImageVisit,
    PartnerFeedback,
    Variant,
    VisitResult,
)
from indexer.settings import IndexerSettings
from indexer.sync import FeedSync, SyncReport

FEED = "exchange"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FAR = 128


class Clock:
    """A clock that moves when it is told to, and by a second whenever it is read."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


def digest_of(name: object) -> bytes:
    """Make a digest with 128 bits set; digests of different names lie about 128 bits apart."""
    drawn = random.Random(f"digest {name}")
    while (bits := drawn.getrandbits(256)).bit_count() != 128:
        pass
    return bits.to_bytes(32)


def flipped(digest: bytes, bits: int) -> bytes:
    """Flip the first bits of a digest."""
    return (int.from_bytes(digest) ^ ((1 << bits) - 1)).to_bytes(32)


def row_near(
    near: Mapping[bytes, int],
    *,
    name: object = "",
    variant: Variant = Variant.UPRIGHT,
    hasher: Hasher = Hasher.CPP,
) -> bytes:
    """Build the sixteen digests of an image that lies so many bits from each signal.

    The first signal is met by ``hasher`` and ``variant``, each further one by the next place.
    """
    row = [digest_of(("filler", name, position)) for position in range(DIGESTS_PER_ROW)]
    first = HASHERS.index(hasher) * len(VARIANTS) + VARIANTS.index(variant)
    for step, (signal, bits) in enumerate(near.items()):
        row[(first + step) % DIGESTS_PER_ROW] = flipped(signal, bits)
    return b"".join(row)


def image_near(
    near: Mapping[bytes, int] | None = None,
    *,
    name: object = "",
    quality: int = 100,
    variant: Variant = Variant.UPRIGHT,
    hasher: Hasher = Hasher.CPP,
    background: Background = Background.WHITE,
) -> HashedImage:
    """Make the hashes of an image; equal arguments stand for equal bytes."""
    wanted = dict(near or {})
    row = row_near(wanted, name=name, variant=variant, hasher=hasher)
    rows: tuple[tuple[Background, bytes], ...] = ((background, row),)
    if background is Background.BLACK:
        rows = ((Background.WHITE, row_near({}, name=("white", name))), *rows)
    content = repr((sorted(wanted.items()), name, quality, variant, hasher, background))
    return HashedImage(
        rows=rows,
        quality=quality,
        sha256=sha256(content.encode()).digest(),
        size_bytes=len(content),
        mime="image/png",
        width=320,
        height=240,
    )


@dataclass
class ListFeed:
    """A feed in memory: one page with the newest snapshot of every record."""

    name: str = FEED
    lists_everything: bool = False
    records: dict[str, FeedRecord] = field(default_factory=dict)
    changes: int = 0

    def put(
        self,
        digest: bytes,
        *,
        status: str = "Received",
        cases: Mapping[str, str] | None = None,
        kind: str = "ImagePDQ",
        blocked_by: Sequence[str] = (),
        not_blocked_by: Sequence[str] = (),
    ) -> None:
        """Offer a new snapshot of a record, later than every one before."""
        self.changes += 1
        self.records[f"{kind} {digest.hex()}"] = FeedRecord(
            kind=kind,
            value=digest.hex(),
            status=status,
            cases=tuple(CaseStatus(case_ref=r, status=s) for r, s in (cases or {}).items()),
            modified_at=self.changes,
            feedback=tuple(
                PartnerFeedback(source=name, value=word)
                for word, names in (("Blocked", blocked_by), ("NotBlocked", not_blocked_by))
                for name in names
            ),
        )

    def fetch_page(self, *, since: int, token: str | None) -> FeedPage:
        del since, token
        return FeedPage(records=tuple(self.records.values()), last=True, cursor=None)


@dataclass
class Listener:
    """A feed that takes feedback and hashes, in memory; ``error`` is raised instead.

    ``bad`` digests are refused with all that come with them, as StopNCII would.
    """

    words: list[tuple[str, str]] = field(default_factory=list)
    hashes: list[tuple[str, str]] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)
    error: FeedError | None = None
    calls: int = 0

    def send_feedback(self, feedback: Sequence[tuple[str, str]]) -> None:
        self.calls += 1
        self._may_fail([digest for digest, _ in feedback])
        self.words.extend(feedback)

    def submit_hashes(self, digests: Sequence[str], *, word: str, at: datetime) -> None:
        del at
        self.calls += 1
        self._may_fail(digests)
        self.hashes.extend((digest, word) for digest in digests)

    def _may_fail(self, digests: Sequence[str]) -> None:
        if self.error is not None:
            raise self.error
        if not self.bad.isdisjoint(digests):
            raise FeedProtocolError("exchange: answered 400")


@cache
def _new_stores() -> tempfile.TemporaryDirectory[str]:
    """Create stores once in a process; migrations take a while."""
    folder = tempfile.TemporaryDirectory()
    with Delist(DelistSettings(indexer=IndexerSettings(data_dir=Path(folder.name)))) as delist:
        delist.create()
    return folder


class World:
    """Everything in one data directory, cases perhaps in another database."""

    def __init__(
        self,
        data_dir: Path,
        *,
        policy_file: Path | None = None,
        database: DatabaseSettings = DatabaseSettings(),
    ) -> None:
        if not data_dir.exists():
            others = shutil.ignore_patterns("delist.*") if database != DatabaseSettings() else None
            shutil.copytree(_new_stores().name, data_dir, ignore=others)
        self.clock = Clock()
        self.feed = ListFeed()
        self.listener = Listener()
        settings = DelistSettings(
            indexer=IndexerSettings(data_dir=data_dir), database=database, policy_file=policy_file
        )
        self.delist = Delist(settings, clock=self.clock)
        self.delist.create()
        self._results: SuppressionFilter | None = None

    def write_configuration(self) -> Path:
        """Write a configuration file that opens the same stores."""
        settings = self.delist.settings
        path = settings.indexer.data_dir / "delist.toml"
        path.write_text(f'data_dir = "."\n[database]\nurl = "{settings.database.url}"\n')
        return path

    @property
    def results(self) -> SuppressionFilter:
        """One filter for the whole test, as a result page holds it."""
        if self._results is None:
            self._results = self.delist.suppression_filter()
        return self._results

    def offer(self, *digests: bytes, **record: object) -> SyncReport:
        """Put records into the feed, and sync."""
        for digest in digests:
            self.feed.put(digest, **record)  # type: ignore[arg-type]
        return self.sync()

    def withdraw(self, *digests: bytes) -> SyncReport:
        """Withdraw records in the feed, and sync."""
        return self.offer(*digests, status="Withdrawn")

    def sync(self) -> SyncReport:
        feed_sync = FeedSync(self.delist.indexer.store, self.feed, overlap_s=0)
        return feed_sync.run(now=self.clock())

    def visit(
        self,
        url: str,
        hashed: HashedImage | None,
        *,
        document_id: str | None = None,
        **seen: object,
    ) -> VisitResult:
        visit = ImageVisit(image_url=url, hashed=hashed, document_id=document_id, **seen)  # type: ignore[arg-type]
        return self.delist.indexer.record_visits([visit])[0]

    def visit_all(self, images: Mapping[str, HashedImage]) -> None:
        """Meet many images in one batch."""
        visits = [ImageVisit(image_url=url, hashed=hashed) for url, hashed in images.items()]
        self.delist.indexer.record_visits(visits)

    def scan(self) -> None:
        self.delist.scan_delta()

    def take_in(self) -> IntakeReport:
        return self.delist.take_in()

    def settle(self) -> IntakeReport:
        """Bring everything in line: re-scan for new signals, then intake."""
        self.scan()
        return self.take_in()

    def decide(self, case: Case | str, verdict: Verdict) -> Case:
        case_id = case if isinstance(case, str) else case.id
        return self.delist.decide(
            case_id, Ruling(verdict=verdict, actor="Robin", reason="looked at it")
        )

    def deliver(self) -> DeliveryReport:
        return deliver(
            self.delist.database,
            self.delist.indexer.store,
            {self.feed.name: self.listener},
            now=self.clock(),
        )

    def submit(self) -> DeliveryReport:
        indexer = self.delist.indexer
        return submitting.deliver(
            self.delist.database,
            indexer.store,
            {self.feed.name: self.listener},
            indexer.match_digest_list,
            now=self.clock(),
        )

    def cases(self) -> list[Case]:
        return list(self.delist.cases(awaiting_person=False))

    def case_of(self, url: str) -> Case:
        record = self.delist.indexer.find_image(url)
        assert record is not None
        with self.delist.database.read() as connection:
            case = cases.find_by_image(connection, record.key.hex())
        assert case is not None
        return case

    def state_of(self, url: str) -> CaseState:
        return self.case_of(url).state

    def ledger(self) -> list[SuppressionRecord]:
        return list(self.delist.records_after(0))

    def close(self) -> None:
        self.delist.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

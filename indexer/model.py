"""The records of the indexer. Frozen, slotted, keyword-only; each holds the key of the one before.

Digests, URLs and case references never show in a ``repr``: whoever logs a
record by accident leaks nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from indexer.errors import Refusal

SINCE = "since"
"""Key of a field's metadata: the version of its record that has it first."""


def since(version: int, default: Any, *, private: bool = False) -> Any:  # noqa: ANN401 - like dataclasses.field
    """Declare a field that stored records before ``version`` lack; ``default`` is what they had.

    A ``private`` one does not show in a ``repr``.
    """
    return field(default=default, repr=not private, metadata={SINCE: version})


DIGEST_BYTES = 32
"""Bytes of a PDQ digest: 256 bits, most significant first, as the 64 hex digits read."""

DIGEST_BITS = 8 * DIGEST_BYTES


class HashKind(StrEnum):
    """Kinds of hash that are matched."""

    PDQ = "pdq"
    VIDEO_MD5 = "video_md5"
    """Of the bytes of a whole file, which match or do not (docs/adr/0020)."""


class Hasher(StrEnum):
    """How a hash was made: the feed's two ways of hashing pictures (docs/adr/0002), and MD5."""

    CPP = "cpp"
    WEB = "web"
    MD5 = "md5"
    """Of the bytes of a whole file; no picture is looked at (docs/adr/0020)."""


class Variant(StrEnum):
    """What was done to the pixels before hashing: the eight symmetries of a rectangle.

    Turns are counter-clockwise. ``transpose`` swaps rows and columns,
    ``transverse`` does so along the other diagonal.
    """

    UPRIGHT = "upright"
    MIRROR = "mirror"
    FLIP = "flip"
    TURN_180 = "turn180"
    TRANSPOSE = "transpose"
    TURN_90 = "turn90"
    TURN_270 = "turn270"
    TRANSVERSE = "transverse"


class Background(StrEnum):
    """What a transparent image was flattened on. Opaque images are ``white``."""

    WHITE = "white"
    BLACK = "black"


HASHERS = (Hasher.CPP, Hasher.WEB)
"""Those of pictures, in the order in which a row holds their digests."""

VARIANTS = tuple(Variant)
DIGESTS_PER_ROW = len(HASHERS) * len(VARIANTS)
"""Digests of one image on one background: position = hasher * 8 + variant."""

ROW_BYTES = DIGESTS_PER_ROW * DIGEST_BYTES

HASHER_VERSION = 2
"""Raised whenever the same bytes would give other digests; a recrawl then re-hashes."""


MD5_BYTES = 16

FILE_VARIANT = "file"
"""The variant of a hash of a whole file: nothing was done to its bytes."""

PARTIAL = "partial"
"""What the name of a variant ends in where a part of the picture was missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLabel:
    """What a hash row of an image was made of, beside the background (docs/adr/0015).

    Attributes:
        frame: number of the frame in its animation; 0 is the first, and the only one of
            a still image.
        quality: of the upright *cpp* hash of this row, 0-100.
        partial: whether the bytes ended before the picture did, so that a part is made up.
    """

    frame: int = 0
    quality: int
    partial: bool = False


def variant_name(
    position: int, background: Background, *, frame: int = 0, partial: bool = False
) -> str:
    """Name the variant at a position (0-15) of a hash row.

    ``mirror``, ``mirror+black``, ``mirror+frame12``, ``mirror+frame12+black``,
    ``mirror+partial``: what is usual (the first frame, on white, whole) is left out.
    """
    parts = [VARIANTS[position % len(VARIANTS)].value]
    if frame:
        parts.append(f"frame{frame}")
    if background is not Background.WHITE:
        parts.append(background.value)
    if partial:
        parts.append(PARTIAL)
    return "+".join(parts)


MOST_VARIANT_CHARS = 64
"""Longest name of a variant: what a case has room for."""


def layer_of(variant: str) -> tuple[int, Background]:
    """Say which frame, and on which background, the name of a variant is of."""
    frame, background = 0, Background.WHITE
    for part in variant.split("+")[1:]:
        number = part.removeprefix("frame")
        if part == Background.BLACK:
            background = Background.BLACK
        elif number != part and number.isdigit():
            frame = int(number)
    return frame, background


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHash:
    """One hash of one image.

    Attributes:
        digest: raw bytes: 32 of PDQ, 16 of MD5.
        quality: PDQ's gradient measure, 0-100. Below 50 the hash says little. 0 for MD5, of
            which it says nothing.
        variant: name of what was done before hashing.
    """

    kind: HashKind
    digest: bytes = field(repr=False)
    quality: int
    hasher: Hasher
    variant: str
    hasher_version: int = HASHER_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedImage:
    """All hashes of one image, without a pixel of it.

    Attributes:
        rows: one entry for each frame and background: 16 digests, ``ROW_BYTES`` bytes,
            in the order of ``HASHERS`` and within it of ``VARIANTS``. None where a video is
            known by its bytes alone.
        quality: of the upright *cpp* hash of the first row, 0-100; 0 without rows.
        labels: one for each row; empty where every row is of the first and whole frame
            and as good as the first.
        sha256: of the encoded bytes; names the content version.
        size_bytes: length of the encoded bytes.
        mime: media type by content, not by header; empty where a digest was brought, and no
            bytes were seen.
        width: pixels, as stored (before EXIF orientation); 0 without rows.
        height: pixels, as stored; 0 without rows.
        incomplete: why not all was hashed that should have been: the rest of a JPEG file
            that was cut off, later frames of an animation, all frames of a video. None where
            nothing is missing.
        md5: of the encoded bytes, 16 bytes, of a video; empty for a picture.
        traits: one for each row: what evidence is made from (``hashing.traits``); empty where
            it was not made.
        provenance: marks of origin in the file, unchecked (``hashing.origin``): ``c2pa``,
            ``iptc:digitalCapture``.
        reduced: for the deep tier, in memory only and never stored: what is left of the pixels
            until the image has been matched (``hashing.guesses.Reduced``), else None.
    """

    rows: tuple[tuple[Background, bytes], ...] = field(repr=False)
    labels: tuple[RowLabel, ...] = ()
    quality: int
    sha256: bytes = field(repr=False)
    size_bytes: int
    mime: str
    width: int
    height: int
    incomplete: Refusal | None = None
    md5: bytes = field(default=b"", repr=False)
    traits: tuple[bytes, ...] = field(default=(), repr=False)
    provenance: tuple[str, ...] = ()
    reduced: Any = field(default=None, repr=False, compare=False)

    def label(self, row: int) -> RowLabel:
        """Say what a row was made of, by its place in ``rows``."""
        return self.labels[row] if self.labels else RowLabel(quality=self.quality)

    @property
    def is_brought(self) -> bool:
        """Whether it is made of a digest that somebody brought, not of bytes."""
        return not self.mime

    @property
    def is_partial(self) -> bool:
        """Whether a part of a picture was missing, so that no machine should act alone."""
        return any(label.partial for label in self.labels)

    @property
    def is_unfinished(self) -> bool:
        """Whether another time more frames may come of the same bytes."""
        return self.incomplete in {Refusal.TIMEOUT, Refusal.DECODER_CRASHED}

    @property
    def hashes(self) -> tuple[ImageHash, ...]:
        """Every hash with its names: 16 for each row, and the MD5 of a video."""
        return tuple(self._iter_hashes())

    def _iter_hashes(self) -> Iterator[ImageHash]:
        for number, (background, row) in enumerate(self.rows):
            label = self.label(number)
            for position in range(DIGESTS_PER_ROW):
                yield ImageHash(
                    kind=HashKind.PDQ,
                    digest=row[position * DIGEST_BYTES : (position + 1) * DIGEST_BYTES],
                    quality=label.quality,
                    hasher=HASHERS[position // len(VARIANTS)],
                    variant=variant_name(
                        position, background, frame=label.frame, partial=label.partial
                    ),
                )
        if self.md5:
            yield ImageHash(
                kind=HashKind.VIDEO_MD5,
                digest=self.md5,
                quality=0,
                hasher=Hasher.MD5,
                variant=FILE_VARIANT,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """What is kept of an indexed image: one URL, one record.

    Attributes:
        key: 16-byte BLAKE2b of the canonical image URL.
        sha256: content version, 32 bytes.
        rows: row numbers in the image hash column.
        labels: as of ``HashedImage``, in the order of ``rows``. Version 1 had none.
        etag: for conditional requests, as the server wrote it.
        hashed_at: when these bytes were hashed first.
        seen_at: last visit.
        searched_to: version of the signals that the deep tier has compared these bytes with;
            0 where it has not.
        traits: as of ``HashedImage``, in the order of ``rows``. Versions before 4 had none.
        md5: as of ``HashedImage``. Versions before 5 had none.
        provenance: as of ``HashedImage``. Versions before 6 had none.
        is_unfinished: as of ``HashedImage``, until they were hashed again and no more came.
            Versions before 7 did not say.
    """

    key: bytes
    image_url: str = field(repr=False)
    document_id: str | None = field(default=None, repr=False)
    sha256: bytes = field(repr=False)
    mime: str
    width: int
    height: int
    quality: int
    hasher_version: int
    rows: tuple[int, ...]
    labels: tuple[RowLabel, ...] = since(2, ())
    etag: str | None = field(default=None, repr=False)
    last_modified: str | None = None
    hashed_at: datetime
    seen_at: datetime
    searched_to: int = since(3, 0)
    traits: tuple[bytes, ...] = since(4, (), private=True)
    md5: bytes = since(5, b"", private=True)
    provenance: tuple[str, ...] = since(6, ())
    is_unfinished: bool = since(7, False)

    @property
    def is_brought(self) -> bool:
        """Whether it is made of a digest that somebody brought, not of bytes."""
        return not self.mime

    @property
    def lacks_md5(self) -> bool:
        """Whether it is a video whose bytes were not seen since there are MD5s of videos."""
        return self.mime.startswith("video/") and not self.md5

    def label(self, row: int) -> RowLabel:
        """Say what a row was made of, by its place in ``rows``."""
        return self.labels[row] if self.labels else RowLabel(quality=self.quality)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseStatus:
    """One survivor's case behind a signal, and what became of it (the feed's word)."""

    case_ref: str = field(repr=False)
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerFeedback:
    """What another platform said about a signal (the feed's words)."""

    source: str
    value: str
    tags: tuple[str, ...] = ()


ENDED_WORDS = frozenset({"withdrawn", "deleted"})
"""Status words, in lower case, that end a case or a signal. Every other word, known or
not, leaves it live: an unknown word must never cost an active signal."""


def has_ended(status: str) -> bool:
    """Say whether a status word of the feed ends what it stands on."""
    return status.strip().lower() in ENDED_WORDS


def is_live(*, status: str, cases: tuple[CaseStatus, ...]) -> bool:
    """Decide whether a feed entry is to be matched (docs/adr/0003).

    (1) Without cases the aggregate ``hashStatus`` decides.
    (2) With several cases the entry lives until all of them have ended.
    (3) With a single case either word ends it: an aggregate over one case that
        says ``Withdrawn`` is that person's withdrawal, whichever field came late.
    """
    if not cases:
        return not has_ended(status)  # (1)
    if all(has_ended(case.status) for case in cases):
        return False  # (2)
    return not (len(cases) == 1 and has_ended(status))  # (3)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRecord:
    """One entry as a feed offers it: a full snapshot that replaces what was held.

    Attributes:
        kind: the feed's word for the kind of signal, such as ``ImagePDQ``.
        value: the hash as the feed writes it (hex for PDQ), unchecked.
        status: the feed's aggregate status word.
        modified_at: last change in unix seconds, or None if the feed gives none.
        unknown: names of the fields whose word or shape is not known; the rest of
            the record counts all the same.
        extra: fields we do not interpret, as JSON text, kept.
    """

    kind: str
    value: str = field(repr=False)
    status: str
    cases: tuple[CaseStatus, ...] = field(default=(), repr=False)
    feedback: tuple[PartnerFeedback, ...] = ()
    modified_at: int | None = None
    unknown: tuple[str, ...] = ()
    extra: str = field(default="", repr=False)

    @property
    def is_live(self) -> bool:
        """Whether this entry is to be matched."""
        return is_live(status=self.status, cases=self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRecord:
    """An entry that could not even be read as a record, kept in quarantine.

    Attributes:
        reason: a short constant name, safe to log.
        raw: the entry as it came (JSON text or the line).
    """

    reason: str
    raw: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """One page of a feed.

    Attributes:
        last: whether the set ends here; only then may the cursor move.
        next_token: token of the next page; None when ``last``.
        cursor: where the feed says the next set starts (unix seconds), if it says.
    """

    records: tuple[FeedRecord, ...]
    refused: tuple[RefusedRecord, ...] = ()
    last: bool
    next_token: str | None = field(default=None, repr=False)
    cursor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One feed entry as it is held.

    Attributes:
        key: 16-byte keyed hash of feed, kind and digest under a local secret.
        digest: 32 bytes for PDQ; for other kinds the bytes of the value as text, of an MD5 in
            lower case (``match.signal_value`` writes either as the feed does).
        row: row number in the signal hash column; None for other kinds than PDQ.
    """

    key: bytes
    feed: str
    kind: str
    digest: bytes = field(repr=False)
    status: str
    cases: tuple[CaseStatus, ...] = field(default=(), repr=False)
    feedback: tuple[PartnerFeedback, ...] = ()
    modified_at: int | None = None
    added_at: datetime
    changed_at: datetime
    row: int | None = None
    extra: str = field(default="", repr=False)


class SignalEventKind(StrEnum):
    """What happened to a signal."""

    ADDED = "added"
    CHANGED = "changed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalEvent:
    """One entry of the signal log."""

    sequence: int = 0
    kind: SignalEventKind
    signal_key: bytes
    feed: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An image hash within the threshold of a signal; the best of the image's variants.

    Of a whole file (``Hasher.MD5``): the very bytes that the signal names, so distance and
    threshold are 0, and there is no quality.

    Attributes:
        image_key: key of the image, or empty for bytes that are not stored.
        distance_bits: Hamming distance over the whole digest.
        threshold_bits: the largest distance that still matched, inclusive.
        hasher: path of the image's hash, or None for a digest that was brought.
        quality: of the image, 0-100, or None for a digest that was brought and for a file.
        content_sha256: content version of the image that matched.
        weighted_bits: for a match of the deep tier, the distance with each bit weighted by its
            margin, which the threshold is on; ``hasher`` is None then (docs/adr/0016).
    """

    image_key: bytes = b""
    signal_key: bytes
    feed: str
    distance_bits: int
    threshold_bits: int
    hasher: Hasher | None = None
    variant: str | None = None
    quality: int | None = None
    content_sha256: bytes = field(default=b"", repr=False)
    weighted_bits: float | None = since(2, None)

    @property
    def is_deep(self) -> bool:
        """Whether an edit was undone to find it: stored hashes alone cannot find it again."""
        return self.weighted_bits is not None


class MatchEventKind(StrEnum):
    """What happened between an image and a signal."""

    MATCHED = "matched"
    ENDED = "ended"
    """The bytes at the URL changed and no longer match."""
    ALIAS = "alias"
    """Another URL now leads to an image that matches, or the engine gave it another id."""
    PAGES = "pages"
    """Pages say something else of an image that matches (``PageMark``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchEvent:
    """One entry of the match log. ``match`` is the one the event is about."""

    sequence: int = 0
    kind: MatchEventKind
    match: Match
    at: datetime


class PageMark(StrEnum):
    """What a page says of itself, or of an image that it shows, as a code.

    Whoever writes a page writes its marks: they are for a person to weigh, and prove nothing.
    """

    ADULT = "adult"
    """The page labels itself as for adults (RTA, ``rating``, ICRA, ``isFamilyFriendly``)."""
    ABUSE_WORDS = "abuse_words"
    """Title, headings or address of the page name the abuse of intimate images."""
    IMAGE_WORDS = "image_words"
    """What is written about the image (alternative text, link, caption, file name) does."""
    NEWS = "news"
    """The page says that it is a news article (schema.org)."""
    NEWS_IMAGE = "news_image"
    """It does, and names the image as the article's own."""
    ARTICLE = "article"
    """The page says that it is an article, as most blogs do."""
    DECORATION = "decoration"
    """The page shows the image as a logo or an icon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageVisit:
    """What one visit of an image found: the input of indexing.

    Attributes:
        image_url: where the bytes came from, after redirects.
        aliases: other URLs that led there, such as the one on the page.
        hashed: the hashes, or None when the bytes equal those stored (a 304 answer, or
            the same SHA-256): then only URLs and times are brought up to date.
        page_marks: what each of ``page_urls`` says of itself and of the image; None where
            nobody looked, which leaves what is stored.
        seen_at: when the bytes were there, if not now: an archive's date. They never take the
            place of others that were seen later.
        known_since: when another store had hashed these bytes first, if it is one's export.
    """

    image_url: str = field(repr=False)
    page_urls: tuple[str, ...] = field(default=(), repr=False)
    aliases: tuple[str, ...] = field(default=(), repr=False)
    document_id: str | None = field(default=None, repr=False)
    etag: str | None = field(default=None, repr=False)
    last_modified: str | None = None
    hashed: HashedImage | None
    page_marks: frozenset[PageMark] | None = None
    seen_at: datetime | None = None
    known_since: datetime | None = None


class VisitOutcome(StrEnum):
    """What indexing made of a visit."""

    HASHED = "hashed"
    """New bytes: hashes were stored and matched."""
    UNCHANGED = "unchanged"
    """The bytes that are stored already."""
    NOT_HELD = "not_held"
    """Called unchanged, but nothing is stored: visit again without conditions."""
    OUTDATED = "outdated"
    """Other bytes than those that are stored, and seen before them: nothing was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitResult:
    """Result of indexing one visit.

    Attributes:
        matches: every signal that the image matches now, the nearest first.
    """

    image_key: bytes
    outcome: VisitOutcome
    matches: tuple[Match, ...] = ()

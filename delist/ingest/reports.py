"""How sources are taken in, and what came of them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from delist.ingest.sources.finding import AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How sources are taken in.

    Attributes:
        form: what they are; ``auto`` lets their bytes say so.
        base_url: what names in folders are put behind to make addresses.
        root: what paths in tables are below; None: the folder of the table.
        processes: how many hash; 0 for as many as there are processors; 1: this one.
        again: read anew what was read before.
        rejects: folder for the files of refused rows; None: ``ingest`` of the data directory.
    """

    form: str = AUTO
    base_url: str | None = None
    root: Path | None = None
    processes: int = 0
    again: bool = False
    rejects: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What came of one source, runs before this one included.

    Attributes:
        source: as it was named, or where it was found.
        rows: rows, records or files that were read.
        images: images and videos among them: hashed, unchanged, outdated or refused.
        outdated: other bytes than those stored, and older: they were left.
        pages: pages of an archive that were read.
        refused: how many were refused, by code.
        matches: signals matched by the images that were hashed.
        complete: whether it was read to its end, or to where it breaks off.
        broken: why it breaks off, or empty.
        was_done: whether it had been taken in before, and nothing was left to do.
        rejects: the file that names what was refused, if anything was.
    """

    source: str
    format: str = ""
    rows: int = 0
    images: int = 0
    hashed: int = 0
    unchanged: int = 0
    outdated: int = 0
    videos: int = 0
    pages: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    matches: int = 0
    complete: bool = False
    broken: str = ""
    was_done: bool = False
    rejects: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What came of all sources: sums of those that were not done before, and each for itself.

    Attributes:
        complete: False when it was stopped; the next run goes on from there.
    """

    rows: int = 0
    images: int = 0
    hashed: int = 0
    unchanged: int = 0
    outdated: int = 0
    videos: int = 0
    pages: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    matches: int = 0
    complete: bool = True
    sources: tuple[SourceReport, ...] = ()

    @property
    def refused_sources(self) -> list[SourceReport]:
        """Those that could not be read, or not to their end."""
        return [source for source in self.sources if source.broken]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """How far it has come.

    Attributes:
        stage: the pass that is under way.
        done_bytes: bytes of the sources that this pass is behind.
        total_bytes: of all sources.
        images: images that this run has looked at.
    """

    stage: str
    done_bytes: int
    total_bytes: int
    images: int


OnProgress = Callable[[IngestProgress], None]


def together(sources: Iterable[SourceReport], *, complete: bool) -> IngestReport:
    """Sum up what came of several sources."""
    found = tuple(sources)
    new = [source for source in found if not source.was_done]
    refused: Counter[str] = Counter()
    for source in new:
        refused.update(source.refused)
    names = (
        "rows", "images", "hashed", "unchanged", "outdated", "videos", "pages", "matches",
    )  # fmt: skip
    return IngestReport(
        **{name: sum(getattr(source, name) for source in new) for name in names},
        refused=dict(sorted(refused.items())),
        complete=complete,
        sources=found,
    )

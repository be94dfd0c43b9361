"""What every source has in common, and how one says that it goes no further."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from delist.ingest.rows import Place, Row

IMAGES, REDIRECTS, PAGES = "images", "redirects", "pages"
"""Passes over a source, in their order. All but archives have the first alone."""

STAGES = (IMAGES, REDIRECTS, PAGES)

DAMAGED, TRUNCATED, INFLATES = "damaged", "truncated", "inflates_too_much"

MOST_RATIO, FREE_BYTES = 200, 64 * 1024 * 1024
"""A packed source may unpack to so many times its size, and to so many bytes in any case."""


class SourceEndedError(Exception):
    """The source cannot be read on. What came before counts.

    Attributes:
        code: the named reason, for counters.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"the source ends: {code}")
        self.code = code


class Source(Protocol):
    """One source.

    Attributes:
        path: what it is read from.
        form: ``folder``, ``jsonl``, ``parquet``, ``warc``.
        size_bytes: of all its files.
        modified_ns: of its file; 0 of a folder, of which no one time tells what it holds.
    """

    path: Path
    form: str
    size_bytes: int
    modified_ns: int

    def rows(self, stage: str, place: Place) -> Iterator[Row]:
        """Yield the rows of a pass behind a place, in an order that is always the same.

        Raises:
            SourceEndedError: it cannot be read, or not to its end.
        """


def check_ratio(unpacked: int, packed: int) -> None:
    """Hold what a source has unpacked to against what was read of it.

    Raises:
        SourceEndedError: ``inflates_too_much``: a bomb.
    """
    if unpacked > FREE_BYTES + MOST_RATIO * packed:
        raise SourceEndedError(INFLATES)

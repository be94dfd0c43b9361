"""Walking through the records of an archive, from any that reading can begin at."""

import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

from delist.ingest.rows import Place
from delist.ingest.sources import seeking
from delist.ingest.sources.source import DAMAGED, FREE_BYTES, INFLATES, MOST_RATIO

T = TypeVar("T")


class Walk:
    """Walks through records of a file, and knows where it was when one could not be read.

    Attributes:
        at: byte of the record that was met last, or at which walking began.
        is_inside: whether that record is the one that cannot be read, not what follows it.
        code: what is wrong with it.
    """

    def __init__(self, file: BinaryIO, *, is_packed: bool, largest: int) -> None:
        self._file, self._is_packed, self._largest = file, is_packed, largest
        self._unpacked = 0
        self._allowed = FREE_BYTES + MOST_RATIO * os.fstat(file.fileno()).st_size
        self.at, self.is_inside, self.code = 0, True, DAMAGED

    def walk(self, anchor: int, skip: int) -> Iterator[tuple[Any, int, Place]]:
        """Yield records from a byte on, but the first ``skip``, with the place behind each.

        Raises:
            OSError: something cannot be read; ``at`` and ``is_inside`` say where.
        """
        from fastwarc.warc import ArchiveIterator, WarcRecordType  # noqa: PLC0415 - an extra

        # One of unknown type may be the last, cut off before its type.
        wanted = (
            WarcRecordType.response
            | WarcRecordType.resource
            | WarcRecordType.revisit
            | WarcRecordType.unknown
        )
        self._file.seek(anchor)
        self.at, self.is_inside, self.code, number = anchor, True, DAMAGED, 0
        for record in ArchiveIterator(self._file, record_types=wanted, strict_mode=False):
            self.at, self.is_inside = record.stream_pos, True
            if number and seeking.begins_at(self._file, self.at, is_packed=self._is_packed):
                anchor, number, skip = self.at, 0, 0
            number += 1
            self._unpacked += record.content_length
            if self._is_packed and self._is_bomb(record.content_length):
                self._unpacked -= record.content_length
                self.code = INFLATES
                raise OSError  # looked past, as one that cannot be read
            if number > skip:
                yield record, self.at, Place(offset=anchor, skip=number)
            self.is_inside = False

    def _is_bomb(self, size_bytes: int) -> bool:
        """Say whether a record is not worth unpacking: itself, or with all before it."""
        return size_bytes > self._largest or self._unpacked > self._allowed

    def reading(self, read: Callable[[Any], T], record: Any) -> T:  # noqa: ANN401 - FastWARC's
        """Read something of the record that was met last."""
        self.is_inside = True
        return read(record)

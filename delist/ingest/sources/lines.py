"""JSON lines, packed by gzip or not."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from delist.ingest.rows import Place, Refused, Row
from delist.ingest.sources.columns import row_of
from delist.ingest.sources.source import DAMAGED, TRUNCATED, SourceEndedError, check_ratio
from indexer.errors import Refusal

NOT_JSON, LINE_TOO_LONG = "not_json", "line_too_long"

_ROOM_BYTES = 256 * 1024
_PIECE_BYTES = 1024 * 1024


class LinesSource:
    """A file of one JSON object a line."""

    form = "jsonl"

    def __init__(self, path: Path, *, folder: str, is_packed: bool, max_bytes: int) -> None:
        """Prepare to read a file.

        Args:
            path: the file.
            folder: what its paths are below.
            is_packed: whether it is gzip.
            max_bytes: largest image; a line may have room for it, written as base64.
        """
        self.path = path
        found = path.stat()
        self.size_bytes, self.modified_ns = found.st_size, found.st_mtime_ns
        self._folder, self._is_packed = folder, is_packed
        self._longest = max_bytes * 4 // 3 + _ROOM_BYTES
        self._decoder = msgspec.json.Decoder()

    def rows(self, stage: str, place: Place) -> Iterator[Row]:
        """See ``Source``; places count the bytes before a line, unpacked."""
        del stage
        try:
            with self.path.open("rb") as raw:
                file = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if self._is_packed else raw
                file.seek(place.offset)
                yield from self._lines(file, raw, place.offset)
        except EOFError:
            raise SourceEndedError(TRUNCATED) from None
        except (OSError, zlib.error):
            raise SourceEndedError(DAMAGED) from None

    def _lines(self, file: BinaryIO, raw: BinaryIO, start: int) -> Iterator[Row]:
        while line := file.readline(self._longest):
            end = start + len(line)
            is_long = len(line) == self._longest and not line.endswith(b"\n")
            if is_long:
                end += _skip_line(file)
            if self._is_packed:
                check_ratio(end, raw.tell())
            if is_long or line.strip():
                at, after = f"byte {start}", Place(offset=end)
                done = raw.tell()
                yield self._row(b"" if is_long else line, at, after, done)
            start = end

    def _row(self, line: bytes, at: str, after: Place, done: int) -> Row:
        if not line:
            return Row(at=at, content=Refused(LINE_TOO_LONG), next=after, done_bytes=done)
        try:
            values = self._decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            values = None
        if not isinstance(values, dict):
            code = NOT_JSON if line.endswith(b"\n") else Refusal.TRUNCATED.value
            return Row(at=at, content=Refused(code), next=after, done_bytes=done)
        return row_of(values, folder=self._folder, at=at, following=after, done_bytes=done)


def _skip_line(file: BinaryIO) -> int:
    """Read to the end of a line, keeping nothing of it; returns how many bytes that were."""
    skipped = 0
    while piece := file.readline(_PIECE_BYTES):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped

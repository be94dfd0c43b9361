"""Files of JSON lines whose numbers ascend: what is there, found without reading all of it."""

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from delist.errors import SinkError


def take_known(path: Path, wanted: dict[int, str]) -> None:
    """Remove from ``wanted``, numbers and ids, what a file holds.

    Raises:
        SinkError: it is of another ledger, or was edited.
    """
    last = max(wanted)
    with path.open("rb") as lines:
        lines.seek(_offset_of(min(wanted), path))
        for line in lines:
            entry = _read(line, path)
            sequence = _sequence_of(entry, path)
            if sequence > last:
                return
            record_id = wanted.pop(sequence, None)
            if record_id is not None and entry.get("id") != record_id:
                raise SinkError(
                    "another_ledger",
                    f"{path.name} holds other records under the same numbers: it was written from"
                    " another ledger, or from one that has been set back since; remove this"
                    " consumer and let it begin anew in an empty folder",
                )


def _offset_of(sequence: int, path: Path) -> int:
    """Find where the first line of this number or a higher one begins; numbers ascend."""
    with _mapped(path) as held:
        low, high = 0, len(held)
        while low < high:
            start = held.rfind(b"\n", 0, (low + high) // 2) + 1
            line = _line_at(held, start)
            if _sequence_of(_read(line, path), path) < sequence:
                low = start + len(line)
            else:
                high = start
        return low


def last_of(path: Path) -> int:
    """Return the number in a file's last line; -1 for an empty file."""
    with _mapped(path) as held:
        if not held:
            return -1
        line = _line_at(held, held.rfind(b"\n", 0, len(held) - 1) + 1)
    return _sequence_of(_read(line, path), path)


def cut(file: int) -> int:
    """Remove what stands behind the last whole line; returns the size."""
    size = os.fstat(file).st_size
    if size == 0:
        return 0
    with mmap.mmap(file, size, access=mmap.ACCESS_READ) as held:
        whole = held.rfind(b"\n") + 1
    if whole != size:
        os.ftruncate(file, whole)
        os.fsync(file)
    return whole


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
            yield held


def _line_at(held: mmap.mmap | bytes, start: int) -> bytes:
    behind = held.find(b"\n", start) + 1
    return held[start : behind or len(held)]


def _read(line: bytes, path: Path) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):  # `from None`: the error holds the line
        raise edited(path) from None
    if not isinstance(entry, dict):
        raise edited(path)
    return entry


def _sequence_of(entry: Mapping[str, Any], path: Path) -> int:
    sequence = entry.get("sequence")
    if type(sequence) is not int:
        raise edited(path)
    return sequence


def edited(path: Path) -> SinkError:
    """Make the error for a file that somebody edited."""
    return SinkError("edited", f"{path.name} is not what was written; somebody edited it")

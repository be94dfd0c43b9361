"""Rows on their way to another process, and what became of them on its way back.

Bytes of images go through memory that the processes share: it has no name by which it could be
opened, and is gone with the last of them. All else goes through the pool's pipes.

Pickle looks up the fields of a frozen dataclass anew for each object, on both sides; those that
every row has are packed as their values alone.
"""

import io
import mmap
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from multiprocessing import reduction
from operator import attrgetter
from typing import Any, cast

from delist.ingest.done import Done
from delist.ingest.rows import Body, Digest, FileName, Place, Row
from indexer.model import HashedImage, ImageVisit

_SENT = (
    "url",
    "content",
    "page_urls",
    "document_id",
    "seen_at",
    "etag",
    "last_modified",
    "is_new",
)
"""What a process needs of a row: where it stands is its sender's business."""
_values_sent = attrgetter(*_SENT)


class SharedMemory:
    """Memory that this process shares with those that it spawns, in slots of one size.

    Attributes:
        slot_bytes: size of a slot.
    """

    def __init__(self, slots: int, slot_bytes: int, *, file: int | None = None) -> None:
        """Make it; of the machine's memory it takes what has been written to.

        Args:
            slots: how many there are.
            slot_bytes: size of each.
            file: memory that another process made, open in this one; None makes it.

        Raises:
            OSError: the machine does not give it.
        """
        if file is None:
            file = os.memfd_create("delist-ingest", os.MFD_CLOEXEC)
            os.ftruncate(file, slots * slot_bytes)
        self.slot_bytes = slot_bytes
        self._file, self._slots = file, slots
        self._map = mmap.mmap(file, slots * slot_bytes)

    def __reduce__(self) -> tuple[Callable[..., "SharedMemory"], tuple[object, ...]]:
        """Go to a process that is being spawned; there is no other way."""
        return _attach, (reduction.DupFd(self._file), self._slots, self.slot_bytes)

    def write(self, at: int, data: memoryview) -> None:
        """Write bytes at a place."""
        self._map[at : at + len(data)] = data

    def read(self, at: int, size: int) -> bytes:
        """Return a copy of bytes."""
        return self._map[at : at + size]

    def close(self) -> None:
        """Let go of it."""
        self._map.close()
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Task:
    """Rows for another process.

    Attributes:
        packed: all of them but the bytes that lie in shared memory.
        spans: where those lie: place and size.
    """

    packed: bytes = field(repr=False)
    spans: tuple[tuple[int, int], ...] = ()


def pack_rows(rows: Sequence[Row], memory: SharedMemory, slot: int) -> Task:
    """Pack rows for another process.

    Args:
        rows: of one task.
        memory: takes the bytes of bodies, as many as there is room for.
        slot: of it, in which nothing is that is still to be read.
    """
    spans: list[tuple[int, int]] = []
    at = slot * memory.slot_bytes
    end = at + memory.slot_bytes

    def is_packed(buffer: pickle.PickleBuffer) -> bool:
        nonlocal at
        with buffer.raw() as data:
            if len(data) > end - at:
                return True
            memory.write(at, data)
            spans.append((at, len(data)))
            at += len(data)
            return False

    return Task(_pack(list(rows), is_packed), tuple(spans))


def unpack_rows(task: Task, memory: SharedMemory) -> list[Row]:
    """Return the rows that were packed; their bytes are this process's own."""
    bodies = (memory.read(at, size) for at, size in task.spans)
    return cast("list[Row]", pickle.loads(task.packed, buffers=bodies))  # noqa: S301 - our own


def pack_done(done: Sequence[Done]) -> bytes:
    """Pack what became of rows."""
    return _pack(list(done))


def unpack_done(packed: bytes) -> list[Done]:
    """Return what became of rows."""
    return cast("list[Done]", pickle.loads(packed))  # noqa: S301 - our own


def _attach(duplicate: Any, slots: int, slot_bytes: int) -> SharedMemory:  # noqa: ANN401 - untyped
    return SharedMemory(slots, slot_bytes, file=duplicate.detach())


def _pack(found: object, is_packed: Callable[[pickle.PickleBuffer], bool] | None = None) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 5, buffer_callback=is_packed)
    pickler.dispatch_table = _REDUCERS
    pickler.dump(found)
    return file.getvalue()


def _by_values(kind: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    values = attrgetter(*(entry.name for entry in fields(kind)))
    return lambda found: (_make, (kind, values(found)))


def _make(kind: type[Any], values: tuple[object, ...]) -> object:
    """Make what was packed, of all its fields: nothing is left for ``__init__`` to fill in."""
    made = object.__new__(kind)
    for put, value in zip(_PUTS[kind], values, strict=True):
        put(made, value)
    return made


def _row_by_values(row: Row) -> tuple[Any, ...]:
    return _make_row, (_values_sent(row),)


def _make_row(values: tuple[Any, ...]) -> Row:
    return Row(**dict(zip(_SENT, values, strict=True)), at="", next=_NOWHERE)


def _body_apart(body: Body) -> tuple[Any, ...]:
    return Body, (pickle.PickleBuffer(body.data), body.encodings)


_NOWHERE = Place()
_KINDS: tuple[type[Any], ...] = (Digest, Done, FileName, HashedImage, ImageVisit)
_PUTS = {kind: [getattr(kind, entry.name).__set__ for entry in fields(kind)] for kind in _KINDS}
_REDUCERS: dict[type[Any], Callable[[Any], Any]] = {
    **{kind: _by_values(kind) for kind in _KINDS},
    Body: _body_apart,
    Row: _row_by_values,
}

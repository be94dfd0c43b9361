"""An index generation: a multi-index and its labels in one file that every process maps.

Labels are arrays that say what the digests belong to: the keys of signals, the rows of images.

A file is written whole under another name, synced and renamed, and never changed after.

Layout, version 1, little-endian::

    0    4 bytes   b"DLIX"
    4    uint16    version
    6    uint16    number of arrays, a
    8    uint64    size of the file in bytes
    16   uint64    version of what it holds; for signals the last number of the signal log
    24   32 bytes  BLAKE2b of all bytes before this field and of the table below
    56   a * 64    the table, one entry an array:
                   16 bytes name, ASCII, zeros behind
                   uint64 offset, a multiple of 4096
                   uint64 size in bytes
                   32 bytes BLAKE2b of the array's bytes
    ..             the arrays: the labels, then those of ``MihArrays``

Header and table are checked whenever a file is mapped, which takes no time; the arrays'
checksums by ``verify`` alone, since that reads everything.
"""

import mmap
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.ann.mih import find_in, find_probable_in
from indexer.ann.mih_arrays import BANDS, BUCKETS, LANES, MihArrays, build_arrays
from indexer.ann.probable import meeting_probability
from indexer.errors import IndexDamagedError
from indexer.model import DIGEST_BYTES
from indexer.ports import Digests, Found

_MAGIC, _VERSION = b"DLIX", 1
_HEAD = struct.Struct("<4sHHQQ")
_ENTRY = struct.Struct("<16sQQ32s")
_SUM_BYTES = 32
_TABLE_AT = _HEAD.size + _SUM_BYTES
_PAGE = 4096
_NAMES = ("digests", "starts", "positions", "sketches")
_MOST_ARRAYS = 64
_WRITE_BYTES = 1 << 24
_Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class MappedIndex:
    """A generation that lies in the memory map, shared by all processes. Thread-safe.

    Attributes:
        version: of what it holds.
        labels: uint8[bytes] by name, as written.
    """

    version: int
    labels: Mapping[str, NDArray[np.uint8]]
    _arrays: MihArrays

    def __len__(self) -> int:
        """Count the digests held."""
        return len(self._arrays.digests)

    def find(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find every held digest within the threshold, 0-31; see ``AnnIndex.find``."""
        return find_in(self._arrays, queries, threshold_bits=threshold_bits)

    def find_probable(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find within the threshold, 0-80, beyond 31 probably; see ``AnnIndex.find_probable``."""
        return find_probable_in(self._arrays, queries, threshold_bits=threshold_bits)

    def meeting_probability(self, distance_bits: int) -> float:
        """Return the least chance of a pair to be met; see ``AnnIndex.meeting_probability``."""
        return meeting_probability(distance_bits)


def write_generation(
    path: Path, digests: Digests, labels: Mapping[str, _Array], *, version: int
) -> None:
    """Build the index over ``digests``, uint8[n, 32], and write it with labels, by name.

    Durable when it returns; until then there is no file of that name.

    Raises:
        OSError: the disk is full or cannot be written; no file of that name is left.
    """
    arrays = build_arrays(digests)
    parts = {name: np.ascontiguousarray(label) for name, label in labels.items()}
    parts |= {name: getattr(arrays, name) for name in _NAMES}
    unfinished = path.with_suffix(".unfinished")
    try:
        with open(unfinished, "wb", opener=_private) as file:
            size = _write(file.write, parts, version)
            assert file.tell() == size  # noqa: S101 - the layout
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def map_generation(path: Path) -> MappedIndex:
    """Map a generation; costs no more for a large one.

    Raises:
        FileNotFoundError: a newer one has taken its place.
        IndexDamagedError: the file breaks its layout, or header and table their checksum.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < _TABLE_AT:
            raise IndexDamagedError(f"{path.name} is cut short")
        raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    version, table = _read_table(raw, path.name)
    flat = {name: np.frombuffer(raw, np.uint8, size, at) for name, at, size, _ in table}
    count = len(flat["digests"]) // DIGEST_BYTES
    try:
        arrays = MihArrays(
            digests=flat["digests"].view(np.uint64).reshape(count, 4),
            starts=flat["starts"].view(np.uint32).reshape(BANDS, BUCKETS + 1),
            positions=flat["positions"].view(np.uint32).reshape(BANDS, count),
            sketches=flat["sketches"].view(np.uint32).reshape(BANDS, count + LANES),
        )
    except ValueError:
        raise IndexDamagedError(f"{path.name} holds arrays of the wrong size") from None
    # The compiled look-ups follow these without further checks.
    starts = arrays.starts
    if (
        starts[:, 0].any()
        or (starts[:, -1] != count).any()
        or (starts[:, 1:] < starts[:, :-1]).any()
    ):
        raise IndexDamagedError(f"{path.name}: the array starts is damaged")
    labels = {name: flat[name] for name in flat if name not in _NAMES}
    return MappedIndex(version, labels, arrays)


def verify(path: Path) -> None:
    """Read a generation whole and check it against its checksums.

    Raises:
        IndexDamagedError: a byte is not what was written.
    """
    raw = np.memmap(path, np.uint8, "r")
    _, table = _read_table(raw.data, path.name)
    for name, at, size, checksum in table:
        if _sum(raw[at : at + size]) != checksum:
            raise IndexDamagedError(f"{path.name}: the array {name} is damaged")


def _write(
    write: Callable[[memoryview | bytes], int], parts: Mapping[str, _Array], version: int
) -> int:
    offset = _aligned(_TABLE_AT + len(parts) * _ENTRY.size)
    table, offsets = [], []
    for name, part in parts.items():
        flat = part.reshape(-1).view(np.uint8)
        table.append(_ENTRY.pack(name.encode(), offset, len(flat), _sum(flat)))
        offsets.append(offset)
        offset = _aligned(offset + len(flat))
    head = _HEAD.pack(_MAGIC, _VERSION, len(parts), offset, version)
    entries = b"".join(table)
    at = write(head + blake2b(head + entries, digest_size=_SUM_BYTES).digest() + entries)
    for start, part in zip(offsets, parts.values(), strict=True):
        at += write(bytes(start - at))
        flat = part.reshape(-1).view(np.uint8)
        for first in range(0, len(flat), _WRITE_BYTES):
            at += write(flat[first : first + _WRITE_BYTES].data)
    return at + write(bytes(offset - at))


def _read_table(
    raw: "mmap.mmap | memoryview", name: str
) -> tuple[int, list[tuple[str, int, int, bytes]]]:
    """Check header and table; returns the version and (name, offset, size, checksum) entries."""
    magic, layout, count, size, version = _HEAD.unpack_from(raw)
    if (magic, layout) != (_MAGIC, _VERSION) or not len(_NAMES) <= count <= _MOST_ARRAYS:
        raise IndexDamagedError(f"{name} is no index of this version")
    end = _TABLE_AT + count * _ENTRY.size
    if size != len(raw) or end > size:
        raise IndexDamagedError(f"{name} is cut short")
    entries = bytes(raw[_TABLE_AT:end])
    checksum = bytes(raw[_HEAD.size : _TABLE_AT])
    if blake2b(bytes(raw[: _HEAD.size]) + entries, digest_size=_SUM_BYTES).digest() != checksum:
        raise IndexDamagedError(f"the header of {name} is damaged")
    table = [
        (label.rstrip(b"\0").decode(), offset, length, part)
        for label, offset, length, part in _ENTRY.iter_unpack(entries)
    ]
    if tuple(entry[0] for entry in table[-len(_NAMES) :]) != _NAMES:
        raise IndexDamagedError(f"{name} holds other arrays")
    return version, table


def _sum(flat: NDArray[np.uint8]) -> bytes:
    return blake2b(flat.data, digest_size=_SUM_BYTES).digest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _aligned(offset: int) -> int:
    return -(-offset // _PAGE) * _PAGE


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The snapshot: which URLs were suppressed at a number of the ledger, in a file to be mapped.

A file is written whole under another name, synced and renamed, and never changed after. It
is derived from the ledger and can be deleted at any time.

Layout, version 1, little-endian::

    0    4 bytes   b"DLSF"
    4    uint16    version
    6    uint16    number of arrays
    8    uint64    size of the file in bytes
    16   uint64    sequence: the last record that it knows of
    24   32 bytes  that record's id, ASCII, zeros behind; tells two ledgers apart
    56   int64     when it was built, seconds since 1970
    64   uint64    number of URLs, n
    72   uint64    number of buckets, b, a power of two
    80   16 bytes  key of the hash (SipHash-1-3), random in each file
    96   uint64    which bits of the hash count
    104  32 bytes  BLAKE2b of all bytes before this field and of the table below
    136  5 * 24    the table, for each array: uint64 offset (a multiple of 64), size, checksum
    ..             starts   uint32[b + 1]  where each bucket's URLs begin; hash modulo b
                   tags     uint32[n]      the upper half of each URL's hash
                   offsets  uint64[n + 1]  where each URL begins in urls
                   urls     bytes          canonical URLs, one behind the other
                   firsts   uint32[n + 1]  where each URL's records begin in records
                   records  uint64[..]     numbers of the records in effect, one for each case

URLs are compared byte by byte, so a hash can cost time but make no answer wrong.
"""

import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delist.errors import DelistError
from delist.serving import kernels

_MAGIC, _VERSION = b"DLSF", 1
_HEAD = struct.Struct("<4sHHQQ32sqQQ16sQ")
_ENTRY = struct.Struct("<QQQ")
_SUM_BYTES = 32
_ARRAYS: Mapping[str, Any] = {
    "starts": np.uint32,
    "tags": np.uint32,
    "offsets": np.uint64,
    "urls": np.uint8,
    "firsts": np.uint32,
    "records": np.uint64,
}
_TABLE_AT = _HEAD.size + _SUM_BYTES
_END = _TABLE_AT + len(_ARRAYS) * _ENTRY.size
_LINE = 64


class SnapshotError(DelistError):
    """The snapshot cannot be used: says why. It is derived, so it is built anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a snapshot was made of.

    Attributes:
        sequence: the last record of the ledger that it knows of; 0 for none.
        record_id: that record's.
        built_at: seconds since 1970.
    """

    sequence: int = 0
    record_id: str = ""
    built_at: int = 0


@dataclass(frozen=True, slots=True)
class Hashing:
    """How URLs are dealt out to buckets: SipHash under a key, and which bits of it count."""

    key: bytes
    mask: int = (1 << 64) - 1


class Snapshot:
    """URLs and their records, in arrays that may lie in the memory map. Thread-safe.

    Attributes:
        table: where everything lies, for ``kernels``.
        size_bytes: of all arrays.
    """

    def __init__(
        self, origin: Origin, hashing: Hashing, arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        self.origin = origin
        self.hashing = hashing
        self.arrays = arrays
        self.size_bytes = sum(array.nbytes for array in arrays.values())
        self.table = np.zeros(kernels.TABLE, np.uint64)
        for place, name in (
            (kernels.STARTS, "starts"),
            (kernels.TAGS, "tags"),
            (kernels.OFFSETS, "offsets"),
            (kernels.URLS, "urls"),
        ):
            self.table[place] = address_of(arrays[name])
        self.table[kernels.BUCKETS] = len(arrays["starts"]) - 1
        self.table[kernels.KEY_0 : kernels.KEY_1 + 1] = np.frombuffer(hashing.key, "<u8")
        self.table[kernels.HASH_MASK] = hashing.mask

    def __len__(self) -> int:
        """Count the URLs."""
        return len(self.arrays["tags"])

    def find(self, canonical: str) -> int:
        """Return the place of a canonical URL, -1 where it is not held."""
        answer = int(self.find_many([canonical], self.table, check=False)[0])
        return answer >> kernels.PLACE if answer & kernels.PRESENT else -1

    def find_many(
        self, urls: list[str], table: NDArray[np.uint64], *, check: bool
    ) -> NDArray[np.int64]:
        """Look URLs without a line break up; see ``kernels.find_lines`` for the answers."""
        answers = np.zeros(len(urls), np.int64)
        text = np.frombuffer("\n".join(urls).encode("utf-8", "surrogatepass") + b"\n", np.uint8)
        kernels.find_lines(address_of(text), len(text) - 1, table, check, answers)
        return answers

    def hashes_of(self, urls: list[str]) -> NDArray[np.uint64]:
        """Hash URLs as this snapshot does."""
        texts = [url.encode() for url in urls]
        ends = np.zeros(len(texts) + 1, np.uint64)
        np.cumsum([len(text) for text in texts], out=ends[1:])
        joined = np.frombuffer(b"".join(texts) + b"\n", np.uint8)
        codes = np.empty(len(texts), np.uint64)
        key_0, key_1 = self.table[kernels.KEY_0 : kernels.KEY_1 + 1]
        kernels.hash_all(address_of(joined), ends, key_0, key_1, codes)
        return codes & np.uint64(self.hashing.mask)

    def records_of(self, place: int) -> list[int]:
        """Return the numbers of the records by which the URL of a place is suppressed."""
        firsts = self.arrays["firsts"]
        found: list[int] = self.arrays["records"][firsts[place] : firsts[place + 1]].tolist()
        return found


def empty_snapshot() -> Snapshot:
    """Return a snapshot of no record."""
    arrays = {name: np.zeros(0, kind) for name, kind in _ARRAYS.items()}
    arrays |= {name: np.zeros(2, _ARRAYS[name]) for name in ("starts", "offsets", "firsts")}
    return Snapshot(Origin(), Hashing(bytes(16)), arrays)


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot in place of the one of that name, durably.

    Raises:
        OSError: the disk is full or cannot be written; what was there stays.
    """
    unfinished = path.with_suffix(".unfinished")
    try:
        with open(unfinished, "wb", opener=_private) as file:
            os.fchmod(file.fileno(), 0o600)
            head, offsets = _head(snapshot)
            file.write(head)
            for offset, name in zip(offsets, _ARRAYS, strict=True):
                file.write(bytes(offset - file.tell()))
                file.write(snapshot.arrays[name].reshape(-1).view(np.uint8).data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def map_snapshot(path: Path) -> Snapshot:
    """Map a snapshot and check every byte of it against its checksums.

    Raises:
        FileNotFoundError: there is none.
        SnapshotError: it is of another version, cut short or damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < _END:
            raise SnapshotError("it is cut short")
        raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    magic, version, count, size, sequence, record_id, built_at, urls, buckets, key, mask = (
        _HEAD.unpack_from(raw)
    )
    if (magic, version, count) != (_MAGIC, _VERSION, len(_ARRAYS)):
        raise SnapshotError("it is of another version")
    if size != len(raw):
        raise SnapshotError("it is cut short")
    if _sum_of(raw[: _HEAD.size] + raw[_TABLE_AT:_END]) != raw[_HEAD.size : _TABLE_AT]:
        raise SnapshotError("its header is damaged")
    arrays: dict[str, NDArray[Any]] = {}
    for number, (name, kind) in enumerate(_ARRAYS.items()):
        offset, length, checksum = _ENTRY.unpack_from(raw, _TABLE_AT + number * _ENTRY.size)
        part = np.frombuffer(raw, np.uint8, length, offset)
        if int(kernels.checksum(address_of(part), length)) != checksum:
            raise SnapshotError(f"its array {name} is damaged")
        arrays[name] = part.view(kind)
    if (len(arrays["tags"]), len(arrays["starts"])) != (urls, buckets + 1):
        raise SnapshotError("its arrays have the wrong size")
    origin = Origin(
        sequence=sequence, record_id=record_id.rstrip(b"\0").decode(), built_at=built_at
    )
    return Snapshot(origin, Hashing(key, mask), arrays)


def address_of(array: NDArray[Any]) -> int:
    """Return where an array lies; it has to be kept for as long as the address is used."""
    return int(array.__array_interface__["data"][0])


def _head(snapshot: Snapshot) -> tuple[bytes, list[int]]:
    """Return everything before the arrays, and where these go."""
    offsets, table, at = [], [], _aligned(_END)
    for name in _ARRAYS:
        array = snapshot.arrays[name]
        checksum = int(kernels.checksum(address_of(array), array.nbytes))
        table.append(_ENTRY.pack(at, array.nbytes, checksum))
        offsets.append(at)
        size = at + array.nbytes
        at = _aligned(size)
    origin, hashing = snapshot.origin, snapshot.hashing
    head = _HEAD.pack(
        _MAGIC, _VERSION, len(_ARRAYS), size, origin.sequence, origin.record_id.encode(),
        origin.built_at, len(snapshot), len(snapshot.arrays["starts"]) - 1, hashing.key,
        hashing.mask,
    )  # fmt: skip
    entries = b"".join(table)
    return head + _sum_of(head + entries) + entries, offsets


def _sum_of(data: bytes) -> bytes:
    return blake2b(data, digest_size=_SUM_BYTES).digest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _aligned(offset: int) -> int:
    return -(-offset // _LINE) * _LINE


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

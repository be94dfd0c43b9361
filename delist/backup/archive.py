"""What a backup holds: a manifest, then members one after the other, then a table of them.

Each part is a length of 4 bytes and MessagePack: the manifest, ``["member", name, columns]``,
``["items", [...]]``, ``["end", count, sha256]``, and last ``["whole", members, items]``. A member
is ``secret/...`` (one item: bytes), ``sql/TABLE`` (rows) or ``lmdb/DATABASE`` (pairs).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec

from delist.backup.sealing import SealedReader, SealedWriter
from delist.errors import BackupDamagedError, BackupStoppedError, BackupVersionError

FORMAT = 1
_MOST_BYTES = 1 << 31
_BATCH_ITEMS = 1_000
_BATCH_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself.

    Attributes:
        taken_at: the point in time that it holds.
        tables: layout of the SQL store.
        store: layout of the LMDB store.
        database: the kind of database that the SQL store was in.
        config: where the configuration file lay, "" for none; it is not in the archive.
        config_sha256: its SHA-256, so that the right one is found again.
        policy: the same of the policy file.
    """

    format: int
    delist: str
    taken_at: datetime
    tables: str
    store: str
    database: str
    config: str = field(default="", repr=False)
    config_sha256: str = ""
    policy: str = field(default="", repr=False)
    policy_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A member that is being read; its items have to be read before the next one."""

    name: str
    columns: list[str]
    items: Iterator[list[Any]]


class ArchiveWriter:
    """Writes an archive, member by member.

    Args:
        stopped: asked before each batch of items.

    Raises:
        BackupStoppedError: it said so.
    """

    def __init__(
        self,
        stream: SealedWriter,
        manifest: Manifest,
        *,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stream = stream
        self._stopped = stopped
        self._encoder = msgspec.msgpack.Encoder()
        self._members = self._items = 0
        self._part(manifest)

    def add(self, name: str, items: Iterable[Any], *, columns: Iterable[str] = ()) -> int:
        """Write a member; returns its number of items."""
        self._part(["member", name, list(columns)])
        digest, count = sha256(), 0
        for batch in _batches(items):
            if self._stopped():
                raise BackupStoppedError("the backup was stopped before it was whole")
            digest.update(self._part(["items", batch]))
            count += len(batch)
        self._part(["end", count, digest.digest()])
        self._members += 1
        self._items += count
        return count

    def finish(self) -> None:
        """Write the end."""
        self._part(["whole", self._members, self._items])
        self._stream.finish()

    def _part(self, value: Any) -> bytes:  # noqa: ANN401 - what MessagePack can write
        raw = self._encoder.encode(value)
        self._stream.write(len(raw).to_bytes(4))
        self._stream.write(raw)
        return raw


class ArchiveReader:
    """Reads an archive, member by member, and checks each.

    Attributes:
        manifest: what it says of itself.
    """

    def __init__(self, stream: SealedReader) -> None:
        """Read the manifest.

        Raises:
            BackupDamagedError, BackupVersionError: it cannot be read, or not by this version.
        """
        self._stream = stream
        self._whole = msgspec.msgpack.Decoder()
        raw = self._raw()
        told = self._decode(raw)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise BackupVersionError("the archive was written by another version of delist")
        try:
            self.manifest = msgspec.msgpack.decode(raw, type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise BackupDamagedError("the manifest of the archive cannot be read") from None

    def members(self) -> Iterator[Member]:
        """Iterate over the members; at the end the archive is known to be whole.

        Raises:
            BackupDamagedError: the archive is not what was written.
        """
        members = items = 0
        while True:
            told = self._part()
            if told[0] == "whole":
                if told[1:] != [members, items] or self._stream.read(1):
                    raise BackupDamagedError("the archive has not the members that it names")
                return
            if told[0] != "member" or len(told) != 3:  # noqa: PLR2004 - the layout
                raise BackupDamagedError("the archive has something between two members")
            counted = [0]
            reading = self._items(str(told[1]), counted)
            yield Member(str(told[1]), list(told[2]), reading)
            for _ in reading:  # what the caller did not look at is checked all the same
                pass
            members += 1
            items += counted[0]

    def _items(self, name: str, counted: list[int]) -> Iterator[list[Any]]:
        digest = sha256()
        while True:
            raw = self._raw()
            told = self._decode(raw)
            if told[0] == "end":
                if told[1:] != [counted[0], digest.digest()]:
                    raise BackupDamagedError(f"{name} is not what was written into the archive")
                return
            if told[0] != "items":
                raise BackupDamagedError(f"{name} has no end in the archive")
            digest.update(raw)
            counted[0] += len(told[1])
            yield told[1]

    def _part(self) -> Any:  # noqa: ANN401 - what was written
        return self._decode(self._raw())

    def _raw(self) -> bytes:
        size = self._stream.read(4)
        if len(size) < 4 or (wanted := int.from_bytes(size)) > _MOST_BYTES:  # noqa: PLR2004
            raise BackupDamagedError("the archive ends before its last member")
        raw = self._stream.read(wanted)
        if len(raw) < wanted:
            raise BackupDamagedError("the archive ends before its last member")
        return raw

    def _decode(self, raw: bytes) -> Any:  # noqa: ANN401
        try:
            told = self._whole.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise BackupDamagedError("a part of the archive cannot be read") from None
        if not isinstance(told, (list, dict)) or not told:
            raise BackupDamagedError("a part of the archive cannot be read")
        return told


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Cut items into batches of some size; one that is large stands alone."""
    batch: list[Any] = []
    size = 0
    for item in items:
        batch.append(item)
        size += _size(item)
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_ITEMS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _size(item: Any) -> int:  # noqa: ANN401
    values = item if isinstance(item, (list, tuple)) else (item,)
    return sum(len(value) for value in values if isinstance(value, (bytes, str, memoryview)))


def first(items: Iterator[list[Any]]) -> list[Any]:
    """Return the first batch of a member; empty where it has none."""
    return next(islice(items, 1), [])

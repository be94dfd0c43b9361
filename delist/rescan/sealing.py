"""Files that leave the machine: sealed, written whole, and known by their checksum.

A generation holds digests of signals, a table of matches says who reported what. Both lie on
storage that other machines share, so they are sealed (``delist.backup.sealing``) with the key of
their run, which stays in the data directory and goes to workers with their work.
"""

import os
import secrets
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, cast

from delist.backup.sealing import CHUNK_BYTES, SealedReader, SealedWriter
from delist.errors import BackupDamagedError, BackupKeyError, SealedFileError

_SUM_BYTES = 32


class _Summing:
    """A file that adds up the checksum of what passes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = blake2b(digest_size=_SUM_BYTES)

    def write(self, data: bytes) -> int:
        self.sum.update(data)
        return self._file.write(data)

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.sum.update(data)
        return data


def write_sealed(path: Path, key: bytes, parts: Iterable[bytes | memoryview]) -> str:
    """Write a file sealed with ``key``, whole and durable; returns its checksum in hex.

    Raises:
        OSError: it cannot be written; no file of that name is left.
    """
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(unfinished, "xb", opener=_private) as file:
            summing = _Summing(file)
            writer = SealedWriter(cast("BinaryIO", summing), key)
            for part in parts:
                view = memoryview(part)
                for start in range(0, len(view), CHUNK_BYTES):
                    writer.write(bytes(view[start : start + CHUNK_BYTES]))
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return summing.sum.hexdigest()


def read_sealed(path: Path, key: bytes, checksum: str) -> Iterator[bytes]:
    """Read such a file, piece by piece; to be used only once all of it has come.

    Raises:
        SealedFileError: it is missing, altered or cut, or another file than was written.
    """
    try:
        with path.open("rb") as file:
            summing = _Summing(file)
            reader = SealedReader(cast("Any", summing), key)
            while piece := reader.read(CHUNK_BYTES):
                yield piece
            summing.read(1)  # what stands behind the last chunk
    except FileNotFoundError:
        raise SealedFileError("missing", f"{path.name} is not there") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise SealedFileError("unreadable", f"{path.name} cannot be read: {reason}") from None
    except (BackupDamagedError, BackupKeyError):
        raise SealedFileError("damaged", f"{path.name} is not what was written") from None
    if not secrets.compare_digest(summing.sum.hexdigest(), checksum):
        raise SealedFileError("damaged", f"{path.name} has another checksum")


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

"""A folder of Parquet files that is there whole or not at all.

It is written beside its place, under a name that begins with a dot, flushed to disk, and renamed.
What a killed export left there is removed by the next one. Files are for the account that wrote
them alone.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from delist.errors import DelistError, UsageError
from indexer.tables import EXTENSION, pyarrow

MOST_ROWS = 1_000_000
"""Rows of one file."""


class Parts:
    """The files of one table, as they are written.

    Attributes:
        rows: written so far.
        files: how many there are.
    """

    def __init__(self, folder: Path, schema: Any, *, most_rows: int = MOST_ROWS) -> None:  # noqa: ANN401 - pyarrow's
        self._folder, self._schema, self._most_rows = folder, schema, most_rows
        self._partition = ""
        self._part, self._part_rows = 0, 0
        self._file: Any = None
        self._writer: Any = None
        self.rows = self.files = 0

    def write(self, batch: Any, *, partition: str = "") -> None:  # noqa: ANN401 - a RecordBatch
        """Write a batch, into the folder of its partition (``key=0``) if it has one.

        Partitions come one after the other: one that was left is not written to again.
        """
        if partition != self._partition:
            self.end()
            self._partition, self._part = partition, 0
        if self._part_rows >= self._most_rows:
            self.end()
        if self._writer is None:
            self._begin()
        self._writer.write_batch(batch, row_group_size=len(batch) or None)
        self._part_rows += len(batch)
        self.rows += len(batch)

    def _begin(self) -> None:
        folder = self._folder / self._partition
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"part-{self._part:05}{EXTENSION}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._writer = pyarrow().parquet.ParquetWriter(
            self._file, self._schema, compression="zstd", use_dictionary=False
        )
        self._part += 1
        self.files += 1

    def end(self) -> None:
        """End the file that is being written, durably."""
        if self._writer is None:
            return
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._writer = self._file = None
        self._part_rows = 0


@contextmanager
def new_folder(to: Path, name: str) -> Iterator[Path]:
    """Give a folder to write to; it is in its place, ``to/name``, when the block is left.

    Raises:
        UsageError: something is there already, or ``to`` cannot be used.
        DelistError: it cannot be written, or another process writes it. Nothing is there then.
    """
    place, unfinished = to / name, to / f".{name}.unfinished"
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.exists():
            raise UsageError(f"{place} is there already; name another folder")
        unfinished.mkdir(mode=0o700, exist_ok=True)
        held = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot write to {to}: {error.strerror}") from None
    try:
        _take(held, unfinished)
        yield unfinished
        os.fsync(held)
        unfinished.rename(place)
        _sync(to)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise DelistError(f"cannot write to {to}: {error.strerror or 'error'}") from None
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    finally:
        os.close(held)


def _take(descriptor: int, folder: Path) -> None:
    os.fchmod(descriptor, 0o700)  # whoever made it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DelistError("another process exports to this folder") from None
    for left in folder.iterdir():  # by one that was killed
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

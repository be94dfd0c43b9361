"""The log as static files, as c2sp.org/tlog-tiles lays them out: ``checkpoint`` and ``tile/``.

Any web server can give them out; they hold commitments only. What a checkpoint needs is on disk
before the checkpoint is, so a reader never meets one that it cannot check, however we end.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from delist.errors import LedgerError
from delist.store import tree
from delist.tlog.merkle import HASH_BYTES
from delist.tlog.tiles import WIDTH, bundle_path, encode_bundle, tile_path, tiles_of

CHECKPOINT = "checkpoint"
_UNFINISHED = "tile.new"
_MOST_SINGLE_SYNCS = 256


class LogFolder:
    """The folder of a published log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time write; a killed one is no longer in the way."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def checkpoint(self) -> str | None:
        """Read the published checkpoint, if there is one.

        Raises:
            LedgerError: it is no text.
        """
        try:
            return (self.folder / CHECKPOINT).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise LedgerError("the published checkpoint was edited: it is no text") from None

    def read_tile(self, level: int, number: int, width: int) -> bytes:
        """Read a tile in a width, or the full one that it has become; none where there is none."""
        for path in (tile_path(level, number, width), tile_path(level, number)):
            try:
                return (self.folder / path).read_bytes()[: width * HASH_BYTES]
            except FileNotFoundError:
                continue
        return b""

    def publish(self, connection: Connection, size: int, note: str, *, since: int) -> int:
        """Write what a checkpoint needs beyond an older one, then the checkpoint.

        Returns:
            How many tiles and bundles were written.
        """
        written = [self._write(path, content) for path, content in _files(connection, size, since)]
        _make_durable(written)
        self.replace_checkpoint(note)
        self._drop_partial(size, since)
        return len(written)

    def replace_checkpoint(self, note: str) -> None:
        """Put a checkpoint in the place of the one before, whole or not at all."""
        write_whole(self.folder / CHECKPOINT, note.encode())

    def _write(self, path: str, content: bytes) -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        # One name for all: what a killed process leaves there, the next one takes.
        beside = self.folder / _UNFINISHED
        beside.write_bytes(content)
        beside.replace(place)
        return place

    def _drop_partial(self, size: int, since: int) -> None:
        """Remove the partial tiles that full ones have taken the place of."""
        level = 0
        while known := since >> 8 * level:
            number, width = divmod(known, WIDTH)
            if width and (size >> 8 * level) // WIDTH > number:
                for path in (tile_path(level, number), *[bundle_path(number)][: not level]):
                    _remove(self.folder / f"{path}.p")
            level += 1


def write_whole(path: Path, content: bytes) -> None:
    """Write a file durably under another name, then give it its own."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync(path.parent)


def _files(connection: Connection, size: int, since: int) -> Iterator[tuple[str, bytes]]:
    for level, number, width in tiles_of(size, since=since):
        hashes = tree.read_tile(connection, level, number)[: width * HASH_BYTES]
        yield tile_path(level, number, width), hashes
    number = since // WIDTH
    for entries in tree.leaves_of(connection, number * WIDTH, size):
        for at in range(0, len(entries), WIDTH):
            bundle = entries[at : at + WIDTH]
            yield bundle_path(number, len(bundle)), encode_bundle(bundle)
            number += 1


def _make_durable(written: list[Path]) -> None:
    if len(written) > _MOST_SINGLE_SYNCS:
        os.sync()  # one wait for all of them
        return
    folders = {path.parent for path in written}
    for path in (*written, *folders, *(folder.parent for folder in folders)):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

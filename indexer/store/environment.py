"""The LMDB environment: opening it, its transactions, and its errors in our words.

One environment under the data directory holds everything (docs/architecture.md).
It is opened per process, after any fork; a process that was killed leaves a
reader slot behind, which the next opening clears.
"""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import lmdb

from indexer.errors import StoreError, StoreFullError, StoreVersionError
from indexer.settings import StoreSettings

Database = Any
"""An opaque handle of LMDB."""

SCHEMA = b"1"
_META = b"meta"
_SCHEMA_KEY = b"schema"
_TOUCHED_KEY = b"touched"
_MAX_DATABASES = 64
_OPEN = "open"
_READER_BYTES = 64
"""A reader's slot in LMDB's lock file; its header takes two more."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LITTLE_ROOM_BYTES = 1024 * 1024


@dataclass(slots=True)
class _Shared:
    env: lmdb.Environment
    users: int = 0
    databases: dict[bytes, Database] = field(default_factory=dict)


# LMDB allows one environment a file and process, so whoever opens it again gets the same.
_SHARED: dict[tuple[int, str], _Shared] = {}
_OPENING = threading.RLock()


def _open(path: Path, settings: StoreSettings) -> lmdb.Environment:
    with _translated(_OPEN, path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _reserve_lock(path / "lock.mdb", settings.max_readers)
        return lmdb.open(
            str(path),
            map_size=settings.map_size_bytes,
            max_dbs=_MAX_DATABASES,
            max_readers=settings.max_readers,
            mode=0o600,
        )


def _reserve_lock(path: Path, max_readers: int) -> None:
    """Take the room of LMDB's lock file before LMDB maps it.

    LMDB leaves it full of holes. On a full disk the first touch of one would end the
    process by SIGBUS; so it is an error here. The size is never changed: other
    processes have mapped it. To be called before this process opens the environment,
    since closing the file drops the locks that the process holds on it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size or (max_readers + 2) * _READER_BYTES
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How an environment is used.

    Attributes:
        map_bytes: the most that it can grow to.
        used_bytes: pages up to the last one, freed ones between them included.
        readers: transactions that read now.
        stale_readers: of processes that were killed; they were cleared by looking.
        oldest_read_behind: transactions committed since the state that the oldest reader holds.
    """

    map_bytes: int
    used_bytes: int
    readers: int
    stale_readers: int
    oldest_read_behind: int


class Environment:
    """An open LMDB environment. Safe to use from several threads; never across a fork."""

    def __init__(self, path: Path, settings: StoreSettings) -> None:
        """Open the environment, creating it when it is missing.

        Raises:
            StoreVersionError: it was written by another version.
            StoreError: it cannot be opened or created.
        """
        self.path = path
        self._key = (os.getpid(), str(path.absolute()))
        with _OPENING:
            shared = _SHARED.get(self._key)
            if shared is None:
                shared = _SHARED[self._key] = _Shared(_open(path, settings))
            shared.users += 1
            self._env, self._databases = shared.env, shared.databases
            self._closed = False
            try:
                self._claim()
            except BaseException:
                self._release()
                raise

    def _claim(self) -> None:
        with _translated(_OPEN, self.path):
            self._env.reader_check()
            meta = self._database(_META)
            with self._env.begin(db=meta) as txn:
                schema = txn.get(_SCHEMA_KEY)
            if schema is None:
                with self._env.begin(db=meta, write=True) as txn:
                    txn.put(_SCHEMA_KEY, SCHEMA, overwrite=False)
                    schema = txn.get(_SCHEMA_KEY)
            assert schema is not None  # noqa: S101 - just put, if it was not there
        if bytes(schema) != SCHEMA:
            raise StoreVersionError(
                f"the store in {self.path} was written by another version of delist (layout "
                f"{bytes(schema).decode(errors='replace')}, here {SCHEMA.decode()}); use that "
                "version, or another data directory"
            )

    def database(self, name: bytes) -> Database:
        """Open a named database, creating it when it is missing."""
        with _translated(_OPEN, self.path):
            return self._database(name)

    def _database(self, name: bytes) -> Database:
        held = self._databases.get(name)
        if held is None:
            # In a write transaction: a handle that was opened in a read transaction ends with it.
            # In one of our own: that which open_db begins waits for other writers while it keeps
            # the interpreter to itself, and a writer of this process that needs it never ends.
            with _OPENING, self._env.begin(write=True) as txn:
                held = self._databases[name] = self._env.open_db(name, txn=txn)
        return held

    @contextmanager
    def read(self) -> Iterator[lmdb.Transaction]:
        """Open a read transaction: one consistent state of everything."""
        with _translated("read", self.path), self._env.begin(buffers=True) as txn:
            yield txn

    @contextmanager
    def write(self) -> Iterator[lmdb.Transaction]:
        """Open the one write transaction. It is durable when the block is left.

        Raises:
            StoreFullError: the map or the disk is full; nothing of the block was kept.
        """
        with _translated("write", self.path), self._env.begin(write=True, buffers=True) as txn:
            yield txn

    @property
    def page_bytes(self) -> int:
        """Size of a page of the file."""
        return int(self._env.stat()["psize"])

    def last_page(self) -> int:
        """Return the number of the last page of the newest state."""
        return int(self._env.info()["last_pgno"])

    def touch(self) -> int:
        """Commit a transaction that changes nothing of account; returns its number.

        Raises:
            StoreFullError: not even that fits.
        """
        meta = self.database(_META)
        with self.write() as txn:
            txn.put(_TOUCHED_KEY, txn.id().to_bytes(8), db=meta)
            return int(txn.id())

    def oldest_reader(self, txn: lmdb.Transaction) -> int:
        """Return the oldest state that anybody reads, or may begin to; ``txn`` writes.

        Readers of processes that ended are not counted.
        """
        with _translated("read", self.path):
            self._env.reader_check()
            lines = self._env.readers().splitlines()[1:]
        states = [int(state) for _, _, state in map(str.split, lines) if state != "-"]
        return min([*states, int(txn.id()) - 1])

    def usage(self) -> "Usage":
        """Say how full the map is, and who reads.

        Raises:
            StoreError: the environment cannot be asked.
        """
        with _translated("read", self.path):
            stale = int(self._env.reader_check())
            info = self._env.info()
            lines = self._env.readers().splitlines()[1:]
        states = [int(state) for _, _, state in map(str.split, lines) if state != "-"]
        newest = int(info["last_txnid"])
        return Usage(
            map_bytes=int(info["map_size"]),
            used_bytes=(int(info["last_pgno"]) + 1) * self.page_bytes,
            readers=len(states),
            stale_readers=stale,
            oldest_read_behind=max([newest - state for state in states], default=0),
        )

    def close(self) -> None:
        """Close the environment; open transactions must be over."""
        with _OPENING:
            self._release()

    def _release(self) -> None:
        if self._closed:
            return
        self._closed = True
        shared = _SHARED[self._key]
        shared.users -= 1
        if not shared.users:
            del _SHARED[self._key]
            shared.env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _translated(action: str, path: Path) -> Iterator[None]:
    """Turn LMDB's errors into ours, naming what to do; on opening the file system's too.

    Inside a transaction an OSError is the caller's: LMDB raises its own classes.
    """
    try:
        yield
    except lmdb.MapFullError:
        raise StoreFullError(
            "the store has reached store.map_size_bytes; raise it and repeat the command "
            "(nothing of the last write was kept)"
        ) from None
    except lmdb.ReadersFullError:
        raise StoreError("too many processes read the store; raise store.max_readers") from None
    except lmdb.LockError:  # LMDB tells processes apart by their numbers
        raise StoreError(
            "a process of another container that uses the store has the same number as this one;"
            " containers that share a store have to share process numbers (docs/operations.md)"
        ) from None
    except (lmdb.Error, OSError) as error:
        if action != _OPEN and isinstance(error, OSError):
            raise
        if _says(error, *_FULL) or (_says(error, errno.EIO) and _is_full(path)):
            raise StoreFullError(
                "the disk is full; free some space and repeat the command "
                "(nothing of the last write was kept)"
            ) from None
        if isinstance(error, OSError):
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
        else:
            reason = str(error).rpartition(": ")[2] or type(error).__name__
        raise StoreError(f"cannot {action} the store: {reason}") from None


def _says(error: Exception, *numbers: int) -> bool:
    """Say whether an error is one of these of the system; LMDB gives them as text."""
    code = getattr(error, "errno", None) or (error.args[0] if error.args else None)
    return code in numbers or any(os.strerror(number) in str(error) for number in numbers)


def _is_full(path: Path) -> bool:
    """Say whether the disk has no room; LMDB calls a write that it cut short an I/O error."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _LITTLE_ROOM_BYTES

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
from dataclasses import dataclass
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
_MAX_DATABASES = 32
_OPEN = "open"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(slots=True)
class _Shared:
    env: lmdb.Environment
    users: int = 0


# LMDB allows one environment a file and process, so whoever opens it again gets the same.
_SHARED: dict[tuple[int, str], _Shared] = {}
_OPENING = threading.RLock()


def _open(path: Path, settings: StoreSettings) -> lmdb.Environment:
    with _translated(_OPEN):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return lmdb.open(
            str(path),
            map_size=settings.map_size_bytes,
            max_dbs=_MAX_DATABASES,
            max_readers=settings.max_readers,
            mode=0o600,
        )


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
            self._env = shared.env
            self._closed = False
            try:
                self._claim()
            except BaseException:
                self._release()
                raise

    def _claim(self) -> None:
        with _translated(_OPEN):
            self._env.reader_check()
            meta = self._env.open_db(_META)
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
        with _translated(_OPEN), _OPENING:
            # In a write transaction: a handle that was opened in a read transaction ends with it.
            return self._env.open_db(name)

    @contextmanager
    def read(self) -> Iterator[lmdb.Transaction]:
        """Open a read transaction: one consistent state of everything."""
        with _translated("read"), self._env.begin(buffers=True) as txn:
            yield txn

    @contextmanager
    def write(self) -> Iterator[lmdb.Transaction]:
        """Open the one write transaction. It is durable when the block is left.

        Raises:
            StoreFullError: the map or the disk is full; nothing of the block was kept.
        """
        with _translated("write"), self._env.begin(write=True, buffers=True) as txn:
            yield txn

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
def _translated(action: str) -> Iterator[None]:
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
    except (lmdb.Error, OSError) as error:
        if action != _OPEN and isinstance(error, OSError):
            raise
        code = getattr(error, "errno", None) or (error.args[0] if error.args else None)
        text = str(error)
        if code in _FULL or any(os.strerror(number) in text for number in _FULL):
            raise StoreFullError(
                "the disk is full; free some space and repeat the command "
                "(nothing of the last write was kept)"
            ) from None
        if isinstance(error, OSError) and not isinstance(error, lmdb.Error):
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
        else:
            reason = text.rpartition(": ")[2] or type(error).__name__
        raise StoreError(f"cannot {action} the store: {reason}") from None

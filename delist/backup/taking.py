"""Taking a backup while everything else works.

The steps:

(1) Keep others from writing to the SQL store, fix what is read of it, then what is read of the
    LMDB store, and let the others go on: milliseconds. What is read then is what would be on
    disk had every process been killed at that moment, which any start has to cope with anyway
    (docs/architecture.md, "What happens on a crash"; ADR 0041 has the argument).
(2) Write everything, sealed, to a file of another name; nothing plain touches the disk.
(3) Make it durable and give it its name.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import lmdb
import structlog
from sqlalchemy import Connection

from delist.backup import tables
from delist.backup.archive import FORMAT, ArchiveWriter, Manifest
from delist.backup.keys import read_key
from delist.backup.sealing import SealedWriter
from delist.errors import BackupError, UsageError
from delist.settings import DelistSettings
from delist.store import Database, audit, positions
from delist.store.tables import HEAD
from indexer.store import SCHEMA, Store
from indexer.store.secret import UNFINISHED

SECRET_PREFIX, STORE_PREFIX = "secret/", "lmdb/"
ACT, SUBJECT, MACHINE = "backup.begun", "store", "delist"
_NAME = "delist-{:%Y%m%dT%H%M%SZ}.backup"
_NAMES = "delist-????????T??????Z.backup"
_UNFINISHED_AFTER = timedelta(days=1)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What a backup came to.

    Attributes:
        file: where it lies.
        taken_at: the point in time that it holds.
        held_ms: how long others could not write to the SQL store.
        rows: of the SQL store.
        pairs: of the LMDB store.
        secrets: keys and other small files of ``secrets/``.
    """

    file: str
    taken_at: datetime
    encrypted: bool
    size_bytes: int
    seconds: float
    held_ms: float
    rows: int
    pairs: int
    secrets: int


class Backups:
    """Takes backups of one installation."""

    def __init__(
        self,
        open_stores: Callable[[], tuple[Store, Database]],
        settings: DelistSettings,
        *,
        config_file: Path | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._open = open_stores
        self._settings = settings
        self._config_file = config_file
        self._clock = clock

    def take(
        self,
        out: Path | None = None,
        *,
        key_file: Path | None = None,
        encrypted: bool = True,
        actor: str = MACHINE,
        stopped: Callable[[], bool] = lambda: False,
    ) -> BackupReport:
        """Write a backup to a new file, or into a folder under a name with the time.

        Args:
            out: file or folder; None for the configured folder.
            key_file: None for the configured one.
            encrypted: False for an archive that everybody can read who has it.
            stopped: asked often; once it says so, nothing more is written.

        Raises:
            UsageError: the file is there already, or no place or key is named.
            BackupStoppedError: ``stopped`` said so; no file is left.
            BackupError, StoreError, DatabaseError: it cannot be written; no file is left.
        """
        started = time.monotonic()
        now = self._clock()
        key = self._read_key(key_file) if encrypted else None
        out = out or self._folder()
        self._note(actor, now, encrypted=encrypted)
        file = out / _NAME.format(now) if out.is_dir() else out
        if file.exists():
            raise UsageError(f"{file} is there already, and is not written over")
        beside = file.with_name(f"{file.name}.new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                stream = SealedWriter(opened, key)
                held_ms, counts = self._write(stream, now=now, stopped=stopped)
                opened.flush()
                os.fsync(opened.fileno())
            beside.rename(file)  # (3)
            _make_durable(file.parent)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
            raise BackupError(f"the backup cannot be written: {reason}") from None
        finally:
            beside.unlink(missing_ok=True)
        report = BackupReport(
            file=str(file),
            taken_at=now,
            encrypted=key is not None,
            size_bytes=stream.size_bytes,
            seconds=round(time.monotonic() - started, 3),
            held_ms=round(held_ms, 1),
            rows=counts[tables.PREFIX],
            pairs=counts[STORE_PREFIX],
            secrets=counts[SECRET_PREFIX],
        )
        _log.info("backup.taken", size_bytes=report.size_bytes, held_ms=report.held_ms)
        return report

    def _folder(self) -> Path:
        folder = self._settings.backup.folder
        if folder is None:
            raise UsageError("name a place: --out, or [backup] folder")
        if not folder.is_dir():  # taken for a file's name it would hold one backup, and no other
            raise UsageError(f"[backup] folder {folder} is not there: make it, or mount its disk")
        return folder

    def _read_key(self, key_file: Path | None) -> bytes:
        named = key_file or self._settings.backup.key_file
        if named is None:
            raise UsageError(
                "name the file of a key: --key-file, or [backup] key_file (made by `delist"
                " backup-key`); --no-encryption writes what everybody can read"
            )
        return read_key(named)

    def _note(self, actor: str, now: datetime, *, encrypted: bool) -> None:
        _, database = self._open()
        with database.write() as connection:
            audit.append(
                connection,
                actor=actor,
                act=ACT,
                subject=SUBJECT,
                now=now,
                detail={"encrypted": encrypted},
            )

    def _write(
        self, stream: SealedWriter, *, now: datetime, stopped: Callable[[], bool]
    ) -> tuple[float, dict[str, int]]:
        store, database = self._open()
        with ExitStack() as snapshots:
            with database.write():  # (1)
                held = time.monotonic()
                connection = snapshots.enter_context(database.read())
                positions.load(connection, positions.MATCH_LOG)
                txn = snapshots.enter_context(store.read())
                held_ms = 1000 * (time.monotonic() - held)
            kind = connection.dialect.name
            manifest = self._manifest(now, database=kind)
            archive = ArchiveWriter(stream, manifest, stopped=stopped)  # (2)
            # Behind the snapshots, so that no key is missing that something in them needs.
            counts = {SECRET_PREFIX: self._write_secrets(archive)}
            counts[tables.PREFIX] = _write_tables(archive, connection)
            counts[STORE_PREFIX] = _write_store(archive, store, txn)
            archive.finish()
        return held_ms, counts

    def _manifest(self, now: datetime, *, database: str) -> Manifest:
        config, config_sha256 = _named(self._config_file)
        policy, policy_sha256 = _named(self._settings.policy_file)
        return Manifest(
            format=FORMAT,
            delist=version("delist"),
            taken_at=now,
            tables=HEAD,
            store=SCHEMA.decode(),
            database=database,
            config=config,
            config_sha256=config_sha256,
            policy=policy,
            policy_sha256=policy_sha256,
        )

    def _write_secrets(self, archive: ArchiveWriter) -> int:
        folder = self._settings.indexer.data_dir / "secrets"
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        count = 0
        for path in paths:
            if path.name.endswith(UNFINISHED):  # one that is just being made
                continue
            archive.add(SECRET_PREFIX + path.relative_to(folder).as_posix(), [path.read_bytes()])
            count += 1
        return count


def prune(folder: Path, *, keep: timedelta, now: datetime, dry_run: bool = False) -> int:
    """Remove backups that are older, by their names; the newest always stays.

    What was withdrawn has to leave backups too (ADR 0012), so they end.
    """
    oldest = _NAME.format(now - keep)
    backups = sorted(folder.glob(_NAMES))
    gone = [path for path in backups[:-1] if path.name < oldest]
    gone += [
        path
        for path in folder.glob(f"{_NAMES}.new")  # of processes that were killed
        if path.name < _NAME.format(now - _UNFINISHED_AFTER)
    ]
    for path in () if dry_run else gone:
        path.unlink(missing_ok=True)
    return len(gone)


def _write_tables(archive: ArchiveWriter, connection: Connection) -> int:
    count = 0
    for table in tables.every():
        columns = [str(column.name) for column in table.columns]
        name = tables.PREFIX + table.name
        count += archive.add(name, tables.rows(connection, table), columns=columns)
    return count


def _write_store(archive: ArchiveWriter, store: Store, txn: lmdb.Transaction) -> int:
    return sum(archive.add(STORE_PREFIX + name, pairs) for name, pairs in store.dump(txn))


def _named(path: Path | None) -> tuple[str, str]:
    if path is None:
        return "", ""
    try:
        return str(path.absolute()), sha256(path.read_bytes()).hexdigest()
    except OSError:
        return str(path.absolute()), ""


def _make_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

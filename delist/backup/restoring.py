"""Putting a backup back into an empty place.

The steps:

(1) Refuse a place where something is, or that a folder cannot take the name of. Everything is
    written into a folder beside it, which only its owner may enter and which goes if anything
    fails.
(2) Read the whole archive; the rows go in in one transaction, so a server's database stays empty
    if anything fails.
(3) Verify ledger and audit log; note in the store that it was put back, and of which time.
(4) Give the folder its name.

What is derived is not in a backup and is made anew: indexes, snapshots, the ledger's files.
What a store that was put back may not do yet, ``delist.build`` and ``attestation`` see to: it
decides nothing before each feed was read from its beginning, and signs nothing before a person
has said how the ledger goes on.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import structlog
from sqlalchemy import Connection

from delist.backup import tables
from delist.backup.archive import Manifest, Member, first
from delist.backup.checking import opened, verify_chains
from delist.backup.taking import SECRET_PREFIX, STORE_PREFIX
from delist.errors import BackupDamagedError, BackupError, BackupVersionError, UsageError
from delist.policy import DIRECT_FEED
from delist.settings import DatabaseSettings
from delist.store import Database, standing
from delist.store.tables import HEAD
from indexer.settings import StoreSettings
from indexer.store import SCHEMA, Store

_SIGNAL_KEY = "signal-key"
_INSIDE = "; of a mount point name a new folder in it, and set data_dir to that"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What putting back came to.

    Attributes:
        taken_at: point in time that the store is of now.
        feeds: to be read from their beginning before anything is decided.
        direct: whether people reported to us directly: what they withdrew since is to be
            withdrawn again, and a person has to say that it was.
        config: where the configuration file lay; it is not in a backup.
        config_sha256: its SHA-256 then.
        policy: the same of the policy file.
    """

    into: str
    taken_at: datetime
    records: int
    audit_entries: int
    feeds: list[str]
    direct: bool
    config: str
    config_sha256: str
    policy: str
    policy_sha256: str


def restore(
    file: Path,
    into: Path,
    key: bytes | None,
    *,
    store: StoreSettings,
    database: DatabaseSettings,
    actor: str,
    now: datetime,
) -> RestoreReport:
    """Put a backup back into a data directory that is empty or not there.

    Args:
        store: settings of the LMDB store; its map has to be large enough.
        database: SQLite in the folder, or an empty database of a server. It need not be of the
            kind that the backup was taken from.
        actor: who does it; goes into the audit log.

    Raises:
        UsageError: the place is not empty, or is a mount point.
        BackupError: the archive cannot be read or is not what was written; nothing is kept.
        StoreError, DatabaseError: it cannot be written; nothing is kept.
    """
    _check_free(into)  # (1)
    with _folder_beside(into) as folder:
        _check_replaceable(into, folder)
        with opened(file, key) as (_, archive):
            _check_version(archive.manifest)
            report = _Restoring(folder, archive.manifest, store, database).run(
                archive.members(), into, actor=actor, now=now
            )
        try:
            folder.rename(into)  # (4)
        except OSError as error:
            raise BackupError(f"cannot make {into}: {error.strerror}") from None
    _log.warning("backup.restored", records=report.records, feeds=len(report.feeds))
    return report


class _Restoring:
    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        store: StoreSettings,
        database: DatabaseSettings,
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._settings = store
        self._database = database
        self._store: Store | None = None

    def run(
        self, members: Iterator[Member], into: Path, *, actor: str, now: datetime
    ) -> RestoreReport:
        try:
            with (
                Database(self._folder, self._database) as database,
                database.write() as connection,
            ):
                tables.check_empty(connection)
                for member in members:  # (2)
                    self._take(connection, member)
                if self._store is None:
                    raise BackupDamagedError("the archive holds no store")
                records, entries = verify_chains(connection)  # (3)
                taken_at = self._manifest.taken_at
                self._store.mark_restored(taken_at=taken_at, kept=DIRECT_FEED)
                marked = self._store.restored_feeds()
                standing.note(
                    connection,
                    standing.RESTORED,
                    actor=actor,
                    now=now,
                    detail={"taken_at": taken_at.isoformat(), "records": records},
                )
        finally:
            if self._store is not None:
                self._store.close()
        return RestoreReport(
            into=str(into),
            taken_at=taken_at,
            records=records,
            audit_entries=entries,
            feeds=sorted(marked.keys() - {DIRECT_FEED}),
            direct=DIRECT_FEED in marked,
            config=self._manifest.config,
            config_sha256=self._manifest.config_sha256,
            policy=self._manifest.policy,
            policy_sha256=self._manifest.policy_sha256,
        )

    def _take(self, connection: Connection, member: Member) -> None:
        name = member.name
        if name.startswith(SECRET_PREFIX):
            content = first(member.items)
            _write_secret(self._folder / "secrets", name.removeprefix(SECRET_PREFIX), content)
        elif name.startswith(tables.PREFIX):
            table = name.removeprefix(tables.PREFIX)
            tables.fill(connection, table, member.columns, member.items)
        elif name.startswith(STORE_PREFIX):
            self._open_store().fill(name.removeprefix(STORE_PREFIX), _pairs(member))
        else:
            raise BackupDamagedError("the archive holds a member that is not known here")

    def _open_store(self) -> Store:
        if self._store is None:
            if not (self._folder / "secrets" / _SIGNAL_KEY).exists():
                # With another one nothing would be found again.
                raise BackupDamagedError("the archive lacks the key of its signals")
            self._store = Store(self._folder, self._settings)
        return self._store


def _pairs(member: Member) -> Iterator[list[tuple[bytes, bytes]]]:
    for batch in member.items:
        if any(len(pair) != 2 for pair in batch):  # noqa: PLR2004 - key and value
            raise BackupDamagedError(f"{member.name} in the archive is not made of pairs")
        yield [(key, value) for key, value in batch]


def _write_secret(folder: Path, name: str, content: list[Any]) -> None:
    parts = PurePosixPath(name)
    inside = not parts.is_absolute() and ".." not in parts.parts
    if not inside or len(content) != 1 or not isinstance(content[0], bytes):
        raise BackupDamagedError("a secret in the archive is not laid out as here")
    path = folder / parts
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened_file:
        opened_file.write(content[0])
        opened_file.flush()
        os.fsync(opened_file.fileno())


def _check_free(into: Path) -> None:
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise UsageError(f"{into} is not empty; a backup is put back into an empty folder")


def _check_replaceable(into: Path, beside: Path) -> None:
    """Check that an empty place can be replaced, before a server's database is filled."""
    if not into.exists():
        return
    aside = beside / "place"
    try:
        into.rename(aside)
        aside.rename(into)
    except OSError as error:
        raise UsageError(f"cannot replace {into}: {error.strerror}{_INSIDE}") from None


def _check_version(manifest: Manifest) -> None:
    if manifest.tables != HEAD or manifest.store != SCHEMA.decode():
        raise BackupVersionError(
            f"the archive was written by delist {manifest.delist} (layouts {manifest.tables} and"
            f" {manifest.store}, here {HEAD} and {SCHEMA.decode()}): put it back with that"
            " version, then update"
        )


@contextmanager
def _folder_beside(into: Path) -> Iterator[Path]:
    """Make a folder on the same file system, mode 0700; what is left of it goes at the end."""
    try:
        into.absolute().parent.mkdir(parents=True, exist_ok=True)
        name = tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.absolute().parent)
    except OSError as error:
        raise BackupError(f"cannot write beside {into}: {error.strerror}{_INSIDE}") from None
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)

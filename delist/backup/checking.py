"""Checking a backup without putting it back: all of it is read, nothing is written.

The ledger and the audit log are loaded into memory and verified as they would be in place; the
rest is checked by chunk, by member and by number.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, create_engine

from delist.backup import tables
from delist.backup.archive import ArchiveReader
from delist.backup.sealing import SealedReader
from delist.errors import BackupDamagedError, BackupError, LedgerError
from delist.store import audit, ledger, tree_check
from delist.store import tables as layout
from delist.store.tables import metadata

_CHAINED = (
    layout.suppression_records,
    layout.ledger_head,
    layout.ledger_tiles,
    layout.checkpoints,
    layout.audit_log,
    layout.audit_head,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBackup:
    """What a backup holds, all of which was read and found as written.

    Attributes:
        items: by member; rows, pairs, or 1 for a secret.
        records: of the ledger, which verifies.
        audit_entries: of the audit log, which verifies.
    """

    taken_at: datetime
    delist: str
    database: str
    encrypted: bool
    chunks: int
    records: int
    audit_entries: int
    items: dict[str, int]
    verified: bool = True


@contextmanager
def opened(file: Path, key: bytes | None) -> Iterator[tuple[SealedReader, ArchiveReader]]:
    """Open an archive to read.

    Raises:
        BackupError: it cannot be read, is no archive, or is sealed with another key.
    """
    try:
        source = file.open("rb")
    except OSError as error:
        raise BackupError(f"cannot read {file}: {error.strerror}") from None
    with source:
        stream = SealedReader(source, key)
        yield stream, ArchiveReader(stream)


def check(file: Path, key: bytes | None) -> CheckedBackup:
    """Check a backup whole.

    Raises:
        BackupError: it cannot be read, or is not what was written: says what is wrong.
        LedgerError: the ledger or the audit log in it does not verify.
    """
    engine = create_engine("sqlite://", hide_parameters=True)
    try:
        with opened(file, key) as (stream, archive), engine.begin() as connection:
            metadata.create_all(connection, tables=_CHAINED)
            items: dict[str, int] = {}
            for member in archive.members():
                name = member.name.removeprefix(tables.PREFIX)
                if name in {table.name for table in _CHAINED}:
                    count = tables.fill(connection, name, member.columns, member.items)
                else:
                    count = sum(map(len, member.items))
                items[member.name] = count
            manifest = archive.manifest
            records, entries = verify_chains(connection)
            return CheckedBackup(
                taken_at=manifest.taken_at,
                delist=manifest.delist,
                database=manifest.database,
                encrypted=stream.encrypted,
                chunks=stream.chunks,
                records=records,
                audit_entries=entries,
                items=items,
            )
    finally:
        engine.dispose()


def verify_chains(connection: Connection) -> tuple[int, int]:
    """Verify ledger, tree and audit log; returns how many records and entries there are.

    Raises:
        LedgerError: an edit, a gap, a changed order or a cut.
    """
    try:
        records = ledger.verify(connection)
        tree_check.verify(connection, records=records)
        return records, audit.verify(connection)
    except LedgerError as error:
        raise BackupDamagedError(f"what the archive holds does not verify: {error}") from None

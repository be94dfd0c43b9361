"""Keeping the snapshot: built when there is none that can be used, else renewed when it is time.

Renewing merges the old snapshot with what has followed, and does not read the ledger again.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from delist.errors import DatabaseError
from delist.serving.arranging import Pile
from delist.serving.snapshot import (
    Origin,
    Snapshot,
    SnapshotError,
    map_snapshot,
    write_snapshot,
)
from delist.serving.tail import Cases, follow
from delist.store import Database, effects, ledger

_FOLDER, _FILE = "serving", "suppressions.snapshot"

OTHER_LEDGER = "it was made of another ledger, or before a record that was erased"

_LEAST_DUE, _DUE_SHARE, _DUE_AFTER_S = 1_000, 100, 3_600
"""Renewed for so many records, one for so many URLs held, or when so old and there are any."""


class Built(Enum):
    """What was done."""

    NOTHING = "nothing"
    MERGED = "merged"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport:
    """What became of the snapshot.

    Attributes:
        urls: it holds so many.
        sequence: the last record of the ledger that it knows of.
        size_bytes: of the file, about.
        refused: why the one that was there could not be used; empty where it could, or was missing.
    """

    built: Built
    urls: int
    sequence: int
    size_bytes: int
    refused: str = ""


def snapshot_path(data_dir: Path) -> Path:
    """Say where the snapshot lies."""
    return data_dir / _FOLDER / _FILE


def keep_snapshot(
    database: Database, *, now: datetime, force: bool = False, hash_bits: int = 64
) -> SnapshotReport:
    """Build the snapshot, or renew it when it is time. One process at a time does so.

    Args:
        force: renew it for a single record.
        hash_bits: see ``Pile.arranged``.

    Raises:
        DatabaseError: the case store or the disk failed; the snapshot stays as it was.
        LedgerError: the ledger holds a record that cannot be read.
    """
    path = snapshot_path(database.data_dir)
    try:
        with _alone(path), database.read() as connection:
            return _keep(path, connection, int(now.timestamp()), force=force, hash_bits=hash_bits)
    except OSError as error:
        raise DatabaseError(f"cannot keep the snapshot: {error.strerror}") from None


def _keep(
    path: Path, connection: Connection, now_s: int, *, force: bool, hash_bits: int
) -> SnapshotReport:
    sequence = ledger.head(connection)[0]
    old, refused = load_snapshot(path, connection)
    if old is not None:
        behind = sequence - old.origin.sequence
        due = max(_LEAST_DUE, len(old) // _DUE_SHARE)
        # A clock that was put back makes it due: nothing is lost by that.
        in_time = 0 <= now_s - old.origin.built_at < _DUE_AFTER_S
        if behind == 0 or (behind < due and in_time and not force):
            return _report(Built.NOTHING, old)
    pile = Pile()
    if old is None:
        pile.add(effects.in_effect(connection, sequence))
    else:
        _merge(pile, old, connection)
    origin = Origin(
        sequence=sequence, record_id=effects.record_id(connection, sequence), built_at=now_s
    )
    new = pile.arranged(origin, hash_bits=hash_bits)
    write_snapshot(path, new)
    return _report(Built.WHOLE if old is None else Built.MERGED, new, refused)


def load_snapshot(path: Path, connection: Connection) -> tuple[Snapshot | None, str]:
    """Map a snapshot of this ledger; or None, and why it cannot be used, if there is one.

    Raises:
        OSError: it cannot be read.
    """
    try:
        found = map_snapshot(path)
    except FileNotFoundError:
        return None, ""
    except SnapshotError as error:
        return None, str(error)
    if not is_of(found.origin, connection):
        return None, OTHER_LEDGER
    return found, ""


def is_of(origin: Origin, connection: Connection) -> bool:
    """Say whether something was made of this ledger, and what followed can be put behind it.

    It is not when the ledger took the place of that one, or when a record was erased that had
    not been read: it may have ended one that was.
    """
    if origin.sequence == 0:
        return True
    if effects.is_erased_behind(connection, origin.sequence):
        return False
    return effects.record_id(connection, origin.sequence) == origin.record_id


def _merge(pile: Pile, old: Snapshot, connection: Connection) -> None:
    changed: dict[str, Cases] = {}
    follow(connection, old, changed, old.origin.sequence)
    kept = np.ones(len(old), np.bool_)
    places = [place for place in map(old.find, changed) if place >= 0]
    kept[places] = False
    pile.add_kept(old, kept)
    pile.add((url, sequence) for url, cases in changed.items() for sequence in cases.values())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _report(built: Built, snapshot: Snapshot, refused: str = "") -> SnapshotReport:
    return SnapshotReport(
        built=built,
        urls=len(snapshot),
        sequence=snapshot.origin.sequence,
        size_bytes=snapshot.size_bytes,
        refused=refused,
    )

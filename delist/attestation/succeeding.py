"""How the ledger goes on after it was put back from a backup, by a person's word.

Either nothing was signed since the backup, and whoever holds the newest checkpoint (a witness,
a consumer, the web server) can show it: the log goes on. Or something may have been: then the
same key must never sign another history, and a new log begins, with a key and an origin of its
own, of the same records. What was signed before is kept as evidence.

Beginning anew, in steps each of which may be the last that this process does:

(1) What was signed is written down beside the ledger: the old public key and checkpoint.
(2) The new key is there. From now on nothing of the old log can be signed, and what is stored
    of it does not fit the new key, so nothing is signed at all before (4).
(3) The published files move aside.
(4) Checkpoints and tree leave the store, with an entry in the audit log.
(5) The old private key goes.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete

from delist.attestation.attesting import LedgerLog, generations, key_path
from delist.attestation.publishing import CHECKPOINT, write_whole
from delist.errors import LedgerError, LogProofError, UsageError
from delist.review import checked_actor
from delist.store import Database, standing, tree
from delist.store.tables import checkpoints, ledger_tiles
from delist.tlog.checkpoints import open_checkpoint
from delist.tlog.notes import Note
from indexer.store import load_or_create_secret

ENDED = "ledger-ended"
_MOVED = (CHECKPOINT, "tile")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLog:
    """The log that began.

    Attributes:
        key: its public key, for those who follow it; its name is the origin.
        ended: the public key of the log before.
        size: records that the newest checkpoint of the log before, as known here, is of.
        evidence: where what was signed before is kept.
    """

    key: str
    ended: str
    size: int
    evidence: str


def begin_anew(
    open_log: Callable[[], LedgerLog],
    database: Database,
    data_dir: Path,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> NewLog:
    """Begin a new log of the ledger; see above.

    Args:
        open_log: opens the log with the key that is there when it is called.
        reason: why; it stays in the audit log.

    Raises:
        UsageError: no name or reason.
    """
    actor, reason = checked_actor(actor), _checked(reason)
    old = open_log()
    with old.folder.alone():
        number = generations(data_dir)
        evidence = data_dir / ENDED / str(number)
        evidence.mkdir(mode=0o700, parents=True, exist_ok=True)
        with database.read() as connection:
            newest = tree.newest(connection)
        write_whole(evidence / "key", f"{old.key}\n".encode())  # (1)
        if newest is not None:
            write_whole(evidence / "checkpoint-held", newest.note.encode())
        load_or_create_secret(key_path(data_dir, number + 1))  # (2)
        for name in _MOVED:  # (3)
            if (old.folder.folder / name).exists():
                shutil.move(old.folder.folder / name, evidence / name)
        new = open_log()
        made = NewLog(
            key=str(new.key),
            ended=str(old.key),
            size=0 if newest is None else newest.size,
            evidence=str(evidence),
        )
        with database.write() as connection:  # (4)
            connection.execute(delete(checkpoints))
            connection.execute(delete(ledger_tiles))
            note = "" if newest is None else newest.note
            detail = {"ended": made.ended, "begun": made.key, "checkpoint": note, "reason": reason}
            standing.note(connection, standing.BEGUN_ANEW, actor=actor, now=now, detail=detail)
        key_path(data_dir, number).unlink(missing_ok=True)  # (5)
    return made


def resume(
    log: LedgerLog,
    database: Database,
    checkpoint: str,
    *,
    actor: str,
    reason: str,
    now: datetime,
) -> int:
    """Go on with the log after a backup was put back; returns the records signed until then.

    Args:
        checkpoint: the newest that anybody has seen, as it was published.

    Raises:
        UsageError: no name or reason, or the ledger was not put back.
        LedgerError: the checkpoint is not the newest one known here: more was signed since.
    """
    actor, reason = checked_actor(actor), _checked(reason)
    try:
        head, seen = open_checkpoint(checkpoint, log.key)
    except LogProofError as error:
        raise LedgerError(f"this is no checkpoint of the log: {error}") from None
    with database.write() as connection:
        if not standing.was_put_back(connection):
            raise UsageError("the ledger was not put back from a backup: it goes on anyway")
        held = _newest(connection)
        if held.size != head.size or Note.parse(held.note).text != seen.text:
            raise LedgerError(
                f"the checkpoint is of {head.size} records, the newest one known here of"
                f" {held.size}: something was signed that is not known here. Begin a new log"
            )
        detail = {"records": head.size, "reason": reason}
        standing.note(connection, standing.RESUMED, actor=actor, now=now, detail=detail)
    return head.size


def _newest(connection: Connection) -> tree.StoredCheckpoint:
    newest = tree.newest(connection)
    if newest is None:
        raise LedgerError("the backup is from before the first checkpoint: begin a new log")
    return newest


def _checked(reason: str) -> str:
    if not reason.strip():
        raise UsageError("a reason is needed")
    return reason.strip()

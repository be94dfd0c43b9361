"""Whether the ledger goes on where it was signed, or was put back from a backup.

It follows from the audit log: what people did about the store as a whole is there, in order.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, select

from delist.store import audit
from delist.store.tables import audit_log

LEDGER = "ledger"
RESTORED = "ledger.restored"
BEGUN_ANEW = "ledger.new_log"
RESUMED = "ledger.resumed"


def note(
    connection: Connection,
    act: str,
    *,
    actor: str,
    now: datetime,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Append what was done about the ledger as a whole."""
    audit.append(connection, actor=actor, act=act, subject=LEDGER, now=now, detail=detail)


def was_put_back(connection: Connection) -> bool:
    """Say whether the ledger was put back from a backup and nobody has settled how it goes on."""
    newest = connection.scalar(
        select(audit_log.c.act)
        .where(audit_log.c.subject == LEDGER)
        .order_by(audit_log.c.sequence.desc())
        .limit(1)
    )
    return newest == RESTORED

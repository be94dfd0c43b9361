"""Which records are told of to databases that others read."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from delist.model import RecordAction, SuppressionRecord
from delist.store import ledger


def new_suppressions(
    connection: Connection, *, after: int, until: datetime
) -> Iterator[SuppressionRecord]:
    """Iterate over records behind a number that took an address out of results, in order.

    Those that take the place of another one, as after a person's look, are no news. The first
    record that is newer than ``until`` ends it, so that a number is never skipped.
    """
    for record in ledger.after(connection, after):
        if record.effective_at > until:
            return
        if record.action is RecordAction.SUPPRESS and not record.supersedes:
            yield record

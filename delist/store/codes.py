"""Access codes: what lets a survivor see the addresses in a report. Only keyed hashes are kept."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from delist.store.tables import access_codes


def put(connection: Connection, *, case_key: str, code_hash: str, now: datetime) -> None:
    """Store the hash of a new code; an older code of the same case is no longer valid."""
    connection.execute(delete(access_codes).where(access_codes.c.case_key == case_key))
    connection.execute(
        insert(access_codes).values(case_key=case_key, code_hash=code_hash, issued_at=now)
    )


def find(connection: Connection, case_key: str) -> str | None:
    """Find the hash of the code of a case."""
    found = select(access_codes.c.code_hash).where(access_codes.c.case_key == case_key)
    return connection.scalar(found)

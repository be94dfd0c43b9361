"""The audit log cannot be edited: refused by the database, and seen by ``verify`` where it was."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from delist.errors import DatabaseError, LedgerError
from delist.settings import DatabaseSettings
from delist.store import Database, audit

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path, sql: DatabaseSettings) -> Iterator[Database]:
    """Six entries of three people on two cases."""
    with Database(tmp_path, sql) as opened:
        with opened.write() as connection:
            for number in range(6):
                audit.append(
                    connection,
                    actor=f"P{number % 3}",
                    act="case.viewed",
                    subject=f"c{number % 2}",
                    now=NOW + timedelta(seconds=number),
                    detail={"number": number},
                )
        yield opened


def verified(database: Database) -> int:
    with database.read() as connection:
        return audit.verify(connection)


def without_triggers(database: Database, *statements: str) -> None:
    """Edit as somebody can who may do everything with the database."""
    with database.write() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER audit_log_no_update"))
            connection.execute(text("DROP TRIGGER audit_log_no_delete"))
        else:
            connection.execute(text("DROP TRIGGER audit_log_no_change ON audit_log"))
        for statement in statements:
            connection.execute(text(statement))


def test_entries_are_read_as_they_were_written(database: Database) -> None:
    """In order, of one subject or all, behind a number."""
    assert verified(database) == 6
    with database.read() as connection:
        assert [e.sequence for e in audit.after(connection)] == [1, 2, 3, 4, 5, 6]
        of_one = list(audit.after(connection, 2, subject="c0"))
    assert [(e.sequence, e.actor, e.detail) for e in of_one] == [
        (3, "P2", '{"number": 2}'),
        (5, "P1", '{"number": 4}'),
    ]
    assert of_one[0].at == NOW + timedelta(seconds=2)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'nobody' WHERE sequence = 2",
        "UPDATE audit_log SET actor = actor",
        "DELETE FROM audit_log WHERE sequence = 6",
        "DELETE FROM audit_log",
    ],
)
def test_the_database_refuses_an_edit(database: Database, statement: str) -> None:
    """Whatever it would change; everything is there afterwards."""
    with pytest.raises(DatabaseError), database.write() as connection:
        connection.execute(text(statement))

    assert verified(database) == 6


def test_a_new_entry_is_not_refused(database: Database) -> None:
    """The log goes on after an edit was tried, and a failed transaction leaves no gap."""

    def append_and_edit() -> None:
        with database.write() as connection:
            audit.append(connection, actor="A", act="x", subject="c", now=NOW)
            connection.execute(text("DELETE FROM audit_log"))

    with pytest.raises(DatabaseError):
        append_and_edit()
    with database.write() as connection:
        audit.append(connection, actor="A", act="x", subject="c", now=NOW)

    assert verified(database) == 7


@pytest.mark.parametrize(
    "statements",
    [
        ["UPDATE audit_log SET actor = 'nobody' WHERE sequence = 2"],
        ["UPDATE audit_log SET act = 'case.claimed' WHERE sequence = 6"],
        ["UPDATE audit_log SET subject = 'c9' WHERE sequence = 1"],
        ["UPDATE audit_log SET detail = '{}' WHERE sequence = 3"],
        ["UPDATE audit_log SET detail = 'not JSON' WHERE sequence = 3"],
        ["UPDATE audit_log SET at = '2026-03-01 12:00:09+00:00' WHERE sequence = 3"],
        ["UPDATE audit_log SET hash = previous_hash WHERE sequence = 3"],
        ["DELETE FROM audit_log WHERE sequence = 1"],
        ["DELETE FROM audit_log WHERE sequence = 3"],
        ["DELETE FROM audit_log WHERE sequence = 6"],
        ["DELETE FROM audit_log"],
        ["DELETE FROM audit_head"],
        ["UPDATE audit_head SET sequence = 7"],
        ["UPDATE audit_log SET sequence = 0 WHERE sequence = 1"],
        ["UPDATE audit_log SET sequence = 7 WHERE sequence = 6"],
        [
            "UPDATE audit_log SET sequence = 10 WHERE sequence = 2",
            "UPDATE audit_log SET sequence = 2 WHERE sequence = 3",
            "UPDATE audit_log SET sequence = 3 WHERE sequence = 10",
        ],
    ],
)
def test_an_edit_past_the_triggers_shows(database: Database, statements: list[str]) -> None:
    """An edit, a gap, another order, a cut end: ``verify`` says so, without any value."""
    without_triggers(database, *statements)

    with pytest.raises(LedgerError, match="audit log") as refused:
        verified(database)

    assert "nobody" not in str(refused.value)

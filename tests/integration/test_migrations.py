"""Layouts of the SQL store: made by migrations, refused when newer, safe to create together."""

import multiprocessing
import sqlite3
import stat
from contextlib import closing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect

from delist.attestation import erasing
from delist.attestation.attesting import LedgerLog
from delist.commitments import commitment_of
from delist.errors import DatabaseError, DatabaseVersionError, LedgerError
from delist.model import CaseState, RecordAction, Support
from delist.settings import DatabaseSettings
from delist.store import Database, cases, ledger
from delist.store.backend import Backend
from delist.store.migrations import KNOWN, upgrade
from delist.store.postgres import Postgres
from delist.store.sqlite import Sqlite
from delist.store.tables import HEAD, metadata
from tests.fakes.delisting import START
from tests.fakes.postgres import PostgresServer


def layout(connection: Connection) -> dict[str, object]:
    """Describe everything that a layout consists of."""
    found = inspect(connection)
    return {
        name: {
            "columns": [
                # Defaults that a migration needed for rows of its time may stay; numbering must be.
                (c["name"], repr(c["type"]), c["nullable"], "nextval" in str(c["default"]))
                for c in found.get_columns(name)
            ],
            "primary": found.get_pk_constraint(name),
            "foreign": found.get_foreign_keys(name),
            "unique": sorted(map(repr, found.get_unique_constraints(name))),
            "indexes": sorted(map(repr, found.get_indexes(name))),
        }
        for name in found.get_table_names()
        if name != "alembic_version"
    }


def backend_of(folder: Path, settings: DatabaseSettings) -> Backend:
    return Postgres(settings.url) if settings.url else Sqlite(folder)


def read_layout(folder: Path, settings: DatabaseSettings) -> dict[str, object]:
    with Database(folder, settings) as database, database.read() as connection:
        return layout(connection)


def code_layout(folder: Path, settings: DatabaseSettings) -> dict[str, object]:
    """The layout in the code, made and taken back."""
    backend = backend_of(folder, settings)
    with backend.engine.connect() as connection:
        metadata.create_all(connection)
        made = layout(connection)
        metadata.drop_all(connection)
        connection.commit()
    backend.engine.dispose()
    return made


def test_migrated_layout_is_the_one_in_the_code(
    tmp_path: Path, empty_sql: DatabaseSettings
) -> None:
    """The tables that statements are written for are those that migrations make."""
    expected = code_layout(tmp_path, empty_sql)

    assert read_layout(tmp_path, empty_sql) == expected
    assert KNOWN[-1] == HEAD


OLD_ROWS = """
insert into cases values ('c1', 'aa', 'https://a.example/1', '00', 'suppressed', null,
    '2026-03-01 12:00:00.000000', '2026-03-03 12:00:00.000000', '2026-03-01 12:00:00.000000', null);
insert into case_matches values ('c1', 'bb', 'exchange', 3, 31, 'cpp', 'upright', 100, '00',
    'active', '2026-03-01 12:00:00.000000');
insert into decisions (case_id, action, actor, policy_version, reason, content_sha256, decided_at)
    values ('c1', 'suppress', 'policy', '1', 'near', '00', '2026-03-01 12:00:00.000000');
insert into suppression_records values (1, 'r1', 'suppress', 'provisional', 'c1',
    'https://a.example/1', '', '00', 'image', 'near', 'exchange', 'bb', 3, 'cpp', 'upright', '1',
    '2026-03-01 12:00:00.000000', '', '{genesis}', '{hash}');
insert into ledger_head values (1, 1, '{hash}');
insert into log_positions values ('match', 7);
insert into feedback_outbox (feed, signal_key, value, queued_at, attempts, next_attempt_at)
    values ('exchange', 'bb', 'PendingReview', '2026-03-01 12:00:00.000000', 0,
    '2026-03-01 12:00:00.000000')
"""
OLD_HASH = "58e9a3d32e9d99474106cb2506ceda2fe327a4553f10a91cb624d70c13501fb4"
"""As layout 0001 hashed this record."""


@pytest.mark.parametrize("version", KNOWN)
def test_every_released_layout_is_brought_up_to_date(
    tmp_path: Path, empty_sql: DatabaseSettings, version: str
) -> None:
    """Whatever version wrote it: the layout is the newest then, and nothing was lost."""
    expected = code_layout(tmp_path, empty_sql)
    backend = backend_of(tmp_path, empty_sql)
    backend.prepare()
    with backend.engine.connect() as connection:
        upgrade(connection, to=version)
        if version == KNOWN[0]:
            rows = OLD_ROWS.format(genesis=ledger.GENESIS, hash=OLD_HASH)
            for statement in rows.split(";\n"):
                connection.exec_driver_sql(statement)
        connection.commit()
    backend.engine.dispose()

    with Database(tmp_path, empty_sql) as database, database.read() as connection:
        if version == KNOWN[0]:
            case = cases.find(connection, "c1")
            assert case is not None
            assert (case.state, case.deadline_at.isoformat()) == (
                CaseState.SUPPRESSED,
                "2026-03-03T12:00:00+00:00",
            )
            assert [match.support for match in case.matches] == [Support.ACTIVE]
            assert [decision.reason for decision in cases.decisions_of(connection, "c1")]
            assert ledger.verify(connection) == 1
            (record,) = ledger.after(connection, 0)
            opened = ledger.opening(connection, 1)
            assert opened is not None
            assert commitment_of(*opened).hex() == record.commitment
            assert (record.action, record.case_id) == (RecordAction.SUPPRESS, "c1")
        assert layout(connection) == expected


def test_records_of_the_first_layout_become_a_log(
    tmp_path: Path, empty_sql: DatabaseSettings
) -> None:
    """More of them than a batch: all get a nonce of their own, are signed over, and can go."""
    count = 5_010
    backend = backend_of(tmp_path, empty_sql)
    backend.prepare()
    previous, rows = ledger.GENESIS, []
    for sequence in range(1, count + 1):
        row = dict.fromkeys(ledger._FORMAT_1, "") | {
            "sequence": sequence,
            "id": f"r{sequence}",
            "action": "suppress" if sequence < count else "revoke",
            "state": "provisional",
            "case_id": "c1",
            "image_url": "https://a.example/ü",
            "scope": "image",
            "basis_distance_bits": 3,
            "effective_at": START,
            "previous_hash": previous,
        }
        row["hash"] = previous = ledger._format_1_hash(row)
        rows.append(row | {"effective_at": "2026-03-01 12:00:00.000000"})
    with backend.engine.connect() as connection:
        upgrade(connection, to=KNOWN[0])
        names = ", ".join(rows[0])
        for first in range(0, count, 500):
            part = rows[first : first + 500]
            values = ", ".join(f"({', '.join(map(repr, row.values()))})" for row in part)
            connection.exec_driver_sql(f"insert into suppression_records ({names}) values {values}")  # noqa: S608
        connection.exec_driver_sql(f"insert into ledger_head values (1, {count}, '{previous}')")  # noqa: S608
        connection.commit()
    backend.engine.dispose()

    with Database(tmp_path, empty_sql) as database:
        log = LedgerLog(database, tmp_path, origin="", clock=lambda: START)
        assert log.verify() == count
        assert log.checkpoint().size == count
        erasing.erase(database, range(1, count + 1, 501), actor="Kim", reason="wish", now=START)
        assert log.verify() == count
        with database.read() as connection:
            nonces = connection.exec_driver_sql(
                "select count(distinct nonce) from suppression_records"
            ).scalar_one()
        assert nonces == count - 10
        with database.write() as connection:
            connection.exec_driver_sql(
                f"update suppression_records set hash = '{'e' * 64}' where sequence = 502"  # noqa: S608
            )
        with pytest.raises(LedgerError):
            log.verify()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    """A store that is up to date is opened as it is."""
    Database(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "delist.sqlite3")) as connection:
        before = connection.execute("select * from sqlite_master order by name").fetchall()

    Database(tmp_path).close()

    with closing(sqlite3.connect(tmp_path / "delist.sqlite3")) as connection:
        assert connection.execute("select * from sqlite_master order by name").fetchall() == before


def test_store_of_a_newer_version_is_refused(tmp_path: Path, sql: DatabaseSettings) -> None:
    """A layout that we do not know is not touched, and the message says what to do."""
    with Database(tmp_path, sql) as database, database.write() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '0999'")
        connection.exec_driver_sql("drop table log_positions")
        before = layout(connection)
    files = [path.read_bytes() for path in tmp_path.glob("*.sqlite3")]

    with pytest.raises(DatabaseVersionError, match=r"newer version.*0999"):
        Database(tmp_path, sql)

    assert [path.read_bytes() for path in tmp_path.glob("*.sqlite3")] == files
    engine = backend_of(tmp_path, sql).engine
    with engine.connect() as connection:
        assert layout(connection) == before
    engine.dispose()


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 100, b"\0" * 9])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    """What is no database is not overwritten."""
    path = tmp_path / "delist.sqlite3"
    path.write_bytes(content)

    with pytest.raises(DatabaseError):
        Database(tmp_path)

    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """A process that was killed between making the file and its tables harms nobody."""
    (tmp_path / "delist.sqlite3").touch()

    with Database(tmp_path) as database, database.read() as connection:
        assert not list(cases.every(connection, awaiting_person=False))


def test_files_are_private(tmp_path: Path) -> None:
    """Only the owner may read the cases: the log beside the store included."""
    folder = tmp_path / "data"
    with Database(folder) as database, database.write() as connection:
        connection.exec_driver_sql("insert into log_positions values ('match', 1)")

        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("delist.sqlite3*")
        }

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {"delist.sqlite3", "delist.sqlite3-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


ROUNDS, PROCESSES = 6, 4


def _open_together(folder: str, urls: list[str], start: Barrier, answers: "Queue[str]") -> None:
    for attempt, url in enumerate(urls):
        start.wait(60)
        place, settings = Path(folder) / str(attempt), DatabaseSettings(url=url)
        try:
            with Database(place, settings) as database, database.write() as connection:
                connection.exec_driver_sql("select count(*) from cases")
            answers.put("")
        except Exception as error:  # noqa: BLE001 - told to the parent
            answers.put(f"{type(error).__name__}: {error}")


def test_processes_that_create_it_together(tmp_path: Path, postgres: PostgresServer) -> None:
    """Whoever comes second waits for the first and finds a whole store, on either database."""
    urls = [""] * ROUNDS + [postgres.url(postgres.create()) for _ in range(ROUNDS)]
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(PROCESSES), context.Queue()
    children = [
        context.Process(target=_open_together, args=(str(tmp_path), urls, start, answers))
        for _ in range(PROCESSES)
    ]
    for child in children:
        child.start()
    said = [answers.get(timeout=60) for _ in range(len(urls) * PROCESSES)]
    for child in children:
        child.join(60)

    assert set(said) == {""}

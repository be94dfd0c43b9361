"""Layouts of the SQL store: made by migrations, refused when newer, safe to create together."""

import multiprocessing
import sqlite3
import stat
from contextlib import closing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect

from delist.errors import DatabaseError, DatabaseVersionError
from delist.store import Database, cases
from delist.store.migrations import KNOWN
from delist.store.tables import HEAD, metadata


def layout(engine: Engine) -> dict[str, object]:
    """Describe everything that a layout consists of."""
    found = inspect(engine)
    return {
        name: {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)
            ],
            "primary": found.get_pk_constraint(name),
            "foreign": found.get_foreign_keys(name),
            "unique": sorted(map(repr, found.get_unique_constraints(name))),
            "indexes": sorted(map(repr, found.get_indexes(name))),
        }
        for name in found.get_table_names()
        if name != "alembic_version"
    }


def test_migrated_layout_is_the_one_in_the_code(tmp_path: Path) -> None:
    """The tables that statements are written for are those that migrations make."""
    with Database(tmp_path) as database:
        migrated = create_engine(f"sqlite:///{database.path}")
        plain = create_engine("sqlite://")
        metadata.create_all(plain)

        assert layout(migrated) == layout(plain)

        migrated.dispose()
        plain.dispose()
    assert KNOWN[-1] == HEAD


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    """A store that is up to date is opened as it is."""
    Database(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "delist.sqlite3")) as connection:
        before = connection.execute("select * from sqlite_master order by name").fetchall()

    Database(tmp_path).close()

    with closing(sqlite3.connect(tmp_path / "delist.sqlite3")) as connection:
        assert connection.execute("select * from sqlite_master order by name").fetchall() == before


def test_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """A layout that we do not know is not touched, and the message says what to do."""
    Database(tmp_path).close()
    path = tmp_path / "delist.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update alembic_version set version_num = '0999'")
        connection.commit()
    before = path.read_bytes()

    with pytest.raises(DatabaseVersionError, match=r"newer version.*0999"):
        Database(tmp_path)

    assert path.read_bytes() == before


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


def _open_together(folder: str, start: Barrier, answers: "Queue[str]") -> None:
    for attempt in range(ROUNDS):
        start.wait(60)
        try:
            with Database(Path(folder) / str(attempt)) as database, database.write() as connection:
                connection.exec_driver_sql("select count(*) from cases")
            answers.put("")
        except Exception as error:  # noqa: BLE001 - told to the parent
            answers.put(f"{type(error).__name__}: {error}")


def test_processes_that_create_it_together(tmp_path: Path) -> None:
    """Whoever comes second waits for the first and finds a whole store."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(PROCESSES), context.Queue()
    children = [
        context.Process(target=_open_together, args=(str(tmp_path), start, answers))
        for _ in range(PROCESSES)
    ]
    for child in children:
        child.start()
    said = [answers.get(timeout=60) for _ in range(ROUNDS * PROCESSES)]
    for child in children:
        child.join(60)

    assert set(said) == {""}

"""What the SQL store promises on both databases: one writer, snapshots, times, text, silence."""

import contextlib
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from delist.errors import DatabaseError
from delist.model import Basis, RecordAction, RecordDraft, RecordState
from delist.settings import DatabaseSettings
from delist.store import Database, cases, codes, ledger, outbox, positions
from delist.store.tables import access_codes

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HIDDEN = "https://hidden.example/picture.jpg"


@pytest.fixture
def database(tmp_path: Path, sql: DatabaseSettings) -> Iterator[Database]:
    with Database(tmp_path, sql) as opened:
        yield opened


def position(database: Database) -> int:
    with database.read() as connection:
        return positions.load(connection, "match")


def move(database: Database, sequence: int) -> None:
    with database.write() as connection:
        positions.put(connection, "match", sequence)


def written(url: str) -> RecordDraft:
    return RecordDraft(
        action=RecordAction.SUPPRESS,
        state=RecordState.PROVISIONAL,
        case_id="c",
        image_url=url,
        content_sha256="00",
        reason_code="test",
        basis=Basis(
            feed="f",
            signal="00",
            distance_bits=0,
            hasher="cpp",
            variant="upright",
            policy_version="1",
        ),
    )


def test_writers_take_turns(database: Database) -> None:
    """What a writer reads first is still so when it writes: no step of forty gets lost."""

    def step(_number: int) -> None:
        with database.write() as connection:
            positions.put(connection, "match", positions.load(connection, "match") + 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(step, range(40)))

    assert position(database) == 40


def test_a_writer_waits_and_sees_what_the_one_before_wrote(database: Database) -> None:
    """It begins when the other has ended, and not with an older picture of the store."""
    began, seen = threading.Event(), []

    def second() -> None:
        began.set()
        with database.write() as connection:
            seen.append(positions.load(connection, "match"))

    with database.write() as connection:
        thread = threading.Thread(target=second)
        thread.start()
        assert began.wait(10)
        thread.join(0.2)
        assert thread.is_alive()
        assert seen == []
        positions.put(connection, "match", 5)
    thread.join(30)

    assert seen == [5]


def test_a_reader_keeps_its_picture_and_holds_nobody_up(database: Database) -> None:
    """What is committed meanwhile shows in the next read, not in the one under way."""
    move(database, 1)
    with database.read() as connection:
        assert positions.load(connection, "match") == 1
        move(database, 2)
        assert positions.load(connection, "match") == 1

    assert position(database) == 2


def test_a_reader_does_not_wait_for_the_writer(database: Database) -> None:
    """It sees the store as it was before."""
    move(database, 1)
    with database.write() as connection:
        positions.put(connection, "match", 2)
        assert position(database) == 1


def test_a_reader_cannot_write(database: Database) -> None:
    """A slip in the program is an error on both, and writes work after it."""
    with pytest.raises(DatabaseError), database.read() as connection:
        positions.put(connection, "match", 1)
    assert position(database) == 0

    move(database, 3)
    assert position(database) == 3


def put_both(database: Database, code_hash: str) -> None:
    """Write something that can be written, then what perhaps cannot."""
    with database.write() as connection:
        positions.put(connection, "match", 1)
        codes.put(connection, case_key="00", code_hash=code_hash, now=NOW)


def test_more_readers_than_connections(database: Database) -> None:
    """Whoever finds no connection waits for one."""
    start = threading.Barrier(24)

    def read(_number: int) -> int:
        start.wait(30)
        return position(database)

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(read, range(24))) == [0] * 24


@pytest.mark.parametrize("text", ["a\0b", "\0", "caf\udce9", "\ud800"])
def test_text_that_one_of_them_cannot_keep(database: Database, text: str) -> None:
    """A NUL, half of a character: refused in the same words, and nothing of the write stays."""
    with pytest.raises(DatabaseError) as caught:
        put_both(database, text)

    assert str(caught.value) == "the case store keeps no text with NUL or half characters"
    assert position(database) == 0


@pytest.mark.parametrize("case_id", ["a\0", "\udce9", "é", "", "x" * 5000, "'; drop table cases"])
def test_what_is_no_case_id_names_no_case(database: Database, case_id: str) -> None:
    """Whatever somebody types where an id belongs is the id of no case, not an error."""
    with database.read() as connection:
        assert cases.find(connection, case_id) is None


def test_text_comes_back_as_it_was_written(database: Database) -> None:
    """Any other character at any length; nothing is trimmed, folded or normalised."""
    text = " ẞ\u202e😀e\u0301\n\t\\'%s%%:x \x7f" + "é" * 10_000
    with database.write() as connection:
        ledger.append(connection, written(text), now=NOW)
    with database.read() as connection:
        assert [record.image_url for record in ledger.after(connection, 0)] == [text]
        assert ledger.verify(connection) == 1


@pytest.mark.parametrize(
    "time",
    [
        NOW,
        NOW.astimezone(timezone(timedelta(hours=5, minutes=45))),
        NOW.astimezone(timezone(-timedelta(hours=11))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
    ],
)
def test_times_are_utc(database: Database, time: datetime) -> None:
    """To the microsecond, whatever zone they are given in and the server lives in."""
    with database.write() as connection:
        codes.put(connection, case_key="00", code_hash="11", now=time)
    with database.read() as connection:
        found = connection.scalar(select(access_codes.c.issued_at))

    assert found == time
    assert found is not None
    assert found.tzinfo is UTC
    assert found.isoformat() == time.astimezone(UTC).isoformat()


def test_times_compare_as_times(database: Database) -> None:
    """What is due at an instant is due then in every zone, and not a microsecond before."""
    with database.write() as connection:
        outbox.queue(connection, feed="f", signal_key="00", value="w", now=NOW)

    def due(now: datetime) -> int:
        with database.read() as connection:
            return len(outbox.due(connection, feed="f", now=now, limit=9))

    zone = timezone(timedelta(hours=-9))
    assert due(NOW.astimezone(zone)) == 1
    assert due((NOW - timedelta(microseconds=1)).astimezone(zone)) == 0


def test_numbers_grow(database: Database) -> None:
    """Numbers that the database gives follow the order of writing, after a rollback too."""
    with contextlib.suppress(ZeroDivisionError), database.write() as connection:
        outbox.queue(connection, feed="f", signal_key="a", value="w", now=NOW)
        raise ZeroDivisionError
    for signal in ("b", "c", "d"):
        with database.write() as connection:
            outbox.queue(connection, feed="f", signal_key=signal, value="w", now=NOW)

    with database.read() as connection:
        found = outbox.due(connection, feed="f", now=NOW, limit=9)
    assert [entry.signal_key for entry in found] == ["b", "c", "d"]
    assert sorted({entry.id for entry in found}) == [entry.id for entry in found]


def test_errors_show_no_value(database: Database) -> None:
    """Neither the values of a statement nor those of the row that stands in its way."""
    with database.write() as connection:
        codes.put(connection, case_key=HIDDEN[:32], code_hash=HIDDEN, now=NOW)
    again = insert(access_codes).values(case_key=HIDDEN[:32], code_hash=HIDDEN, issued_at=NOW)
    with pytest.raises(DatabaseError) as caught, database.write() as connection:
        connection.execute(again)

    shown = "".join(traceback.format_exception(caught.value))
    assert "hidden" not in shown.replace(__file__, "")
    assert "\n" not in str(caught.value)


def test_it_says_what_it_is(database: Database, sql: DatabaseSettings) -> None:
    """For ``delist doctor``: the product and its version, no address."""
    assert database.product().startswith("PostgreSQL 18" if sql.url else "SQLite 3.")
    assert "/" not in database.product()

"""The ledger: a chain in which every edit, gap and changed order shows."""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from delist.commitments import chain_hash, commitment_of, payload_of
from delist.errors import LedgerError
from delist.model import Basis, RecordAction, RecordDraft, RecordState
from delist.settings import DatabaseSettings
from delist.store import Database, ledger
from delist.store.tables import suppression_records
from tests.conftest import POSTGRESQL, SQLITE
from tests.fakes.delisting import START
from tests.fakes.postgres import PostgresServer

COUNT = 5
COLUMNS = [column.name for column in suppression_records.columns]
TIMES = ("effective_at", "expires_at", "recheck_at", "erased_at")


def draft(number: int) -> RecordDraft:
    return RecordDraft(
        action=RecordAction.SUPPRESS if number % 2 else RecordAction.REVOKE,
        state=RecordState.PROVISIONAL,
        case_id=f"case{number}",
        image_url=f"https://example.org/{number}.jpg",
        document_id=f"doc{number}",
        content_sha256=f"{number:064x}",
        reason_code="because",
        basis=Basis(
            feed="exchange",
            signal=f"{number:032x}",
            distance_bits=number,
            hasher="cpp",
            variant="upright",
            policy_version="1",
        ),
        supersedes=f"{number:032x}",
    )


def write(database: Database) -> None:
    for number in range(1, COUNT + 1):
        with database.write() as connection:
            ledger.append(connection, draft(number), now=START + timedelta(minutes=number))
    database.close()


Copy = Callable[[Path], AbstractContextManager[DatabaseSettings]]


@pytest.fixture(scope="module", params=[SQLITE, POSTGRESQL])
def copy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Gives copies of a store with five records, which is written once."""
    if request.param == SQLITE:
        folder = tmp_path_factory.mktemp("ledger") / "data"
        write(Database(folder))

        @contextmanager
        def copy_folder(to: Path) -> Iterator[DatabaseSettings]:
            shutil.copytree(folder, to)
            yield DatabaseSettings()

        return copy_folder
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create_store()
    write(Database(tmp_path_factory.mktemp("ledger"), DatabaseSettings(url=server.url(name))))

    @contextmanager
    def copy_database(_to: Path) -> Iterator[DatabaseSettings]:
        made = server.create(template=name)
        yield DatabaseSettings(url=server.url(made))
        server.drop(made)

    return copy_database


@pytest.fixture
def database(copy: Copy, tmp_path: Path) -> Iterator[Database]:
    with copy(tmp_path / "data") as settings, Database(tmp_path / "data", settings) as opened:
        yield opened


def verify(database: Database) -> int:
    with database.read() as connection:
        return ledger.verify(connection)


def tamper(database: Database, *statements: str) -> None:
    """Edit the store as somebody may who has the file or the server."""
    with database.write() as connection:
        for statement in statements:
            assert connection.exec_driver_sql(statement).rowcount != 0, statement


def test_records_follow_each_other(database: Database) -> None:
    """Numbers run from 1 without gaps; each record holds the hash of the one before."""
    with database.read() as connection:
        records = list(ledger.after(connection, 0))
        head = ledger.head(connection)

    assert [record.sequence for record in records] == [1, 2, 3, 4, 5]
    assert len({record.id for record in records}) == COUNT
    assert [record.previous_hash for record in records] == [
        ledger.GENESIS,
        *(record.hash for record in records[:-1]),
    ]
    assert head == (COUNT, records[-1].hash)
    assert verify(database) == COUNT


def test_a_record_is_read_as_it_was_appended(database: Database) -> None:
    """Every field of a draft comes back, its time with its zone."""
    with database.read() as connection:
        for number, record in enumerate(ledger.after(connection, 0), start=1):
            expected = draft(number)
            for entry in dataclasses.fields(RecordDraft):
                assert getattr(record, entry.name) == getattr(expected, entry.name), entry.name
            assert record.effective_at == START + timedelta(minutes=number)


def test_consumers_go_on_from_a_number(database: Database) -> None:
    """Records after a number, in order; none after the newest."""
    with database.read() as connection:
        assert [record.sequence for record in ledger.after(connection, 3)] == [4, 5]
        assert not list(ledger.after(connection, 5))
        assert [record.sequence for record in ledger.of_case(connection, "case2")] == [2]


def test_an_empty_ledger_holds_good(tmp_path: Path, sql: DatabaseSettings) -> None:
    """Nothing written, nothing wrong."""
    with Database(tmp_path, sql) as database:
        assert verify(database) == 0


def _append_and_fail(database: Database) -> None:
    with database.write() as connection:
        ledger.append(connection, draft(9), now=START)
        raise ZeroDivisionError


def test_a_transaction_that_fails_leaves_no_gap(database: Database) -> None:
    """Numbers are taken in the transaction: rolled back, the next record takes the same one."""
    with pytest.raises(ZeroDivisionError):
        _append_and_fail(database)
    with database.write() as connection:
        assert ledger.append(connection, draft(9), now=START).sequence == COUNT + 1

    assert verify(database) == COUNT + 1


@pytest.mark.parametrize("sequence", [1, 3, COUNT])
@pytest.mark.parametrize("column", COLUMNS)
def test_every_edited_column_shows(database: Database, column: str, sequence: int) -> None:
    """No column of any record can be changed unseen: first, middle or last."""
    changed = {
        "sequence": "77",
        "action": "case action when 'suppress' then 'revoke' else 'suppress' end",
        "state": "'confirmed'",
        "basis_distance_bits": "basis_distance_bits + 1",
        "format": "3 - format",
        "subject": "subject + 1",
        **dict.fromkeys(TIMES, "'2026-03-01 12:00:00.000001'"),
    }
    length = getattr(suppression_records.c[column].type, "length", None) or 64
    value = changed.get(column, f"'{'e' * length}'")
    tamper(database, f"update suppression_records set {column} = {value} where sequence={sequence}")  # noqa: S608

    with pytest.raises(LedgerError):
        verify(database)


@pytest.mark.parametrize("copy", [SQLITE], indirect=True)
@pytest.mark.parametrize(
    "value",
    [
        "effective_at || '+05:00'",
        "effective_at || ' evil'",
        "'never'",
        "''",
        "12",
        "x'00'",
    ],
)
def test_a_time_written_otherwise_shows(database: Database, value: str) -> None:
    """What others would read as another time, or as none, is an edit."""
    tamper(database, f"update suppression_records set effective_at = {value} where sequence = 2")  # noqa: S608

    with pytest.raises(LedgerError):
        verify(database)


@pytest.mark.parametrize("copy", [POSTGRESQL], indirect=True)
@pytest.mark.parametrize(
    "value",
    [
        "effective_at + interval '1 microsecond'",
        "effective_at + interval '9000 years'",
        "effective_at - interval '3000 years'",
        "'infinity'",
        "'-infinity'",
    ],
)
def test_a_time_that_python_cannot_hold_shows(database: Database, value: str) -> None:
    """A server can hold times that no record was written with: edits, not crashes."""
    tamper(database, f"update suppression_records set effective_at = {value} where sequence = 2")  # noqa: S608

    with pytest.raises(LedgerError):
        verify(database)
    with database.read() as connection, contextlib.suppress(LedgerError):
        list(ledger.after(connection, 0))


@pytest.mark.parametrize("copy", [SQLITE], indirect=True)
@pytest.mark.parametrize(
    "value", ["cast(image_url as blob)", "'HTTPS' || substr(image_url, 6)", "image_url || x'00'"]
)
def test_a_value_of_another_type_shows(database: Database, value: str) -> None:
    """Bytes in place of text, other case, a trailing NUL: all edits."""
    tamper(database, f"update suppression_records set image_url = {value} where sequence = 2")  # noqa: S608

    with pytest.raises(LedgerError):
        verify(database)


@pytest.mark.parametrize("sequence", [1, 3, COUNT])
def test_a_missing_record_shows(database: Database, sequence: int) -> None:
    """First, middle or last: the error says where to look."""
    tamper(database, f"delete from suppression_records where sequence = {sequence}")  # noqa: S608

    with pytest.raises(LedgerError, match=f"record {sequence} is missing"):
        verify(database)


def test_all_records_missing_shows(database: Database) -> None:
    """The head remembers that there were records."""
    tamper(database, "delete from suppression_records")

    with pytest.raises(LedgerError, match="missing"):
        verify(database)


def test_a_gap_that_was_closed_shows(database: Database) -> None:
    """Renumbering the records behind a deleted one does not hide it."""
    tamper(
        database,
        "delete from suppression_records where sequence = 3",
        "update suppression_records set sequence = 3 where sequence = 4",
        "update suppression_records set sequence = 4 where sequence = 5",
        "update ledger_head set sequence = 4",
    )

    with pytest.raises(LedgerError, match="record 3"):
        verify(database)


def test_swapped_records_show(database: Database) -> None:
    """The order is part of what was written."""
    tamper(
        database,
        "update suppression_records set sequence = -1 where sequence = 2",
        "update suppression_records set sequence = 2 where sequence = 3",
        "update suppression_records set sequence = 3 where sequence = -1",
    )

    with pytest.raises(LedgerError, match="record 2"):
        verify(database)


@pytest.mark.parametrize("sequence", [-1, 0, COUNT + 1, COUNT + 2])
def test_an_inserted_record_shows(database: Database, sequence: int) -> None:
    """A copy of a record under any other number is no record."""
    names = ", ".join(COLUMNS)
    values = names.replace("sequence", str(sequence), 1).replace(" id", " 'another'", 1)
    tamper(
        database,
        f"insert into suppression_records ({names}) "  # noqa: S608
        f"select {values} from suppression_records where sequence = {COUNT}",
    )

    with pytest.raises(LedgerError):
        verify(database)


@pytest.mark.parametrize(
    "statement",
    [
        "update ledger_head set sequence = sequence - 1",
        "update ledger_head set sequence = sequence + 1",
        "update ledger_head set hash = '0'",
        "delete from ledger_head",
    ],
)
def test_an_edited_head_shows(database: Database, statement: str) -> None:
    """The head is part of the ledger."""
    tamper(database, statement)

    with pytest.raises(LedgerError):
        verify(database)


def test_a_hash_recomputed_for_an_edit_shows(database: Database) -> None:
    """An edit with a hash that fits it breaks the link to the next record."""
    tamper(database, "update suppression_records set image_url = 'https://x/' where sequence = 2")
    with database.read() as connection:
        row = connection.execute(
            suppression_records.select().where(suppression_records.c.sequence == 2)
        ).one()
    made = commitment_of(bytes.fromhex(row.nonce), payload_of(row._mapping)).hex()
    fitting = chain_hash(row.previous_hash, 2, made)
    tamper(
        database,
        f"update suppression_records set hash = '{fitting}', commitment = '{made}',"  # noqa: S608
        f" subject = {ledger.subject_of(row.image_url)}"
        " where sequence = 2",
    )

    with pytest.raises(LedgerError, match="record 3 does not follow"):
        verify(database)


def test_errors_name_no_address(database: Database) -> None:
    """What is wrong with a ledger is safe to log."""
    tamper(database, "update suppression_records set image_url = 'https://hidden.example/'")

    with pytest.raises(LedgerError) as caught:
        verify(database)

    assert "://" not in str(caught.value)

"""Hash columns on a real LMDB: rows, chunks, free rows, and a layout that is checked."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import StoreDamagedError
from indexer.store.columns import HashColumn
from indexer.store.environment import Environment
from tests.fakes.signals import SETTINGS

ROWS, PER_ROW = 4, 2
operations = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["add", "add", "remove", "replace"]), st.integers(0, 100)),
        max_size=8,
    ),
    max_size=6,
)
compactions = st.lists(st.integers(0, 12), max_size=6)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    with Environment(tmp_path / "store", SETTINGS) as opened:
        yield opened


@pytest.fixture
def column(environment: Environment) -> HashColumn:
    return make_column(environment)


def make_column(
    environment: Environment, *, rows: int = ROWS, per_row: int = PER_ROW
) -> HashColumn:
    return HashColumn(environment, "hashes", digests_per_row=per_row, rows_per_chunk=rows)


def row_of(number: int) -> bytes:
    return bytes([number % 255 + 1]) * 32 * PER_ROW


def owner_of(number: int) -> bytes:
    return number.to_bytes(16)


def read(environment: Environment, column: HashColumn) -> dict[int, tuple[bytes, bytes, int]]:
    """Map live rows to digests, owner and flag; check that free rows are zero."""
    found = {}
    with environment.read() as txn:
        for number in range(column.chunk_count(txn)):
            chunk = column.chunk(txn, number)
            for at, flag in enumerate(chunk.flags.tolist()):
                digests, owner = chunk.digests[at].tobytes(), chunk.owners[at].tobytes()
                if flag:
                    found[number * ROWS + at] = (digests, owner, flag)
                else:
                    assert not any(digests + owner)
    return found


def stored(environment: Environment) -> bytes:
    """Read the bytes of the first chunk."""
    database = environment.database(b"hashes")
    with environment.read() as txn:
        raw = txn.get(bytes(8), db=database)
        assert raw is not None
        return raw.tobytes() if isinstance(raw, memoryview) else raw


@settings(deadline=None, max_examples=60)
@given(operations)
def test_rows_equal_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, transactions: list[list[tuple[str, int]]]
) -> None:
    """Any changes in any transactions: live rows as in a dictionary, free rows zero and reused."""
    model: dict[int, tuple[bytes, bytes, int]] = {}
    most = 0
    with Environment(tmp_path_factory.mktemp("column") / "store", SETTINGS) as environment:
        column = make_column(environment)
        for changes in transactions:
            with environment.write() as txn, column.writer(txn) as writer:
                for what, number in changes:
                    digests, owner, flag = row_of(number), owner_of(number), 1 + number % 2
                    if what == "add":
                        row = writer.add(digests=digests, owner=owner, flag=flag)
                        assert row not in model
                        model[row] = (digests, owner, flag)
                        most = max(most, len(model))
                    elif model:
                        row = sorted(model)[number % len(model)]
                        if what == "remove":
                            writer.remove(row)
                            del model[row]
                        else:
                            writer.replace(row, digests=digests, owner=owner)
                            model[row] = (digests, owner, 1)
            assert read(environment, column) == model
        with environment.read() as txn:
            assert column.chunk_count(txn) == -(-most // ROWS)


@settings(deadline=None, max_examples=100)
@given(operations, compactions)
def test_compaction_keeps_every_row(
    tmp_path_factory: pytest.TempPathFactory,
    transactions: list[list[tuple[str, int]]],
    sizes: list[int],
) -> None:
    """Rows move to the front in steps of any size, each owner is told, and the end comes nearer."""
    model: dict[int, tuple[bytes, bytes, int]] = {}
    serial = 0
    with Environment(tmp_path_factory.mktemp("column") / "store", SETTINGS) as environment:
        column = make_column(environment)

        database = environment.database(b"hashes")

        def moved(owner: bytes, old: int, new: int) -> None:
            assert new < old
            assert new not in model
            assert model[old][1] == owner
            model[new] = model.pop(old)

        for at, changes in enumerate(transactions):
            with environment.write() as txn, column.writer(txn) as writer:
                for what, number in changes:
                    serial += 1
                    if what == "add":
                        entry = (row_of(number), owner_of(serial), 1 + number % 2)
                        row = writer.add(digests=entry[0], owner=entry[1], flag=entry[2])
                        model[row] = entry
                    elif model:
                        row = sorted(model)[number % len(model)]
                        if what == "remove":
                            writer.remove(row)
                            del model[row]
            with environment.write() as txn:
                chunks = column.chunk_count(txn)
                result = column.compact(
                    txn, most=sizes[at % len(sizes)] if sizes else 3, moved=moved
                )
                assert result[1] == chunks - column.chunk_count(txn)
            assert read(environment, column) == model
        with environment.write() as txn:
            column.compact(txn, most=1000, moved=moved)
            assert column.rows(txn) == (len(model), 0)
            assert column.chunk_count(txn) == len(column.stamps(txn)) == -(-len(model) // ROWS)
            assert txn.stat(database)["entries"] == column.chunk_count(txn)
        assert read(environment, column) == model
        assert sorted(model) == list(range(len(model)))


def test_a_chunk_that_comes_back_has_a_new_stamp(
    environment: Environment, column: HashColumn
) -> None:
    """A chunk that was dropped and is filled again is not taken for the one it was."""
    with environment.write() as txn, column.writer(txn) as writer:
        rows = [writer.add(digests=row_of(n), owner=owner_of(n)) for n in range(ROWS + 1)]
    before = stamps(environment, column)
    with environment.write() as txn, column.writer(txn) as writer:
        writer.remove(rows[0])
    with environment.write() as txn:
        assert column.compact(txn, most=9, moved=lambda *_: None) == (1, 1)
    assert len(stamps(environment, column)) == 1
    with environment.write() as txn, column.writer(txn) as writer:
        writer.add(digests=row_of(9), owner=owner_of(9))

    assert stamps(environment, column)[1] > before[1]


def test_what_goes_is_counted(environment: Environment, column: HashColumn) -> None:
    """Removed and overwritten rows count, and only with the transaction that removes them."""
    with environment.write() as txn, column.writer(txn) as writer:
        for number in range(3):
            writer.add(digests=row_of(number), owner=owner_of(number))
        assert column.removed(txn) == 0
    with environment.write() as txn:
        with column.writer(txn) as writer:
            writer.remove(0)
            writer.replace(1, digests=row_of(5), owner=owner_of(5))
        assert column.removed(txn) == 2
        assert column.row(txn, 0) is None
        assert column.row(txn, 1) == row_of(5)
        assert column.row(txn, 900) is None
        column.compact(txn, most=9, moved=lambda *_: None)
        assert column.removed(txn) == 2


def test_an_error_leaves_no_change(environment: Environment, column: HashColumn) -> None:
    """Neither rows nor free rows of a transaction that failed are kept."""
    with environment.write() as txn, column.writer(txn) as writer:
        first = writer.add(digests=row_of(1), owner=owner_of(1))
    before = read(environment, column)

    def fail() -> None:
        with environment.write() as txn, column.writer(txn) as writer:
            writer.remove(first)
            writer.add(digests=row_of(2), owner=owner_of(2))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert read(environment, column) == before
    with environment.write() as txn, column.writer(txn) as writer:
        assert writer.add(digests=row_of(3), owner=owner_of(3)) == first + 1


def test_a_reader_keeps_its_state(environment: Environment, column: HashColumn) -> None:
    """Arrays of a read transaction do not change while others write."""
    with environment.write() as txn, column.writer(txn) as writer:
        row = writer.add(digests=row_of(1), owner=owner_of(1))
    with environment.read() as reading:
        chunk = column.chunk(reading, 0)
        with environment.write() as txn, column.writer(txn) as writer:
            writer.remove(row)
        assert chunk.digests[row].tobytes() == row_of(1)
        assert not chunk.digests.flags.writeable


def test_the_layout_is_as_written(environment: Environment, column: HashColumn) -> None:
    """The bytes of a chunk are those that the module describes."""
    with environment.write() as txn, column.writer(txn) as writer:
        writer.add(digests=row_of(1), owner=owner_of(1))
        writer.add(digests=row_of(2), owner=owner_of(2), flag=2)
    raw = stored(environment)

    assert raw[:16] == struct.pack("<4sHHI4x", b"DLHC", 1, PER_ROW, ROWS)
    assert raw[16:] == (
        (row_of(1) + row_of(2)).ljust(ROWS * PER_ROW * 32, b"\0")
        + (owner_of(1) + owner_of(2)).ljust(ROWS * 16, b"\0")
        + b"\1\2\0\0"
    )


@pytest.mark.parametrize(
    ("at", "value"), [(0, b"X"), (4, b"\x02"), (6, b"\x03"), (8, b"\x05"), (None, b"")]
)
def test_damaged_chunks_are_refused(
    environment: Environment, column: HashColumn, at: int | None, value: bytes
) -> None:
    """Another mark, version, row width, row count or size is damage, never read as digests."""
    database = environment.database(b"hashes")
    with environment.write() as txn, column.writer(txn) as writer:
        writer.add(digests=row_of(1), owner=owner_of(1))
    raw = stored(environment)
    with environment.write() as txn:
        changed = raw[:-1] if at is None else raw[:at] + value + raw[at + 1 :]
        txn.put(bytes(8), changed, db=database)

    with environment.read() as txn, pytest.raises(StoreDamagedError):
        column.chunk(txn, 0)
    with environment.read() as txn, pytest.raises(StoreDamagedError):
        column.chunk(txn, 1)


@pytest.mark.parametrize("shape", [{"rows": ROWS + 1}, {"per_row": PER_ROW + 1}])
def test_a_column_of_another_shape_is_not_overwritten(
    environment: Environment, column: HashColumn, shape: dict[str, int]
) -> None:
    """Writing into chunks of another layout is refused; their rows stay."""
    with environment.write() as txn, column.writer(txn) as writer:
        writer.add(digests=row_of(1), owner=owner_of(1))
    other = make_column(environment, **shape)
    digests = bytes(other.digests_per_row * 32)

    def write() -> None:
        with environment.write() as txn, other.writer(txn) as writer:
            writer.add(digests=digests, owner=owner_of(2))

    with pytest.raises(StoreDamagedError):
        write()
    assert len(read(environment, column)) == 1


@pytest.mark.parametrize(("digests", "owner"), [(b"short", owner_of(1)), (row_of(1), b"short")])
def test_a_row_of_another_size_is_refused(
    environment: Environment, column: HashColumn, digests: bytes, owner: bytes
) -> None:
    """A row that is too short or too long must not shift those behind it."""

    def write() -> None:
        with environment.write() as txn, column.writer(txn) as writer:
            writer.add(digests=digests, owner=owner)

    with pytest.raises(ValueError, match="bytes"):
        write()
    assert read(environment, column) == {}


def stamps(environment: Environment, column: HashColumn) -> list[int]:
    with environment.read() as txn:
        return [int(stamp) for stamp in column.stamps(txn)]


def test_a_changed_chunk_has_a_new_stamp(environment: Environment, column: HashColumn) -> None:
    """Adding, replacing and removing rows raises the stamp of their chunk, and of no other."""
    assert stamps(environment, column) == []
    with environment.write() as txn, column.writer(txn) as writer:
        rows = [
            writer.add(digests=row_of(number), owner=owner_of(number)) for number in range(3 * ROWS)
        ]
    first = stamps(environment, column)
    with environment.write() as txn, column.writer(txn) as writer:
        writer.remove(rows[ROWS])
    second = stamps(environment, column)
    with environment.write() as txn, column.writer(txn) as writer:
        writer.replace(rows[-1], digests=row_of(9), owner=owner_of(9))
    third = stamps(environment, column)
    with environment.write() as txn, column.writer(txn) as writer:
        writer.add(digests=row_of(8), owner=owner_of(8))  # in the row that is free

    assert len(first) == 3
    assert (first[0], first[2]) == (second[0], second[2])
    assert first[1] < second[1]
    assert second[:2] == third[:2]
    assert second[2] < third[2]
    fourth = stamps(environment, column)
    assert (third[0], third[2]) == (fourth[0], fourth[2])
    assert third[1] < fourth[1]


def test_stamps_grow_within_a_transaction_and_never_go_back(
    environment: Environment, column: HashColumn
) -> None:
    """A second writer in one transaction counts, and so does a change in a compacted copy."""
    database = environment.database(b"hashes.stamps")
    with environment.write() as txn:
        for number in range(2):
            with column.writer(txn) as writer:
                writer.add(digests=row_of(number), owner=owner_of(number))
            seen = int(column.stamps(txn)[0])
            assert seen == txn.id() + number
        txn.put(bytes(8), (10**9).to_bytes(8) * 128, db=database)
    with environment.write() as txn, column.writer(txn) as writer:
        writer.remove(0)

    assert stamps(environment, column) == [10**9 + 1]


def test_a_column_from_before_there_were_stamps(
    environment: Environment, column: HashColumn
) -> None:
    """A chunk without a stamp has 0, until it changes."""
    with environment.write() as txn, column.writer(txn) as writer:
        for number in range(2 * ROWS):
            writer.add(digests=row_of(number), owner=owner_of(number))
    database = environment.database(b"hashes.stamps")
    with environment.write() as txn:
        txn.drop(database, delete=False)
    assert stamps(environment, column) == [0, 0]
    with environment.write() as txn, column.writer(txn) as writer:
        writer.remove(ROWS)

    assert stamps(environment, column)[0] == 0
    assert stamps(environment, column)[1] > 0

"""Conditions on lists: the same rows as ever, by few statements."""

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    select,
)

from delist.store.lists import among

HELD = 1_200
LENGTHS = (0, 1, 2, 3, 5, 17, 64, 65, 127, 128, 500, 512, 513, 900, 1_024, 1_025, HELD)
METADATA = MetaData()
NUMBERS = Table("numbers", METADATA, Column("n", Integer, primary_key=True))


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database of its own, in memory, that holds the numbers below ``HELD``."""
    with create_engine("sqlite://").connect() as found:
        METADATA.create_all(found)
        found.execute(insert(NUMBERS), [{"n": number} for number in range(HELD)])
        yield found


@pytest.mark.parametrize("length", LENGTHS)
def test_a_list_is_met_by_its_own_values_alone(connection: Connection, length: int) -> None:
    """None is left out and none comes twice, whatever the length; an empty list meets nothing."""
    chosen = select(NUMBERS).where(among(NUMBERS.c.n, range(length))).order_by(NUMBERS.c.n)

    assert list(connection.scalars(chosen)) == list(range(length))


def test_lists_of_all_lengths_make_few_statements(connection: Connection) -> None:
    """Drivers keep what they have prepared by its text: a thousand lengths make a dozen texts."""
    texts: set[str] = set()
    event.listen(connection, "before_cursor_execute", lambda *said: texts.add(said[2]))

    for length in range(1, 1_001):
        connection.execute(select(NUMBERS).where(among(NUMBERS.c.n, range(length))))

    assert len(texts) <= 12

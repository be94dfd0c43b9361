"""What tests share: both databases."""

from collections.abc import Iterator

import pytest

from delist.settings import DatabaseSettings
from tests.fakes.postgres import PostgresServer

SQLITE, POSTGRESQL = "sqlite", "postgresql"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for this process of the tests. One that does not start is a failure."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def empty_sql(request: pytest.FixtureRequest) -> Iterator[DatabaseSettings]:
    """A place of each kind where a store can be made."""
    if request.param == SQLITE:
        yield DatabaseSettings()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create()
    yield DatabaseSettings(url=server.url(name))
    server.drop(name)


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def sql(request: pytest.FixtureRequest) -> Iterator[DatabaseSettings]:
    """A database with all tables, of each kind: the store behaves the same on both."""
    if request.param == SQLITE:
        yield DatabaseSettings()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create_store()
    yield DatabaseSettings(url=server.url(name))
    server.drop(name)

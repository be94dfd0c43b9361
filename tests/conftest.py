"""What tests share: both databases, and child processes that start as an installation's do."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from delist.settings import DatabaseSettings
from tests.fakes.postgres import PostgresServer

SQLITE, POSTGRESQL = "sqlite", "postgresql"


@pytest.fixture(scope="session", autouse=True)
def installed() -> Iterator[None]:
    """Let child processes find what an installation has, and no more.

    scipy comes with the tests' imagehash alone. Where it is there numba loads it: a third of a
    second for every process that hashes. (A fixture, since xdist's workers are children too.)
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "children"), prepend=os.pathsep)
        yield


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

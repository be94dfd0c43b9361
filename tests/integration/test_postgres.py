"""PostgreSQL in particular: servers that go away, addresses that are wrong, words that are safe."""

import contextlib
import ctypes
import os
import pwd
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from delist import SuppressionFilter
from delist.build import Delist
from delist.errors import DatabaseError
from delist.model import CaseState
from delist.ops.doctor import Health, examine
from delist.serving.filter import POLL_S
from delist.settings import DatabaseSettings, load_settings
from delist.store import Database, ledger, positions
from delist.store.postgres import Postgres
from indexer.errors import SettingsError
from tests.fakes.delisting import START, World, digest_of, image_near
from tests.fakes.postgres import PostgresServer
from tests.integration.test_ledger import draft

NEAR, URL = digest_of("near"), "https://site.example/a.jpg"
CUT = "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'"


@pytest.fixture
def name(postgres: PostgresServer) -> Iterator[str]:
    name = postgres.create_store()
    yield name
    postgres.drop(name)


@pytest.fixture
def settings(postgres: PostgresServer, name: str) -> DatabaseSettings:
    return DatabaseSettings(url=postgres.url(name))


@pytest.fixture
def database(tmp_path: Path, settings: DatabaseSettings) -> Iterator[Database]:
    with Database(tmp_path, settings) as opened:
        yield opened


def put(database: Database, sequence: int) -> None:
    with database.write() as connection:
        positions.put(connection, "match", sequence)


def load(database: Database) -> int:
    with database.read() as connection:
        return positions.load(connection, "match")


def test_idle_connections_that_were_cut_are_no_error(
    postgres: PostgresServer, name: str, database: Database
) -> None:
    """A server that was restarted over night is not the next command's business."""
    put(database, 1)
    postgres.execute(CUT.format(name))
    assert load(database) == 1
    postgres.execute(CUT.format(name))
    put(database, 2)
    assert load(database) == 2


def cut_under_way(postgres: PostgresServer, name: str, database: Database) -> None:
    with database.write() as connection:
        positions.put(connection, "match", 1)
        postgres.execute(CUT.format(name))
        positions.put(connection, "signal", 1)


def test_a_connection_cut_in_a_write_keeps_nothing(
    postgres: PostgresServer, name: str, database: Database
) -> None:
    """An error in our words; nothing half written, and the next use connects anew."""
    with pytest.raises(DatabaseError, match="connection to the database server was lost"):
        cut_under_way(postgres, name, database)

    assert load(database) == 0
    put(database, 2)
    assert load(database) == 2


def cut_before_commit(postgres: PostgresServer, name: str, database: Database) -> None:
    with database.write() as connection:
        positions.put(connection, "match", 1)
        postgres.execute(CUT.format(name))


def test_a_connection_cut_before_the_commit_is_told(
    postgres: PostgresServer, name: str, database: Database
) -> None:
    """Nobody takes for written what is not."""
    with pytest.raises(DatabaseError, match="was lost"):
        cut_before_commit(postgres, name, database)

    assert load(database) == 0


def test_a_server_that_is_away(tmp_path: Path) -> None:
    """While it is away everything fails, the filter too; afterwards all is there."""
    with PostgresServer() as server:
        settings = DatabaseSettings(url=server.url(server.create_store()))
        with World(tmp_path / "data", database=settings) as world:
            world.offer(NEAR)
            world.visit(URL, image_near({NEAR: 2}))
            world.take_in()
            assert world.results.is_suppressed(URL)
            server.stop()
            time.sleep(POLL_S)  # so long an answer may rest on what was read before
            with pytest.raises(DatabaseError, match=r"cannot be reached|was lost"):
                world.results.is_suppressed(URL)
            with pytest.raises(DatabaseError, match="cannot be reached"):
                world.take_in()
            with pytest.raises(DatabaseError, match="cannot be reached"):
                Database(tmp_path, settings)
            world.visit("https://site.example/b.jpg", image_near({NEAR: 3}))
            server.start()

            assert world.results.is_suppressed(URL)
            assert world.take_in().suppressed == 1
            assert world.delist.verify_ledger() == 2


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of 16 MiB that the server can write to, where this process may mount one."""
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=16777216,mode=0777"):
        pytest.skip(f"no disk can be mounted here: {os.strerror(ctypes.get_errno())}")
    place = folder / "place"
    place.mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(place, nobody.pw_uid, nobody.pw_gid)
    yield place
    assert libc.umount2(bytes(folder), 2) == 0
    folder.rmdir()


def fill(database: Database) -> None:
    with database.write() as connection:
        for number in range(2000):
            ledger.append(connection, draft(number), now=START)


def test_a_full_disk_of_the_server(postgres: PostgresServer, tmp_path: Path, disk: Path) -> None:
    """In the same words as on SQLite; nothing of the write is kept, reads go on."""
    postgres.execute(f"create tablespace small location '{disk}'")
    postgres.execute("create database small tablespace small")
    with Database(tmp_path, DatabaseSettings(url=postgres.url("small"))) as database:
        with database.write() as connection:
            ledger.append(connection, draft(1), now=START)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(DatabaseError, match=r"^the disk is full"):
            fill(database)
        with database.read() as connection:
            assert ledger.verify(connection) == 1
        filler.unlink()
        fill(database)
        with database.read() as connection:
            assert ledger.verify(connection) == 2001
    postgres.drop("small")
    postgres.execute("drop tablespace small")


def test_databases_of_one_server_are_apart(
    postgres: PostgresServer, tmp_path: Path, database: Database
) -> None:
    """A write in one does not wait for a write in another."""
    other = DatabaseSettings(url=postgres.url(postgres.create_store()))
    with database.write(), Database(tmp_path, other) as second:
        put(second, 1)


def shown(error: BaseException) -> str:
    """What a log of this error would show."""
    assert "\n" not in str(error)
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql://stranger:s3cr3t@/{name}?host={home}", "refuses user or password"),
        ("postgresql://nobody1:s3cr3t@/{name}?host={home}", "refuses user or password"),
        ("postgresql://postgres:s3cr3t@/hidden?host={home}", "does not exist"),
        ("postgresql://postgres:s3cr3t@/x?host=/hidden", "cannot be reached"),
        ("postgresql://postgres:s3cr3t@127.0.0.1:1/hidden", "cannot be reached"),
        ("postgresql://guest:s3cr3t@/{name}?host={home}", "lacks a permission"),
        ("postgresql://postgres:s3cr3t@/x?host={home}&hidden=1", "not one that libpq reads"),
        ("postgresql://u:s3cr3t@%zz/x", "not one that libpq reads"),
        ("postgresql://u:s3cr3t@h:1:2/x", "cannot|libpq"),
        ("postgresql://u:s3cr3t@hidden.example/x?sslmode=prefer", "sslmode must be require"),
        ("postgresql://u:s3cr3t@hidden.example/x?sslmode=disable", "sslmode must be require"),
        ("postgresql://u:s3cr3t@127.0.0.1,hidden/x?sslmode=allow", "sslmode must be require"),
        ("postgresql://u:s3cr3t@localhost/x?hostaddr=192.0.2.1&sslmode=allow", "must be require"),
        ("postgresql://?service=hidden&password=s3cr3t", "service file"),
    ],
)
def test_a_wrong_address_is_never_shown(
    postgres: PostgresServer, name: str, tmp_path: Path, address: str, words: str
) -> None:
    """One line that says what is wrong: without password, user, host or name."""
    for role in ("stranger", "guest"):
        create = f"create role {role} login password 's3cr3t-no'"
        postgres.execute(f"do $$ begin {create}; exception when others then null; end $$")
    postgres.execute("revoke all on schema public from public", name=name)
    file = tmp_path / "url"
    file.write_text(address.format(name=name, home=postgres.home) + "\n")

    with pytest.raises((DatabaseError, SettingsError), match=words) as caught:
        Database(tmp_path, DatabaseSettings(url_file=file))

    told = shown(caught.value)
    for secret in ("s3cr3t", "hidden", "stranger", "nobody1", "guest", str(postgres.home)):
        assert secret not in str(caught.value)
        assert secret not in told


@pytest.mark.parametrize(
    ("address", "mode"),
    [
        ("postgresql://u@db.example/x", "require"),
        ("postgresql:///x", "require"),
        ("postgresql+psycopg://u@db.example/x?sslmode=verify-full", "verify-full"),
        ("postgresql://u@127.0.0.1/x", None),
        ("postgresql://u@/x?host=/run/postgresql", None),
        ("postgres://u@localhost,127.0.0.1/x?sslmode=disable", "disable"),
    ],
)
def test_cases_leave_the_machine_only_encrypted(address: str, mode: str | None) -> None:
    """To another machine TLS is a must, without a word in the address too."""
    given = psycopg.conninfo.conninfo_to_dict(address.replace("+psycopg", ""))
    backend = Postgres(address)
    handed: dict[str, object] = {}
    for listener in backend.engine.dialect.dispatch.do_connect:
        listener(backend.engine.dialect, None, [], handed)

    assert handed.get("sslmode") == mode
    assert {key: handed[key] for key in given} == given
    assert handed["connect_timeout"] == "10"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (psycopg.errors.DiskFull, "the disk is full"),
        (psycopg.errors.LockNotAvailable, "another process has been writing for 60 s"),
        (psycopg.errors.QueryCanceled, "statement_timeout"),
        (psycopg.errors.ReadOnlySqlTransaction, "can only be read"),
        (psycopg.errors.TooManyConnections, "no more connections"),
        (psycopg.errors.AdminShutdown, "was lost"),
        (psycopg.errors.UniqueViolation, "UniqueViolation (23505)"),
        (psycopg.errors.InvalidPassword, "refuses user or password"),
        (psycopg.OperationalError, "was lost"),
        (psycopg.InterfaceError, "InterfaceError"),
        (psycopg.DataError, "DataError"),
        (psycopg.errors.ConnectionTimeout, "cannot be reached|was lost"),
    ],
)
def test_every_error_has_words_of_ours(error: type[psycopg.Error], words: str) -> None:
    """PostgreSQL's own words hold values, and so none of them is taken over."""
    said = Postgres("postgresql:///x").explain(error("hidden value\nDETAIL: Key (url)=(hidden)"))

    assert any(part in said for part in words.split("|"))
    assert "hidden" not in said
    assert "\n" not in said


def test_a_database_that_cannot_hold_every_text(postgres: PostgresServer, tmp_path: Path) -> None:
    """An encoding other than UTF-8 is refused before anything is written."""
    postgres.execute("create database latin encoding 'LATIN1' template template0")

    with pytest.raises(DatabaseError, match="UTF8"):
        Database(tmp_path, DatabaseSettings(url=postgres.url("latin")))


def test_the_owner_of_the_database_needs_no_more(postgres: PostgresServer, tmp_path: Path) -> None:
    """Neither to make the tables nor to use them a superuser is asked for."""
    postgres.execute("create role plain login")
    postgres.execute("create database plain owner plain")

    with Database(tmp_path, DatabaseSettings(url=postgres.url("plain", user="plain"))) as database:
        put(database, 1)
        assert load(database) == 1
        assert "fsync" in database.risk()


def test_what_is_said_to_be_written_stays(
    postgres: PostgresServer, name: str, settings: DatabaseSettings, tmp_path: Path
) -> None:
    """A role or database that commits without waiting for the disk waits for us."""
    postgres.execute(f"alter database {name} set synchronous_commit = off")
    postgres.execute(f"alter database {name} set default_transaction_read_only = on")

    with Database(tmp_path, settings) as database:
        put(database, 1)
        with database.read() as connection:
            found = connection.exec_driver_sql("show synchronous_commit").scalar_one()
    assert found == "on"


def test_without_the_driver_one_line_says_what_is_missing(tmp_path: Path) -> None:
    """The extra is named; SQLite does without it."""
    script = """
import sys
sys.modules["psycopg"] = None
from pathlib import Path
from delist.settings import DatabaseSettings
from delist.store import Database
Database(Path(sys.argv[1])).close()
try:
    Database(Path(sys.argv[1]), DatabaseSettings(url="postgresql:///x"))
except Exception as error:
    print(type(error).__name__, error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert ran.stderr == ""
    assert ran.stdout == (
        'DatabaseError PostgreSQL needs the extra "postgres": pip install "delist[postgres]"\n'
    )


def test_a_configuration_file_names_the_database(
    postgres: PostgresServer, name: str, tmp_path: Path
) -> None:
    """Commands, jobs and the filter of result pages all go where ``url_file`` points."""
    (tmp_path / "url").write_text(postgres.url(name) + "\n")
    config = tmp_path / "delist.toml"
    config.write_text('data_dir = "data"\n[database]\nurl_file = "url"\n')
    with World(tmp_path / "data", database=load_settings(config).database) as world:
        world.offer(NEAR)
        world.visit(URL, image_near({NEAR: 2}))
        world.take_in()
        assert world.state_of(URL) is CaseState.SUPPRESSED

    with SuppressionFilter.open(config) as results, Delist.open(config) as delist:
        assert results.is_suppressed(URL)
        assert delist.verify_ledger() == 1
    assert not list((tmp_path / "data").glob("delist.sqlite3*"))


def test_doctor_looks_at_the_database_in_use(
    postgres: PostgresServer, name: str, tmp_path: Path
) -> None:
    """Product and risk by name; when it cannot be reached the check fails, and no address shows."""
    file = tmp_path / "url"
    config = tmp_path / "delist.toml"
    config.write_text('data_dir = "data"\n[database]\nurl_file = "url"\n')

    def check() -> tuple[Health, str]:
        with Delist.open(config) as delist:
            found = {check.name: check for check in examine(delist)}
        return found["cases"].health, found["cases"].detail + found["cases"].mend

    file.write_text(postgres.url(name).replace("postgres@", "postgres:s3cr3t@"))
    health, told = check()
    assert health is Health.WARNING
    assert "PostgreSQL 18" in told
    assert "fsync and full_page_writes" in told
    assert "s3cr3t" not in told
    file.write_text(postgres.url("missing").replace("postgres@", "postgres:s3cr3t@"))
    health, told = check()
    assert health is Health.FAILED
    assert "does not exist" in told
    assert "s3cr3t" not in told
    file.unlink()
    assert check()[0] is Health.FAILED

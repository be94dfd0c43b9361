"""PostgreSQL: a server, reached by an address as libpq reads it.

Writes are as on SQLite one after the other: each begins by taking an advisory lock
of the database, which it keeps until it ends (ADR 0021). PostgreSQL's own messages
hold values, addresses and names of users, so none of them is ever shown.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event, text

from delist.errors import DatabaseError
from delist.store.backend import BUSY_TIMEOUT_S, DISK_FULL
from indexer.errors import SettingsError

if TYPE_CHECKING:
    import psycopg

_WRITE_LOCK = 0x64656C697374  # "delist"
_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# READ COMMITTED: with a snapshot of the whole transaction, what the writer before us commits
# while we wait for the lock would stay unseen.
_BEGIN_BESIDE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_BEGIN_WRITE = f"{_BEGIN_BESIDE}; SELECT pg_advisory_xact_lock({_WRITE_LOCK})"
_SET_UP = (
    "SET TIME ZONE 'UTC'; SET datestyle = 'ISO, MDY';"
    f" SET lock_timeout = '{BUSY_TIMEOUT_S}s';"
    # A role may have it off; what was said to be written has to stay.
    " SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)
_DEFAULTS = {
    "application_name": "delist",
    "connect_timeout": "10",
    # A server that went away without a word is given up after a minute, not after hours.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# By SQLSTATE, or its first two signs.
_STATES = {
    "53100": DISK_FULL,
    "53300": "the database server takes no more connections",
    "55P03": f"another process has been writing for {BUSY_TIMEOUT_S} s",
    "57014": "the database server gave up on a statement (its statement_timeout)",
    "25006": "the database can only be read: a standby, or set so",
    "42501": "the database user lacks a permission",
    "3F000": "the database user lacks a permission: there is no schema to use",
    "3D000": "the database does not exist",
    "28": "the database server refuses user or password",
    "08": "the connection to the database server failed",
    "57P": "the connection to the database server was lost; what was under way is there"
    " whole or not at all",
}
# The server says why it lets nobody in before there is a SQLSTATE.
_TEXTS = {
    "system is": "the database server is starting or stopping",
    "password": _STATES["28"],
    "pg_hba.conf": _STATES["28"],
    "role ": _STATES["28"],
    "database ": _STATES["3D000"],
    "SSL": "no encrypted connection to the database server comes about",
    "certificate": "no encrypted connection to the database server comes about",
    "translate host name": "the name of the database server's host is not known",
    "resolve host": "the name of the database server's host is not known",
    "too many": _STATES["53300"],
}


class Postgres:
    """A database of a server. A write takes an advisory lock at its start."""

    whose = "the database"
    shared = True

    def __init__(self, url: str) -> None:
        """Look at the address; nothing is connected yet.

        Raises:
            SettingsError: it is no address, or would send cases unencrypted.
            DatabaseError: the driver is not installed.
        """
        parameters = _parameters(url)
        self.engine = create_engine(
            "postgresql+psycopg://", hide_parameters=True, use_native_hstore=False
        )
        event.listen(self.engine, "connect", _set_up)

        @event.listens_for(self.engine, "do_connect")
        def _address(_dialect: Any, _record: Any, _args: Any, given: dict[str, Any]) -> None:  # noqa: ANN401
            given.update(parameters)

    def exists(self) -> bool:
        """See the port."""
        return True

    def begin(self, connection: Connection, *, reading: bool) -> None:
        """See the port."""
        connection.exec_driver_sql(_BEGIN_READ if reading else _BEGIN_WRITE)

    def begin_beside(self, connection: Connection) -> None:
        """See the port. Without the lock that keeps other writers waiting."""
        connection.exec_driver_sql(_BEGIN_BESIDE)

    def now(self, connection: Connection) -> datetime:
        """See the port."""
        said: datetime = connection.exec_driver_sql("select clock_timestamp()").scalar_one()
        return said.astimezone(UTC)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See the port. Tables are made in a write transaction, which is alone."""
        yield

    def prepare(self) -> None:
        """See the port. A database is made by whoever runs the server."""

    def explain(self, error: BaseException) -> str:
        """See the port."""
        state = getattr(error, "sqlstate", None)
        if state is not None:
            for part in (state, state[:3], state[:2]):
                if part in _STATES:
                    return _STATES[part]
            return f"{type(error).__name__} ({state})"
        if not isinstance(error, _driver().OperationalError):
            return type(error).__name__
        said = str(error)
        if "connection failed" in said or "connection is bad" in said:
            named = (words for part, words in _TEXTS.items() if part in said)
            return next(named, "the database server cannot be reached")
        return _STATES["57P"]

    def product(self, connection: Connection) -> str:
        """See the port."""
        version = connection.exec_driver_sql("show server_version").scalar_one()
        return f"PostgreSQL {str(version).split()[0]}"

    def risk(self, connection: Connection) -> str:
        """See the port."""
        names = ("fsync", "full_page_writes")
        asked = text("select name from pg_settings where name = any(:names) and setting = 'off'")
        off = sorted(connection.scalars(asked, {"names": list(names)}))
        return f"the database server has {' and '.join(off)} switched off" if off else ""


def _driver() -> Any:  # noqa: ANN401 - a module
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError:
        raise DatabaseError(
            'PostgreSQL needs the extra "postgres": pip install "delist[postgres]"'
        ) from None
    return psycopg


def _parameters(url: str) -> Mapping[str, Any]:
    """Take an address apart, with defaults for what it leaves open."""
    try:
        given = _driver().conninfo.conninfo_to_dict(url.replace("+psycopg:", ":", 1))
    except _driver().Error:  # `from None`: it holds the address
        raise SettingsError("database: the address is not one that libpq reads") from None
    if "service" in given:
        raise SettingsError("database: a service file is not read; the address names the host")
    hosts = [*given.get("host", "").split(","), *given.get("hostaddr", "").split(",")]
    named = [host for host in hosts if host]
    if not named or any(not _is_near(host) for host in named):
        # URLs of images leave the machine only encrypted.
        mode = given.setdefault("sslmode", "require")
        if named and mode not in _ENCRYPTED:
            raise SettingsError(
                "database: to another machine sslmode must be require, verify-ca or verify-full"
            )
    return {**_DEFAULTS, **given}


def _is_near(host: str) -> bool:
    return host in _LOOPBACK or host.startswith(("/", "@"))


def _set_up(connection: "psycopg.Connection[Any]", _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
    # We say BEGIN ourselves: a transaction says whether it reads or writes.
    connection.autocommit = True
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise DatabaseError("the encoding of the database must be UTF8; create it with that")
    connection.execute(_SET_UP)

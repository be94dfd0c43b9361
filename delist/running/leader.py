"""Who does the periodic work: one process among several, on one machine or on many.

Two locks, taken in this order:

1. a lock on a file of the data directory, which the system releases when its holder is killed,
   so that on one machine the next goes on at once;
2. a lease in the case store (``delist.store.leases``), for machines that share a database.
   With SQLite nobody else can share it, so the file lock says it all.

The lease is renewed by a thread. While the last renewal is younger than ``lease_s`` nobody else
can have it; a leader that cannot renew gives up early enough to have stopped by then
(``is_sure``). Should it be stopped altogether and wake up later, the number of its lease keeps
it from writing (``Database.fence``).
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import IO

import structlog

from delist.errors import DelistError
from delist.settings import JobSettings
from delist.store import Database, leases

LOCK = "run.lock"
_POLL_S = 0.5
_RENEWALS = 6
"""How often the lease is renewed within the time that a leader may go without."""
_WITHOUT = 0.75
"""Share of the time beyond `stop_s` that a leader may go without a renewal."""
_BRIEFLY_S = 2.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = structlog.get_logger()


def _elapsed() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Leader:
    """One process's part in who leads. ``take`` and ``release`` are for one thread."""

    def __init__(self, database: Database, settings: JobSettings) -> None:
        self._database = database
        self._lease_s = settings.lease_s
        self._without_s = (settings.lease_s - settings.stop_s) * _WITHOUT
        self._name = secrets.token_hex(8)
        self._file: IO[str] | None = None
        self._number: int | None = None
        self._until = 0.0
        self._released = threading.Event()

    @property
    def is_sure(self) -> bool:
        """Whether nobody else leads, nor will until jobs have had their time to stop."""
        if self._number is None:
            return False
        return not self._database.is_shared or _elapsed() < self._until

    def wait(self, stopping: threading.Event, *, patient: bool = False) -> bool:
        """Wait until this process leads; False when stopping was asked for before.

        Args:
            patient: wait for the case store too, if it cannot be asked at the first try.

        Raises:
            DatabaseError: that was so, and it is not to be waited for.
        """
        tries = 0
        while not stopping.is_set():
            try:
                if self.take():
                    return True
                if not tries:
                    _log.info("service.standing_by")
            except DelistError as error:
                if not (tries or patient):
                    raise
                _log.warning("service.lease_unknown", error=type(error).__name__)
            tries += 1
            stopping.wait(_POLL_S)
        self.release()
        return False

    def take(self) -> bool:
        """Lead if nobody else does; the file lock is kept while the lease is not to be had.

        Raises:
            DatabaseError: the case store cannot be asked.
        """
        if self._file is None:
            self._database.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = _locked(self._database.data_dir / LOCK)
        if self._file is None:
            return False
        database = self._database
        with database.read() as connection:
            there = leases.is_there(connection)
        if not there:
            with database.write() as connection:
                leases.create(connection)
        asked = _elapsed()
        with database.beside() as connection:
            number = leases.acquire(
                connection,
                self._name,
                place=_place(self._file),
                alone=not database.is_shared,
                now=database.now(connection),
                for_s=self._lease_s,
            )
        if number is None:
            return False
        self._number, self._until = number, asked + self._without_s
        database.fence = partial(leases.check, number=number)
        self._released.clear()
        threading.Thread(target=self._renew, args=(number,), daemon=True).start()
        return True

    def release(self) -> None:
        """Let another lead, at once."""
        number, self._number = self._number, None
        self._released.set()
        if number is not None:
            briefly(partial(self._release, number))
        self._database.fence = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _release(self, number: int) -> None:
        try:
            with self._database.beside() as connection:
                leases.release(connection, number)
        except DelistError as error:
            _log.warning("service.lease_kept", error=type(error).__name__)

    def _renew(self, number: int) -> None:
        # With SQLite the row only shows others that somebody leads.
        database = self._database
        pause_s = self._without_s / _RENEWALS if database.is_shared else self._lease_s / 3
        while not self._released.wait(pause_s):
            asked = _elapsed()
            try:
                with database.beside() as connection:
                    held = leases.renew(
                        connection, number, now=database.now(connection), for_s=self._lease_s
                    )
            except DelistError:
                continue  # while `_until` is not over, there is time to try again
            self._until = asked + self._without_s if held else 0.0
            if not held:
                return


def leads_somewhere(database: Database) -> bool:
    """Say whether some process leads.

    Raises:
        DatabaseError: the case store cannot be asked.
    """
    if database.is_shared:
        with database.read() as connection:
            return leases.is_held(connection, now=database.now(connection))
    return leads_here(database.data_dir)


def leads_here(data_dir: Path) -> bool:
    """Say whether a process leads, or waits for the lease, with this data directory."""
    path = data_dir / LOCK
    if not path.exists():
        return False
    lock = _locked(path)
    if lock is not None:
        lock.close()
    return lock is None


def briefly(call: Callable[[], None]) -> None:
    """Do something for a moment at most: a job that hangs may hold what it waits for."""
    doing = threading.Thread(target=call, daemon=True)
    doing.start()
    doing.join(_BRIEFLY_S)


@contextmanager
def leading(leader: Leader, stopping: threading.Event, *, patient: bool = False) -> Iterator[bool]:
    """Wait to lead, and let go of it afterwards; gives False when stopping came before."""
    try:
        yield leader.wait(stopping, patient=patient)
    finally:
        leader.release()


def _locked(path: Path) -> IO[str] | None:
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _place(lock: IO[str]) -> str:
    """Name what only one of us can hold: this file, on this machine, since it was started.

    Whoever holds its lock knows that an earlier holder in the same place is gone. A copy of the
    data directory, or of the whole machine, is another place.
    """
    try:
        boot = _BOOT_ID.read_text()
    except OSError:
        return secrets.token_hex(16)
    found = os.fstat(lock.fileno())
    named = f"{boot} {found.st_dev} {found.st_ino}"
    return blake2b(named.encode(), digest_size=16).hexdigest()

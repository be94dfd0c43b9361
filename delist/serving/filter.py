"""``SuppressionFilter``: the snapshot, what the ledger says behind it, and how both stay fresh.

A question costs no more than a look at a mapped number and at the clock, unless

1. the number has changed: somebody on this machine has committed to the ledger; or
2. the database was last asked ``POLL_S`` ago: there may have been a commit on another machine,
   or one after which the number could not be changed.

Then the database is asked for the ledger's head, and what is new is read before the answer.
"""

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, stat_result
from pathlib import Path
from time import monotonic
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from delist.errors import DelistError
from delist.model import SuppressionRecord
from delist.serving import kernels
from delist.serving.keeping import is_of, load_snapshot, snapshot_path
from delist.serving.snapshot import Origin, Snapshot, address_of, empty_snapshot
from delist.serving.tail import Cases, cases_of, follow
from delist.settings import load_settings
from delist.store import Database, effects, ledger
from delist.store.database import news_path
from delist.store.news import News
from indexer.errors import InvalidUrlError
from indexer.url import canonical_url

POLL_S = 0.2
"""Seconds after which the database is asked, whatever the mapped number says."""

_BREAK = "\n"
_LOOK_CLOSER = kernels.UNSURE | kernels.MAYBE_CHANGED
# Without argument types ctypes passes bytes, a small number and an array as they are: that
# takes half the time. It keeps the GIL, which giving away would cost more than the look-up.
_ask: Any = ctypes.PYFUNCTYPE(ctypes.c_longlong)(kernels.ask_code.address)


@dataclass(frozen=True, slots=True)
class FilterStatus:
    """What a filter answers from.

    Attributes:
        snapshot_urls: how many the snapshot holds; 0 without one.
        snapshot_sequence: the last record that it knows of.
        changed_urls: how many are held beside it, since later records name them.
        sequence: the last record that was read.
        refused: how many snapshots could not be used.
        reason: why the last of them could not.
    """

    snapshot_urls: int
    snapshot_sequence: int
    changed_urls: int
    sequence: int
    refused: int
    reason: str


class _View:
    """All that an answer needs; replaced whole when there is another snapshot."""

    __slots__ = ("_bits", "_table", "changed", "head", "last", "snapshot", "table")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._bits = np.zeros(kernels.CHANGED_BITS // 8, np.uint8)
        self._table = snapshot.table.copy()
        self._table[kernels.CHANGED] = address_of(self._bits)
        self.table = (ctypes.c_uint64 * kernels.TABLE)(*self._table.tolist())
        self.changed: dict[str, Cases] = {}
        self.last: Origin = snapshot.origin
        self.head: tuple[int, str] | None = None

    def catch_up(self, connection: Connection, head: tuple[int, str]) -> None:
        """Read what the ledger says behind the last record that was read."""
        sequence = follow(
            connection, self.snapshot, self.changed, self.last.sequence, before=self._note
        )
        if sequence != self.last.sequence:
            self.last = Origin(sequence=sequence, record_id=effects.record_id(connection, sequence))
        self.head = head

    def find_many(self, urls: list[str], *, check: bool = True) -> NDArray[np.int64]:
        """Look many up; see ``kernels.find_lines``."""
        return self.snapshot.find_many(urls, self._table, check=check)

    def holds(self, canonical: str) -> bool:
        """Say whether a canonical URL is suppressed."""
        cases = self.changed.get(canonical)
        return self.snapshot.find(canonical) >= 0 if cases is None else bool(cases)

    def _note(self, urls: list[str]) -> None:
        """Mark what is about to change, so that who asks for it looks at ``changed``."""
        bits = self.snapshot.hashes_of(urls) & np.uint64(kernels.CHANGED_BITS - 1)
        masks = np.uint8(1) << (bits & np.uint64(7)).astype(np.uint8)
        np.bitwise_or.at(self._bits, (bits >> np.uint64(3)).astype(np.int64), masks)


class SuppressionFilter:
    """Answers from the ledger which URLs are suppressed. Thread-safe.

    An answer knows of every record that was committed on this machine before the question, and
    of any other at most ``POLL_S`` after its commit. Nothing is written but, once, the file
    that says that there is something new.
    """

    def __init__(self, database: Database) -> None:
        """Map the snapshot, if there is one that can be used, and read what follows it.

        Raises:
            DatabaseError: the case store cannot be used.
            LedgerError: the ledger holds a record that cannot be read.
        """
        self._database = database
        self._path = snapshot_path(database.data_dir)
        self._file: tuple[int, ...] | None = None
        self._refused, self._reason = 0, ""
        self._lock = threading.Lock()
        self._switching: threading.Thread | None = None
        self._news = News(news_path(database.data_dir))
        self._mark, self._seen, self._due = self._news.mark, -1, 0.0
        self._view = _View(empty_snapshot())
        self._switch(self._file_there())
        self._refresh()

    @classmethod
    def open(
        cls,
        config: str | PathLike[str] | None = None,
        *,
        data_dir: str | PathLike[str] | None = None,
    ) -> Self:
        """Open the filter of a configuration file; None for the built-in defaults.

        Raises:
            SettingsError, DatabaseError: the configuration or the case store is unusable.
        """
        settings = load_settings(
            None if config is None else Path(config),
            data_dir=None if data_dir is None else Path(data_dir),
        )
        return cls(Database(settings.indexer.data_dir, settings.database))

    def is_suppressed(self, url: str) -> bool:
        """Say whether a result must not be shown.

        Raises:
            InvalidUrlError: not an absolute http(s) URL.
            DatabaseError: the case store had to be asked, and cannot be.
        """
        if self._mark[0] != self._seen or monotonic() > self._due:
            self._refresh()
        view = self._view
        if url.isascii():
            answer: int = _ask(url.encode(), len(url), view.table)
            if answer & _LOOK_CLOSER == 0:
                return answer != kernels.ABSENT
        return view.holds(canonical_url(url))

    def suppressed(self, urls: Sequence[str]) -> NDArray[np.bool_]:
        """Say for each of many URLs whether it is suppressed, as bool[n].

        Text that is not an absolute http(s) URL cannot have been indexed, so it is False.

        Raises:
            DatabaseError: the case store had to be asked, and cannot be.
        """
        if self._mark[0] != self._seen or monotonic() > self._due:
            self._refresh()
        view, names = self._view, list(urls)
        if not names:
            return np.zeros(0, np.bool_)
        lines = [name.replace(_BREAK, "\0") for name in names] if _has_breaks(names) else names
        answers = view.find_many(lines)
        held = (answers & kernels.PRESENT).astype(np.bool_)
        for place in np.flatnonzero(answers & _LOOK_CLOSER).tolist():
            held[place] = _is_held(view, names[place])
        return held

    def records(self, url: str) -> list[SuppressionRecord]:
        """Load the records by which a URL is suppressed, one for each case; none if it is not.

        Raises:
            InvalidUrlError: not an absolute http(s) URL.
            DatabaseError: the case store cannot be used.
        """
        canonical = canonical_url(url)
        self._refresh()
        view = self._view
        with self._database.read() as connection:
            cases = view.changed.get(canonical)
            if cases is None:
                place = view.snapshot.find(canonical)
                cases = {} if place < 0 else cases_of(connection, view.snapshot, place)
            return [
                record
                for case_id, sequence in dict(cases).items()
                for record in ledger.of_case(connection, case_id)
                if record.sequence == sequence
            ]

    def status(self) -> FilterStatus:
        """Say what answers come from."""
        view = self._view
        return FilterStatus(
            snapshot_urls=len(view.snapshot),
            snapshot_sequence=view.snapshot.origin.sequence,
            changed_urls=len(view.changed),
            sequence=view.last.sequence,
            refused=self._refused,
            reason=self._reason,
        )

    def close(self) -> None:
        """Close the database."""
        if self._switching is not None:
            self._switching.join()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refresh(self) -> None:
        """Read what the ledger has appended; look for another snapshot now and then."""
        with self._lock:
            if monotonic() > self._due:
                self._news.look()
                self._mark = self._news.mark
                self._look_for_snapshot()
            # Both before the database is asked: what comes meanwhile is read the next time.
            seen, due = self._mark[0], monotonic() + POLL_S
            with self._database.read() as connection:
                head = ledger.head(connection)
                if head != self._view.head:
                    if not is_of(self._view.last, connection):
                        # A backup was put back, or what was erased was not read before: all
                        # that was read is void.
                        self._view = _View(empty_snapshot())
                    self._view.catch_up(connection, head)
            self._seen, self._due = seen, due

    def _look_for_snapshot(self) -> None:
        file = self._file_there()
        if file is None or file == self._file or self._switching is not None:
            return
        self._switching = threading.Thread(target=self._switch_over, args=(file,), daemon=True)
        self._switching.start()

    def _switch_over(self, file: tuple[int, ...]) -> None:
        """Map another snapshot while answers still come from the old one."""
        try:
            self._switch(file)
        except DelistError:  # it is tried again; questions meet the same error themselves
            self._file = None
        finally:
            self._switching = None

    def _switch(self, file: tuple[int, ...] | None) -> None:
        if file is None:
            return
        self._file = file
        with self._database.read() as connection:
            try:
                snapshot, reason = load_snapshot(self._path, connection)
            except OSError as error:
                snapshot, reason = None, f"it cannot be read: {error.strerror}"
        if snapshot is None:
            self._refused, self._reason = self._refused + bool(reason), reason
            return
        view = _View(snapshot)
        with self._lock, self._database.read() as connection:
            if is_of(snapshot.origin, connection):
                view.catch_up(connection, ledger.head(connection))
                self._view = view

    def _file_there(self) -> tuple[int, ...] | None:
        try:
            found: stat_result = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def _has_breaks(names: Sequence[str]) -> bool:
    return _BREAK in "".join(names)


def _is_held(view: _View, url: str) -> bool:
    try:
        return view.holds(canonical_url(url))
    except InvalidUrlError:
        return False

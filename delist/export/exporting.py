"""Exporting stored images, matches and suppression records.

Read in short transactions, so that no page of the store stays pinned: each image is whole, and an
export shows what was stored at some point while it was made.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from delist.errors import UsageError
from delist.export import records
from delist.export.images import image_batches
from delist.export.writing import Parts, new_folder
from delist.store import Database, audit
from indexer.store import Store
from indexer.tables import images_schema, pyarrow

IMAGES, MATCHES, SUPPRESSIONS = "images", "matches", "suppressions"
MOST_PREFIX_DIGITS = 3

OnProgress = Callable[[int, int], None]
"""Called with rows written, and rows in all as far as that is known, else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written.

    Attributes:
        what: ``images``, ``matches`` or ``suppressions``.
        folder: where.
    """

    what: str
    folder: str
    rows: int
    files: int
    size_bytes: int


class Exports:
    """Writes tables."""

    def __init__(self, store: Store, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._store, self._database, self._clock = store, database, clock

    def images(
        self,
        to: Path,
        *,
        actor: str,
        prefix_digits: int = 1,
        on_progress: OnProgress = lambda _done, _all: None,
    ) -> ExportReport:
        """Write stored images, a folder for each beginning of their keys: ``images/key=0a``.

        Args:
            to: the folder that ``images`` is put into.
            actor: who exports, for the audit log.
            prefix_digits: hex digits of the beginning, 0-3.
            on_progress: called after each batch.

        Raises:
            UsageError: something is there already, or ``to`` cannot be used.
            DelistError: it cannot be written.
            SettingsError: pyarrow is not installed.
        """
        if not 0 <= prefix_digits <= MOST_PREFIX_DIGITS:
            raise UsageError(f"--prefix-digits: 0 to {MOST_PREFIX_DIGITS}")
        with self._store.read() as txn:
            total = self._store.images.count(txn)

        def batches() -> Iterator[tuple[Any, str]]:
            done = 0
            for prefix, batch in image_batches(self._store, prefix_digits=prefix_digits):
                yield batch, f"key={prefix}" if prefix else ""
                done += len(batch)
                on_progress(done, total)

        return self._write(IMAGES, to, images_schema(), batches(), actor=actor)

    def matches(self, to: Path, *, actor: str) -> ExportReport:
        """Write which images match which signals now: keys and distances, no digest, no address.

        Raises:
            As ``images``.
        """
        batches = ((batch, "") for batch in records.match_batches(self._store))
        return self._write(MATCHES, to, records.matches_schema(), batches, actor=actor)

    def suppressions(self, to: Path, *, actor: str) -> ExportReport:
        """Write the ledger's records as instructions: addresses, and nothing of why.

        Raises:
            As ``images``; LedgerError: the ledger holds a record that cannot be read.
        """
        batches = ((batch, "") for batch in records.suppression_batches(self._database))
        return self._write(SUPPRESSIONS, to, records.suppressions_schema(), batches, actor=actor)

    def _write(
        self,
        what: str,
        to: Path,
        schema: Any,  # noqa: ANN401 - a pyarrow.Schema
        batches: Iterator[tuple[Any, str]],
        *,
        actor: str,
    ) -> ExportReport:
        with new_folder(to, what) as folder:
            parts = Parts(folder, schema)
            try:
                for batch, partition in batches:
                    parts.write(batch, partition=partition)
                if not parts.files:  # a table without rows is a table
                    parts.write(pyarrow().RecordBatch.from_pylist([], schema=schema))
            finally:
                parts.end()
            size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            with self._database.write() as connection:  # on record before it is in its place
                audit.append(
                    connection,
                    actor=actor,
                    act=f"export.{what}",
                    subject=what,
                    now=self._clock(),
                    detail={"rows": parts.rows, "files": parts.files},
                )
        return ExportReport(
            what=what,
            folder=str(to / what),
            rows=parts.rows,
            files=parts.files,
            size_bytes=size_bytes,
        )

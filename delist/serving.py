"""The filter that result pages ask: is this URL suppressed?

It holds what is in effect in memory, and before each answer reads what the ledger
has appended since, so that an answer is never older than the newest record.
"""

import threading
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from delist.model import RecordAction, SuppressionRecord
from delist.settings import load_settings
from delist.store import Database, ledger
from indexer.errors import InvalidUrlError
from indexer.url import canonical_url


class SuppressionFilter:
    """Answers from the ledger which URLs are suppressed. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_effect: dict[str, dict[str, SuppressionRecord]] = {}
        self._sequence = 0
        self._lock = threading.Lock()

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
        """
        return bool(self.records(url))

    def suppressed(self, urls: Sequence[str]) -> NDArray[np.bool_]:
        """Say for each of many URLs whether it is suppressed, as bool[n].

        Text that is not an absolute http(s) URL cannot have been indexed, so it is False.
        """
        self._refresh()
        return np.fromiter((self._holds(url) for url in urls), dtype=np.bool_, count=len(urls))

    def records(self, url: str) -> list[SuppressionRecord]:
        """Load the records by which a URL is suppressed, one for each case; none if it is not.

        Raises:
            InvalidUrlError: not an absolute http(s) URL.
        """
        canonical = canonical_url(url)
        self._refresh()
        return list(self._in_effect.get(canonical, {}).values())

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _holds(self, url: str) -> bool:
        try:
            return canonical_url(url) in self._in_effect
        except InvalidUrlError:
            return False

    def _refresh(self) -> None:
        with self._lock, self._database.read() as connection:
            if ledger.head(connection)[0] != self._sequence:
                for record in ledger.after(connection, self._sequence):
                    self._apply(record)

    def _apply(self, record: SuppressionRecord) -> None:
        """Cases are apart: one image may be suppressed by its own case and as an alias."""
        by_case = dict(self._in_effect.get(record.image_url, {}))
        if record.action is RecordAction.SUPPRESS:
            by_case[record.case_id] = record
        else:
            by_case.pop(record.case_id, None)
        # Replaced whole: whoever reads meanwhile sees the state before or after.
        if by_case:
            self._in_effect[record.image_url] = by_case
        else:
            self._in_effect.pop(record.image_url, None)
        self._sequence = record.sequence

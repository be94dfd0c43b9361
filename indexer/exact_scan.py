"""Re-scans for signals of whole files: each is one look-up, so nothing is streamed.

A visit looks its file up inside the transaction that stores it, so it sees every signal that
was committed before; a signal that is committed later finds the file here. Both directions
write what they find and nothing else, and doing it again changes nothing: a scan that was
killed begins anew.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import lmdb

from indexer.exact import file_matches, signals_of
from indexer.match import FEED_KIND_VIDEO_MD5, parse_md5, signal_value
from indexer.store import Store
from indexer.visits import replace_matches

_FILES_PER_COMMIT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesReport:
    """What a pass over stored files did.

    Attributes:
        matches: matches that are new or changed.
        complete: False when it was stopped.
    """

    matches: int
    complete: bool


class FileScanner:
    """Matches stored files with signals again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def match_new(
        self, signal_keys: Iterable[bytes], *, now: datetime, stopped: Callable[[], bool]
    ) -> FilesReport:
        """Find the stored files that some signals name."""
        return self._match(self._named_by(signal_keys), now=now, stopped=stopped)

    def match_all(self, *, now: datetime, stopped: Callable[[], bool]) -> FilesReport:
        """Look every stored file up."""
        return self._match(self._all_named(), now=now, stopped=stopped)

    def _named_by(self, signal_keys: Iterable[bytes]) -> Iterator[list[bytes]]:
        """Yield keys of the images of files that signals name."""
        for key in signal_keys:
            with self._store.read() as txn:
                signal = self._store.signals.find(txn, key)
                if signal is None or signal.kind != FEED_KIND_VIDEO_MD5:
                    continue
                found = self._store.images.files.images(txn, parse_md5(signal_value(signal)))
            for start in range(0, len(found), _FILES_PER_COMMIT):
                yield found[start : start + _FILES_PER_COMMIT]

    def _all_named(self) -> Iterator[list[bytes]]:
        """Yield keys of the images of all files that any signal names."""
        place = b""
        while True:
            with self._store.read() as txn:
                some = self._store.images.files.after(txn, place, most=_FILES_PER_COMMIT)
                named = [key for md5, key, _ in some if signals_of(self._store, txn, md5)]
            if not some:
                return
            place = some[-1][2]
            yield named

    def _match(
        self, batches: Iterator[Sequence[bytes]], *, now: datetime, stopped: Callable[[], bool]
    ) -> FilesReport:
        matches = 0
        for batch in batches:
            if stopped():
                return FilesReport(matches=matches, complete=False)
            if batch:
                with self._store.write() as txn:
                    matches += sum(self._rematch(txn, key, now=now) for key in batch)
        return FilesReport(matches=matches, complete=True)

    def _rematch(self, txn: lmdb.Transaction, image_key: bytes, *, now: datetime) -> int:
        """Add the signals that name a file, as it is stored now, to what it matches."""
        images = self._store.images
        record = images.find(txn, image_key)
        if record is None:
            return 0
        matches = images.matches(txn, image_key)
        signals = signals_of(self._store, txn, record.md5)
        for match in file_matches(signals, content_sha256=record.sha256, image_key=image_key):
            matches[match.signal_key] = match
        return replace_matches(self._store, txn, image_key, list(matches.values()), now=now)

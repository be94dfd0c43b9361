"""Signals from a file: digests or StopNCII records, one a line, or one JSON document.

The file is the whole list: a signal that is absent from it is withdrawn. So whatever
makes the *whole* file doubtful (missing, empty, changed while it is read, a document cut
in half) is an error and withdraws nothing. To replace the file, write another and rename it.
An intended empty list is a file with a comment in it.
"""

import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from indexer.errors import FeedProtocolError, FeedSettingsError, PageTokenExpiredError
from indexer.feed.records import PDQ_KIND, read_record
from indexer.model import FeedPage, FeedRecord, RefusedRecord
from indexer.settings import FeedSettings

NOT_A_DIGEST = "not_a_digest"
NOT_UTF8 = "not_utf8"
BROKEN_JSON = "broken_json"
LINE_TOO_LONG = "line_too_long"

_PAGES_IN_ONE = 10
"""A file costs no round trip, so its pages are larger than those of the network."""
_MAX_LINE_BYTES = 1024 * 1024
_KEPT_BYTES = 4096
_BOM = b"\xef\xbb\xbf"
# Any number of digits: the length is judged where digests are, with its own reason.
_DIGEST_LINE = re.compile(r"([0-9A-Fa-f]+)(?:\s+#.*)?")
_Entries = list[FeedRecord | RefusedRecord]
_TOKEN = re.compile(r"1:([0-9]+:[0-9]+:[0-9]+):([0-9]+)")


@dataclass(frozen=True, slots=True)
class _Document:
    """The records of one JSON document, and the file state they were read from."""

    identity: str
    entries: list[Any]


class FileFeed:
    """Reads a file page by page. Only a JSON document is held in memory as a whole."""

    lists_everything = True

    def __init__(self, settings: FeedSettings) -> None:
        self._settings = settings
        self._page_records = settings.page_size * _PAGES_IN_ONE
        self._document: _Document | None = None

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self._settings.name

    def fetch_page(self, *, since: int, token: str | None) -> FeedPage:
        """Read one page; see ``indexer.ports.Feed``. ``since`` changes nothing.

        Raises:
            FeedSettingsError: the file is missing, not a file or not readable.
            FeedProtocolError: it is empty, or nothing in it can be read.
            PageTokenExpiredError: the file changed since the page before.
        """
        del since  # a file tells no times; what it lists is all there is
        with self._open() as file:
            identity, stat = _identify(file)
            if stat.st_size == 0:
                raise self._broken("it is empty; a list of nothing holds a comment")
            start = self._position(token, identity)
            entries, end = self._read_from(file, start, identity)
            if _identify(file)[0] != identity:
                raise PageTokenExpiredError(f"feed {self.name}: the file changes while it is read")
        records = tuple(entry for entry in entries if isinstance(entry, FeedRecord))
        refused = tuple(entry for entry in entries if isinstance(entry, RefusedRecord))
        if token is None and refused and not records:
            raise self._broken("not one record can be read at its start; is it another format?")
        return FeedPage(
            records=records,
            refused=refused,
            last=end is None,
            next_token=None if end is None else f"1:{identity}:{end}",
            cursor=stat.st_mtime_ns // 10**9 if end is None else None,
        )

    def _open(self) -> BinaryIO:
        where, path = f"feeds.{self.name}.path", self._settings.path
        if path is None:
            raise FeedSettingsError(f"{where}: is missing; the path of a file is needed")
        try:
            if not path.is_file():  # also keeps a pipe from blocking us
                raise FeedSettingsError(f"{where}: {path} is no file, or is missing")
            return path.open("rb")
        except OSError as error:
            raise FeedSettingsError(f"{where}: {path} cannot be read: {error.strerror}") from None

    def _position(self, token: str | None, identity: str) -> int:
        if token is None:
            return 0
        parts = _TOKEN.fullmatch(token)
        if parts is None or parts[1] != identity:
            raise PageTokenExpiredError(f"feed {self.name}: the file changed since the last page")
        return int(parts[2])

    def _read_from(self, file: BinaryIO, start: int, identity: str) -> tuple[_Entries, int | None]:
        """Read entries from a position; the position of the next page, or None at the end."""
        if self._document is None or self._document.identity != identity:
            self._document = None
            if _is_document(file):
                file.seek(0)
                self._document = _Document(identity, self._load_document(file))
        if self._document is None:
            return self._read_lines(file, start)
        end = start + self._page_records
        part = [read_record(entry) for entry in self._document.entries[start:end]]
        if end < len(self._document.entries):
            return part, end
        self._document = None  # the set is read; do not keep it in memory
        return part, None

    def _load_document(self, file: BinaryIO) -> list[Any]:
        try:
            document = json.loads(file.read())
        except (ValueError, RecursionError):  # `from None`: the error holds the content
            raise self._broken("it begins like a JSON document, but is none or is cut") from None
        entries = document.get("hashRecords") if isinstance(document, dict) else document
        if not isinstance(entries, list):
            raise self._broken("there is no list hashRecords in it")
        return entries

    def _read_lines(self, file: BinaryIO, start: int) -> tuple[_Entries, int | None]:
        file.seek(start)
        entries: _Entries = []
        for line, end in _iter_lines(file):
            entries.append(_read_line(line))
            if len(entries) == self._page_records:
                return entries, end
        return entries, None

    def _broken(self, what: str) -> FeedProtocolError:
        where = f"feeds.{self.name}.path"
        return FeedProtocolError(f"{where}: {self._settings.path}: {what}; nothing was changed")


def _identify(file: BinaryIO) -> tuple[str, os.stat_result]:
    stat = os.fstat(file.fileno())
    return f"{stat.st_mtime_ns}:{stat.st_size}:{stat.st_ino}", stat


def _is_document(file: BinaryIO) -> bool:
    """Say whether the file is one JSON document rather than lines, by its first two lines."""
    lines = [line for line, _ in itertools.islice(_iter_lines(file), 2)]
    if not lines or lines[0][:1] not in {b"[", b"{"}:
        return False
    if lines[0][:1] == b"[":
        return True
    first, second = (_load_object(line) for line in (*lines, b"")[:2])
    if first is not None:
        return isinstance(first.get("hashRecords"), list)
    return second is None  # a second line that is an object: the first is a broken line


def _load_object(line: bytes) -> dict[str, Any] | None:
    try:
        loaded = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _iter_lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield what is neither blank nor comment, stripped, with the position after it.

    Of a line beyond the limit one byte more than the limit is yielded.
    """
    position = file.tell()
    while line := file.readline(_MAX_LINE_BYTES + 1):
        whole = line
        while len(whole) > _MAX_LINE_BYTES and not whole.endswith(b"\n"):
            whole = file.readline(_MAX_LINE_BYTES + 1)
        text = line.removeprefix(_BOM) if position == 0 else line
        position = file.tell()
        text = text if len(line) > _MAX_LINE_BYTES else text.strip()
        if text and not text.startswith(b"#"):
            yield text, position


def _read_line(line: bytes) -> FeedRecord | RefusedRecord:
    raw = line[:_KEPT_BYTES].decode("utf-8", "backslashreplace")
    if len(line) > _MAX_LINE_BYTES:
        return RefusedRecord(reason=LINE_TOO_LONG, raw=raw)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return RefusedRecord(reason=NOT_UTF8, raw=raw)
    if text.startswith("{"):
        record = _load_object(line)
        return RefusedRecord(reason=BROKEN_JSON, raw=raw) if record is None else read_record(record)
    digest = _DIGEST_LINE.fullmatch(text)
    if digest is None:
        return RefusedRecord(reason=NOT_A_DIGEST, raw=raw)
    return FeedRecord(kind=PDQ_KIND, value=digest[1], status="Active")

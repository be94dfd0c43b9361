"""Image records, their hashes in a column, where they were seen, and what they match.

Databases::

    images          key of the canonical URL -> ImageRecord
    image_hashes    sixteen digests a row (columns.py)
    image_pages     image key + key of the page URL -> page URL
    image_aliases   key of another URL that leads to the image -> image key
    alias_urls      image key + alias key -> alias URL
    matches         image key + signal key -> Match, the best of the image's variants
    matches_by_signal  signal key + image key -> nothing
    match_log       sequence -> MatchEvent
    image_files     files.py
    page_marks, marked_by_page  page_marks.py
"""

from collections.abc import Iterator
from dataclasses import replace

import lmdb

from indexer.errors import StoreDamagedError
from indexer.model import (
    DIGESTS_PER_ROW,
    ROW_BYTES,
    Background,
    HashedImage,
    ImageRecord,
    Match,
    MatchEvent,
)
from indexer.store.codec import RecordCodec
from indexer.store.columns import ColumnWriter, HashColumn
from indexer.store.environment import Database, Environment
from indexer.store.files import FileDigests
from indexer.store.logs import EventLog
from indexer.store.page_marks import PageMarks
from indexer.url import KEY_BYTES, canonical_url, url_key

BACKGROUNDS = tuple(Background)
_ROWS_PER_CHUNK = 256


class ImageStore:
    """All images. Every method works inside the caller's transaction."""

    def __init__(self, environment: Environment) -> None:
        self._db = environment.database(b"images")
        self._pages = environment.database(b"image_pages")
        self._aliases = environment.database(b"image_aliases")
        self._alias_urls = environment.database(b"alias_urls")
        self._matches = environment.database(b"matches")
        self._by_signal = environment.database(b"matches_by_signal")
        self._codec = RecordCodec(ImageRecord)
        self._match_codec = RecordCodec(Match)
        self.log = EventLog(environment, "match_log", MatchEvent)
        self.files = FileDigests(environment)
        self.page_marks = PageMarks(environment)
        self.column = HashColumn(
            environment,
            "image_hashes",
            digests_per_row=DIGESTS_PER_ROW,
            rows_per_chunk=_ROWS_PER_CHUNK,
        )

    def count(self, txn: lmdb.Transaction) -> int:
        """Count the image records."""
        return int(txn.stat(self._db)["entries"])

    def find(self, txn: lmdb.Transaction, key: bytes) -> ImageRecord | None:
        """Find an image by the key of its own URL."""
        raw = txn.get(key, db=self._db)
        return None if raw is None else self._codec.decode(raw)

    def after(self, txn: lmdb.Transaction, key: bytes, *, most: int) -> list[ImageRecord]:
        """List up to ``most`` images behind a key, in the order of their keys; b"": the first."""
        found: list[ImageRecord] = []
        with txn.cursor(db=self._db) as cursor:
            placed = cursor.set_range(key)
            for name, raw in cursor if placed else ():
                if len(found) == most:
                    break
                if bytes(name) != key:
                    found.append(self._codec.decode(raw))
        return found

    def matches_after(self, txn: lmdb.Transaction, place: bytes, *, most: int) -> list[Match]:
        """List up to ``most`` matches behind a place: an image's key and a signal's, joined."""
        found: list[Match] = []
        with txn.cursor(db=self._matches) as cursor:
            placed = cursor.set_range(place)
            for name, raw in cursor if placed else ():
                if len(found) == most:
                    break
                if bytes(name) != place:
                    found.append(self._match_codec.decode(raw))
        return found

    def find_by_url(self, txn: lmdb.Transaction, url: str) -> ImageRecord | None:
        """Find an image by its URL or by another URL that leads to it.

        Raises:
            InvalidUrlError: not an absolute http(s) URL.
        """
        keys = self.keys_of_url(txn, canonical_url(url))
        return next((found for key in keys if (found := self.find(txn, key)) is not None), None)

    def keys_of_url(self, txn: lmdb.Transaction, canonical: str) -> tuple[bytes, ...]:
        """Return the key of a canonical URL, and of the image that it leads to if not to itself."""
        return self.keys_of(txn, url_key(canonical))

    def keys_of(self, txn: lmdb.Transaction, key: bytes) -> tuple[bytes, ...]:
        """Return the key of a URL, and of the image that it leads to if not to itself."""
        target = txn.get(key, db=self._aliases)
        return (key,) if target is None else (key, bytes(target))

    def put(self, txn: lmdb.Transaction, record: ImageRecord) -> None:
        """Store an image record."""
        txn.put(record.key, self._codec.encode(record), db=self._db)

    def drop(self, txn: lmdb.Transaction, writer: ColumnWriter, record: ImageRecord) -> None:
        """Forget an image: its record, hashes and pages. Its matches have to be ended before."""
        for row in record.rows:
            writer.remove(row)
        self.files.replace(txn, record.key, held=record.md5, md5=b"")
        txn.delete(record.key, db=self._db)
        for page_url in self.pages(txn, record.key):
            txn.delete(record.key + url_key(page_url), db=self._pages)
        self.page_marks.drop(txn, record.key)

    def put_rows(
        self, writer: ColumnWriter, owner: bytes, held: tuple[int, ...], hashed: HashedImage
    ) -> tuple[int, ...]:
        """Store an image's hash rows in place of those held; return their numbers."""
        rows = list(held[: len(hashed.rows)])
        for index, (background, digests) in enumerate(hashed.rows):
            flag = 1 + BACKGROUNDS.index(background)
            if index < len(rows):
                writer.replace(rows[index], digests=digests, owner=owner, flag=flag)
            else:
                rows.append(writer.add(digests=digests, owner=owner, flag=flag))
        for row in held[len(hashed.rows) :]:
            writer.remove(row)
        return tuple(rows)

    def compact(self, txn: lmdb.Transaction, *, most: int) -> tuple[int, int]:
        """Move hash rows to the front; see ``HashColumn.compact``.

        Raises:
            StoreDamagedError: a row that no image has.
        """

        def moved(key: bytes, old: int, new: int) -> None:
            record = self.find(txn, key)
            if record is None or old not in record.rows:
                raise StoreDamagedError("a row of the images' hash column has no image")
            rows = tuple(new if row == old else row for row in record.rows)
            self.put(txn, replace(record, rows=rows))

        return self.column.compact(txn, most=most, moved=moved)

    def rows(
        self, txn: lmdb.Transaction, record: ImageRecord
    ) -> tuple[tuple[Background, bytes], ...]:
        """Load an image's stored hash rows, as ``HashedImage.rows``."""
        loaded = []
        for row in record.rows:
            number, position = divmod(row, self.column.rows_per_chunk)
            chunk = self.column.chunk(txn, number)
            background = BACKGROUNDS[int(chunk.flags[position]) - 1]
            digests = chunk.digests[position].tobytes()
            assert len(digests) == ROW_BYTES  # noqa: S101 - the layout of the column
            loaded.append((background, digests))
        return tuple(loaded)

    def add_page(self, txn: lmdb.Transaction, image_key: bytes, page_url: str) -> bool:
        """Note a page on which the image was seen; say whether it is new."""
        page_url = canonical_url(page_url)
        key = image_key + url_key(page_url)
        return bool(txn.put(key, page_url.encode(), db=self._pages, overwrite=False))

    def pages(self, txn: lmdb.Transaction, image_key: bytes) -> list[str]:
        """List the pages on which an image was seen."""
        return sorted(_values(txn, self._pages, image_key))

    def add_alias(
        self, txn: lmdb.Transaction, image_key: bytes, alias_url: str
    ) -> tuple[bytes, ...]:
        """Note another URL that leads to the image; it leads to one image only.

        Returns:
            Keys of the images whose URLs changed: this one, and the one it led to before.
        """
        alias_url = canonical_url(alias_url)
        key = url_key(alias_url)
        held = txn.get(key, db=self._aliases)
        if key == image_key or (held is not None and bytes(held) == image_key):
            return ()
        before = self.drop_alias(txn, key)
        txn.put(key, image_key, db=self._aliases)
        txn.put(image_key + key, alias_url.encode(), db=self._alias_urls)
        return (image_key, *before)

    def drop_alias(self, txn: lmdb.Transaction, alias_key: bytes) -> tuple[bytes, ...]:
        """Forget that a URL leads to an image; return the key of that image, if any."""
        held = txn.pop(alias_key, db=self._aliases)
        if held is None:
            return ()
        image_key = bytes(held)
        txn.delete(image_key + alias_key, db=self._alias_urls)
        return (image_key,)

    def aliases(self, txn: lmdb.Transaction, image_key: bytes) -> list[str]:
        """List the other URLs that lead to an image."""
        return sorted(_values(txn, self._alias_urls, image_key))

    def matches(self, txn: lmdb.Transaction, image_key: bytes) -> dict[bytes, Match]:
        """Map signal keys to what the image matches now."""
        found = {}
        with txn.cursor(db=self._matches) as cursor:
            if cursor.set_range(image_key):
                for key, raw in cursor:
                    if bytes(key[:KEY_BYTES]) != image_key:
                        break
                    found[bytes(key[KEY_BYTES:])] = self._match_codec.decode(raw)
        return found

    def find_match(
        self, txn: lmdb.Transaction, image_key: bytes, signal_key: bytes
    ) -> Match | None:
        """Find how an image matches a signal."""
        raw = txn.get(image_key + signal_key, db=self._matches)
        return None if raw is None else self._match_codec.decode(raw)

    def has_match(self, txn: lmdb.Transaction, image_key: bytes, signal_key: bytes) -> bool:
        """Say whether an image matches a signal."""
        return txn.get(image_key + signal_key, db=self._matches) is not None

    def matching_images(
        self, txn: lmdb.Transaction, signal_key: bytes, *, start: bytes, most: int
    ) -> list[bytes]:
        """List up to ``most`` images that match a signal, by key from ``start`` on, then round."""
        found: list[bytes] = []
        with txn.cursor(db=self._by_signal) as cursor:
            for first, end in ((start, None), (b"", start)):
                placed = cursor.set_range(signal_key + first)
                for key in cursor.iternext(values=False) if placed else ():
                    image_key = bytes(key[KEY_BYTES:])
                    if bytes(key[:KEY_BYTES]) != signal_key or (end and image_key >= end):
                        break
                    if len(found) == most:
                        return found
                    found.append(image_key)
        return found

    def matching_keys(self, txn: lmdb.Transaction) -> list[bytes]:
        """List the keys of all images that match something."""
        found: dict[bytes, None] = {}
        with txn.cursor(db=self._matches) as cursor:
            for key in cursor.iternext(values=False):
                found[bytes(key[:KEY_BYTES])] = None
        return list(found)

    def put_match(self, txn: lmdb.Transaction, match: Match) -> None:
        """Store what an image matches."""
        key = match.image_key + match.signal_key
        txn.put(key, self._match_codec.encode(match), db=self._matches)
        txn.put(match.signal_key + match.image_key, b"", db=self._by_signal)

    def drop_match(self, txn: lmdb.Transaction, match: Match) -> None:
        """Forget that an image matches a signal."""
        txn.delete(match.image_key + match.signal_key, db=self._matches)
        txn.delete(match.signal_key + match.image_key, db=self._by_signal)

    def drop_matches_of_signal(self, txn: lmdb.Transaction, signal_key: bytes) -> int:
        """Forget everything that matched a signal; return how many images did."""
        images = []
        with txn.cursor(db=self._by_signal) as cursor:
            if cursor.set_range(signal_key):
                for key in cursor.iternext(values=False):
                    if bytes(key[:KEY_BYTES]) != signal_key:
                        break
                    images.append(bytes(key[KEY_BYTES:]))
        for image_key in images:
            txn.delete(image_key + signal_key, db=self._matches)
            txn.delete(signal_key + image_key, db=self._by_signal)
        return len(images)


def _values(txn: lmdb.Transaction, database: Database, prefix: bytes) -> Iterator[str]:
    with txn.cursor(db=database) as cursor:
        if cursor.set_range(prefix):
            for key, value in cursor:
                if bytes(key[: len(prefix)]) != prefix:
                    return
                yield bytes(value).decode()

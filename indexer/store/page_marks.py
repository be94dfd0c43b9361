"""What pages say of themselves and of the images they show: codes, never words.

Databases::

    page_marks      image key + key of the page URL -> 1 byte layout (1), 2 bytes flags (big-endian)
    marked_by_page  key of the page URL + image key -> nothing: what a page marks

The flags are those of ``FLAGS``; a bit that is not known is left aside. A page that says nothing
of an image has no entry, and one that says nothing any more loses it.
"""

from collections.abc import Iterable

import lmdb

from indexer.errors import StoreDamagedError
from indexer.model import PageMark
from indexer.store.environment import Environment
from indexer.url import KEY_BYTES

FLAGS = {
    PageMark.ADULT: 1 << 0,
    PageMark.ABUSE_WORDS: 1 << 1,
    PageMark.IMAGE_WORDS: 1 << 2,
    PageMark.NEWS: 1 << 3,
    PageMark.NEWS_IMAGE: 1 << 4,
    PageMark.ARTICLE: 1 << 5,
    PageMark.DECORATION: 1 << 6,
}
"""The bit of each mark; a bit is never given to another."""

_LAYOUT = 1
_VALUE_BYTES = 3


class PageMarks:
    """The marks of all images. Every method works inside the caller's transaction."""

    def __init__(self, environment: Environment) -> None:
        self._db = environment.database(b"page_marks")
        self._by_page = environment.database(b"marked_by_page")

    def replace(
        self, txn: lmdb.Transaction, image_key: bytes, page_key: bytes, marks: Iterable[PageMark]
    ) -> bool:
        """Note what a page says of an image in place of what it said; say whether that changed."""
        value = _encode(marks)
        held = txn.get(image_key + page_key, db=self._db)
        if (held is None and value is None) or (held is not None and bytes(held) == value):
            return False
        if value is None:
            txn.delete(image_key + page_key, db=self._db)
            txn.delete(page_key + image_key, db=self._by_page)
        else:
            txn.put(image_key + page_key, value, db=self._db)
            txn.put(page_key + image_key, b"", db=self._by_page)
        return True

    def of_image(
        self, txn: lmdb.Transaction, image_key: bytes, *, most: int
    ) -> dict[bytes, frozenset[PageMark]]:
        """Map keys of pages, at most so many, to what they say of an image.

        Raises:
            StoreDamagedError: an entry of an unknown layout.
        """
        found: dict[bytes, frozenset[PageMark]] = {}
        with txn.cursor(db=self._db) as cursor:
            placed = cursor.set_range(image_key)
            for key, value in cursor if placed else ():
                if bytes(key[:KEY_BYTES]) != image_key or len(found) == most:
                    break
                found[bytes(key[KEY_BYTES:])] = _decode(bytes(value))
        return found

    def of_page(self, txn: lmdb.Transaction, page_key: bytes) -> list[bytes]:
        """List the keys of the images that a page says something of."""
        found = []
        with txn.cursor(db=self._by_page) as cursor:
            placed = cursor.set_range(page_key)
            for key in cursor.iternext(values=False) if placed else ():
                if bytes(key[:KEY_BYTES]) != page_key:
                    break
                found.append(bytes(key[KEY_BYTES:]))
        return found

    def drop(self, txn: lmdb.Transaction, image_key: bytes) -> None:
        """Forget what pages say of an image."""
        pages = []
        with txn.cursor(db=self._db) as cursor:
            placed = cursor.set_range(image_key)
            for key in cursor.iternext(values=False) if placed else ():
                if bytes(key[:KEY_BYTES]) != image_key:
                    break
                pages.append(bytes(key[KEY_BYTES:]))
        for page_key in pages:
            self.replace(txn, image_key, page_key, ())


def _encode(marks: Iterable[PageMark]) -> bytes | None:
    flags = 0
    for mark in marks:
        flags |= FLAGS[mark]
    return bytes((_LAYOUT,)) + flags.to_bytes(_VALUE_BYTES - 1) if flags else None


def _decode(value: bytes) -> frozenset[PageMark]:
    if len(value) != _VALUE_BYTES or value[0] != _LAYOUT:
        raise StoreDamagedError("what a page says of an image has an unknown layout")
    flags = int.from_bytes(value[1:])
    return frozenset(mark for mark, bit in FLAGS.items() if flags & bit)

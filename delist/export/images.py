"""Stored images as batches of a table, in the order of their keys, in bounded memory."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import lmdb

from indexer.model import ImageRecord, PageMark
from indexer.store import Store
from indexer.tables import StoredImage, batch_of
from indexer.url import url_key

BATCH_IMAGES = 4096
"""Images of one batch, which is one row group: some megabytes."""

_MOST_MARKED = 10_000


def image_batches(store: Store, *, prefix_digits: int) -> Iterator[tuple[str, Any]]:
    """Yield batches with the beginning of all keys in them, in hex.

    Args:
        store: the open store; each batch is read in one transaction.
        prefix_digits: how many digits of the key count.

    Raises:
        StoreError: the store failed.
    """
    after = b""
    while True:
        with store.read() as txn:
            records = store.images.after(txn, after, most=BATCH_IMAGES)
            images = [_stored(store, txn, record) for record in records]
        if not images:
            return
        after = images[-1].key
        for prefix, group in groupby(images, lambda image: image.key.hex()[:prefix_digits]):
            yield prefix, batch_of(list(group))


def _stored(store: Store, txn: lmdb.Transaction, record: ImageRecord) -> StoredImage:
    images = store.images
    pages = images.pages(txn, record.key)
    return StoredImage.of_record(
        record,
        images.rows(txn, record),
        page_urls=pages,
        aliases=images.aliases(txn, record.key),
        page_marks=_marks(store, txn, record, pages),
    )


def _marks(
    store: Store, txn: lmdb.Transaction, record: ImageRecord, pages: list[str]
) -> list[tuple[str, frozenset[PageMark]]]:
    found = store.images.page_marks.of_image(txn, record.key, most=_MOST_MARKED)
    if not found:
        return []
    return [(url, found[key]) for url in pages if (key := url_key(url)) in found]

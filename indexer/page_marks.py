"""Keeping up what pages say of the images they show, and telling whoever follows the match log.

(1) A visit replaces what its pages said of the image before. What is not looked at (None: an
    archive, an item without it) leaves what is held.
(2) A page that was read anew says nothing any more of images that it no longer names.
(3) Where an image that matches something is concerned, the match log says so in the same
    transaction: its case is looked at again.
"""

from collections.abc import Collection
from datetime import datetime

import lmdb

from indexer.model import ImageVisit, MatchEvent, MatchEventKind
from indexer.store import Store
from indexer.url import canonical_url, url_key


def note_marks(
    store: Store, txn: lmdb.Transaction, image_key: bytes, visit: ImageVisit, *, now: datetime
) -> None:
    """Note what the pages of a visit say of its image."""  # (1)
    if visit.page_marks is None:
        return
    images, changed = store.images, False
    for page_url in visit.page_urls:
        page_key = url_key(canonical_url(page_url))
        changed |= images.page_marks.replace(txn, image_key, page_key, visit.page_marks)
    if changed:
        _tell(store, txn, image_key, now=now)


def end_marks(store: Store, page_url: str, image_keys: Collection[bytes], *, now: datetime) -> int:
    """End what a page said of images that it does not name any more.

    Args:
        page_url: the page, as it was read just now; or as it is no longer there.
        image_keys: ``url_key`` of all that it names now: canonical http(s) URLs, before or after
            redirects, and the names of ``data:`` images. Their marks stay.

    Returns:
        For how many images they ended.

    Raises:
        InvalidUrlError: the page's URL is not an absolute http(s) URL.
        StoreError: nothing was written.
    """
    page_key = url_key(canonical_url(page_url))
    with store.read() as txn:
        if not store.images.page_marks.of_page(txn, page_key):
            return 0  # the usual case costs no write
    with store.write() as txn:
        named = {key for name in image_keys for key in store.images.keys_of(txn, name)}
        ended = [k for k in store.images.page_marks.of_page(txn, page_key) if k not in named]  # (2)
        for image_key in ended:
            store.images.page_marks.replace(txn, image_key, page_key, ())
            _tell(store, txn, image_key, now=now)
    return len(ended)


def _tell(store: Store, txn: lmdb.Transaction, image_key: bytes, *, now: datetime) -> None:  # (3)
    matches = store.images.matches(txn, image_key).values()
    nearest = min(matches, key=lambda match: (match.distance_bits, match.signal_key), default=None)
    if nearest is not None:
        event = MatchEvent(kind=MatchEventKind.PAGES, match=nearest, at=now)
        store.images.log.append(txn, event)

"""A store of many images in minutes: what crawls would have left, written in the order of its keys.

Digests are random, so images are some 128 bits from each other and from every signal. URLs,
pages and records are as ``Indexer.record_visits`` leaves them, without traits.
"""

import time
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from indexer.model import DIGEST_BYTES, DIGESTS_PER_ROW, HASHER_VERSION, ImageRecord, RowLabel
from indexer.store import Store
from indexer.store.columns import _HEADER, _MAGIC, _NEXT, _VERSION
from indexer.url import KEY_BYTES, url_key
from tests.fakes.delisting import START

_SITES = 50_000
_CHUNKS_A_COMMIT = 200
Say = Callable[[str], None]


def image_url(number: int) -> str:
    """Return the canonical URL of an image."""
    return f"https://site-{number % _SITES}.example/images/{number}.jpg"


def fill(store: Store, images: int, say: Say) -> None:
    """Put images into an empty store; a number of whole chunks is put in.

    Raises:
        ValueError: there are images in the store.
    """
    column, rows = store.images.column, store.images.column.rows_per_chunk
    with store.read() as txn:
        if column.chunk_count(txn):
            raise ValueError("the store is not empty")
    started = time.monotonic()
    keys, order = _sorted_keys(images)
    say(f"keys of {images:,} images, {time.monotonic() - started:.0f} s")
    chunks = images // rows
    for first in range(0, chunks, _CHUNKS_A_COMMIT):
        with store.write() as txn:
            for number in range(first, min(first + _CHUNKS_A_COMMIT, chunks)):
                part = slice(number * rows, number * rows + rows)
                column.store(txn, number, _chunk(number, keys[part]))
                for place, image in enumerate(order[part].tolist()):
                    _put_image(store, txn, image, keys[part][place].tobytes(), part.start + place)
            done = min(first + _CHUNKS_A_COMMIT, chunks) * rows
            txn.put(_NEXT, done.to_bytes(8), db=column._free)
        if first // _CHUNKS_A_COMMIT % 10 == 0:
            say(f"{done:,} images, {time.monotonic() - started:.0f} s")
    say(f"filled, {time.monotonic() - started:.0f} s")


def _sorted_keys(images: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the keys of all images, ascending, and which image each is of."""
    raw = b"".join(
        blake2b(image_url(number).encode(), digest_size=KEY_BYTES).digest()
        for number in range(images)
    )
    keys = np.frombuffer(raw, np.uint8).reshape(-1, KEY_BYTES)
    halves = keys.view(">u8").astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    return keys[order], order


def _chunk(number: int, owners: NDArray[np.uint8]) -> bytearray:
    """Make the bytes of a chunk; its digests follow from its number."""
    rows = len(owners)
    dice = np.random.Generator(np.random.SFC64(number))
    head = _HEADER.pack(_MAGIC, _VERSION, DIGESTS_PER_ROW, rows)
    digests = dice.bytes(rows * DIGESTS_PER_ROW * DIGEST_BYTES)
    return bytearray(b"".join((head, digests, owners.tobytes(), b"\1" * rows)))


def _put_image(store: Store, txn: object, image: int, key: bytes, row: int) -> None:
    url = image_url(image)
    page = f"https://site-{image % _SITES}.example/albums/{image // _SITES}"
    record = ImageRecord(
        key=key,
        image_url=url,
        sha256=key + key,
        mime="image/jpeg",
        width=800,
        height=600,
        quality=100,
        hasher_version=HASHER_VERSION,
        rows=(row,),
        labels=(RowLabel(quality=100),),
        hashed_at=START,
        seen_at=START,
    )
    images = store.images
    txn.put(key, images._codec.encode(record), db=images._db, append=True)  # type: ignore[attr-defined]
    txn.put(key + url_key(page), page.encode(), db=images._pages, append=True)  # type: ignore[attr-defined]

"""Whole files: which signals name a file by its MD5.

A signal's key is a keyed hash of its feed, kind and value, so a file is looked up by making the
keys that its MD5 would have, one for each feed that has such signals, and one get for each. No
index, no threshold: the bytes are the same or they are not.
"""

from collections.abc import Iterable

import lmdb

from indexer.match import FEED_KIND_VIDEO_MD5, md5_value
from indexer.model import FILE_VARIANT, Hasher, Match, Signal
from indexer.store import Store


def signals_of(store: Store, txn: lmdb.Transaction, md5: bytes) -> list[Signal]:
    """Find the live signals that name a file, 16 bytes; none for an empty ``md5``."""
    if not md5:
        return []
    signals, value = store.signals, md5_value(md5)
    keys = [
        signals.key(feed=feed, kind=FEED_KIND_VIDEO_MD5, value=value)
        for feed in signals.feeds_with(txn, FEED_KIND_VIDEO_MD5)
    ]
    return [signal for key in keys if (signal := signals.find(txn, key)) is not None]


def file_matches(
    signals: Iterable[Signal], *, content_sha256: bytes = b"", image_key: bytes = b""
) -> list[Match]:
    """Name the signals of a file as its matches."""
    return [
        Match(
            image_key=image_key,
            signal_key=signal.key,
            feed=signal.feed,
            distance_bits=0,
            threshold_bits=0,
            hasher=Hasher.MD5,
            variant=FILE_VARIANT,
            content_sha256=content_sha256,
        )
        for signal in signals
    ]

"""How long it took from a signal to its image being out of results: the figure we live by."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import lmdb

from delist.store.figures import FirstRecord
from indexer.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long one image stayed in results after it could have been known.

    Attributes:
        until: when it went.
    """

    until: datetime
    time: timedelta


def feed_to_suppression(
    store: Store, txn: lmdb.Transaction, first: Iterable[FirstRecord]
) -> Iterator[Wait]:
    """Say how long it took from when both signal and image were known.

    What has left the store since, a withdrawn signal or a changed image, has no time any more.
    """
    for record in first:
        signal = store.signals.find(txn, bytes.fromhex(record.signal_key))
        image = store.images.find(txn, bytes.fromhex(record.image_key))
        if signal is not None and image is not None:
            known = max(signal.added_at, image.hashed_at)
            if known <= record.effective_at:
                yield Wait(until=record.effective_at, time=record.effective_at - known)

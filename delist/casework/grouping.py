"""Near-duplicates: cases that show one image, so that nobody has to look twice.

A case belongs to the group of the oldest one that shares a signal with it and whose image lies
within ``NEAR_BITS``, in any symmetry. Images are compared with a group's first image only, so
that a chain of small steps never joins what does not resemble each other. Equal bytes are of one
group wherever they lie, also where the first image has moved and its hashes with it.
"""

from collections.abc import Iterable

import lmdb
import numpy as np
from sqlalchemy import Connection

from delist.casework.benign import rows_of
from delist.model import Case
from delist.store import cases
from indexer.model import DIGEST_BYTES, DIGESTS_PER_ROW, VARIANTS, ImageRecord
from indexer.store import Store

NEAR_BITS = 31
_MOST_LEADERS = 200
_WORDS = DIGEST_BYTES // 8
_UPRIGHT = (0, len(VARIANTS))


def find_group(
    connection: Connection,
    store: Store,
    txn: lmdb.Transaction,
    record: ImageRecord,
    signal_keys: Iterable[str],
) -> str | None:
    """Find the group of other images that an image belongs to, or None.

    Args:
        record: of the image.
        signal_keys: signals that it matches, hex.
    """
    rows = store.images.rows(txn, record)
    own = np.frombuffer(rows_of(rows), np.uint64).reshape(-1, _WORDS)
    for group_id, image_key, content in cases.leaders(connection, signal_keys, limit=_MOST_LEADERS):
        if image_key == record.key.hex():
            continue
        if content == record.sha256.hex():
            return group_id
        other = store.images.find(txn, bytes.fromhex(image_key)) if rows else None
        if other is None or not other.rows:
            continue
        if not cases.leads(group_id, other.sha256.hex()):
            continue  # its bytes have changed, and its case has not followed yet
        raw = rows_of(store.images.rows(txn, other)[:1])
        upright = np.frombuffer(raw, np.uint64).reshape(DIGESTS_PER_ROW, _WORDS)[_UPRIGHT, :]
        differing = np.bitwise_count(own[:, None, :] ^ upright[None, :, :])
        if int(differing.sum(axis=2, dtype=np.int64).min()) <= NEAR_BITS:
            return group_id
    return None


def reach_of(
    connection: Connection, store: Store, txn: lmdb.Transaction, case: Case, *, counted: bool
) -> int:
    """Return how many pages and near-duplicates show a case's image now; at least 1.

    Args:
        counted: whether the case itself is stored as one of its group.
    """
    pages = len(store.images.pages(txn, bytes.fromhex(case.image_key)))
    others = cases.group_size(connection, case.group_id) - counted
    return max(1, pages) + max(0, others)

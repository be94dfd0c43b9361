"""The hash of ours that a feed is offered: read from the image's hashes, never stored again."""

import lmdb

from delist.store.submissions import Submission
from indexer.model import DIGEST_BYTES, HASHERS, VARIANTS, Hasher, ImageRecord, Variant
from indexer.store import Store

VARIANT = Variant.UPRIGHT


def upright_digest(
    store: Store, txn: lmdb.Transaction, record: ImageRecord, hasher: Hasher
) -> bytes | None:
    """Read an image's own hash by one path; None where it has none (a video without frames)."""
    rows = store.images.rows(txn, record)
    if not rows:
        return None
    place = HASHERS.index(hasher) * len(VARIANTS) + VARIANTS.index(VARIANT)
    return rows[0][1][place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]


def digest_of(
    store: Store, txn: lmdb.Transaction, submission: Submission
) -> tuple[ImageRecord, bytes] | None:
    """Read what is offered; None where other bytes, or none, are at the address by now."""
    record = store.images.find(txn, bytes.fromhex(submission.image_key))
    if record is None or record.sha256.hex() != submission.content_sha256:
        return None
    digest = upright_digest(store, txn, record, Hasher(submission.hasher))
    return None if digest is None else (record, digest)

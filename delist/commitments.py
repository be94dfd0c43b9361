"""What the ledger's log says of a record: a commitment, which tells nothing without a nonce.

The payload is JSON of all that the record says (sorted keys, no blanks, UTF-8, times in ISO 8601
in UTC). The commitment is SHA-256 over ``delist-record/v1``, a newline, a nonce of 32 random
bytes, and the payload. The log's entry is three lines: ``delist-record/v1``, the record's number,
the commitment in base64. With payload and nonce anybody can check an entry; without the nonce
nobody can try guesses, so what is erased is gone although its entry stays.

Pure: no I/O, no clock, no randomness.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256

import msgspec

_FORMAT = b"delist-record/v1\n"
_CHAIN = b"delist-chain/v2\n"
_encode = msgspec.json.Encoder(order="sorted").encode

PAYLOAD = (
    "sequence",
    "id",
    "action",
    "state",
    "case_id",
    "image_url",
    "document_id",
    "content_sha256",
    "scope",
    "reason_code",
    "basis_feed",
    "basis_signal",
    "basis_distance_bits",
    "basis_hasher",
    "basis_variant",
    "basis_policy_version",
    "effective_at",
    "expires_at",
    "recheck_at",
    "supersedes",
)
"""The columns of a record that its payload is made of."""


def payload_of(row: Mapping[str, object]) -> bytes:
    """Write the payload of a row of ``suppression_records``."""
    values = {name: row[name] for name in PAYLOAD}
    for name in ("effective_at", "expires_at", "recheck_at"):
        value = values[name]
        if isinstance(value, datetime):
            values[name] = value.isoformat()
    return _encode(values)


def commitment_of(nonce: bytes, payload: bytes) -> bytes:
    """Commit to a payload."""
    return sha256(_FORMAT + nonce + payload).digest()


def entry_of(sequence: int, commitment: bytes) -> bytes:
    """Write the entry of the log; its index is the record's number less one."""
    return _FORMAT + b"%d\n%s\n" % (sequence, base64.b64encode(commitment))


def chain_hash(previous_hash: str, sequence: int, commitment: str) -> str:
    """Hash a record of format 2 into the chain; hashes and commitment as hex."""
    text = f"{previous_hash}\n{sequence}\n{commitment}\n"
    return sha256(_CHAIN + text.encode()).hexdigest()

"""Proofs of single records, for whoever holds one: made with the ledger, checked without it.

The extra data of a proof is JSON: commitment, and, unless the record was erased, the nonce and
payload that open it (``delist.commitments``). It is trusted for nothing: the entry is made of it
anew, and only the entry that is in the log leads to the log's head.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from delist.commitments import commitment_of, entry_of
from delist.errors import LogProofError
from delist.tlog.checkpoints import open_checkpoint
from delist.tlog.merkle import leaf_hash
from delist.tlog.notes import VerifierKey
from delist.tlog.proofs import ConsistencyProof, InclusionProof


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRecord:
    """A record that is in a log.

    Attributes:
        size: of the log, in records, when its head was signed.
        record: what the record says, or None when the proof does not open it.
    """

    origin: str
    size: int
    sequence: int
    record: Mapping[str, Any] | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedGrowth:
    """A log that goes on from an older head; sizes in records."""

    origin: str
    old_size: int
    size: int


def extra_of(commitment: str, opening: tuple[bytes, bytes] | None) -> bytes:
    """Write what a holder of a proof needs to make its entry: nonce and payload, if any."""
    values = {"commitment": commitment}
    if opening is not None:
        nonce, payload = opening
        values |= {"nonce": nonce.hex(), "payload": payload.decode()}
    return json.dumps(values, sort_keys=True).encode()


def check_record(
    text: str, key: VerifierKey, *, witnesses: Sequence[VerifierKey] = ()
) -> CheckedRecord:
    """Check that the record of a proof is in the log of a key.

    Raises:
        LogProofError: it is not, or the proof is none.
    """
    proof = InclusionProof.parse(text)
    commitment, record = _open(proof.extra)
    leaf = leaf_hash(entry_of(proof.index + 1, commitment))
    head = proof.check(leaf, key, witnesses=witnesses)
    if record is not None and record.get("sequence") != proof.index + 1:
        raise LogProofError("the record has another number than the proof")
    return CheckedRecord(
        origin=head.origin, size=head.size, sequence=proof.index + 1, record=record
    )


def check_growth(
    text: str, older: str, key: VerifierKey, *, witnesses: Sequence[VerifierKey] = ()
) -> CheckedGrowth:
    """Check that a log goes on from an older checkpoint, which it signed too.

    Raises:
        LogProofError: it does not, or one of both texts is none.
    """
    proof = ConsistencyProof.parse(text)
    old, _ = open_checkpoint(older, key)
    if old.size != proof.old:
        raise LogProofError(f"the proof is from {proof.old} records, the checkpoint of {old.size}")
    head = proof.check(old.root, key, witnesses=witnesses)
    return CheckedGrowth(origin=head.origin, old_size=old.size, size=head.size)


def _open(extra: bytes) -> tuple[bytes, Mapping[str, Any] | None]:
    try:
        values = json.loads(extra)
        commitment = bytes.fromhex(values["commitment"])
        if "nonce" not in values:
            return commitment, None
        nonce, payload = bytes.fromhex(values["nonce"]), values["payload"].encode()
        record = json.loads(payload)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise LogProofError("the proof's extra data is not what this program writes") from None
    if commitment_of(nonce, payload) != commitment or not isinstance(record, dict):
        raise LogProofError("the record is not the one that the log commits to")
    return commitment, record

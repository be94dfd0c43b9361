"""A simple witness: it cosigns a published log's checkpoint if none it saw before contradicts.

What c2sp.org/tlog-witness asks of one, over a folder of tiles: the log's signature is checked,
then that the log goes on from the checkpoint that was cosigned last; the new one is kept durably
before the cosignature leaves. To be worth something it runs where the log's owner has no hand.
"""

import fcntl
from datetime import datetime
from pathlib import Path

from delist.attestation.publishing import LogFolder, write_whole
from delist.errors import LogProofError
from delist.tlog.checkpoints import Checkpoint, cosign, open_checkpoint
from delist.tlog.merkle import EMPTY_ROOT, check_consistency, consistency_proof
from delist.tlog.notes import SigningKey, VerifierKey
from delist.tlog.tiles import nodes_of


def cosign_log(
    folder: Path, log_key: VerifierKey, key: SigningKey, seen_file: Path, *, now: datetime
) -> Checkpoint:
    """Cosign the checkpoint of a published log, in its place.

    Args:
        folder: holds ``checkpoint`` and ``tile/``.
        log_key: the log's public key, from its owner, not from the folder.
        seen_file: keeps the checkpoint that was cosigned last; one log for each file.

    Raises:
        LogProofError: the log is not signed, or contradicts what was seen; nothing was cosigned.
    """
    log = LogFolder(folder)
    with log.alone(), seen_file.with_name(f"{seen_file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = log.checkpoint()
        if text is None:
            raise LogProofError("the folder holds no checkpoint")
        head, note = open_checkpoint(text, log_key)
        _check_growth(log, head, _seen(seen_file, log_key))
        write_whole(seen_file, text.encode())
        log.replace_checkpoint(str(cosign(note, key, at_s=int(now.timestamp()))))
    return head


def _seen(seen_file: Path, log_key: VerifierKey) -> Checkpoint:
    if not seen_file.exists():
        return Checkpoint(origin=log_key.name, size=0, root=EMPTY_ROOT)
    return open_checkpoint(seen_file.read_text(encoding="utf-8"), log_key)[0]


def _check_growth(log: LogFolder, head: Checkpoint, seen: Checkpoint) -> None:
    if head.size < seen.size:
        raise LogProofError(
            f"the log was cut: a checkpoint of {seen.size} entries was seen, this is of {head.size}"
        )
    proof = consistency_proof(nodes_of(log.read_tile, head.size), seen.size, head.size)
    check_consistency(proof, old=seen.size, old_root=seen.root, size=head.size, root=head.root)

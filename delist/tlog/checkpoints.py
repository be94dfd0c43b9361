"""Checkpoints: the signed head of a log, and what witnesses put under it.

c2sp.org/tlog-checkpoint: origin, size and head, a line each. c2sp.org/tlog-cosignature: a
witness signs the same text with a time, and says by it that no head it saw before contradicts.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from delist.errors import LogProofError
from delist.tlog.merkle import HASH_BYTES
from delist.tlog.notes import KeyKind, Note, Signature, SigningKey, VerifierKey, decode, signed

_TIME_BYTES = 8
_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The head of a log at a size.

    Attributes:
        origin: names the log.
        extensions: further lines, which mean nothing here.
    """

    origin: str
    size: int
    root: bytes
    extensions: Sequence[str] = field(default=())

    def __str__(self) -> str:
        root = base64.b64encode(self.root).decode()
        lines = (self.origin, str(self.size), root, *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a note.

        Raises:
            LogProofError: it is no checkpoint.
        """
        lines = text.removesuffix("\n").split("\n")
        if not text.endswith("\n") or len(lines) < _LINES or "" in lines:
            raise LogProofError("a checkpoint has at least three lines: origin, size, head")
        root = decode(lines[2], "a checkpoint")
        if len(root) != HASH_BYTES:
            raise LogProofError("a checkpoint's head has 32 bytes")
        size = number_of(lines[1], "a checkpoint's size")
        return cls(origin=lines[0], size=size, root=root, extensions=tuple(lines[_LINES:]))


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> Note:
    """Sign the head of a log as the log."""
    return signed(str(checkpoint), key)


def open_checkpoint(
    text: str, key: VerifierKey, *, witnesses: Sequence[VerifierKey] = ()
) -> tuple[Checkpoint, Note]:
    """Read a checkpoint that a log signed, and that each of some witnesses cosigned.

    Raises:
        LogProofError: it is none, or a signature is missing or does not hold.
    """
    note = Note.parse(text)
    note.check(key)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != key.name:
        raise LogProofError("the checkpoint is of another log than its key")
    for witness in witnesses:
        cosigned_at(note, witness)
    return checkpoint, note


def cosign(note: Note, key: SigningKey, *, at_s: int) -> Note:
    """Put a witness's cosignature under a checkpoint, in the place of an older one of its own.

    Args:
        at_s: the time, in seconds since 1970.
    """
    verifier = key.verifier(KeyKind.COSIGNATURE)
    value = at_s.to_bytes(_TIME_BYTES) + key.sign(_cosigned_message(note, at_s))
    others = tuple(held for held in note.signatures if not held.is_of(verifier))
    mine = Signature(name=key.name, key_id=verifier.id, value=value)
    return replace(note, signatures=(*others, mine))


def cosigned_at(note: Note, witness: VerifierKey) -> int:
    """Check a witness's cosignature; returns its newest time, in seconds since 1970.

    Raises:
        LogProofError: there is none, or one that does not hold.
    """
    times = []
    for signature in note.signatures:
        if signature.is_of(witness):
            at_s = int.from_bytes(signature.value[:_TIME_BYTES])
            message = _cosigned_message(note, at_s)
            if not witness.verifies(message, signature.value[_TIME_BYTES:]):
                raise LogProofError(f"the cosignature of {witness.name} does not hold")
            times.append(at_s)
    if not times or witness.kind is not KeyKind.COSIGNATURE:
        raise LogProofError(f"the checkpoint is not cosigned by {witness.name}")
    return max(times)


def _cosigned_message(note: Note, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{note.text}".encode()


def number_of(text: str, what: str) -> int:
    """Read a decimal number without sign, leading zeros or blanks.

    Raises:
        LogProofError: it is none, or has more than 63 bits.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004 - 63 bits
        raise LogProofError(f"{what} is not a number")
    if str(int(text)) != text or int(text) >> 63:
        raise LogProofError(f"{what} is not a number as it is written")
    return int(text)

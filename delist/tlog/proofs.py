"""Proofs as text, to be kept and checked offline.

Of inclusion: c2sp.org/tlog-proof. Of consistency: what c2sp.org/tlog-witness sends as
``add-checkpoint``, so the same text can be given to a witness.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from delist.errors import LogProofError
from delist.tlog.checkpoints import Checkpoint, number_of, open_checkpoint
from delist.tlog.merkle import HASH_BYTES, MOST_HASHES, check_consistency, check_inclusion
from delist.tlog.notes import VerifierKey, decode

_INCLUSION = "c2sp.org/tlog-proof@v1"
_OLD = "old"


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """That an entry is in a log.

    Attributes:
        index: of the entry, from 0.
        checkpoint: a signed note.
        extra: what a reader may need to make the entry; proves nothing by itself.
    """

    index: int
    hashes: Sequence[bytes]
    checkpoint: str
    extra: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        extra = f"extra {base64.b64encode(self.extra).decode()}\n" if self.extra else ""
        head = f"{_INCLUSION}\n{extra}index {self.index}\n"
        return f"{head}{_lines(self.hashes)}\n{self.checkpoint}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a proof.

        Raises:
            LogProofError: it is none.
        """
        head, blank, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or lines.pop(0) != _INCLUSION or not lines:
            raise LogProofError("an inclusion proof begins with c2sp.org/tlog-proof@v1")
        extra = b""
        if lines[0].startswith("extra "):
            extra = decode(lines.pop(0).removeprefix("extra "), "the proof's extra data")
        word, _, index = (lines.pop(0) if lines else "").partition(" ")
        if word != "index":
            raise LogProofError("an inclusion proof names the index of its entry")
        return cls(
            index=number_of(index, "the index"),
            hashes=_hashes(lines),
            checkpoint=checkpoint,
            extra=extra,
        )

    def check(
        self, leaf: bytes, key: VerifierKey, *, witnesses: Sequence[VerifierKey] = ()
    ) -> Checkpoint:
        """Check that a leaf hash stands at the index; returns the head that it stands under.

        Raises:
            LogProofError: it does not, or the head is not signed by log and witnesses.
        """
        checkpoint, _ = open_checkpoint(self.checkpoint, key, witnesses=witnesses)
        check_inclusion(leaf, self.index, self.hashes, size=checkpoint.size, root=checkpoint.root)
        return checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """That a log's newer tree begins with an older one of a size."""

    old: int
    hashes: Sequence[bytes]
    checkpoint: str

    def __str__(self) -> str:
        return f"{_OLD} {self.old}\n{_lines(self.hashes)}\n{self.checkpoint}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a proof.

        Raises:
            LogProofError: it is none.
        """
        head, blank, checkpoint = text.partition("\n\n")
        first, *lines = head.split("\n")
        word, _, old = first.partition(" ")
        if not blank or word != _OLD:
            raise LogProofError("a consistency proof begins with the older size")
        return cls(old=number_of(old, "the size"), hashes=_hashes(lines), checkpoint=checkpoint)

    def check(
        self, old_root: bytes, key: VerifierKey, *, witnesses: Sequence[VerifierKey] = ()
    ) -> Checkpoint:
        """Check that the log goes on from an older head; returns the newer one.

        Raises:
            LogProofError: it does not, or the newer head is not signed by log and witnesses.
        """
        checkpoint, _ = open_checkpoint(self.checkpoint, key, witnesses=witnesses)
        check_consistency(
            self.hashes,
            old=self.old,
            old_root=old_root,
            size=checkpoint.size,
            root=checkpoint.root,
        )
        return checkpoint


def is_consistency(text: str) -> bool:
    """Say which of both proofs a text would be."""
    return text.startswith(f"{_OLD} ")


def _lines(hashes: Sequence[bytes]) -> str:
    return "".join(f"{base64.b64encode(part).decode()}\n" for part in hashes)


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    hashes = tuple(decode(line, "a proof") for line in lines)
    if len(hashes) > MOST_HASHES or any(len(part) != HASH_BYTES for part in hashes):
        raise LogProofError("a proof holds at most 63 hashes of 32 bytes")
    return hashes

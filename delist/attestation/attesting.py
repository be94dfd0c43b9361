"""The ledger as a log that others can check: its checkpoints, and proofs under them.

A checkpoint is made in steps, each of which may be the last that this process does:

(1) What was signed before is compared with ledger, tree and published checkpoint; a ledger that
    was cut, rewritten or rolled back is never signed.
(2) The tree takes in the new records, in short transactions.
(3) The head is signed and stored, in one transaction with a look at (1) again.
(4) Tiles, entries and last the checkpoint are published.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection

from delist.attestation.proving import extra_of
from delist.attestation.publishing import LogFolder
from delist.errors import LedgerError, LogProofError, UsageError
from delist.store import Database, ledger, standing, tree, tree_check
from delist.tlog.checkpoints import Checkpoint, open_checkpoint, sign_checkpoint
from delist.tlog.merkle import Node, consistency_proof, inclusion_proof
from delist.tlog.notes import Note, SigningKey, VerifierKey, public_of
from delist.tlog.proofs import ConsistencyProof, InclusionProof
from delist.tlog.tiles import nodes_of
from indexer.store import load_or_create_secret

_WHY = "was secrets/ledger-key lost, or [ledger] origin changed?"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointReport:
    """What making a checkpoint came to.

    Attributes:
        size: records that the newest checkpoint is of.
        moved: whether it is a new one.
        files: tiles and bundles that were written.
    """

    size: int
    moved: bool
    files: int


class LedgerLog:
    """The log of one ledger, with its key and its folder."""

    def __init__(
        self, database: Database, data_dir: Path, *, origin: str, clock: Callable[[], datetime]
    ) -> None:
        """Take an origin, the log's name; without one it is made of the key."""
        self._database, self._clock, self._origin = database, clock, origin
        self._data_dir = data_dir
        self.folder = LogFolder(data_dir / "ledger")

    @cached_property
    def _key(self) -> SigningKey:
        generation = generations(self._data_dir)
        secret = load_or_create_secret(key_path(self._data_dir, generation))
        made = f"delist/{sha256(public_of(secret)).hexdigest()[:16]}"
        # An origin names one log for ever: one that was begun anew has a name of its own.
        given = f"{self._origin}/{generation}" if generation > 1 else self._origin
        return SigningKey(name=given if self._origin else made, secret=secret)

    @property
    def key(self) -> VerifierKey:
        """The public key; its name is the log's origin."""
        return self._key.verifier()

    def checkpoint(self) -> CheckpointReport:
        """Sign and publish the ledger's head, if it has moved or was not published.

        Raises:
            LedgerError: the ledger was cut, rewritten or rolled back; nothing was signed.
        """
        with self.folder.alone():
            with self._database.read() as connection:  # (1)
                _check_standing(connection)
                self._check_past(connection, self._published())
            self.extend()
            newest, moved = self.sign()
            files = 0 if newest is None else self.publish(newest)
        return CheckpointReport(size=newest.size if newest else 0, moved=moved, files=files)

    def check_past(self) -> None:
        """Look whether the ledger is still the one that was signed; signs nothing.

        Raises:
            LedgerError: it was cut, rewritten or rolled back.
        """
        published = self._published()
        with self._database.read() as connection:
            self._check_past(connection, published)

    def extend(self) -> None:
        """(2) Take the ledger's new records into the tree."""
        more = True
        while more:
            with self._database.write() as connection:
                more = tree.extend(connection)

    def sign(self) -> tuple[tree.StoredCheckpoint | None, bool]:
        """(3) Sign the tree's head; returns the newest checkpoint, and whether it is new."""
        with self._database.write() as connection:
            _check_standing(connection)
            held = self._check_past(connection, self._published())
            size = tree.size(connection)
            if size == (held.size if held else 0):
                return held, False
            ledger_hash = tree.hash_at(connection, size)
            if ledger_hash is None:
                raise LedgerError("the ledger was cut; nothing was signed")
            head = Checkpoint(origin=self._key.name, size=size, root=tree.root(connection, size))
            made = tree.StoredCheckpoint(
                size=size,
                ledger_hash=ledger_hash,
                note=str(sign_checkpoint(head, self._key)),
                signed_at=self._clock(),
            )
            tree.add(connection, made)
            return made, True

    def publish(self, newest: tree.StoredCheckpoint) -> int:
        """(4) Publish a checkpoint; returns how many tiles and bundles were written."""
        published = self._published()
        since = 0 if published is None else published[0].size
        if since == newest.size:
            return 0
        with self._database.read() as connection:
            return self.folder.publish(connection, newest.size, newest.note, since=since)

    def verify(self, *, witnesses: Sequence[VerifierKey] = ()) -> int:
        """Check the ledger, its tree and its checkpoints; returns the number of records.

        Args:
            witnesses: who must have cosigned the newest checkpoint.

        Raises:
            LedgerError: an edit, a gap, a changed order, a cut, or a store that was rolled back.
        """
        # Read before the ledger is: what is published meanwhile is newer than what we look at.
        published = self._published()
        with self._database.read() as connection:
            records = ledger.verify(connection)
            tree_check.verify(connection, records=records)
            newest = self._check_past(connection, published)
            if witnesses:
                self._check_witnesses(newest, witnesses)
        return records

    def prove(self, sequence: int) -> str:
        """Prove that a record is in the log; the text of c2sp.org/tlog-proof.

        Raises:
            UsageError: there is no such record in the newest checkpoint.
        """
        with self._database.read() as connection:
            newest, node = self._newest(connection)
            record = ledger.entry(connection, sequence)
            if record is None or sequence > newest.size:
                raise UsageError(
                    f"the newest checkpoint has no record {sequence}: it is of {newest.size}"
                )
            proof = InclusionProof(
                index=sequence - 1,
                hashes=inclusion_proof(node, sequence - 1, newest.size),
                checkpoint=self._note_of(newest),
                extra=extra_of(record.commitment, ledger.opening(connection, sequence)),
            )
        return str(proof)

    def prove_growth(self, old_size: int) -> str:
        """Prove that the log goes on from an older size; what a witness is sent.

        Raises:
            UsageError: the newest checkpoint is of fewer records, or there is none.
        """
        with self._database.read() as connection:
            newest, node = self._newest(connection)
            if old_size > newest.size:
                raise UsageError(f"the newest checkpoint is of {newest.size} records only")
            hashes = consistency_proof(node, old_size, newest.size)
        return str(ConsistencyProof(old=old_size, hashes=hashes, checkpoint=self._note_of(newest)))

    def _newest(self, connection: Connection) -> tuple[tree.StoredCheckpoint, Node]:
        newest = tree.newest(connection)
        if newest is None:
            raise UsageError("there is no checkpoint yet: delist suppressions checkpoint")

        def read(level: int, number: int, _width: int) -> bytes:
            return tree.read_tile(connection, level, number)

        return newest, nodes_of(read, newest.size)

    def _note_of(self, newest: tree.StoredCheckpoint) -> str:
        """Return the newest checkpoint with the cosignatures that its published copy has."""
        published = self._published()
        if published is not None and published[1].text == Note.parse(newest.note).text:
            return str(published[1])
        return newest.note

    def _published(self) -> tuple[Checkpoint, Note] | None:
        text = self.folder.checkpoint()
        if text is None:
            return None
        try:
            return open_checkpoint(text, self.key)
        except LogProofError as error:
            raise LedgerError(
                f"the published checkpoint is not of this log: {error}; {_WHY}"
            ) from None

    def _check_past(
        self, connection: Connection, published: tuple[Checkpoint, Note] | None
    ) -> tree.StoredCheckpoint | None:
        """(1) Check what was signed before."""
        newest = tree.newest(connection)
        if newest is not None:
            try:
                open_checkpoint(newest.note, self.key)
            except LogProofError as error:
                raise LedgerError(
                    f"the newest checkpoint is not of this log: {error}; {_WHY}"
                ) from None
            tree_check.check_head(connection, newest)
        if published is None:
            return newest
        head, note = published
        held = tree.at(connection, head.size)
        if held is None or Note.parse(held.note).text != note.text:
            raise LedgerError(
                f"the published checkpoint is of {head.size} records and none that this case store"
                " signed: the store was rolled back to an older copy, or rewritten"
            )
        return newest

    def _check_witnesses(
        self, newest: tree.StoredCheckpoint | None, witnesses: Sequence[VerifierKey]
    ) -> None:
        if newest is None:
            raise LedgerError("there is no checkpoint that a witness could have cosigned")
        try:
            open_checkpoint(self._note_of(newest), self.key, witnesses=witnesses)
        except LogProofError as error:
            raise LedgerError(str(error)) from None


def key_path(data_dir: Path, generation: int) -> Path:
    """Say where the key of a log lies; 1 is the first log of an installation."""
    suffix = f"-{generation}" if generation > 1 else ""
    return data_dir / "secrets" / f"ledger-key{suffix}"


def generations(data_dir: Path) -> int:
    """Count the logs that an installation has begun, by the newest key; 1 before the first."""
    names = (path.name for path in (data_dir / "secrets").glob("ledger-key-*"))
    numbers = (name.rpartition("-")[2] for name in names)
    return max((int(number) for number in numbers if number.isdecimal()), default=1)


def _check_standing(connection: Connection) -> None:
    """Check that nobody can have seen records signed that this store does not know."""
    if standing.was_put_back(connection):
        raise LedgerError(
            "the ledger was put back from a backup: what was signed since is not known here, so"
            " nothing is signed. Begin another log with `delist suppressions new-log`, or go on"
            " with `delist suppressions resume-log` if nothing was"
        )

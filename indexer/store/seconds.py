"""Second hashes that reporters brought with their signals (docs/adr/0036).

Database::

    signal_seconds  signal key -> SecondHashes, sealed (sealed.py): each goes when its case has
                    ended, all of them with the signal
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import lmdb

from indexer.store.environment import Environment
from indexer.store.sealed import SealedRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondHashes:
    """What is held for one signal.

    Attributes:
        entries: key of a case and the second hash that came under it; one for each case.
    """

    entries: tuple[tuple[bytes, bytes], ...] = field(repr=False)


class SecondHashStore:
    """Second hashes by signal. Every method works inside the caller's transaction."""

    def __init__(self, environment: Environment) -> None:
        self.records = SealedRecords(environment, "signal_seconds", SecondHashes)

    def of(self, txn: lmdb.Transaction, signal_key: bytes) -> tuple[bytes, ...]:
        """List the second hashes of a signal, in the order they came."""
        held = self.records.find(txn, signal_key)
        return () if held is None else tuple(dict.fromkeys(second for _, second in held.entries))

    def put(
        self, txn: lmdb.Transaction, signal_key: bytes, *, case_key: bytes, second: bytes
    ) -> None:
        """Hold a second hash under a case, in place of an earlier one."""
        held = self.records.find(txn, signal_key)
        entries = dict(held.entries if held else ()) | {case_key: second}
        self.records.put(txn, signal_key, SecondHashes(entries=tuple(entries.items())))

    def keep(self, txn: lmdb.Transaction, signal_key: bytes, cases: Collection[bytes]) -> None:
        """Drop what came under cases that are not among these keys."""
        held = self.records.find(txn, signal_key)
        if held is None:
            return
        left = tuple(entry for entry in held.entries if entry[0] in cases)
        if not left:
            self.records.delete(txn, signal_key)
        elif left != held.entries:
            self.records.put(txn, signal_key, SecondHashes(entries=left))

"""Opening one's own case, with two things that only its holder has.

Either the case reference and its access code, or the case reference and the image, hashed on the
holder's own device: whoever spread the image has one of these, not both.

(1) The hash is compared with the signals of exactly this case reference, in all mirrorings and
    turns, and then forgotten. It is neither stored nor logged.
(2) Where the reporter's second hash is held (ADR 0036), the image's second hash must agree with
    it: then a digest alone, stolen from a feed, opens nothing.
(3) Which of the two was wrong is never said, and every signal is looked at whatever the first
    one said. How long an answer takes is evened out by the caller.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np

from delist import access
from delist.direct import ReportedHash
from delist.errors import AccessError
from delist.store import Database, audit
from indexer.hashing.corroboration import (
    CORROBORATES,
    CorroboratingHash,
    best_likeness_beyond,
    read_corroborating,
)
from indexer.hashing.strangers import in_all_turns
from indexer.match import FEED_KIND_PDQ
from indexer.model import Signal
from indexer.store import Store

HOLDER = "holder"
_NO_FIT = "these do not fit together"


class Way(StrEnum):
    """What opened a case, besides its reference; as appeals name it."""

    CODE = "access_code"
    IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A case that its holder has opened."""

    case_ref: str = field(repr=False)
    way: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The open stores.

    Attributes:
        secret: that access codes are hashed with.
        threshold_bits: the largest distance at which a hash is that of the image, inclusive.
    """

    store: Store
    database: Database
    secret: bytes = field(repr=False)
    threshold_bits: int
    clock: Callable[[], datetime]

    def open_with_code(self, case_ref: str, code: str) -> Opened:
        """Open a case with its access code; that is on record.

        Raises:
            AccessError: they do not fit together.
        """
        case_ref = access.as_written(case_ref)
        if not access.is_valid(self.store, self.database, self.secret, case_ref, code):
            raise AccessError(_NO_FIT)
        return self._opened(case_ref, Way.CODE)

    def open_with_image(self, case_ref: str, image: ReportedHash) -> Opened:
        """Open a case with the hashes of one of its images; that is on record.

        Raises:
            AccessError: they do not fit together.
        """
        case_ref = access.as_written(case_ref)
        fits = False
        with self.store.read() as txn:
            for key, is_live in self.store.signals.signals_of_case(txn, case_ref).items():
                signal = self.store.signals.find(txn, key) if is_live else None
                if signal is not None and signal.kind == FEED_KIND_PDQ:
                    seconds = self.store.signals.seconds.of(txn, key)
                    fits |= self._is_of(image, signal, seconds)  # (3): no end at the first
        if not fits:
            raise AccessError(_NO_FIT)
        return self._opened(case_ref, Way.IMAGE)

    def _is_of(self, image: ReportedHash, signal: Signal, seconds: tuple[bytes, ...]) -> bool:
        digest = np.frombuffer(bytes.fromhex(image.value), np.uint8)[np.newaxis]
        turned = np.concatenate(list(in_all_turns(digest)))  # (1)
        apart = np.bitwise_count(turned ^ np.frombuffer(signal.digest, np.uint8))
        near = int(apart.sum(axis=1, dtype=np.int64).min()) <= self.threshold_bits
        held = [found for raw in seconds if (found := read_corroborating(raw)) is not None]
        if not held:
            return near
        return near and any(_agree(one, image.second, signal.digest) for one in held)  # (2)

    def _opened(self, case_ref: str, way: Way) -> Opened:
        with self.database.write() as connection:
            audit.append(
                connection,
                actor=HOLDER,
                act="case.opened_by_holder",
                subject=self.store.signals.case_key(case_ref).hex(),
                now=self.clock(),
                detail={"way": way.value},
            )
        return Opened(case_ref=case_ref, way=way)


def _agree(held: CorroboratingHash, given: CorroboratingHash | None, digest: bytes) -> bool:
    if given is None:
        return False
    if held.map_bits == given.map_bits:
        return True
    return best_likeness_beyond(held.laid(), given.laid(), digest) >= CORROBORATES

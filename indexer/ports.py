"""What the use cases ask of the adapters. A port exists only where two adapters do."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.model import FeedPage

Digests = NDArray[np.uint8]
"""uint8[n, 32], C-contiguous: one digest a row."""

Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]
"""(query rows, signal positions, distances in bits), one entry a match, sorted by query row,
then distance, then position."""

MAX_PROBABLE_BITS = 80
"""The farthest that a probable look-up reaches: beyond, unrelated images turn up."""


class AnnIndex(Protocol):
    """An exact index over a fixed set of digests, which is asked for probable matches too."""

    def __len__(self) -> int:
        """Count the digests held."""

    def find(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find every held digest within ``threshold_bits`` (inclusive, 0-256) of each query.

        Exact: what brute force finds, no more and no less. Releases the GIL.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
        """

    def find_probable(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find held digests within ``threshold_bits`` (inclusive, 0-80), the far ones probably.

        What lies within 31 bits is all there; of what lies farther, each pair with at least
        ``meeting_probability`` of its distance. What is there is right: within the threshold,
        with its exact distance, once. Releases the GIL.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
            ValueError: a threshold below 0 or above ``MAX_PROBABLE_BITS``.
        """

    def meeting_probability(self, distance_bits: int) -> float:
        """Return the least chance that ``find_probable`` meets a pair at a distance (0-80 bits).

        1.0 up to 31 bits; beyond, for differing bits that lie anywhere in the digest with
        equal chance. A threshold above the distance meets the pair at least as often.

        Raises:
            ValueError: a distance below 0 or above ``MAX_PROBABLE_BITS``.
        """


class MappedAnnIndex(AnnIndex, Protocol):
    """An exact index in a file that processes share."""

    @property
    def version(self) -> int:
        """Version of what it holds, as written."""

    @property
    def labels(self) -> Mapping[str, NDArray[np.uint8]]:
        """What the digests belong to, as written: the bytes of each array, by name."""


class IndexFactory(Protocol):
    """Makes indexes, in memory and in files."""

    def build(self, digests: Digests) -> AnnIndex:
        """Index digests, uint8[n, 32], in memory."""

    def write(
        self, path: Path, digests: Digests, labels: Mapping[str, NDArray[Any]], *, version: int
    ) -> None:
        """Write an index to a file, with labels by name; whole and durable when it returns.

        Raises:
            OSError: it cannot be written; no file of that name is left.
        """

    def map(self, path: Path) -> MappedAnnIndex:
        """Map an index that was written.

        Raises:
            FileNotFoundError: there is none.
            IndexDamagedError: it breaks its layout.
        """

    def verify(self, path: Path) -> None:
        """Read an index that was written, whole, and check it.

        Raises:
            FileNotFoundError: there is none.
            IndexDamagedError: a byte is not what was written.
        """


class Feed(Protocol):
    """A source of signals that is read page by page."""

    @property
    def name(self) -> str:
        """Name in the configuration."""

    @property
    def lists_everything(self) -> bool:
        """Whether a set is a full listing, so that what is absent from it is withdrawn."""

    def fetch_page(self, *, since: int, token: str | None) -> FeedPage:
        """Fetch one page of the set of changes since a unix time (seconds).

        Args:
            since: start of the set; the same for all pages of one set.
            token: None for the first page, then what the page before named.

        Raises:
            FeedSettingsError, FeedUnavailableError, FeedProtocolError: see there.
            PageTokenExpiredError: the set has to be read again from its start.
        """


class FeedbackReceiver(Protocol):
    """A feed that takes back what was decided about its signals."""

    def send_feedback(self, feedback: Sequence[tuple[str, str]]) -> None:
        """Send (digest in hex, word of the feed) pairs. Sending one twice is harmless.

        Raises:
            FeedSettingsError, FeedUnavailableError, FeedProtocolError: see there.
        """


class HashReceiver(Protocol):
    """A feed that takes hashes of ours, to offer them to every other platform."""

    def submit_hashes(self, digests: Sequence[str], *, word: str, at: datetime) -> None:
        """Offer PDQ digests in hex, with our own word about them. Twice is harmless.

        Args:
            digests: 64 hex digits each.
            word: of the feed, such as ``Blocked``.
            at: when this was found.

        Raises:
            FeedSettingsError, FeedUnavailableError, FeedProtocolError: see there.
        """

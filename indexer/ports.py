"""What the use cases ask of the adapters. A port exists only where two adapters do."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.model import FeedPage

Digests = NDArray[np.uint8]
"""uint8[n, 32], C-contiguous: one digest a row."""

Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]
"""(query rows, signal positions, distances in bits), one entry a match, sorted by query row,
then distance, then position."""


class AnnIndex(Protocol):
    """An exact index over a fixed set of digests."""

    def __len__(self) -> int:
        """Count the digests held."""

    def find(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find every held digest within ``threshold_bits`` (inclusive, 0-256) of each query.

        Exact: what brute force finds, no more and no less. Releases the GIL.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
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

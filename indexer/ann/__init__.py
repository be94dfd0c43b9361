"""Exact indexes over the signals' digests, behind ``indexer.ports.AnnIndex``."""

from indexer.ann.flat import FlatIndex, checked
from indexer.ann.mih import MihIndex
from indexer.ports import AnnIndex, Digests

__all__ = ["FlatIndex", "MihIndex", "choose_index"]

_FLAT_BELOW = 2_000
"""Digests from which the multi-index is faster in every size of batch (docs/adr/0007).

Below, its 4 MiB and the loading of its kernels would buy nothing."""


def choose_index(digests: Digests) -> AnnIndex:
    """Index ``digests``, uint8[n, 32], for thresholds up to 31 bits, the faster way for n.

    Raises:
        InvalidDigestError: wrong shape or type.
    """
    digests = checked(digests)
    return FlatIndex(digests) if len(digests) < _FLAT_BELOW else MihIndex(digests)

"""A flat index: every query is compared with every digest, by faiss.

Exact by construction, for small sets of signals and as the oracle for others.
"""

import faiss
import numpy as np

from indexer.errors import InvalidDigestError
from indexer.model import DIGEST_BITS, DIGEST_BYTES
from indexer.ports import MAX_PROBABLE_BITS, Digests, Found

# Whoever looks up has threads already; OpenMP's would spin while they wait for a core, and
# turn 20 microseconds into 10 milliseconds on a busy machine.
faiss.omp_set_num_threads(1)


class FlatIndex:
    """Exact look-ups in a fixed set of digests. Thread-safe."""

    def __init__(self, digests: Digests) -> None:
        """Hold a copy of ``digests``, uint8[n, 32].

        Raises:
            InvalidDigestError: wrong shape or type.
        """
        self._index = faiss.IndexBinaryFlat(DIGEST_BITS)
        self._index.add(checked(digests))

    def __len__(self) -> int:
        """Count the digests held."""
        return int(self._index.ntotal)

    def find(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find every held digest within the threshold; see ``AnnIndex.find``."""
        queries = checked(queries)
        if len(self) == 0 or len(queries) == 0:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)
        # faiss leaves the radius itself out; our threshold is inclusive.
        limits, distances, positions = self._index.range_search(queries, threshold_bits + 1)
        rows = np.repeat(np.arange(len(queries), dtype=np.int64), np.diff(limits.astype(np.int64)))
        distances = distances.astype(np.int32)
        positions = positions.astype(np.int64)
        order = np.lexsort((positions, distances, rows))
        return rows[order], positions[order], distances[order]

    def find_probable(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find everything within the threshold, 0-80; see ``AnnIndex.find_probable``."""
        _check_reach(threshold_bits)
        return self.find(queries, threshold_bits=threshold_bits)

    def meeting_probability(self, distance_bits: int) -> float:
        """Return 1.0: every pair is compared; see ``AnnIndex.meeting_probability``."""
        _check_reach(distance_bits)
        return 1.0


def _check_reach(distance_bits: int) -> None:
    if not 0 <= distance_bits <= MAX_PROBABLE_BITS:
        raise ValueError(f"bits are 0 to {MAX_PROBABLE_BITS}, not {distance_bits}")


def checked(digests: Digests) -> Digests:
    """Return contiguous uint8[n, 32] digests.

    Raises:
        InvalidDigestError: wrong shape or type.
    """
    digests = np.asarray(digests)  # what is no array at all fails here, with our error
    if digests.dtype != np.uint8 or digests.shape[1:] != (DIGEST_BYTES,):
        raise InvalidDigestError(f"digests must be uint8[n, {DIGEST_BYTES}]")
    return np.ascontiguousarray(digests)

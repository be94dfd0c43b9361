"""Exact indexes over the signals' digests, behind ``indexer.ports.AnnIndex``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from indexer.ann.flat import FlatIndex, checked
from indexer.ann.generation import map_generation, verify, write_generation
from indexer.ann.mih import MihIndex
from indexer.ports import AnnIndex, Digests, MappedAnnIndex

__all__ = ["ExactIndexes", "FlatIndex", "MihIndex", "choose_index"]

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


class ExactIndexes:
    """Makes exact indexes; implements ``indexer.ports.IndexFactory``."""

    def build(self, digests: Digests) -> AnnIndex:
        """Index digests in memory, the faster way for their number."""
        return choose_index(digests)

    def write(
        self, path: Path, digests: Digests, labels: Mapping[str, NDArray[Any]], *, version: int
    ) -> None:
        """Write a generation; see ``generation.write_generation``."""
        write_generation(path, digests, labels, version=version)

    def map(self, path: Path) -> MappedAnnIndex:
        """Map a generation; see ``generation.map_generation``."""
        return map_generation(path)

    def verify(self, path: Path) -> None:
        """Check a generation whole; see ``generation.verify``."""
        verify(path)

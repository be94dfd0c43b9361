"""Exact indexes over the signals' digests, behind ``indexer.ports.AnnIndex``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from indexer.ann.flat import FlatIndex, checked
from indexer.ann.generation import map_generation, verify, write_generation
from indexer.ann.mih import MihIndex
from indexer.ann.neighbours import NeighbourIndex
from indexer.ports import AnnIndex, Digests, MappedAnnIndex

__all__ = ["ExactIndexes", "FlatIndex", "MihIndex", "NeighbourIndex", "choose_index"]

_NEIGHBOURS_UP_TO = 30_000
"""Digests up to which holding every digest's neighbours is faster in every size of batch, and
takes less than 50 MB (docs/adr/0010)."""


def choose_index(digests: Digests) -> AnnIndex:
    """Index ``digests``, uint8[n, 32], for thresholds up to 31 bits, the faster way for n.

    Raises:
        InvalidDigestError: wrong shape or type.
    """
    digests = checked(digests)
    few = len(digests) <= _NEIGHBOURS_UP_TO
    return NeighbourIndex(digests) if few else MihIndex(digests)


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

"""The signals of one moment as a sealed file, and as what a worker looks hashes up in.

A worker loads it once. What it opens stands in memory that has no name on any disk, so a machine
that is switched off keeps nothing of it.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from delist.errors import SealedFileError, WorkerRefusedError
from delist.rescan.job import UNIT_VERSION, Job, program_version
from delist.rescan.sealing import read_sealed, write_sealed
from indexer.ann import ExactIndexes, NeighbourIndex
from indexer.errors import IndexDamagedError
from indexer.model import DIGEST_BYTES
from indexer.ports import AnnIndex, Digests
from indexer.url import KEY_BYTES
from indexer.view import FoundSignals, Keys

_KEYS, _DIGESTS = "keys", "plain"
_READ_BYTES = 1 << 22

_NEIGHBOURS_UP_TO = 100_000
"""Signals up to which streaming through every signal's neighbours is fastest (ADR 0010)."""


class Generation:
    """The signals of one moment. Thread-safe.

    Attributes:
        version: number of the signal log that it stands at.
    """

    def __init__(self, index: AnnIndex, keys: Keys, version: int) -> None:
        self._index = index
        self._keys = keys
        self.version = version

    def __len__(self) -> int:
        """Count the signals."""
        return len(self._keys)

    def find(self, queries: Digests, *, threshold_bits: int) -> FoundSignals:
        """Find every signal within the threshold (inclusive, 0-31) of each query, exactly.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
        """
        rows, positions, distances = self._index.find(queries, threshold_bits=threshold_bits)
        return rows, self._keys[positions], distances


def write_generation(
    path: Path, key: bytes, digests: Digests, keys: Keys, *, version: int, scratch: Path
) -> str:
    """Write signals as a sealed generation; returns the checksum of the file, hex.

    Args:
        path: what to write.
        key: of the run, 32 bytes.
        digests: uint8[n, 32].
        keys: uint8[n, 16], in the same order.
        version: number of the signal log that they are of.
        scratch: a private folder, for the file as it is before it is sealed.

    Raises:
        OSError: it cannot be written.
    """
    labels: dict[str, NDArray[np.uint8]] = {_KEYS: keys}
    if len(digests) <= _NEIGHBOURS_UP_TO:
        labels[_DIGESTS] = digests
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        plain = Path(name, "signals.idx")
        ExactIndexes().write(plain, digests, labels, version=version)
        return write_sealed(path, key, _pieces(plain))


def load_generation(job: Job) -> Generation:
    """Load the generation of a run, if this program is the one that it needs.

    Raises:
        WorkerRefusedError: ``code`` says why this worker cannot take part.
    """
    if (job.program, job.unit) != (program_version(), UNIT_VERSION):
        raise WorkerRefusedError(
            "worker_version",
            f"the run needs version {job.program} of the program (unit {job.unit}), this worker"
            f" has {program_version()} (unit {UNIT_VERSION})",
        )
    try:
        with _nameless() as path:
            with path.open("r+b") as file:
                for piece in read_sealed(job.generation_path, job.key, job.generation):
                    file.write(piece)
            index = ExactIndexes().map(path)
    except SealedFileError as error:
        raise WorkerRefusedError(f"generation_{error.code}", str(error)) from None
    except (IndexDamagedError, OSError) as error:
        raise WorkerRefusedError("generation_damaged", type(error).__name__) from None
    keys = index.labels.get(_KEYS, np.empty(0, np.uint8)).reshape(-1, KEY_BYTES)
    if len(keys) != len(index) or len(keys) != job.signals or index.version != job.version:
        raise WorkerRefusedError("generation_damaged", "it holds other signals than the run says")
    plain = index.labels.get(_DIGESTS)
    if plain is not None:
        digests = plain.reshape(-1, DIGEST_BYTES).copy()
        return Generation(NeighbourIndex(digests), keys.copy(), index.version)
    return Generation(index, keys, index.version)


class _Loaded:
    """The generation that this process loaded last: a worker does many files of one run."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: tuple[str, Generation] | None = None

    def of(self, job: Job) -> Generation:
        with self._lock:
            if self._held is None or self._held[0] != job.generation:
                self._held = None
                self._held = (job.generation, load_generation(job))
            return self._held[1]


_loaded = _Loaded()


def loaded_generation(job: Job) -> Generation:
    """Load the generation of a run, once in a process; see ``load_generation``."""
    return _loaded.of(job)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            yield piece


@contextmanager
def _nameless() -> Iterator[Path]:
    """Give a file that is gone once nobody maps it: in memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("delist-signals", os.MFD_CLOEXEC)
        try:
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            yield Path(file.name)

"""What a worker is told: which run this is, and what it has to be to take part."""

from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from delist.errors import RescanError

UNIT_VERSION = 1
"""Raised whenever ``unit`` would answer otherwise, or its table has other columns."""

_NOT_WRITTEN = frozenset({"key", "folder", "threads"})
GENERATION, RESULTS, MANIFEST = "signals.sealed", "results", "manifest.jsonl"


def program_version() -> str:
    """Return the version of the program that runs here."""
    return version("delist")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run over many files; the same for all its workers.

    Attributes:
        run: names the run, 32 hex digits.
        folder: the run's working folder, by the same path on every machine.
        program: version of the program that began it; workers have to have it too.
        unit: ``UNIT_VERSION`` of that program.
        threshold_bits: largest distance that is a match, inclusive, 0-31.
        signals: how many the generation holds.
        version: number of the signal log that it stands at.
        generation: checksum of the sealed file, hex.
        begun_at: unix seconds.
        threads: of one worker.
        key: opens and seals the run's files; 32 bytes, never written to ``folder``.
    """

    run: str
    folder: str
    program: str
    unit: int
    threshold_bits: int
    signals: int
    version: int
    generation: str
    begun_at: int
    threads: int = 1
    key: bytes = field(default=b"", repr=False)

    @property
    def generation_path(self) -> Path:
        """Where the sealed generation lies."""
        return Path(self.folder, GENERATION)

    @property
    def results(self) -> Path:
        """Where workers put what they find."""
        return Path(self.folder, RESULTS)

    @property
    def manifest(self) -> Path:
        """Where the driver writes down what is done."""
        return Path(self.folder, MANIFEST)

    def written(self) -> dict[str, Any]:
        """Return what of it is written down; the key is not, nor where the folder lies."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_WRITTEN}

    @classmethod
    def read(cls, written: dict[str, Any], *, folder: Path, threads: int, key: bytes) -> Self:
        """Read what was written down.

        Raises:
            RescanError: it is not what this version writes.
        """
        known = {entry.name for entry in fields(cls)} - _NOT_WRITTEN
        if set(written) != known:
            raise RescanError("the run was begun by another version of the program; begin anew")
        return cls(**written, folder=str(folder), threads=threads, key=key)

"""Timing: medians over rounds, what they range over, and what was measured where."""

import ctypes
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import numpy as np

from indexer.comparing import processors
from indexer.ports import Digests

T = TypeVar("T")

Say = Callable[[str], None]
"""Called with a word about what is being done."""

_PACKAGES = ("delist", "threatexchange", "faiss-cpu", "numba", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One rate, and what others reach at the same in the same run.

    Attributes:
        rate: per second, here.
        peers: the same, by name of the peer.
    """

    what: str
    rate: float
    peers: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratios(self) -> dict[str, float]:
        """How many times each peer's rate ours is."""
        return {name: self.rate / rate for name, rate in self.peers.items()}


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and the least and the most of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def timed(work: Callable[..., T], *arguments: object) -> tuple[float, T]:
    """Do something once; returns the seconds it took, and its result."""
    started = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - started, result


def over_threads(
    ask: Callable[[Digests], object], pool: ThreadPoolExecutor, threads: int
) -> Callable[[Digests], object]:
    """Let several threads answer a batch, each an equal part of it; for one, the caller does."""
    if threads == 1:
        return ask

    def asked(queries: Digests) -> object:
        return list(pool.map(ask, np.array_split(queries, min(threads, len(queries)))))

    return asked


def peer_is_installed() -> bool:
    """Say whether the public client, ``threatexchange``, is there."""
    return importlib.util.find_spec("threatexchange") is not None


def resident_bytes() -> int | None:
    """Return the memory that this process holds; None where the system does not say.

    What it has freed is given back first, where the C library can, or the next to ask for
    memory would seem to need less.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None


def machine_kind() -> str:
    """Name the kind of machine: processor, how many of it, system. No name of a host."""
    processor, flags = platform.machine(), ""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                processor = " ".join(value.replace("(R)", "").replace("(TM)", "").split())
            elif name.strip() == "flags":
                flags = ", AVX-512" if "avx512_vpopcntdq" in value else ""
    count = processors()
    return f"{count} x {processor}{flags}, {platform.system()}"


def versions() -> dict[str, str]:
    """Return the versions of ourselves and of what is measured beside us."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found

"""``delist bench rescan``: new signals against all stored hashes, ours and others', in one run.

Ours goes through a real store (LMDB) in a temporary folder, which takes 34 bytes of disk for a
stored hash, and 160 more for the kept index. The others get the same digests as one array.
"""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from delist.ops.bench.peers import FLAT
from delist.ops.bench.rescan_ways import Run, Way, others, our_ways
from delist.ops.bench.stored_rows import NewSignals, make_signals, store_rows
from delist.ops.bench.timing import Say, Spread
from indexer.model import DIGESTS_PER_ROW
from indexer.settings import MatchingSettings, StoreSettings
from indexer.store import Store

_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RescanOptions:
    """What is measured.

    Attributes:
        threads: of every contestant alike.
        rounds: each takes every contestant in turn.
        seconds: where comparing everything would take longer, others compare a part, and
            their time is that of the part over its share.
        with_peer: whether the public client's index takes part, where it is installed and
            there are no more than ``rescan_ways.MOST_PEER_ROWS`` rows.
    """

    threads: int = 1
    rounds: int = 5
    seconds: float = 5.0
    with_peer: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RescanResult:
    """What one contestant reached.

    Attributes:
        seconds: for all signals against all rows, over rounds.
        ratio: how many times as long faiss flat takes, over rounds.
        share: part of the work that was done and timed; below 1, the time is scaled up.
        how: how it goes about it.
        build_s: seconds to build what it keeps; None where it keeps nothing.
        bytes_per_row: what that takes; None where it keeps nothing or that cannot be told.
        exact: whether it found every match that was planted, and nothing else.
    """

    name: str
    seconds: Spread
    ratio: Spread
    share: float
    how: str
    build_s: float | None
    bytes_per_row: float | None
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RescanReport:
    """One number of rows and of signals; our two ways first, then the others.

    Attributes:
        rows: stored hashes, sixteen an image.
        planted: signals of which a stored hash is within the threshold.
    """

    rows: int
    signals: int
    threshold_bits: int
    planted: int
    results: Sequence[RescanResult]

    @property
    def exact(self) -> bool:
        """Whether both our ways found what they had to."""
        return all(result.exact for result in self.results[:2])


def compare_rescans(
    sizes: Sequence[int],
    signals: Sequence[int],
    options: RescanOptions,
    *,
    now: datetime,
    say: Say = lambda _word: None,
) -> Iterator[RescanReport]:
    """Measure every number of signals against every number of rows.

    Rows are rounded up to whole images, of sixteen rows each.

    Raises:
        StoreError: the temporary folder has no room.
    """
    for rows in sizes:
        yield from _measured(rows, signals, options, now=now, say=say)


def _measured(
    rows: int, numbers: Sequence[int], options: RescanOptions, *, now: datetime, say: Say
) -> Iterator[RescanReport]:
    threshold_bits = MatchingSettings().threshold_bits
    rng = np.random.default_rng(_SEED)
    with (
        tempfile.TemporaryDirectory(prefix="delist-bench-") as name,
        Store(Path(name), StoreSettings()) as store,
        ThreadPoolExecutor(options.threads) as pool,
    ):
        say(f"storing {rows:,} rows")
        stored = store_rows(store, rng, -(-rows // DIGESTS_PER_ROW))
        say("building indexes")
        common = {"threads": options.threads, "threshold_bits": threshold_bits}
        ours = our_ways(store, Path(name, "index"), now=now, **common)
        theirs = others(
            stored, pool, seconds=options.seconds, with_peer=options.with_peer, **common
        )
        ways = [*ours, *theirs]
        for count in numbers:
            signals = make_signals(rng, stored, count, threshold_bits=threshold_bits)
            yield RescanReport(
                rows=len(stored),
                signals=count,
                threshold_bits=threshold_bits,
                planted=len(signals.near),
                results=_race(ways, signals, len(stored), options.rounds, say),
            )


def _race(
    ways: Sequence[Way], signals: NewSignals, rows: int, rounds: int, say: Say
) -> list[RescanResult]:
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    say("warming up")
    for way in ways:
        way.run(signals)
    for number in range(rounds):
        for way in ways:
            say(f"round {number + 1} of {rounds}: {way.name}")
            runs[way.name].append(way.run(signals))
    flat = [run.seconds for run in runs[FLAT]]
    results = []
    for way in ways:
        own = runs[way.name]
        seconds = [run.seconds for run in own]
        results.append(
            RescanResult(
                name=way.name,
                seconds=Spread.of(seconds),
                ratio=Spread.of([flat_s / s for flat_s, s in zip(flat, seconds, strict=True)]),
                share=min(run.share for run in own),
                how=own[-1].how,
                build_s=way.build_s,
                bytes_per_row=None if way.size_bytes is None else way.size_bytes / rows,
                exact=all(run.exact for run in own),
            )
        )
    return results

"""``delist bench rescan --engine``: exported files against signals, on one engine or several."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from delist.ops.bench.exported_rows import Exported, Pair, make_job, write_exported
from delist.ops.bench.timing import Say, Spread
from delist.rescan.job import Job
from delist.rescan.running import Engine
from delist.rescan.unit import merged
from delist.rescan.work import FileOutcome, read_matches
from indexer.model import DIGESTS_PER_ROW
from indexer.settings import MatchingSettings

_SEED = 1

OpenEngine = Callable[[str], AbstractContextManager[Engine]]
"""Opens an engine by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineResult:
    """What one engine reached.

    Attributes:
        start_s: until it was open, and had done a file of each worker once.
        seconds: for all files, over rounds.
        rate: digests compared a second, over rounds.
        busy: share of the workers' time that they worked on files, over rounds; the rest is the
            engine's.
        exact: whether it found every match that was planted, and nothing else.
    """

    name: str
    start_s: float
    seconds: Spread
    rate: Spread
    busy: Spread
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginesReport:
    """One number of rows and of signals.

    Attributes:
        rows: digests, sixteen an image.
        planted: matches that were planted.
        same: whether all engines found the same.
    """

    rows: int
    files: int
    size_bytes: int
    signals: int
    planted: int
    threshold_bits: int
    same: bool
    results: Sequence[EngineResult]

    @property
    def exact(self) -> bool:
        """Whether every engine found what it had to."""
        return self.same and all(result.exact for result in self.results)


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float
    busy_s: float
    found: frozenset[Pair]


def compare_engines(
    sizes: Sequence[int],
    signals: Sequence[int],
    engines: Sequence[str],
    opened: OpenEngine,
    *,
    workers: int,
    rounds: int,
    say: Say = lambda _word: None,
) -> Iterator[EnginesReport]:
    """Measure every number of signals against every number of rows, on every engine.

    Raises:
        OSError: the temporary folder has no room.
        RescanError: an engine failed.
    """
    threshold_bits = MatchingSettings().threshold_bits
    for rows in sizes:
        rng = np.random.default_rng(_SEED)
        with tempfile.TemporaryDirectory(prefix="delist-bench-") as name:
            say(f"writing {rows:,} rows")
            folder = Path(name)
            exported = write_exported(
                folder, rng, -(-rows // DIGESTS_PER_ROW), threshold_bits=threshold_bits
            )
            for count in signals:
                job, planted = make_job(folder, rng, exported, count, threshold_bits=threshold_bits)
                raced = [
                    _raced(engine, opened, job, exported, planted, workers, rounds, say)
                    for engine in engines
                ]
                yield EnginesReport(
                    rows=exported.images * DIGESTS_PER_ROW,
                    files=len(exported.files),
                    size_bytes=sum(Path(file).stat().st_size for file in exported.files),
                    signals=count,
                    planted=len(planted),
                    threshold_bits=threshold_bits,
                    same=len({found for _, found in raced}) == 1,
                    results=[result for result, _ in raced],
                )


def _raced(
    name: str,
    opened: OpenEngine,
    job: Job,
    exported: Exported,
    planted: set[Pair],
    workers: int,
    rounds: int,
    say: Say,
) -> tuple[EngineResult, frozenset[Pair]]:
    say(f"{name}: starting")
    started = time.perf_counter()
    with opened(name) as engine:
        _run(engine, job, exported.files[:workers])
        start_s = time.perf_counter() - started
        runs = []
        for number in range(rounds):
            say(f"{name}: round {number + 1} of {rounds}, {job.signals:,} signals")
            runs.append(_run(engine, job, exported.files))
    rows = exported.images * DIGESTS_PER_ROW
    result = EngineResult(
        name=name,
        start_s=start_s,
        seconds=Spread.of([run.seconds for run in runs]),
        rate=Spread.of([rows / run.seconds for run in runs]),
        busy=Spread.of([run.busy_s / run.seconds / workers for run in runs]),
        exact=all(run.found == planted for run in runs),
    )
    return result, runs[0].found


def _run(engine: Engine, job: Job, files: Sequence[str]) -> _Run:
    started = time.perf_counter()
    outcomes: list[FileOutcome] = list(engine.run(job, files, avoid=frozenset()))
    seconds = time.perf_counter() - started
    return _Run(seconds, sum(one.seconds for one in outcomes), found_by(job, outcomes))


def found_by(job: Job, outcomes: Sequence[FileOutcome]) -> frozenset[Pair]:
    """Read what files matched, of those that were compared; their tables are removed."""
    tables = []
    for outcome in outcomes:
        if not outcome.refused:
            tables.append(read_matches(job, outcome.result, outcome.checksum))
            (job.results / outcome.result).unlink()
    rows = merged(tables).to_pylist()
    return frozenset((row["image"], row["signal"], row["distance_bits"]) for row in rows)

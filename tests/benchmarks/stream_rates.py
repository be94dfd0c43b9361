"""Rates of a re-scan's look-ups: few signals, very many stored digests, in one run.

    python tests/benchmarks/stream_rates.py [--signals 10 1000 ...] [--rows 1000000]
        [--batch 0] [--photos FILE] [--rounds 3]

One thread. Every round takes each index in turn, so that what else runs on the machine slows
all alike; the median of the rounds' times and of their ratios is printed as JSON, in
nanoseconds a stored digest ("row"). One row in a thousand is a signal with 0 to 40 bits
changed. ``--batch`` cuts the rows into calls of so many; 0 is one call. The others are asked
about fewer rows, from a place that changes, since more would change nothing but the time.
``--photos`` takes rows from one half and signals from the other half of uint8[n, 32] digests of
photographs, a .npy file, and repeats them, with a few bits changed each time, until there are
enough.

Answers are compared with faiss flat's in every run.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from indexer.ann import FlatIndex, MihIndex, NeighbourIndex, mih, neighbours
from indexer.ports import AnnIndex, Digests

RADIUS = 31
PAIRS = {"flat": 1e8, "mih": 2e8}
"""How many comparisons' worth of rows the others are asked about in a round."""


def flipped(rng: np.random.Generator, digests: Digests, most_bits: int) -> Digests:
    """Flip 0 to ``most_bits`` bits of each digest."""
    ranks = rng.random((len(digests), 256), np.float32).argsort(axis=1).argsort(axis=1)
    flips = ranks < rng.integers(0, most_bits + 1, (len(digests), 1))
    changed: Digests = digests ^ np.packbits(flips, axis=1)
    return changed


def stored(rng: np.random.Generator, photos: Digests | None, count: int) -> Digests:
    """Return digests as they are stored: random ones, or photographs'."""
    if photos is None:
        return rng.integers(0, 256, (count, 32), dtype=np.uint8)
    rows = np.resize(photos, (count, 32))
    for first in range(len(photos), count, len(photos)):  # no two rounds are the same
        rows[first : first + len(photos)] ^= flipped(rng, np.zeros((1, 32), np.uint8), 8)
    return rows


def seconds(index: AnnIndex, rows: Digests, batch: int) -> float:
    """Return how long the rows take in calls of ``batch``; 0: in one call."""
    start = time.perf_counter()
    for first in range(0, len(rows), batch or len(rows)):
        index.find(rows[first : first + (batch or len(rows))], threshold_bits=RADIUS)
    return time.perf_counter() - start


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the milliseconds that something takes, and what it returns."""
    start = time.perf_counter()
    made = work()
    return round((time.perf_counter() - start) * 1e3, 2), made


def built(signals: Digests) -> NeighbourIndex:
    """Make an index with its arrays, which it would make at the first look-up."""
    index = NeighbourIndex(signals)
    _ = index.arrays
    return index


def compare(signals: Digests, rows: Digests, *, batch: int, rounds: int) -> dict[str, Any]:
    """Measure one number of signals."""
    report: dict[str, Any] = {"signals": len(signals)}
    report["build_ms"], ours = timed(lambda: built(signals))
    report["mih_build_ms"], multi = timed(lambda: MihIndex(signals))
    report["bytes"] = ours.arrays.size_bytes
    indexes: dict[str, AnnIndex] = {"ours": ours, "mih": multi, "flat": FlatIndex(signals)}
    asked = {
        "ours": len(rows),
        "mih": min(len(rows), int(PAIRS["mih"] // 1_000)),
        "flat": min(len(rows), max(256, int(PAIRS["flat"] // len(signals)))),
    }
    some = rows[: asked["flat"]]
    answers = [index.find(some, threshold_bits=RADIUS) for index in indexes.values()]
    if not all(
        np.array_equal(part, wanted)
        for answer in answers
        for part, wanted in zip(answer, answers[-1], strict=True)
    ):
        raise SystemExit("not exact")
    times: dict[str, list[float]] = {name: [] for name in indexes}
    for number in range(rounds):
        for name, index in indexes.items():
            first = number * asked[name] % (len(rows) - asked[name] + 1)
            part = rows[first : first + asked[name]]
            times[name].append(seconds(index, part, batch) / len(part) * 1e9)
    for name, values in times.items():
        report[f"{name}_ns"] = round(statistics.median(values), 1)
    for name in ("mih", "flat"):
        ratios = [other / mine for mine, other in zip(times["ours"], times[name], strict=True)]
        report[f"times_{name}"] = round(statistics.median(ratios), 1)
    return report


def main() -> None:
    """Measure, check against faiss flat, and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--signals", type=float, nargs="+", default=[10, 100, 1e3, 1e4, 1e5])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--photos", help="uint8[n, 32] digests of photographs, a .npy file")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(1)
    photos = None if options.photos is None else rng.permutation(np.load(options.photos))
    apart = None if photos is None else photos[::2]
    rows = stored(rng, None if photos is None else photos[1::2], int(options.rows))
    mih.load_kernels()
    neighbours.load_kernels()
    results = []
    for count in map(int, options.signals):
        signals = stored(rng, apart, count)
        places = rng.choice(len(rows), len(rows) // 1_000, replace=False)
        kept = rows[places]
        rows[places] = flipped(rng, signals[rng.integers(0, len(signals), len(places))], 40)
        results.append(compare(signals, rows, batch=options.batch, rounds=options.rounds))
        rows[places] = kept
    kind = "random" if photos is None else "photos"
    report = {"kind": kind, "rows": len(rows), "batch": options.batch, "results": results}
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

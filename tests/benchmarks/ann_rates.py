"""Rates of exact look-ups: the multi-index, faiss flat and the public client's index, in one run.

    python tests/benchmarks/ann_rates.py [--signals 1000000] [--kind random|photos] [--photos FILE]
        [--threads 1] [--rounds 5]

One thread, unless more are asked for: then it is also measured how many times the rate of one
they reach, with batches dealt out to them and with one big batch cut into as many parts, and
the same less the time in which other processes had the processors. Every round takes each index
in turn with the same queries, so that what else runs on the machine slows all alike; the
median of the rounds' rates and of their ratios is printed. Half of the queries are held
digests with 0 to 40 bits changed. ``photos`` takes uint8[n, 32] digests of photographs from a
.npy file, with their signs changed as mirroring and turning do, and near copies until there
are enough. The others are asked for fewer queries, since batches gain them nothing. Peer:
``PDQMultiHashIndex`` of threatexchange, which is what ``PDQIndex`` asks; its faiss index is
asked directly, without the client's Python.

Probable look-ups: rates at thresholds beyond 31 bits; recall against faiss flat for queries up
to the threshold away, and the share that is met of pairs just at it, beside the stated one.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from threatexchange.signal_type.pdq.pdq_faiss_matcher import PDQMultiHashIndex

from indexer.ann import FlatIndex, MihIndex
from indexer.ann.mih import load_kernels
from indexer.ports import Digests

RADIUS = 31
PROBABLE = (44, 60)
OTHERS = {"flat": 128, "peer": 512}
"""The slower ones, and how many queries they are asked a round."""

Find = Callable[[Digests], Any]


def flipped(rng: np.random.Generator, digests: Digests, most_bits: int) -> Digests:
    """Flip 0 to ``most_bits`` bits of each digest."""
    return flipped_by(rng, digests, rng.integers(0, most_bits + 1, (len(digests), 1)))


def flipped_by(rng: np.random.Generator, digests: Digests, bits: NDArray[np.int64]) -> Digests:
    """Flip so many bits of each digest, int64[n, 1]."""
    ranks = rng.random((len(digests), 256), np.float32).argsort(axis=1).argsort(axis=1)
    flips = ranks < bits
    changed: Digests = digests ^ np.packbits(flips, axis=1)
    return changed


def photo_digests(rng: np.random.Generator, path: str, count: int) -> tuple[Digests, Digests]:
    """Return ``count`` digests like photographs', and others to ask for that are not among them.

    A mirrored picture's odd coefficients change sign: an XOR with stripes.
    """
    photos = rng.permutation(np.load(path))
    apart, photos = photos[:8_192], photos[8_192:]
    rows, columns = np.arange(16)[:, None] % 2, np.arange(16)[None] % 2
    masks = [0 * rows * columns, rows + 0 * columns, columns + 0 * rows, (rows + columns) % 2]
    pool = np.concatenate([photos ^ np.packbits(mask.ravel().astype(bool)) for mask in masks])
    copies = [pool]
    while sum(map(len, copies)) < count:
        copies.extend(flipped(rng, part, 30) for part in np.array_split(pool, 8))
    return np.ascontiguousarray(np.concatenate(copies)[:count]), apart


def timed(work: Callable[..., Any], *arguments: Any) -> float:  # noqa: ANN401 - passed on
    """Return the seconds that something takes."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def rate(find: Find, queries: Digests, size: int) -> float:
    """Return look-ups a second in batches of ``size``."""
    seconds = 0.0
    for first in range(0, len(queries), size):
        seconds += timed(find, queries[first : first + size])
    return len(queries) / seconds


def compare(finds: dict[str, Find], queries: Digests, size: int, rounds: int) -> dict[str, float]:
    """Measure rates in batches, and how many times the others' ours is."""
    rates: dict[str, list[float]] = {name: [] for name in finds}
    for number in range(rounds):
        for name, find in finds.items():
            first, most = (128 * number, OTHERS[name]) if name in OTHERS else (0, 64 * size)
            asked = queries[first : first + most]
            rates[name].append(rate(find, asked, size))
    found = {name: float(round(statistics.median(values))) for name, values in rates.items()}
    for name in OTHERS:
        ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[name], strict=True)]
        found[f"times_{name}"] = round(statistics.median(ratios), 1)
    return found


def probable(
    rng: np.random.Generator, index: MihIndex, flat: FlatIndex, held: Digests, rounds: int
) -> dict[str, dict[str, float]]:
    """Measure probable look-ups: their rates and what they meet. Half of what is asked is far."""
    report = {}
    for bits in PROBABLE:
        find = partial(index.find_probable, threshold_bits=bits)
        planted = rng.integers(0, len(held), 8_192)
        near = flipped(rng, held[planted], bits)
        at_threshold = flipped_by(rng, held[planted], np.full((len(planted), 1), bits))
        far = rng.integers(0, 256, (8_192, 32), dtype=np.uint8)
        queries = rng.permutation(np.concatenate([near, far]))
        asked = near[:512]
        rows, positions, _ = find(at_threshold)
        report[str(bits)] = {
            **{
                f"batch_{size}": round(
                    statistics.median(rate(find, queries, size) for _ in range(rounds))
                )
                for size in (512, 4_096)
            },
            "recall": round(len(find(asked)[0]) / len(flat.find(asked, threshold_bits=bits)[0]), 5),
            "met_at_threshold": round(float((positions == planted[rows]).sum() / len(planted)), 4),
            "stated_at_threshold": round(index.meeting_probability(bits), 4),
        }
    return report


def scaling(find: Find, queries: Digests, threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """Measure how many times the rate of one thread several reach together."""

    def look_up(parts: list[Digests]) -> float:
        """Return the seconds that it took but for those in which there was no free processor."""
        schedule = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        start, queued = time.perf_counter(), int(schedule.read_text("ascii").split()[1])
        for part in parts:
            find(part)
        queued = int(schedule.read_text("ascii").split()[1]) - queued
        return time.perf_counter() - start - queued * 1e-9

    report = {}
    with ThreadPoolExecutor(threads) as pool:
        for size in (64, 4_096, -(-len(queries) // threads)):
            parts = [queries[first : first + size] for first in range(0, len(queries), size)]
            walls, unqueued = [], []
            for _ in range(rounds):
                start = time.perf_counter()
                alone = look_up(parts)
                middle = time.perf_counter()
                each = list(pool.map(look_up, [parts[first::threads] for first in range(threads)]))
                walls.append((middle - start) / (time.perf_counter() - middle))
                unqueued.append(alone / max(each))
            name = f"batch_{size}" if size in {64, 4_096} else "one_batch_cut"
            report[name] = {
                "times_one_thread": round(statistics.median(walls), 2),
                "least": round(min(walls), 2),
                "most": round(max(walls), 2),
                "had_processors_been_free": round(statistics.median(unqueued), 2),
            }
    return report


def main() -> None:
    """Measure, check against faiss flat, and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--signals", type=float, default=1e6)
    parser.add_argument("--kind", choices=("random", "photos"), default="random")
    parser.add_argument("--photos", help="uint8[n, 32] digests of photographs, a .npy file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.kind == "photos" and options.photos is None:
        parser.error("--kind photos needs --photos FILE")
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(1)
    count = int(options.signals)
    if options.kind == "random":
        held = rng.integers(0, 256, (count, 32), dtype=np.uint8)
        apart = rng.integers(0, 256, (8_192, 32), dtype=np.uint8)
    else:
        held, apart = photo_digests(rng, options.photos, count)
    near = flipped(rng, held[rng.integers(0, count, 8_192)], 40)
    queries = rng.permutation(np.concatenate([near, apart]))

    report: dict[str, Any] = {"kind": options.kind, "signals": count}
    load_kernels()
    indexes: list[Any] = []
    report["build_s"] = round(timed(lambda: indexes.append(MihIndex(held))), 2)
    index, flat, client = indexes[0], FlatIndex(held), PDQMultiHashIndex()
    report["bytes_a_signal"] = round(index.arrays.size_bytes / count)
    client.mih_index.nflip = RADIUS // client.mih_index.nhash  # as its search() sets it
    peer = client.faiss_index
    report["peer_build_s"] = round(timed(peer.add_with_ids, held, np.arange(count)), 2)
    finds: dict[str, Find] = {
        "ours": lambda batch: index.find(batch, threshold_bits=RADIUS),
        "flat": lambda batch: flat.find(batch, threshold_bits=RADIUS),
        "peer": lambda batch: peer.range_search(batch, RADIUS + 1),
    }

    found, wanted = finds["ours"](queries[:256]), finds["flat"](queries[:256])
    if not all((ours == theirs).all() for ours, theirs in zip(found, wanted, strict=True)):
        raise SystemExit("not exact")
    report["peer_recall"] = float(finds["peer"](queries[:256])[0][-1] / len(found[0]))
    for name, asked in (("ours", 4_000), ("peer", 200)):
        alone = [timed(finds[name], query) for query in queries[:asked, None]]
        report[f"{name}_single_p50_us"] = round(statistics.median(alone) * 1e6, 1)
    for size in (64, 4_096, 16_384):
        report[f"batch_{size}"] = compare(finds, queries, size, options.rounds)
    report["probable"] = probable(rng, index, flat, held, options.rounds)
    if options.threads > 1:
        many = np.concatenate([queries] * 4)
        report[f"threads_{options.threads}"] = {
            str(bits): scaling(
                partial(index.find_probable, threshold_bits=bits), many, options.threads,
                options.rounds,
            )
            for bits in (RADIUS, *PROBABLE)
        }  # fmt: skip
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

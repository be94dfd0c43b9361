"""A re-scan of many exported files on a local Ray cluster, one node of which is killed.

``python -m tests.benchmarks.rescan_nodes --images 10000000 --nodes 3``: writes files of random
digests, compares them under local processes and on a cluster of several nodes on this machine,
kills a node after a third of the files, and prints one JSON document: what each took, what was
done where, and whether both found the same pairs at the same distances, and just the planted ones.
"""

# ruff: noqa: T201 - what it measures is printed

import argparse
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "token"  # before Ray is loaded, which reads it then
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
from ray.cluster_utils import Cluster

from delist.build import Delist
from delist.ops.bench.exported_rows import write_exported
from delist.rescan.job import Job
from delist.rescan.local import LocalEngine
from delist.rescan.on_ray import RayEngine
from delist.rescan.running import Engine
from delist.rescan.work import FileOutcome, read_matches
from indexer.model import DIGESTS_PER_ROW
from tests.fakes.ray_nodes import add_node

Found = set[tuple[bytes, bytes, int, str, str, int]]


class Watched:
    """An engine that notes what was found before it is taken in, and calls back once."""

    def __init__(self, engine: Engine, at: int, call: Callable[[], None]) -> None:
        self.found: Found = set()
        self.seconds: list[float] = []
        self._engine, self._at, self._call = engine, at, call

    def has_others(self, avoid: frozenset[str]) -> bool:
        return self._engine.has_others(avoid)

    def run(
        self, job: Job, files: Sequence[str], *, avoid: frozenset[str]
    ) -> Generator[FileOutcome, None, None]:
        for outcome in self._engine.run(job, files, avoid=avoid):
            table = read_matches(job, outcome.result, outcome.checksum)
            self.found |= {tuple(row.values()) for row in table.to_pylist()}
            self.seconds.append(outcome.seconds)
            yield outcome
            if len(self.seconds) == self._at:
                self._call()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--signals", type=int, default=1_000)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="delist-nodes-") as name:
        folder = Path(name)
        (folder / "tables").mkdir()
        started = time.perf_counter()
        exported = write_exported(folder / "tables", rng, given.images, threshold_bits=31)
        print(json.dumps({"wrote_s": round(time.perf_counter() - started, 1)}), flush=True)
        near = exported.near[: given.signals]
        signals = rng.integers(0, 256, (given.signals, 32), dtype=np.uint8)
        signals[: len(near)] = near
        (folder / "bank.jsonl").write_text("\n".join(row.tobytes().hex() for row in signals))
        (folder / "delist.toml").write_text(
            'data_dir = "data"\n[feeds.bank]\ntype = "file"\npath = "bank.jsonl"\n'
        )
        with Delist.open(folder / "delist.toml") as delist:
            list(delist.sync_feeds())
            local, of_local = measure(delist, folder, LocalEngine(workers=given.workers))
            print(json.dumps({"local": local}), flush=True)
            cluster = Cluster()
            head, *others = [add_node(cluster) for _ in range(given.nodes)]
            names = {head.node_id: "head", others[0].node_id: "killed"}
            ray = RayEngine(address=cluster.address, workers=given.nodes, trust_network=True)
            result, of_ray = measure(
                delist, folder, ray, at=len(exported.files) // 3,
                call=lambda: cluster.remove_node(others[0], allow_graceful=False),
            )  # fmt: skip
            ray.close()
            cluster.shutdown()
        result["workers"] = {names.get(n, "kept"): done for n, done in result["workers"].items()}
        planted = sorted(bits for _, bits in exported.found[: given.signals])
    document = {
        "images": given.images,
        "hashes": given.images * DIGESTS_PER_ROW,
        "files": len(exported.files),
        "signals": given.signals,
        "nodes": given.nodes,
        "local": local,
        "ray, a node killed": result,
        "same": of_local == of_ray,
        "just the planted": sorted(row[2] for row in of_ray) == planted,
    }
    print(json.dumps(document))


def measure(
    delist: Delist, folder: Path, engine: Engine, at: int = 0, call: Callable[[], None] = print
) -> tuple[dict[str, Any], Found]:
    watched = Watched(engine, at, call)
    started = time.perf_counter()
    report = delist.file_rescans.run([folder / "tables"], watched, folder=folder / "work")
    seconds = time.perf_counter() - started
    figures = {
        "seconds": round(seconds, 1),
        "hashes_per_s": round(report.digests / seconds),
        "seconds_of_work": round(sum(watched.seconds), 1),
        "files": report.done,
        "outcomes": len(watched.seconds),
        "refused": report.refused,
        "matches": report.matches,
        "workers": report.workers,
        "complete": report.complete,
    }
    return figures, watched.found


if __name__ == "__main__":
    main()

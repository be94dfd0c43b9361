"""How long from a signal in the feed to its image out of results, on a large store.

    python -m tests.benchmarks.feed_to_suppression [--images N] [--folder DIR] [--sync-s S]…

A feed stand-in on loopback names stored images one after the other, at random times, while
`delist run` works on a store of ten million. For each interval between two syncs: p50 and p99
from publishing to the record in the ledger and to the filter's answer, by stage. One JSON line
for the store, one for the full re-scan, one for each interval. ``--folder`` keeps the store (8 GB)
for the next run.
"""

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from delist.build import Delist
from delist.ops.bench.timing import machine_kind
from delist.serving import SuppressionFilter
from tests.benchmarks.feed_to_suppression.following import Follower, Signal, stages_of, summed
from tests.benchmarks.feed_to_suppression.scene import Running, Scene

_START_S = 1800.0
_SLACK_S = 300.0
_GIB = 1024**3


def main() -> None:
    """Fill, then measure each interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--signals", type=int, default=100_000)
    parser.add_argument("--new", type=int, default=300, help="signals for each interval")
    parser.add_argument("--sync-s", type=int, action="append", help="default: 60 and 1")
    parser.add_argument("--pause-s", type=float, default=3.0, help="between two signals, mean")
    parser.add_argument("--folder", type=Path, help="keep the store there, or use it again")
    parser.add_argument("--index-gib", type=float, default=4.0, help="[scan] index_bytes")
    parser.add_argument("--full", action="store_true", help="a full re-scan first, timed")
    parser.add_argument("--fill-only", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        measure(given, folder)


def measure(given: argparse.Namespace, folder: Path) -> None:
    """Measure on one store; prints as it goes."""
    scene = Scene(folder, signals=given.signals, say=_note)
    index_bytes = round(given.index_gib * _GIB)
    with scene.feed:
        scene.configure(sync_s=60, index_bytes=index_bytes)
        took = scene.prepare(given.images)
        store_bytes = (folder / "data" / "store" / "data.mdb").stat().st_blocks * 512
        _say({"machine": machine_kind(), "store_bytes": store_bytes, **took})
        if given.fill_only:
            return
        if given.full:
            _say(_full_scan(scene))
        else:
            scene.put_off_full_scan()
        for sync_s in given.sync_s or [60, 1]:
            scene.configure(sync_s=sync_s, index_bytes=index_bytes)
            _say(_interval(scene, given, sync_s))


def _full_scan(scene: Scene) -> dict[str, Any]:
    started, spent = time.monotonic(), os.times()
    job = scene.full_scan()
    seconds, now = time.monotonic() - started, os.times()
    cpu_s = now.children_user + now.children_system - spent.children_user - spent.children_system
    return {
        "full_scan": job["outcome"],
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu_s, 1),
    }


def _interval(scene: Scene, given: argparse.Namespace, sync_s: int) -> dict[str, Any]:
    dice = random.Random(sync_s)
    with Running(scene, f"{sync_s}s") as running, Delist.open(scene.config) as delist:
        running.wait_for("intake", timeout_s=_START_S)
        results = SuppressionFilter.open(scene.config)
        process = psutil.Process(running.process.pid)
        spent, began = process.cpu_times(), time.time()
        asked = len(scene.feed.requests)
        with Follower(delist, results) as follower:
            published = 0
            while published < given.new:
                time.sleep(dice.expovariate(1 / given.pause_s))
                # Alone, or some in one go, as a person's pictures come.
                for _ in range(min(dice.choice((1, 1, 1, 2, 4)), given.new - published)):
                    url, digest = scene.choose(delist)
                    signal = Signal(url, published=time.time())
                    follower.add(signal)
                    scene.publish(digest)
                    published += 1
            end = time.monotonic() + sync_s + _SLACK_S
            while follower.waiting and time.monotonic() < end:
                time.sleep(0.1)
        now, seconds = process.cpu_times(), time.time() - began
        memory = process.memory_info().rss
        events = running.events()
    cycles = [event for event in events if event.name == "scan.delta" and event.at > began]
    busy = [event for event in cycles if event.fields["signals"]]
    stages = stages_of(follower.done, events, _fetch_times(scene, asked))
    return {
        "sync_s": sync_s,
        "new": published,
        "missing": len(follower.waiting),
        "seconds": round(seconds, 1),
        "cycles": len(cycles),
        "with_new": len(busy),
        "signals_a_cycle": round(published / max(1, len(busy)), 2),
        "cpu_share": round((now.user + now.system - spent.user - spent.system) / seconds, 3),
        "rss_bytes": memory,
        "stages": summed(stages),
    }


def _fetch_times(scene: Scene, start: int) -> list[float]:
    return [seen.at for seen in scene.feed.requests[start:] if seen.endpoint == "FetchHashes"]


def _say(entry: dict[str, Any]) -> None:
    print(json.dumps(entry), flush=True)  # noqa: T201 - its output


def _note(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - its output


if __name__ == "__main__":
    main()

"""From a published signal to the suppression record and to the filter's answer, stage by stage.

What is timed from outside: when the feed published the signal, when somebody who looks at the
ledger every few milliseconds found the record, and when the filter, in a process of its own,
first said yes. What lies between is taken from the log of `delist run`: its events are logged
at the end of each stage. A signal belongs to the last cycle whose re-scan ended before its
record was there.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from delist.build import Delist
from delist.serving import SuppressionFilter
from tests.benchmarks.feed_to_suppression.scene import Event

STAGES = ("poll wait", "sync", "delta re-scan", "intake and emission", "filter")
_LOOK_S = 0.005


@dataclass(slots=True)
class Signal:
    """One new signal; times are unix seconds, 0 for not yet."""

    url: str
    published: float
    recorded: float = 0.0
    served: float = 0.0


class Follower:
    """Looks at ledger and filter all the time, on a thread; use it as a context manager."""

    def __init__(self, delist: Delist, results: SuppressionFilter) -> None:
        self._delist = delist
        self._results = results
        self.waiting: dict[str, Signal] = {}
        self.done: list[Signal] = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._position = max((r.sequence for r in delist.records_after(0)), default=0)
        self._thread = threading.Thread(target=self._look, daemon=True)

    def add(self, signal: Signal) -> None:
        with self._lock:
            self.waiting[signal.url] = signal

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            with self._lock:
                signals = list(self.waiting.values())
            if not signals:
                continue
            for record in self._delist.records_after(self._position):
                self._position = record.sequence
                signal = self.waiting.get(record.image_url)
                if signal is not None and not signal.recorded:
                    signal.recorded = time.time()
            for signal in signals:
                if self._results.is_suppressed(signal.url):
                    signal.served = time.time()
            with self._lock:
                for signal in signals:
                    if signal.recorded and signal.served:
                        self.done.append(self.waiting.pop(signal.url))


def stages_of(
    signals: Sequence[Signal], events: Sequence[Event], fetches: Sequence[float]
) -> dict[str, list[float]]:
    """Split each signal's way into stages, in seconds; they add up to ``total``.

    Args:
        fetches: when the feed was asked, ascending.
    """
    synced = [event.at for event in events if event.name == "feed.synced"]
    scanned = [event.at for event in events if event.name == "scan.delta"]
    found: dict[str, list[float]] = {name: [] for name in (*STAGES, "total")}
    for signal in signals:
        scan = _last(scanned, signal.recorded)
        sync = _last(synced, scan)
        fetch = _last(fetches, sync)
        # A filter may be asked between the commit and our look at the ledger.
        recorded = min(signal.recorded, signal.served)
        ends = (signal.published, fetch, sync, scan, recorded, signal.served)
        for name, begin, end in zip(STAGES, ends[:-1], ends[1:], strict=True):
            found[name].append(end - begin)
        found["total"].append(signal.served - signal.published)
    return found


def summed(stages: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Give p50, p99 and the longest of each stage, in seconds."""
    return {
        name: {
            "p50_s": round(float(np.percentile(values, 50)), 3),
            "p99_s": round(float(np.percentile(values, 99)), 3),
            "most_s": round(max(values), 3),
        }
        for name, values in stages.items()
        if values
    }


def _last(times: Sequence[float], until: float) -> float:
    return times[max(0, bisect_right(times, until) - 1)]

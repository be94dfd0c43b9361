"""The looks of a soak as series, read from the file that they were written to."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.soak.verdict import Trend, trend

_MIB = 1024.0 * 1024
BURST = "burst"
"""What answers are counted under that came in a burst: they waited for one another."""
PROCESSES = ("run", "serve", "serve worker 1", "serve worker 2")
LIMITS = {
    **{f"{name} anonymous": 8 * _MIB for name in PROCESSES},
    **{f"{name} files": 1.0 for name in PROCESSES},
    **{f"{name} threads": 1.0 for name in PROCESSES},
    "lmdb slots": 1.0,
    "lmdb stale slots": 0.5,
    "lmdb oldest read behind": 50.0,
    "lmdb used bytes": 8 * _MIB,
    "wal bytes": 4 * _MIB,
    "index bytes": 8 * _MIB,
    "index generations": 0.5,
    "serving snapshot files": 0.5,
    "delist_intake_waiting": 10.0,
    "delist_feedback_waiting": 10.0,
    "delist_consumer_lag_records": 10.0,
}
"""What is judged, and how much growth an hour counts as none."""


@dataclass(slots=True)
class Soak:
    """What was seen.

    Attributes:
        rows: looks, by time.
        crawls: how they ended.
        latencies: seconds of answers with their times, of those that came.
    """

    machine: str
    warm_up_s: float
    rows: list[dict[str, float]] = field(default_factory=list)
    crawls: dict[str, int] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    latencies: list[tuple[float, str, float]] = field(default_factory=list)
    ending: dict[str, Any] = field(default_factory=dict)

    @property
    def start(self) -> float:
        return self.rows[0]["at"]

    @property
    def minutes(self) -> float:
        return (self.rows[-1]["at"] - self.start) / 60

    @property
    def answers(self) -> int:
        return sum(self.statuses.values())

    def series(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return times, in seconds from the start, and values of one series."""
        if name.startswith("api p"):
            return self._quantiles(float(name.removeprefix("api p")))
        if name == "all crawls anonymous":
            kinds = ("crawl anonymous", "crawl children anonymous")
            pairs = [(row["at"], sum(row.get(kind, 0.0) for kind in kinds)) for row in self.rows]
        else:
            pairs = [(row["at"], row[name]) for row in self.rows if name in row]
        found = np.array(pairs, np.float64).reshape(-1, 2)
        return found[:, 0] - self.start, found[:, 1]

    def _quantiles(self, percent: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        by_minute: dict[int, list[float]] = {}
        for at, route, seconds in self.latencies:
            if route == BURST:
                continue
            by_minute.setdefault(int((at - self.start) // 60), []).append(seconds)
        minutes = sorted(by_minute)
        values = [float(np.percentile(by_minute[minute], percent)) for minute in minutes]
        return (np.array(minutes, np.float64) + 0.5) * 60, np.array(values, np.float64)

    def trends(self) -> dict[str, Trend]:
        """Judge every series that there is enough of."""
        found: dict[str, Trend] = {}
        for name, limit in LIMITS.items():
            times, values = self.series(name)
            judged = trend(times.tolist(), values.tolist(), warm_up_s=self.warm_up_s, limit=limit)
            if judged is not None:
                found[name] = judged
        return found

    def api(self) -> dict[str, dict[str, float]]:
        """Sum up the answers after the warm-up, by route: how many, p50 and p99 in ms."""
        by_route: dict[str, list[float]] = {}
        for at, route, seconds in self.latencies:
            if at - self.start >= self.warm_up_s:
                by_route.setdefault(route, []).append(seconds * 1e3)
        return {
            route: {
                "answers": len(taken),
                "p50_ms": round(float(np.percentile(taken, 50)), 1),
                "p99_ms": round(float(np.percentile(taken, 99)), 1),
            }
            for route, taken in sorted(by_route.items())
        }


def read(path: Path) -> Soak:
    """Read the file of a soak, also of one that was cut short."""
    soak = Soak(machine="", warm_up_s=0.0)
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "machine" in entry:
            soak.machine, soak.warm_up_s = entry["machine"], entry["warm_up_s"]
        elif "ending" in entry:
            soak.ending = entry["ending"]
        else:
            soak.rows.append(entry["row"])
            soak.crawls = entry["crawls"]
            for at, route, status, seconds in entry["answers"]:
                soak.statuses[f"{status} {route}" if status >= 400 or not status else "ok"] += 1
                if status:
                    soak.latencies.append((at, route, seconds))
    return soak

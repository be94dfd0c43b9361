"""An hour of everything at once: is memory flat, are files flat, is nobody left behind?

    python -m tests.benchmarks.soak [--minutes M] [--to FILE.svg] [--samples FILE.jsonl]

Real processes on this machine: `delist serve` with two workers, `delist run` with a feed that
changes, `delist crawl` of a site on loopback whose pictures change, again and again, some of them
killed; and questions to the API, one by one and in bursts. Every few seconds all of it is looked
at. Then: a line through what came after the warm-up, with the uncertainty of its slope. Exit code 1
where something grows.

``--from FILE.jsonl`` judges and draws a soak that was taken before, whole or cut short.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from delist.ops.bench.timing import machine_kind
from tests.benchmarks.soak.drawing import draw
from tests.benchmarks.soak.load import Load, Pace
from tests.benchmarks.soak.sampling import Sampler
from tests.benchmarks.soak.series import Soak, read
from tests.benchmarks.soak.stage import Stage
from tests.benchmarks.soak.verdict import Word

_METRICS_EVERY = 3
"""Every so many looks `delist run` is asked for its figures."""


def main() -> None:
    """Run, judge, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--warm-up", type=float, help="minutes; default: a quarter, at most 15")
    parser.add_argument("--every", type=float, default=5, help="seconds between two looks")
    parser.add_argument("--to", type=Path, help="an SVG file for the plot")
    parser.add_argument("--samples", type=Path, help="where all looks are written")
    parser.add_argument("--from", dest="taken", type=Path, help="judge these, and run nothing")
    parser.add_argument("--keep", type=Path, help="a new folder for the installation")
    parser.add_argument("--metrics-port", type=int, default=18_345)
    parser.add_argument("--requests-per-s", type=float, default=4.0)
    parser.add_argument("--crawl-s", type=float, default=60.0)
    parser.add_argument("--feed-s", type=float, default=5.0)
    parser.add_argument("--burst-s", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.taken is None:
        with tempfile.TemporaryDirectory() as folder:
            samples = given.samples or Path(folder) / "samples.jsonl"
            place = given.keep or Path(folder) / "soak"
            place.mkdir()
            run(given, place, samples)
            soak = read(samples)
    else:
        soak = read(given.taken)
    if given.to is not None:
        draw(given.to, soak, soak.trends(), now=datetime.fromtimestamp(soak.start, UTC))
    report(soak, sys.stdout)
    words = {trend.word for trend in soak.trends().values()}
    sys.exit(1 if Word.GROWS in words or soak.ending.get("stale_at_end") else 0)


def run(given: argparse.Namespace, folder: Path, samples: Path) -> None:
    """Soak, and write each look as a line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what was started, too
    warm_up_s = 60 * (min(15, given.minutes / 4) if given.warm_up is None else given.warm_up)
    pace = Pace(
        requests_per_s=given.requests_per_s,
        feed_s=given.feed_s,
        crawl_s=given.crawl_s,
        burst_s=given.burst_s,
    )
    stage = Stage(folder, metrics_port=given.metrics_port, seed=given.seed)
    with samples.open("w", encoding="utf-8") as file:
        _say(file, {"machine": machine_kind(), "warm_up_s": warm_up_s})
        with stage:
            sampler = Sampler(stage)
            with Load(stage, pace) as load:
                end, number = time.monotonic() + 60 * given.minutes, 0
                due = time.monotonic()
                while (now := time.monotonic()) < end:
                    time.sleep(max(0.0, due - now))
                    due += given.every
                    row = sampler.look(metrics=number % _METRICS_EVERY == 0)
                    number += 1
                    answers = [
                        (a.at, a.route, a.status, round(a.seconds, 5)) for a in load.take_answers()
                    ]
                    _say(file, {"row": row, "crawls": load.crawls, "answers": answers})
            codes = stage.stop()
            left = sampler.look(metrics=False)
            sampler.close()
        ending = {
            "exit_codes": codes,
            "driver": load.trouble,
            "stale_at_end": left["lmdb stale slots"],
            "events": _events(folder),
        }
        _say(file, {"ending": ending})


def report(soak: Soak, to: TextIO) -> None:
    """Write one JSON line for each series, one for the API and one for the rest."""
    for name, trend in soak.trends().items():
        _say(
            to,
            {
                "series": name,
                "word": trend.word,
                "level": round(trend.level, 1),
                "an_hour": round(trend.slope, 2),
                "low": round(trend.low, 2),
                "high": round(trend.high, 2),
                "limit": trend.limit,
            },
        )
    for route, figures in soak.api().items():
        _say(to, {"route": route, **figures})
    rest: dict[str, Any] = {
        "minutes": round(soak.minutes, 1),
        "looks": len(soak.rows),
        "crawls": soak.crawls,
        "answers": soak.statuses,
        "last": {name: value for name, value in soak.rows[-1].items() if name != "at"},
    }
    _say(to, rest | soak.ending)


def _events(folder: Path) -> dict[str, int]:
    """Count what the processes logged as a warning or worse, by process and event."""
    found: Counter[str] = Counter()
    for log in folder.glob("*.log"):
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                found[f"{log.stem}: not an event"] += 1
                continue
            if isinstance(entry, dict) and entry.get("level") not in {"info", "debug"}:
                found[f"{log.stem}: {entry.get('event')}"] += 1
    return dict(found)


def _say(to: TextIO, entry: dict[str, Any]) -> None:
    to.write(json.dumps(entry) + "\n")
    to.flush()


if __name__ == "__main__":
    os.nice(10)
    main()

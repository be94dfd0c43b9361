"""Drawing questions a second against the number of suppressed URLs."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from delist.ops.bench.plots import draw, lines_of
from delist.ops.bench.servings import ServingOptions, ServingReport


def draw_servings(
    path: Path, reports: Sequence[ServingReport], options: ServingOptions, *, now: datetime
) -> None:
    """Draw single questions and batches, each in its own panel.

    Raises:
        UsageError: the file cannot be written.
    """
    single: dict[str, list[tuple[float, tuple[float, float, float]]]] = {}
    batches: dict[str, list[tuple[float, tuple[float, float, float]]]] = {}
    for report in reports:
        for result in report.results:
            one = 1e6 / result.miss.p50_us
            single.setdefault(result.name, []).append((report.urls, (one, one, one)))
            rate = (result.rate.median, result.rate.low, result.rate.high)
            batches.setdefault(result.name, []).append((report.urls, rate))
    draw(
        path,
        {
            "one URL alone, not suppressed (p50)": lines_of(single),
            f"batches of {options.batch:,}, half suppressed": lines_of(batches),
        },
        title="Is this URL suppressed? From a canonical URL to the answer",
        subtitle=f"one thread; medians of {options.rounds} rounds in one run, with their range",
        x_name="suppressed URLs",
        y_name="answers a second",
        now=now,
    )

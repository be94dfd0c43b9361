"""Drawing ``delist bench hash``: images a second against their size."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from delist.ops.bench.hashing import HashReport
from delist.ops.bench.plots import draw, lines_of


def draw_hashing(path: Path, reports: Sequence[HashReport], *, repeats: int, now: datetime) -> None:
    """Draw images a second against megapixels.

    Raises:
        UsageError: the file cannot be written.
    """
    lines: dict[str, list[tuple[float, tuple[float, float, float]]]] = {}
    names: dict[float, str] = {}
    for report in reports:
        megapixels = report.width * report.height / 1e6
        names.setdefault(megapixels, f"{report.width} \N{MULTIPLICATION SIGN} {report.height}")
        for result in report.results:
            rate = (result.rate.median, result.rate.low, result.rate.high)
            lines.setdefault(result.name, []).append((megapixels, rate))
    draw(
        path,
        {"": lines_of(lines)},
        title="From the bytes of a JPEG file to its hashes, on one core",
        subtitle=f"fast: 16 digests; deep: all guesses of edits; PdqSignal: one digest; "
        f"medians of {repeats} rounds, with their range",
        x_name="pixels",
        y_name="images a second of processor time",
        now=now,
        size_names=names,
    )

"""The picture of a soak: one panel for each thing that must not grow, over the same hour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tests.benchmarks.soak.series import Soak
from tests.benchmarks.soak.verdict import Trend

_INK, _GRID, _SHADE = "#333333", "#dddddd", "#f2f2f2"
# Okabe and Ito's colours, which colour-blind people tell apart; dashes differ too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9")
_DASHES = ("-", "--", "-.", ":", "-", "--")
_MIB = 1024 * 1024
_POINTS = 240
"""Most points of a line: more cannot be seen, and make the file large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel: lines, by their names to names of series.

    Attributes:
        unit: that values are divided by.
        scale: of its axis, as Matplotlib calls it.
    """

    title: str
    lines: Mapping[str, str]
    unit: float = 1.0
    scale: str = "linear"
    steps: bool = False


PANELS = (
    Panel(
        title="Memory beside mapped files, MiB",
        lines={
            "delist run": "run anonymous",
            "serve, worker 1": "serve worker 1 anonymous",
            "serve, worker 2": "serve worker 2 anonymous",
            "serve, parent": "serve anonymous",
            "crawls and their children": "all crawls anonymous",
        },
        unit=_MIB,
    ),
    Panel(
        title="Open files",
        lines={
            "delist run": "run files",
            "serve, worker 1": "serve worker 1 files",
            "serve, worker 2": "serve worker 2 files",
            "serve, parent": "serve files",
        },
    ),
    Panel(
        title="LMDB: readers, and what killed processes left",
        lines={"readers": "lmdb slots", "stale": "lmdb stale slots"},
        steps=True,
    ),
    Panel(
        title="On disk, MiB",
        lines={
            "LMDB store": "store bytes",
            "cases (SQLite)": "cases bytes",
            "its write-ahead log": "wal bytes",
            "index generations": "index bytes",
            "serving snapshot": "serving snapshot bytes",
            "ledger's files": "ledger files bytes",
        },
        unit=_MIB,
        scale="log",
    ),
    Panel(
        title="Waiting",
        lines={
            "intake": "delist_intake_waiting",
            "words to the feed": "delist_feedback_waiting",
            "records for consumers": "delist_consumer_lag_records",
            "records not signed yet": "delist_ledger_unsigned_records",
        },
        scale="symlog",  # mostly nothing or one, and at the beginning thousands
        steps=True,
    ),
    Panel(
        title="API, ms by minute",
        lines={"p50": "api p50", "p99": "api p99"},
        unit=1e-3,
        scale="log",
    ),
)


def draw(path: Path, soak: Soak, trends: Mapping[str, Trend], *, now: datetime) -> None:
    """Draw all panels to an SVG file."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "soak", "path.simplify": True})
    figure = Figure(figsize=(11, 9.6), facecolor="white")
    FigureCanvasSVG(figure)
    grid = figure.subplots(3, 2, sharex=True)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.90, bottom=0.075, hspace=0.24, wspace=0.13)
    title = f"{soak.minutes:.0f} minutes of crawls, syncs, re-scans and questions to the API"
    figure.text(0.06, 0.965, title, fontsize=14, weight="bold", color=_INK)
    figure.text(0.06, 0.94, _summary(soak, trends), fontsize=9.5, color=_INK)
    where = f"{soak.machine} · {now:%Y-%m-%d} · grey: warm-up, not judged"
    figure.text(0.06, 0.016, where, fontsize=8.5, color="#666666")
    for axes, panel in zip(grid.flat, PANELS, strict=True):
        _fill(axes, panel, soak)
    for axes in grid[-1]:
        axes.set_xlabel("minutes", fontsize=9.5, color=_INK)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": "tests.benchmarks.soak"})


def _summary(soak: Soak, trends: Mapping[str, Trend]) -> str:
    run, grown = trends.get("run anonymous"), ""
    if run is not None:
        low, slope, high = (value / _MIB for value in (run.low, run.slope, run.high))
        grown = f"; delist run {slope:+.1f} MiB/h (95 %: {low:+.1f} to {high:+.1f})"
    said = ", ".join(f"{number} {word}" for word, number in soak.crawls.items() if number)
    return f"{soak.answers:,} answers, crawls: {said}{grown}"


def _fill(axes: Axes, panel: Panel, soak: Soak) -> None:
    axes.axvspan(0, soak.warm_up_s / 60, color=_SHADE, linewidth=0)
    drawn = 0
    for number, (name, series) in enumerate(panel.lines.items()):
        times, values = soak.series(series)
        if not len(values):
            continue
        drawn += 1
        minutes, thinned = _thinned(times / 60, values / panel.unit)
        axes.plot(
            minutes, thinned, color=_COLOURS[number], linestyle=_DASHES[number], linewidth=1.3,
            label=name, drawstyle="steps-post" if panel.steps else "default",
        )  # fmt: skip
    axes.set_title(panel.title, fontsize=10.5, color=_INK, loc="left")
    axes.set_yscale(panel.scale)
    if panel.scale != "log":
        axes.set_ylim(bottom=0)
    axes.set_xlim(0, soak.minutes)
    axes.margins(y=0.25)
    axes.grid(visible=True, color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=8.5, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#999999")
    if drawn:
        axes.legend(
            fontsize=8, ncols=2, loc="best", labelcolor=_INK, framealpha=0.85, edgecolor="white"
        )


def _thinned(
    times: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the highest value of each stretch: what is short must not vanish."""
    times, values = np.asarray(times), np.asarray(values)
    size = -(-len(values) // _POINTS)
    starts = range(0, len(values), size)
    return times[::size], np.array([values[at : at + size].max() for at in starts])

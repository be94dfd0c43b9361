"""Drawing rates against sizes, ours and others', both axes logarithmic."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from delist.errors import UsageError
from delist.ops.bench.lookups import LookupOptions, LookupReport
from delist.ops.bench.rescans import RescanReport
from delist.ops.bench.timing import machine_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from delist.ops.bench.engine_rescans import EnginesReport

_WIDTH_PX, _HEIGHT_PX, _DPI = 1000, 700, 100

# Okabe and Ito's colours, which colour-blind people tell apart; markers and labels differ too.
_STYLES = {
    "delist": ("#0072B2", "o", "-"),
    "delist, kept index": ("#0072B2", "o", "-"),
    "delist, streaming": ("#56B4E9", "s", "-"),
    "delist, fast": ("#0072B2", "o", "-"),
    "delist, deep": ("#56B4E9", "s", "-"),
    "delist, local processes": ("#0072B2", "o", "-"),
    "delist, Ray": ("#D55E00", "D", "-"),
    "delist, Spark": ("#009E73", "^", "-"),
    "decoding alone": ("#009E73", "^", ":"),
    "threatexchange PdqSignal": ("#CC79A7", "v", "--"),
    "flat scan": ("#009E73", "^", "--"),
    "faiss multi-hash": ("#D55E00", "D", "--"),
    "threatexchange PDQIndex": ("#CC79A7", "v", "--"),
    "faiss flat": ("#000000", "x", ":"),
    "Python set": ("#009E73", "^", "--"),
    "LMDB": ("#D55E00", "D", "--"),
    "SQLite": ("#000000", "x", ":"),
}
_ENGINES = {"local": "delist, local processes", "ray": "delist, Ray", "spark": "delist, Spark"}
_TEXT_COLOURS = {
    **dict.fromkeys(("delist, streaming", "delist, deep"), "#2176a5"),
    **dict.fromkeys(("threatexchange PDQIndex", "threatexchange PdqSignal"), "#a0527e"),
}
"""Where a line's colour is too light to read words in."""

_INK, _GRID = "#333333", "#dddddd"
_LABEL_GAP_PX = 19
_FEW_DECADES = 100
_ROUND_RATES = [step * 10.0**power for power in range(-3, 12) for step in (1, 2, 5)]


@dataclass(frozen=True, slots=True)
class Line:
    """One contestant.

    Attributes:
        sizes: signals or stored rows, ascending.
        rates: a second; median, lowest and highest of each size's rounds.
    """

    name: str
    sizes: Sequence[float]
    rates: Sequence[tuple[float, float, float]]


def check_plot(path: Path) -> None:
    """Check before anything is measured that a plot can be drawn there.

    Raises:
        UsageError: another form than PNG, no such folder, or matplotlib is not installed.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"--plot: plots are PNG files, so {path.name} has to end in .png")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--plot: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"--plot: {path} is a folder")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "--plot needs matplotlib, which is not installed: pip install 'delist[plots]'"
        )


def draw_lookups(
    path: Path, reports: Sequence[LookupReport], options: LookupOptions, *, now: datetime
) -> None:
    """Draw look-ups a second against the number of signals.

    Raises:
        UsageError: the file cannot be written.
    """
    threads = "one thread" if options.threads == 1 else f"{options.threads} threads"
    lines: dict[str, list[tuple[float, tuple[float, float, float]]]] = {}
    for report in reports:
        for result in report.results:
            rate = (result.rate.median, result.rate.low, result.rate.high)
            lines.setdefault(result.name, []).append((report.signals, rate))
    draw(
        path,
        {"": lines_of(lines)},
        title="Exact look-ups within 31 of 256 bits",
        subtitle=f"{options.kind} digests, batches of {options.batch:,}, {threads}; "
        f"medians of {options.rounds} rounds in one run, with their range",
        x_name="signals held",
        y_name="look-ups a second",
        now=now,
    )


def draw_rescans(
    path: Path, reports: Sequence[RescanReport], *, threads: int, rounds: int, now: datetime
) -> None:
    """Draw signals compared with all stored rows, a second, against the number of rows.

    Raises:
        UsageError: the file cannot be written.
    """
    panels: dict[str, dict[str, list[tuple[float, tuple[float, float, float]]]]] = {}
    for report in reports:
        panel = panels.setdefault(f"{report.signals:,} new signals at once", {})
        for result in report.results:
            spread = result.seconds
            rate = tuple(report.signals / s for s in (spread.median, spread.high, spread.low))
            panel.setdefault(result.name, []).append((report.rows, rate))  # type: ignore[arg-type]
    draw(
        path,
        {name: lines_of(lines) for name, lines in panels.items()},
        title="Re-scans: new signals against all stored hashes, exact within 31 bits",
        subtitle=f"{next(iter(panels))}, "
        * (len(panels) == 1)
        + f"random digests, {'one thread' if threads == 1 else f'{threads} threads'}; "
        f"medians of {rounds} rounds in one run, with their range",
        x_name="stored hashes (16 an image)",
        y_name="signals compared with all of them, a second",
        now=now,
    )


def draw_engines(
    path: Path, reports: Sequence["EnginesReport"], *, workers: int, rounds: int, now: datetime
) -> None:
    """Draw stored hashes compared a second against their number, engine beside engine.

    Raises:
        UsageError: the file cannot be written.
    """
    panels: dict[str, dict[str, list[tuple[float, tuple[float, float, float]]]]] = {}
    for report in reports:
        panel = panels.setdefault(f"{report.signals:,} signals", {})
        for result in report.results:
            rate = (result.rate.median, result.rate.low, result.rate.high)
            panel.setdefault(_ENGINES[result.name], []).append((report.rows, rate))
    draw(
        path,
        {name: lines_of(lines) for name, lines in panels.items()},
        title="Re-scans of exported files, exact within 31 bits",
        subtitle=f"{next(iter(panels))}, "
        * (len(panels) == 1)
        + f"random digests, {workers} workers on one machine, reading included; medians of"
        f" {rounds} rounds, with their range",
        x_name="stored hashes (16 an image)",
        y_name="stored hashes compared a second",
        now=now,
    )


def lines_of(
    points: Mapping[str, Sequence[tuple[float, tuple[float, float, float]]]],
) -> list[Line]:
    """Make a line of each contestant's sizes and rates (median, lowest, highest)."""
    found = []
    for name, several in points.items():
        sizes, rates = zip(*sorted(several), strict=True)
        found.append(Line(name, sizes, rates))
    return found


def draw(
    path: Path,
    panels: Mapping[str, Sequence[Line]],
    *,
    title: str,
    subtitle: str,
    x_name: str,
    y_name: str,
    now: datetime,
    size_names: Mapping[float, str] | None = None,
) -> None:
    """Draw panels of lines, each under its name, and write them to a PNG file.

    Args:
        size_names: what to write under sizes; None for the sizes themselves.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(_WIDTH_PX / _DPI, _HEIGHT_PX / _DPI), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    many = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(
        left=0.085, right=0.99, top=0.86 if len(panels) == 1 else 0.83, bottom=0.13, wspace=0.06
    )
    figure.text(0.085, 0.945, title, fontsize=15, weight="bold", color=_INK)
    figure.text(0.085, 0.905, subtitle, fontsize=10.5, color=_INK)
    where = f"{machine_kind()} · {now:%Y-%m-%d}"
    figure.text(0.085, 0.022, where, fontsize=9, color="#666666")
    for axes, (name, lines) in zip(many, panels.items(), strict=True):
        _fill(axes, lines, room=2.6 if len(panels) == 1 else 7.0)
        axes.set_xlabel(x_name, fontsize=11, color=_INK)
        if size_names:
            ticks = axes.get_xticks()
            axes.set_xticks(ticks, [size_names[tick] for tick in ticks])
        if name and len(panels) > 1:
            axes.set_title(name, fontsize=11, color=_INK, loc="left")
    many[0].set_ylabel(y_name, fontsize=11, color=_INK)
    canvas.draw()  # type: ignore[no-untyped-call]
    for axes, lines in zip(many, panels.values(), strict=True):
        _label(axes, lines)
    try:
        figure.savefig(path, dpi=_DPI, metadata={"Software": "delist bench"})
    except OSError as error:
        raise UsageError(f"--plot: cannot write {path}: {error.strerror}") from None


def _fill(axes: "Axes", lines: Sequence[Line], *, room: float) -> None:
    """Draw the lines; on their right stays ``room`` times the largest size for their names."""
    for line in lines:
        colour, marker, dashes = _STYLES[line.name]
        median, low, high = np.array(line.rates).T
        ours = line.name.startswith("delist")
        axes.errorbar(
            line.sizes, median, yerr=(median - low, high - median), color=colour, marker=marker,
            linestyle=dashes, linewidth=2.6 if ours else 1.6, markersize=7, capsize=3,
            elinewidth=1, label=line.name,
        )  # fmt: skip
    sizes = sorted({size for line in lines for size in line.sizes})
    axes.set_xscale("log")
    axes.set_yscale("log")
    span = max(sizes[-1] / sizes[0], 10.0)
    axes.set_xlim(sizes[0] / span**0.06, sizes[-1] * span ** (0.2 * room))
    axes.set_xticks(_apart(sizes, span))
    axes.xaxis.set_major_formatter(_short)
    axes.minorticks_off()
    bottom, top = axes.get_ylim()
    if top / bottom < _FEW_DECADES:  # else one tick alone may be left
        axes.set_yticks([rate for rate in _ROUND_RATES if bottom <= rate <= top])
    axes.yaxis.set_major_formatter(_short)
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=10, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#999999")


def _label(axes: "Axes", lines: Sequence[Line]) -> None:
    """Name each line at its end, with the rate there; names are pushed apart where they meet."""
    ends = sorted(lines, key=lambda line: line.rates[-1][0])
    places = [axes.transData.transform((line.sizes[-1], line.rates[-1][0])) for line in ends]
    heights = np.array([place[1] for place in places])
    lowest = axes.bbox.y0 + _LABEL_GAP_PX / 2
    for number, height in enumerate(heights):
        least = lowest if not number else heights[number - 1] + _LABEL_GAP_PX
        heights[number] = max(height, least)
    excess = heights[-1] - axes.bbox.y1 if len(heights) else 0.0
    if excess > 0:
        heights -= excess
    for line, place, height in zip(ends, places, heights, strict=True):
        axes.annotate(
            f"{line.name}  {_short(line.rates[-1][0])}/s",
            xy=(line.sizes[-1], line.rates[-1][0]),
            xytext=(14, (height - place[1]) * 72 / _DPI),
            textcoords="offset points",
            fontsize=10,
            va="center",
            weight="bold" if line.name.startswith("delist") else "normal",
            color=_TEXT_COLOURS.get(line.name, _STYLES[line.name][0]),
            annotation_clip=False,
        )


def _apart(sizes: Sequence[float], span: float) -> list[float]:
    """Leave out ticks whose names would meet."""
    kept: list[float] = []
    for size in sizes:
        if not kept or size / kept[-1] > span**0.07:
            kept.append(size)
    return kept


def _short(value: float, _place: Any = None) -> str:  # noqa: ANN401 - matplotlib passes a place
    """Write a number with three digits or its whole part: 0.12, 3.4, 12 k, 2.5 M."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{_digits(value / unit)}{name}"
    return _digits(value)


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004 - three digits

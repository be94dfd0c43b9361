"""The plots of docs/scale.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from indexer.model import DIGESTS_PER_ROW
from tests.benchmarks.scale.model import Load, Model
from tests.benchmarks.scale.tables import SIZES

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MARKERS = ("o", "s", "^", "D")
_INK = "#333333"
_HOUR_S, _DAY_S = 3_600, 86_400


def draw(model: Model, folder: Path) -> None:
    """Draw all."""
    _compare(model, folder / "scale-hash.png")
    _full(model, folder / "scale-full.png")
    _delta(model, folder / "scale-delta.png")


def _compare(model: Model, path: Path) -> None:
    figure, axes = _axes(
        "What one stored hash costs against so many signals",
        "one core, reading included, exact within 31 bits; dashed: extrapolated",
    )
    measured = sorted(model.rates.compare_s)
    axes.plot(
        measured, [model.rates.compare_s[n] for n in measured], "o-",
        color=_COLOURS[0], linewidth=2.4, markersize=7,
    )  # fmt: skip
    beyond = np.geomspace(measured[-1], 1e8, 20)
    axes.plot(beyond, [model.compare_s(n) for n in beyond], "--", color=_COLOURS[0], linewidth=2)
    for n in (*measured, 1e8):
        axes.annotate(
            _span(model.compare_s(n)), (n, model.compare_s(n)), xytext=(-8, 9),
            textcoords="offset points", fontsize=10, color=_INK, ha="center",
        )  # fmt: skip
    axes.set_xlabel("signals", color=_INK)
    _seconds(axes, [1e-7, 1e-6, 1e-5, 1e-4])
    axes.set_ylim(3e-8, 1e-3)
    axes.set_xlim(40, 2e8)
    _save(figure, path)


def _full(model: Model, path: Path) -> None:
    figure, axes = _axes(
        "A full re-scan: every signal against every stored image",
        f"10,000,000,000 images, {DIGESTS_PER_ROW * 1e10:,.0f} hashes; modelled from rates of one"
        " core",
    )
    machines = np.geomspace(1, 1000, 60)
    for place, signals in enumerate((1e5, 1e6, 1e7, 1e8)):
        hours = [model.rescan_s(1e10, signals, count) for count in machines]
        _line(axes, machines, hours, place, f"{signals:,.0f} signals")
    axes.set_xlabel(f"machines of {model.machine.cores} cores", color=_INK)
    _seconds(axes, [60, 600, _HOUR_S, 10 * _HOUR_S, 4 * _DAY_S, 40 * _DAY_S])
    axes.set_xlim(0.9, 7000)
    _save(figure, path)


def _delta(model: Model, path: Path) -> None:
    figure, axes = _axes(
        "From the feed to the suppression record",
        "1,000 new signals in a sync, a sync every five minutes; modelled, waits as means",
    )
    machines = np.geomspace(1, 1000, 60)
    for place, images in enumerate(SIZES):
        load = Load(images=images, signals=1e8, new_images=0, new_signals=1_000, sync_s=300)
        times = [sum(model.feed_to_suppression(load, count).values()) for count in machines]
        _line(axes, machines, times, place, f"{images:,.0f} images", named_at=0)
    axes.axhline(150, color="#888888", linewidth=1, linestyle=":")
    axes.annotate("mean wait for a sync", (1, 150), xytext=(0, -13), color="#666666",
                  textcoords="offset points", fontsize=9)  # fmt: skip
    axes.set_xlabel(f"machines of {model.machine.cores} cores", color=_INK)
    _seconds(axes, [60, 180, 600, 1800, _HOUR_S])
    axes.set_xlim(0.9, 1100)
    _save(figure, path)


def _axes(title: str, subtitle: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(9, 5.6), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.1, right=0.97, top=0.85, bottom=0.11)
    figure.text(0.1, 0.935, title, fontsize=14, weight="bold", color=_INK)
    figure.text(0.1, 0.885, subtitle, fontsize=10, color=_INK)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(visible=True, color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
    return figure, axes


def _line(
    axes: Any,  # noqa: ANN401 - matplotlib's
    sizes: Sequence[float],
    values: Sequence[float],
    place: int,
    name: str,
    *,
    named_at: int = -1,
) -> None:
    """Draw a line, named at its end or behind another of its points."""
    axes.plot(
        sizes, values, color=_COLOURS[place], marker=_MARKERS[place], markevery=12, linewidth=2.2
    )
    axes.annotate(
        name, (sizes[named_at], values[named_at]), xytext=(9, 5 if named_at >= 0 else 0),
        textcoords="offset points", va="center", fontsize=10, color=_COLOURS[place], weight="bold",
    )  # fmt: skip


def _seconds(axes: Any, ticks: Sequence[float]) -> None:  # noqa: ANN401 - matplotlib's
    axes.set_yticks(ticks, [_span(tick) for tick in ticks])
    axes.minorticks_off()


def _span(seconds: float) -> str:
    """Write a length of time in its own unit."""
    units: tuple[tuple[float, str], ...] = (
        (_DAY_S, "d"), (_HOUR_S, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"),
    )  # fmt: skip
    for size, name in units:
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=100, metadata={"Software": "delist"})

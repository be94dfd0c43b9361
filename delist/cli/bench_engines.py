"""``delist bench rescan --engine``: the re-scan of exported files on one engine or several."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delist.cli.bench_results import surroundings, table_text
from delist.cli.context import Context, Exit, leave
from delist.cli.output import document_of
from delist.cli.scanning import check_engine, opened_engine
from indexer.tables import pyarrow

if TYPE_CHECKING:
    from delist.ops.bench.engine_rescans import EnginesReport
    from delist.ops.bench.timing import Say


def bench_engines(  # noqa: PLR0913 - keyword-only
    context: Context,
    engines: Sequence[str],
    *,
    sizes: Sequence[int],
    signals: Sequence[int],
    workers: int,
    rounds: int,
    plot: Path | None,
    now: datetime,
    say: "Say",
) -> None:
    """Measure, print and draw; ends the command."""
    pyarrow()
    from delist.ops.bench.engine_rescans import compare_engines

    for name in engines:
        check_engine(name)
    reports = []
    opened = partial(opened_engine, workers=workers)
    for report in compare_engines(
        sizes, signals, engines, opened, workers=workers, rounds=rounds, say=say
    ):
        reports.append(report)
        context.output.result(
            {**_document(report, workers, rounds), **surroundings(now)},
            _text(report, workers, rounds),
        )
    if plot is not None:
        from delist.ops.bench.plots import draw_engines

        draw_engines(plot, reports, workers=workers, rounds=rounds, now=now)
    leave(Exit.DONE if all(report.exact for report in reports) else Exit.FAILED)


def _document(report: "EnginesReport", workers: int, rounds: int) -> dict[str, Any]:
    return {
        "what": _what(report),
        "workers": workers,
        "rounds": rounds,
        "exact": report.exact,
        "seconds": {result.name: result.seconds.median for result in report.results},
        "rate": {result.name: result.rate.median for result in report.results},
        **document_of(report),
    }


def _text(report: "EnginesReport", workers: int, rounds: int) -> str:
    rows = [
        {
            "": result.name,
            "start s": f"{result.start_s:,.1f}",
            "seconds": f"{result.seconds.median:,.2f}",
            "range of rounds": f"{result.seconds.low:,.2f}-{result.seconds.high:,.2f}",
            "M hashes/s": f"{result.rate.median / 1e6:,.2f}",
            "busy": f"{result.busy.median:.0%}",
            "exact": "yes" if result.exact else "NO",
        }
        for result in report.results
    ]
    head = f"{_what(report)}, {workers} workers, medians of {rounds} rounds"
    planted = f"; {report.planted} planted matches; engines agree: {'yes' if report.same else 'NO'}"
    return f"{head}{planted}\n{table_text(rows)}\n"


def _what(report: "EnginesReport") -> str:
    return (
        f"re-scan of {report.files} files, {report.rows:,} stored hashes,"
        f" for {report.signals:,} signals"
    )

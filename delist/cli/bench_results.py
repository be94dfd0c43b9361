"""What ``delist bench`` prints: documents, and tables for a terminal."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from delist.cli.output import document_of

if TYPE_CHECKING:
    from delist.ops.bench.apis import ApiOptions, ApiReport
    from delist.ops.bench.hashing import HashReport
    from delist.ops.bench.lookups import LookupOptions, LookupReport
    from delist.ops.bench.rescans import RescanReport
    from delist.ops.bench.servings import ServingOptions, ServingReport
    from delist.ops.bench.timing import Comparison


def compared(comparison: "Comparison") -> tuple[dict[str, Any], str]:
    """Return a rate and others' as a document, and as a line."""
    peers = "".join(
        f"; {name} {rate:,.1f}/s (ratio {comparison.ratios[name]:.2f})"
        for name, rate in comparison.peers.items()
    )
    document = document_of(comparison) | {"ratios": comparison.ratios}
    return document, f"{comparison.what}: {comparison.rate:,.1f}/s{peers}"


def surroundings(now: datetime) -> dict[str, Any]:
    """Say on what machine, when and with which versions something was measured."""
    from delist.ops.bench.timing import machine_kind, versions

    return {"machine": machine_kind(), "measured_at": now, "versions": versions()}


def hash_document(report: "HashReport", repeats: int) -> dict[str, Any]:
    """Return all that was measured of one size; docs/benchmarks.md says what the fields mean."""
    ours, deep, *others = report.results
    return {
        "what": _hashing_of(report),
        "repeats": repeats,
        "rate": ours.rate.median,
        "tiers": {"fast": ours.rate.median, "deep": deep.rate.median},
        "peers": {other.name: other.rate.median for other in others},
        "ratios": {other.name: other.ratio.median for other in others},
        **document_of(report),
    }


def lookup_document(report: "LookupReport", options: "LookupOptions") -> dict[str, Any]:
    """Return all that was measured of one size; docs/benchmarks.md says what the fields mean."""
    ours, *others = report.results
    return {
        "what": _lookups_of(report, options),
        "kind": options.kind,
        "batch": options.batch,
        "threads": options.threads,
        "rounds": options.rounds,
        "exact": report.exact,
        "rate": ours.rate.median,
        "peers": {other.name: other.rate.median for other in others},
        "ratios": {other.name: other.ratio.median for other in others},
        **document_of(report),
    }


def rescan_document(report: "RescanReport", threads: int, rounds: int) -> dict[str, Any]:
    """Return all that was measured of one size; docs/benchmarks.md says what the fields mean."""
    return {
        "what": _rescan_of(report),
        "threads": threads,
        "rounds": rounds,
        "exact": report.exact,
        "seconds": {result.name: result.seconds.median for result in report.results},
        "ratios": {result.name: result.ratio.median for result in report.results},
        **document_of(report),
    }


def serving_document(report: "ServingReport", options: "ServingOptions") -> dict[str, Any]:
    """Return all that was measured of one size; docs/benchmarks.md says what the fields mean."""
    ours, *others = report.results
    return {
        "what": f"is it suppressed? {report.urls:,} URLs held",
        "batch": options.batch,
        "rounds": options.rounds,
        "right": report.right,
        "rate": ours.rate.median,
        "peers": {other.name: other.rate.median for other in others},
        "ratios": {other.name: other.ratio.median for other in others},
        **document_of(report),
    }


def serving_text(report: "ServingReport", options: "ServingOptions") -> str:
    """Write a headline and a line for each contestant."""
    rows = [
        {
            "": result.name,
            "miss p50/p99 us": f"{result.miss.p50_us:.2f}/{result.miss.p99_us:.2f}",
            "hit": f"{result.hit.p50_us:.2f}/{result.hit.p99_us:.2f}",
            "raw miss": f"{result.raw_miss.p50_us:.2f}/{result.raw_miss.p99_us:.2f}",
            "batches/s": f"{result.rate.median:,.0f}",
            "range of rounds": f"{result.rate.low:,.0f}-{result.rate.high:,.0f}",
            "raw": f"{result.raw_rate.median:,.0f}",
            "ours is": f"{result.ratio.median:,.1f}x",
            "build": f"{result.build_s:,.1f} s",
            "bytes/URL": _or_dash(result.bytes_per_url, ",.0f"),
            "right": "yes" if result.right else "NO",
        }
        for result in report.results
    ]
    head = f"{report.urls:,} suppressed URLs, batches of {options.batch:,}"
    clock = f"; the clock itself {report.clock_us:.2f} us"
    return f"{head}{_medians(1, options.rounds)}{clock}\n{table_text(rows)}\n"


def api_document(report: "ApiReport", options: "ApiOptions") -> dict[str, Any]:
    """Return all that was measured of one route; docs/benchmarks.md says what the fields mean."""
    from delist.ops.bench.apis import HMA_PODS, HMA_RATE

    low, high = HMA_RATE
    return {
        **document_of(report),
        "item_rate": report.item_rate,
        "workers": options.workers,
        "clients": options.clients,
        "seconds": options.seconds,
        "signals": options.signals,
        "peers": {"HMA, published": {"low": low, "high": high, "pods": HMA_PODS}},
        "ratios": {
            "HMA, published, ten pods": report.rate / high,
            "HMA, published, a pod, to a worker": report.rate / options.workers / high * HMA_PODS,
        },
    }


def api_text(report: "ApiReport", options: "ApiOptions") -> str:
    """Write one line."""
    return (
        f"{report.what}  {report.items} at once: {report.rate:,.0f} requests/s,"
        f" {report.item_rate:,.0f} a second; p50 {report.p50_ms:.2f} ms,"
        f" p99 {report.p99_ms:.2f} ms; {options.workers} workers, {options.clients} clients"
        + (f"; {report.failed} FAILED" if report.failed else "")
    )


def _lookups_of(report: "LookupReport", options: "LookupOptions") -> str:
    return f"look-ups in {report.signals:,} {options.kind} signals, batches of {options.batch:,}"


def _rescan_of(report: "RescanReport") -> str:
    return f"re-scan of {report.rows:,} stored hashes for {report.signals:,} signals"


def _hashing_of(report: "HashReport") -> str:
    return f"hash JPEG {report.width}x{report.height}"


def hash_text(report: "HashReport", repeats: int) -> str:
    """Write a headline and a line for each contestant."""
    rows = [
        {
            "": result.name,
            "images/s": f"{result.rate.median:,.1f}",
            "range of rounds": f"{result.rate.low:,.1f}-{result.rate.high:,.1f}",
            "ms": f"{1000 / result.rate.median:,.2f}",
            "digests": str(result.digests or "-"),
            "fast is": f"{result.ratio.median:,.2f}x",
        }
        for result in report.results
    ]
    head = f"{_hashing_of(report)}, {report.size_bytes / 1000:,.0f} kB{_medians(1, repeats)}"
    return f"{head}\n{table_text(rows)}\n"


def lookup_text(report: "LookupReport", options: "LookupOptions") -> str:
    """Write a headline and a line for each contestant."""
    rows = [
        {
            "": result.name,
            "look-ups/s": f"{result.rate.median:,.0f}",
            "range of rounds": f"{result.rate.low:,.0f}-{result.rate.high:,.0f}",
            "ours is": f"{result.ratio.median:,.1f}x",
            "one, p50": f"{result.single_p50_us:,.0f} us",
            "build": f"{result.build_s:,.2f} s",
            "bytes/signal": _or_dash(result.bytes_per_signal, ",.0f"),
            "recall": f"{result.recall:.4f}",
        }
        for result in report.results
    ]
    head = f"{_lookups_of(report, options)}{_medians(options.threads, options.rounds)}"
    wrong = "" if report.exact else "\nnot exact: ours and faiss flat found different matches"
    return f"{head}\n{table_text(rows)}{wrong}\n"


def rescan_text(report: "RescanReport", threads: int, rounds: int) -> str:
    """Write a headline and a line for each contestant."""
    rows = [
        {
            "": result.name,
            "seconds": f"{result.seconds.median:,.3f}",
            "range of rounds": f"{result.seconds.low:,.3f}-{result.seconds.high:,.3f}",
            "x faiss flat": f"{result.ratio.median:,.1f}",
            "done": f"{result.share:.0%}",
            "build": _or_dash(result.build_s, ",.2f"),
            "bytes/hash": _or_dash(result.bytes_per_row, ",.0f"),
            "exact": "yes" if result.exact else "NO",
            "how": result.how,
        }
        for result in report.results
    ]
    planted = f"; {report.planted} planted matches"
    return f"{_rescan_of(report)}{_medians(threads, rounds)}{planted}\n{table_text(rows)}\n"


def _medians(threads: int, rounds: int) -> str:
    word = "one thread" if threads == 1 else f"{threads} threads"
    return f", {word}, medians of {rounds} round{'s' * (rounds != 1)}"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def table_text(rows: Sequence[Mapping[str, str]]) -> str:
    """Write rows as columns: the first and the last to the left, if that is words."""
    names = list(rows[0])
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    words = {names[0], "how"}
    lines = [
        "  ".join(
            row[name].ljust(widths[name]) if name in words else row[name].rjust(widths[name])
            for name in names
        )
        for row in [dict(zip(names, names, strict=True)), *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)

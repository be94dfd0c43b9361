"""Measuring speed: ``bench hash``, ``lookup``, ``rescan``, ``serving``, ``crawl``, ``api``."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delist.cli.bench_engines import bench_engines
from delist.cli.bench_results import (
    api_document,
    api_text,
    compared,
    hash_document,
    hash_text,
    lookup_document,
    lookup_text,
    rescan_document,
    rescan_text,
    serving_document,
    serving_text,
    surroundings,
)
from delist.cli.context import Context, Exit, context_of, leave
from delist.errors import UsageError

if TYPE_CHECKING:
    from delist.ops.bench.timing import Say

_MOST_THREADS = 1_024
_LEAST_SIDE, _MOST_PIXELS = 17, 64_000_000
_LOOKUP_SIZES, _RESCAN_ROWS, _RESCAN_SIGNALS = (
    (3_000, 100_000, 1_000_000),
    (1_000_000, 4_000_000),
    (1_000,),
)
_SERVING_URLS = (1_000_000,)

Rounds = Annotated[int, typer.Option(help="Each takes every contestant in turn.")]
Threads = Annotated[int, typer.Option(help="Threads, for every contestant alike.")]
Plot = Annotated[Path | None, typer.Option(help="Draw rates against sizes into a PNG file.")]
Peer = Annotated[bool, typer.Option(help="Measure the public client too, where installed.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    bench = typer.Typer(help="Speed here, and the peer's beside it.", no_args_is_help=True)
    bench.command("hash")(bench_hash)
    bench.command("lookup")(bench_lookup)
    bench.command("rescan")(bench_rescan)
    bench.command("serving")(bench_serving)
    bench.command("crawl")(bench_crawl)
    bench.command("api")(bench_api)
    app.add_typer(bench, name="bench")


def bench_hash(
    ctx: typer.Context,
    size: Annotated[list[str] | None, typer.Option(help="Pixels of the images: 800x600.")] = None,
    repeats: Annotated[int, typer.Option(help="Rounds; images of each size.", min=1)] = 10,
    seconds: Annotated[float, typer.Option(help="What each takes in a round, about.")] = 0.1,
    plot: Plot = None,
    peer: Peer = True,
) -> None:
    """Time hashing JPEG bytes on one core: the fast tier, the deep tier, and the peer."""
    from delist.ops.bench.hashing import SIZES, HashOptions, compare_hashing

    context = context_of(ctx)
    _check_numbers(seconds=seconds)
    sizes = tuple(dict.fromkeys(map(_pixels, size))) if size else SIZES
    options = HashOptions(repeats=repeats, seconds=seconds, with_peer=peer)
    now, reports = datetime.now(UTC), []
    _prepare(plot)
    with _saying(context, "hashing") as say:
        for report in compare_hashing(sizes, options, say):
            reports.append(report)
            document = {**hash_document(report, repeats), **surroundings(now)}
            context.output.result(document, hash_text(report, repeats))
    if plot is not None:
        from delist.ops.bench.hash_plot import draw_hashing

        draw_hashing(plot, reports, repeats=repeats, now=now)


def bench_lookup(  # noqa: PLR0913, PLR0917 - typer reads options off the arguments
    ctx: typer.Context,
    signals: Annotated[list[int] | None, typer.Option(help="Numbers of signals.")] = None,
    batch: Annotated[int, typer.Option(help="Digests looked up at once.")] = 64,
    kind: Annotated[
        str | None, typer.Option(help="Digests: random, clustered (near copies) or file.")
    ] = None,
    digests: Annotated[
        Path | None, typer.Option(help="Digests of one's own: uint8[n, 32] .npy, or 64-hex lines.")
    ] = None,
    threads: Threads = 1,
    rounds: Rounds = 5,
    seconds: Annotated[float, typer.Option(help="What each takes in a round, about.")] = 0.6,
    plot: Plot = None,
    peer: Peer = True,
) -> None:
    """Time exact look-ups at the matching threshold, and check them against faiss flat."""
    from delist.ops.bench.digests import KINDS, load_digests
    from delist.ops.bench.lookups import LookupOptions, compare_lookups

    context = context_of(ctx)
    sizes = _sizes("--signals", signals or _LOOKUP_SIZES)
    _check_numbers(batch=batch, threads=threads, rounds=rounds, seconds=seconds)
    kind = kind or ("random" if digests is None else "file")
    if kind not in KINDS:
        raise UsageError(f'--kind: this version knows {", ".join(KINDS)}, not "{kind}"')
    if (kind == "file") != (digests is not None):
        raise UsageError("--kind file and --digests FILE go together")
    given = None if digests is None else load_digests(digests)
    if given is not None and signals is None:
        sizes = (len(given),)
    options = LookupOptions(
        batch=batch, kind=kind, given=given, threads=threads, rounds=rounds, seconds=seconds,
        with_peer=peer,
    )  # fmt: skip
    now, reports = datetime.now(UTC), []
    _prepare(plot)
    with _saying(context, "look-ups") as say:
        for report in compare_lookups(sizes, options, say):
            reports.append(report)
            document = {**lookup_document(report, options), **surroundings(now)}
            context.output.result(document, lookup_text(report, options))
    if plot is not None:
        from delist.ops.bench.plots import draw_lookups

        draw_lookups(plot, reports, options, now=now)
    leave(Exit.DONE if all(report.exact for report in reports) else Exit.FAILED)


def bench_rescan(  # noqa: PLR0913, PLR0917 - typer reads options off the arguments
    ctx: typer.Context,
    rows: Annotated[list[int] | None, typer.Option(help="Numbers of stored hashes.")] = None,
    signals: Annotated[list[int] | None, typer.Option(help="Numbers of new signals.")] = None,
    threads: Threads = 1,
    rounds: Rounds = 5,
    seconds: Annotated[
        float, typer.Option(help="Others that need longer do a part, and are scaled up.")
    ] = 5.0,
    plot: Plot = None,
    peer: Peer = True,
    engine: Annotated[
        list[str] | None,
        typer.Option(help='Of exported files instead: "local", "ray", "spark"; may be repeated.'),
    ] = None,
) -> None:
    """Time new signals against all stored hashes, and check that planted matches are found."""
    from delist.ops.bench.rescans import RescanOptions, compare_rescans

    context = context_of(ctx)
    _check_numbers(threads=threads, rounds=rounds, seconds=seconds)
    sizes = _sizes("--rows", rows or _RESCAN_ROWS)
    numbers = _sizes("--signals", signals or _RESCAN_SIGNALS)
    if engine:
        _prepare(plot)
        with _saying(context, "re-scans") as say:
            bench_engines(
                context, engine, sizes=sizes, signals=numbers, workers=threads, rounds=rounds,
                plot=plot, now=datetime.now(UTC), say=say,
            )  # fmt: skip
        return
    options = RescanOptions(threads=threads, rounds=rounds, seconds=seconds, with_peer=peer)
    now, reports = datetime.now(UTC), []
    _prepare(plot)
    with _saying(context, "re-scans") as say:
        for report in compare_rescans(sizes, numbers, options, now=now, say=say):
            reports.append(report)
            document = {**rescan_document(report, threads, rounds), **surroundings(now)}
            context.output.result(document, rescan_text(report, threads, rounds))
    if plot is not None:
        from delist.ops.bench.plots import draw_rescans

        draw_rescans(plot, reports, threads=threads, rounds=rounds, now=now)
    leave(Exit.DONE if all(report.exact for report in reports) else Exit.FAILED)


def bench_serving(
    ctx: typer.Context,
    urls: Annotated[list[int] | None, typer.Option(help="Numbers of suppressed URLs.")] = None,
    batch: Annotated[int, typer.Option(help="URLs asked for at once.")] = 100_000,
    rounds: Rounds = 5,
    plot: Plot = None,
) -> None:
    """Time whether a URL is suppressed, beside a set, LMDB and SQLite; check every answer."""
    from delist.ops.bench.servings import ServingOptions, compare_servings

    context = context_of(ctx)
    _check_numbers(batch=batch, rounds=rounds)
    sizes = _sizes("--urls", urls or _SERVING_URLS)
    options = ServingOptions(batch=batch, rounds=rounds)
    now, reports = datetime.now(UTC), []
    _prepare(plot)
    with _saying(context, "serving") as say:
        for report in compare_servings(sizes, options, say):
            reports.append(report)
            document = {**serving_document(report, options), **surroundings(now)}
            context.output.result(document, serving_text(report, options))
    if plot is not None:
        from delist.ops.bench.serving_plot import draw_servings

        draw_servings(plot, reports, options, now=now)
    leave(Exit.DONE if all(report.right for report in reports) else Exit.FAILED)


def bench_crawl(
    ctx: typer.Context,
    images: Annotated[int, typer.Option(help="Images of the site on loopback.", min=1)] = 200,
) -> None:
    """Time a crawl of a site on loopback: first visit, second visit, and fetching alone."""
    from delist.ops.bench.crawls import compare_crawls

    context = context_of(ctx)
    for comparison in compare_crawls(images):
        context.output.result(*compared(comparison))


def bench_api(
    ctx: typer.Context,
    workers: Annotated[int, typer.Option(help="Processes of the server.", min=1)] = 2,
    clients: Annotated[int, typer.Option(help="Processes that ask.", min=1)] = 4,
    seconds: Annotated[float, typer.Option(help="What each route is asked for.")] = 5.0,
    batch: Annotated[int, typer.Option(help="Addresses or digests asked for at once.")] = 100,
    signals: Annotated[int, typer.Option(help="Random ones that are looked up in.")] = 100_000,
) -> None:
    """Time requests to `delist serve` on loopback; clients and server share the processors."""
    from delist.ops.bench.apis import ApiOptions, measure_api

    context = context_of(ctx)
    _check_numbers(seconds=seconds, batch=batch, signals=signals)
    options = ApiOptions(
        workers=workers, clients=clients, seconds=seconds, batch=batch, signals=signals
    )
    now, failed = datetime.now(UTC), 0
    with _saying(context, "requests") as say:
        for report in measure_api(options, say):
            failed += report.failed
            document = {**api_document(report, options), **surroundings(now)}
            context.output.result(document, api_text(report, options))
    leave(Exit.FAILED if failed else Exit.DONE)


def _sizes(option: str, given: Sequence[int]) -> tuple[int, ...]:
    for number in given:
        if number < 1:
            raise UsageError(f"{option}: has to be 1 or more, not {number}")
    return tuple(dict.fromkeys(given))


def _pixels(given: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,7})x([0-9]{1,7})", given)
    if found is None:
        raise UsageError(f"--size: has to be like 800x600, not {given}")
    width, height = int(found[1]), int(found[2])
    if not (min(width, height) >= _LEAST_SIDE and width * height <= _MOST_PIXELS):
        raise UsageError(f"--size: sides of 17 pixels or more, 64 megapixels at most, not {given}")
    return width, height


def _check_numbers(**options: float) -> None:
    for name, number in options.items():
        if not number > 0:
            raise UsageError(f"--{name}: has to be more than 0, not {number}")
    if options.get("threads", 1) > _MOST_THREADS:
        raise UsageError(f"--threads: {_MOST_THREADS} at most, not {options['threads']}")


def _prepare(plot: Path | None) -> None:
    if plot is not None:
        from delist.ops.bench.plots import check_plot

        check_plot(plot)


@contextmanager
def _saying(context: Context, what: str) -> Iterator["Say"]:
    with context.output.progress(what) as advance:
        yield lambda word: advance(0, None, word)

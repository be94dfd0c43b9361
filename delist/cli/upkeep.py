"""Looking after an installation: ``doctor``, ``bench``."""

from typing import TYPE_CHECKING, Annotated

import typer

from delist.cli.context import Context, Exit, context_of, leave
from delist.cli.output import document_of

if TYPE_CHECKING:
    from delist.ops.bench import Comparison


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("doctor")(doctor)
    bench = typer.Typer(help="Speed here, and the peer's beside it.", no_args_is_help=True)
    bench.command("hash")(bench_hash)
    bench.command("lookup")(bench_lookup)
    bench.command("crawl")(bench_crawl)
    app.add_typer(bench, name="bench")


def doctor(ctx: typer.Context) -> None:
    """Check installation, configuration, stores, feeds, clock and disk; say how to mend."""
    from delist.ops.doctor import Health, examine

    context = context_of(ctx)
    code = Exit.DONE
    with context.open() as delist:
        for check in examine(delist):
            if check.health is Health.FAILED:
                code = Exit.FAILED
            mend = f"\n{'':<10}to mend: {check.mend}" if check.mend else ""
            text = f"{check.health.value:<8}  {check.name}: {check.detail}{mend}"
            context.output.result(document_of(check), text)
    leave(code)


def bench_hash(
    ctx: typer.Context,
    repeats: Annotated[int, typer.Option(help="Images of each size.", min=1)] = 10,
) -> None:
    """Time hashing JPEG bytes: all sixteen digests here, one at the peer's."""
    from delist.ops.bench import compare_hashing

    context = context_of(ctx)
    for comparison in compare_hashing(repeats):
        _show(context, comparison)


def bench_lookup(
    ctx: typer.Context,
    signals: Annotated[list[int] | None, typer.Option(help="Numbers of signals.")] = None,
    batch: Annotated[int, typer.Option(help="Digests looked up at once.", min=1)] = 64,
) -> None:
    """Time exact look-ups at the matching threshold."""
    from delist.ops.bench import compare_lookups

    context = context_of(ctx)
    for comparison in compare_lookups(signals or [3_000, 100_000, 1_000_000], batch):
        _show(context, comparison)


def bench_crawl(
    ctx: typer.Context,
    images: Annotated[int, typer.Option(help="Images of the site on loopback.", min=1)] = 200,
) -> None:
    """Time a crawl of a site on loopback: first visit, second visit, and fetching alone."""
    from delist.ops.bench import compare_crawls

    context = context_of(ctx)
    for comparison in compare_crawls(images):
        _show(context, comparison)


def _show(context: Context, comparison: "Comparison") -> None:
    peers = "".join(
        f"; {name} {rate:,.1f}/s (ratio {comparison.rate / rate:.2f})"
        for name, rate in comparison.peers.items()
    )
    document = document_of(comparison) | {
        "ratios": {name: comparison.rate / rate for name, rate in comparison.peers.items()}
    }
    context.output.result(document, f"{comparison.what}: {comparison.rate:,.1f}/s{peers}")

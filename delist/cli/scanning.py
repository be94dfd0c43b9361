"""``delist scan files``: re-scans of exported files, over processes or a cluster."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from delist.cli.context import Exit, context_of, leave
from delist.cli.output import document_of
from delist.cli.steps import take_in
from delist.errors import UsageError

if TYPE_CHECKING:
    from delist.rescan.running import Engine

LOCAL, RAY, SPARK = ENGINES = "local", "ray", "spark"

EngineName = Annotated[
    str, typer.Option(help='"local": processes here; "ray" or "spark": such a cluster.')
]


def scan_files(  # noqa: PLR0913, PLR0917 - typer reads options off the arguments
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(help="What `delist export images` wrote: files or folders.")
    ],
    engine: EngineName = LOCAL,
    work: Annotated[
        Path | None,
        typer.Option(help="Working folder of the run, by this path on every machine."),
    ] = None,
    after: Annotated[
        int,
        typer.Option(help="Only signals behind this number of the signal log (`version`).", min=0),
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that was stopped.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Files at once; 0: processors here.", min=0)] = 0,
    threads: Annotated[
        int, typer.Option(help="Threads of a worker: all share its copy of the signals.", min=1)
    ] = 1,
    address: Annotated[
        str | None,
        typer.Option(
            help="host:port of a Ray cluster, or URL of a Spark master; without it one is"
            " started here."
        ),
    ] = None,
    trust_network: Annotated[
        bool, typer.Option("--trust-network", help="The cluster's network is encrypted otherwise.")
    ] = False,
    intake: Annotated[bool, typer.Option(help="Turn matches into cases and records.")] = True,
) -> None:
    """Compare exported images with the signals, then look at what matches as it is stored here."""
    from indexer.comparing import processors

    context = context_of(ctx)
    check_engine(engine)
    if engine == LOCAL and (address or trust_network):
        raise UsageError("--address and --trust-network go with --engine ray or spark")
    workers = workers or max(1, processors() // threads)
    with context.open() as delist:
        rescans = delist.file_rescans
        with (
            context.output.progress("re-scan of files") as advance,
            opened_engine(
                engine, workers=workers, address=address, trust_network=trust_network
            ) as opened,
        ):
            report = rescans.run(
                paths,
                opened,
                folder=work,
                after=after,
                threads=threads,
                resume=resume,
                on_progress=lambda done, total: advance(done, total, "files"),
            )
        document = document_of(report)
        if intake:
            document["intake"] = take_in(context, delist)
    for code, files in report.refused.items():
        context.output.error(f"{files} files were not compared: {code}")
    context.output.result(document)
    if report.to_resume:
        leave(Exit.FAILED)
    leave(Exit.REFUSED if report.refused else Exit.DONE)


def check_engine(name: str) -> None:
    """Check the engine of a re-scan of files.

    Raises:
        UsageError: there is no such engine.
    """
    if name not in ENGINES:
        known = ", ".join(f'"{engine}"' for engine in ENGINES)
        raise UsageError(f'--engine: one of {known}, not "{name}"')


def check_store_engine(name: str) -> None:
    """Check the engine of a re-scan of the store itself, which is read where it lies.

    Raises:
        UsageError: another one than this machine.
    """
    check_engine(name)
    if name != LOCAL:
        raise UsageError(
            f"--engine {name} works on exported files: `delist export images --to FOLDER`, then"
            f" `delist scan files FOLDER/images --engine {name}`"
        )


@contextmanager
def opened_engine(
    name: str, *, workers: int, address: str | None = None, trust_network: bool = False
) -> Iterator["Engine"]:
    """Open an engine by its name.

    Raises:
        UsageError: it is not installed, or would not be safe.
        RescanError: the cluster cannot be reached.
    """
    if name == LOCAL:
        from delist.rescan.local import LocalEngine

        with closing(LocalEngine(workers=workers)) as local:
            yield local
        return
    if name == SPARK:
        from delist.rescan.on_spark import SparkEngine

        with _ended_by_sigterm():
            spark = SparkEngine(address=address, workers=workers, trust_network=trust_network)
            with closing(spark):
                yield spark
        return
    from delist.rescan.on_ray import RayEngine

    # Ray writes what happens to its nodes to standard output, where results alone belong.
    with redirect_stdout(sys.stderr):
        ray = RayEngine(address=address, workers=workers, trust_network=trust_network)
        try:
            yield ray
        finally:
            ray.close()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command in order, so that no temporary folder is left."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

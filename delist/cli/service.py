"""Setting up and running: ``init``, ``doctor``, ``run``, ``demo``, ``bench``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from delist.cli.context import DEFAULT_CONFIG, Exit, context_of, leave
from delist.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("init")(init)
    app.command("run")(run)
    app.command("demo")(demo)


def init(
    ctx: typer.Context, directory: Annotated[Path, typer.Argument(metavar="DIR")] = Path()
) -> None:
    """Write annotated delist.toml and policy.toml, and make the data directory with secrets."""
    from delist.build import Delist
    from delist.policy import annotated_policy
    from delist.settings import annotated_configuration

    context = context_of(ctx)
    config = directory / DEFAULT_CONFIG
    policy = directory / "policy.toml"
    there = next((path for path in (config, policy) if os.path.lexists(path)), None)
    if there is not None:
        raise UsageError(f"{there} is there already; nothing was changed")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        written = annotated_configuration(policy_beside=True)
        for path, text in ((config, written), (policy, annotated_policy())):
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{error.filename} is there already; nothing was changed") from None
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from None
    with Delist.open(config, data_dir=context.data_dir) as delist:
        delist.create()
        data_dir = delist.settings.indexer.data_dir
    context.output.result(
        {"config": str(config), "data_dir": str(data_dir)},
        f"wrote {config}; data in {data_dir}\n"
        "next: fill in [feeds.stopncii], then `delist feed sync`",
    )


def run(ctx: typer.Context) -> None:
    """Do all periodic work until SIGTERM: sync, re-scans, intake, feedback."""
    from delist import memory, tracing
    from delist.ops.exporting import export
    from delist.running import leads_here, run_service

    context = context_of(ctx)
    memory.keep_together()
    with context.open() as delist:
        tracing.start(delist.settings.tracing, part="run")
        export(delist, stands_by=leads_here(delist.settings.indexer.data_dir))
        run_service(delist)
    leave(Exit.DONE)


def demo(
    ctx: typer.Context,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep everything there: a new or an empty directory."),
    ] = None,
) -> None:
    """Show and check the main job with nothing but this machine; no configuration is used."""
    from delist.ops.demo import run_demo

    context = context_of(ctx)
    report = run_demo(keep=keep, quiet=context.output.json_lines)
    if context.output.json_lines:
        context.output.result(report.document)
    leave(Exit.DONE if report.passed else Exit.FAILED)

"""The command line: the composition root.

``main`` turns every error into one line and an exit code; no traceback reaches a
user for bad input or bad configuration, and none ever shows a value.
"""

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from crawler.errors import CrawlerError, CrawlSettingsError
from delist.cli import (
    accounts,
    appeals,
    audit,
    backups,
    banks,
    bench,
    brakes,
    cases,
    clustering,
    consumers,
    direct,
    evaluating,
    feeds,
    images,
    ingesting,
    jobs,
    policies,
    reports,
    service,
    serving_http,
    sinks,
    suppressions,
    survivors,
    tokens,
    upkeep,
)
from delist.cli.context import Context, Exit
from delist.cli.output import Output
from delist.errors import DelistError, PolicyError, UsageError
from delist.loading import without_collecting
from delist.logs import configure_logs
from indexer.errors import IndexerError, SettingsError

_USAGE_ERRORS = (SettingsError, PolicyError, UsageError, CrawlSettingsError)
_JSON = "--json"

app = typer.Typer(
    name="delist",
    help="Takes non-consensual intimate images out of search results, from StopNCII's hashes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    serving_http, tokens, accounts, clustering,
    service, feeds, images, cases, suppressions, survivors, reports, audit, appeals, policies,
    brakes, banks, upkeep, bench, evaluating, direct, consumers, sinks, backups, jobs, ingesting,
):  # fmt: skip
    module.register(app)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"delist {version('delist')}")
        raise typer.Exit


@app.callback()
def head(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(envvar="DELIST_CONFIG", help="Configuration file (default: ./delist.toml)."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="DELIST_DATA_DIR", help="Takes the place of data_dir in the file."),
    ] = None,
    _json: Annotated[bool, typer.Option(_JSON, help="Print JSON; may stand anywhere.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda wanted: _show_version(wanted=wanted), is_eager=True
        ),
    ] = False,
) -> None:
    """Take non-consensual intimate images out of search results, from StopNCII's hashes."""
    assert isinstance(ctx.obj, Output)  # noqa: S101 - given by main()
    ctx.obj = Context(config=config, data_dir=data_dir, output=ctx.obj)


@cache
def _commands() -> Callable[..., object]:
    """Make the commands, once in a process: there are some two hundred."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options, separator, rest = _split(given)
    output = Output(json_lines=_JSON in options)
    configure_logs(logging.WARNING)
    if isinstance(sys.stdin, io.TextIOWrapper):
        # One line that is no text must not cost the answers to the others.
        sys.stdin.reconfigure(errors="surrogateescape")
    words = [word for word in options if word != _JSON]
    with without_collecting():
        commands = _commands()
    try:
        commands([*words, *separator, *rest], obj=output, prog_name="delist")
    except SystemExit as leaving:
        return _flushed(leaving.code)
    except BrokenPipeError:
        return _flushed(Exit.FAILED)
    except (IndexerError, DelistError, CrawlerError) as error:
        output.error(str(error))
        return Exit.USAGE if isinstance(error, _USAGE_ERRORS) else Exit.FAILED
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        output.error(_describe(error))
        return Exit.FAILED
    return Exit.DONE


def _flushed(code: object) -> int:
    """Write out what is left; whoever reads our output may have closed it meanwhile."""
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return code if isinstance(code, int) else Exit.DONE


def _split(given: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Split at ``--``: what follows it is never an option."""
    if "--" not in given:
        return given, [], []
    at = given.index("--")
    return given[:at], ["--"], given[at + 1 :]


def _describe(error: Exception) -> str:
    """Name an error that we did not foresee: where it arose, never what it held."""
    if isinstance(error, OSError) and error.errno:
        return f"{os.strerror(error.errno)} ({type(error).__name__})"
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"
    return f"internal error: {type(error).__name__} at {place}; please report it"

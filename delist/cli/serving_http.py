"""The HTTP API: ``serve``."""

import sys
from typing import Annotated

import typer

from delist.cli.context import context_of
from delist.errors import UsageError

_MOST_WORKERS = 64


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("serve")(serve)


def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 for any that is free.", min=0, max=65_535)
    ] = 8000,
    workers: Annotated[int, typer.Option(help="Processes that answer.")] = 1,
) -> None:
    """Answer HTTP requests until SIGTERM: the API under /v1, /healthz, /readyz, /metrics.

    Without encryption: anything but this machine should reach it through a proxy with TLS.
    """
    from delist.web.server import AppFactory, address_of, end_on_signals, listen
    from delist.web.server import serve as serve_on

    context = context_of(ctx)
    if not 1 <= workers <= _MOST_WORKERS:
        raise UsageError(f"--workers: 1 to {_MOST_WORKERS}")
    with context.open() as delist:
        delist.create()
        settings = delist.settings.web
    end_on_signals()
    with listen(host, port) as bound:
        url = address_of(bound)
        context.output.result({"url": url, "workers": workers}, f"listening on {url}")
        sys.stdout.flush()
        factory = AppFactory(context.config_in_use, context.data_dir)
        serve_on(bound, factory, settings, workers=workers)

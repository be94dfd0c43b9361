"""The ledger and the filter: ``suppressions list|export|verify|snapshot``, ``suppressed``."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from delist.cli import ledger_log
from delist.cli.context import Exit, context_of, leave
from delist.cli.output import document_of
from delist.model import ErasedRecord, SuppressionRecord
from indexer.errors import InvalidUrlError

After = Annotated[int, typer.Option(help="Only records behind this sequence number.", min=0)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(help="The ledger of suppression records.", no_args_is_help=True)
    commands.command("list")(list_records)
    commands.command("export")(export)
    commands.command("verify")(verify)
    commands.command("snapshot")(snapshot)
    ledger_log.register(commands)
    app.add_typer(commands, name="suppressions")
    app.command("suppressed")(suppressed)


def list_records(ctx: typer.Context, after: After = 0) -> None:
    """List the records; addresses only with --json."""
    context = context_of(ctx)
    with context.open() as delist:
        for entry in delist.entries_after(after):
            if isinstance(entry, ErasedRecord):
                text = f"{entry.sequence:>8}  {entry.erased_at:%Y-%m-%d %H:%M:%S}Z  erased"
            else:
                text = (
                    f"{entry.sequence:>8}  {entry.effective_at:%Y-%m-%d %H:%M:%S}Z  "
                    f"{entry.action.value:<8}  {entry.state.value:<11}  {entry.reason_code}  "
                    f"case {entry.case_id}"
                )
            context.output.result(document_of(entry), text)


def export(ctx: typer.Context, after: After = 0) -> None:
    """Write the records as JSON lines, addresses included; for those who apply them."""
    context = context_of(ctx)
    context.output.json_lines = True
    with context.open() as delist:
        for entry in delist.entries_after(after):
            context.output.result(document_of(entry))


def verify(
    ctx: typer.Context,
    witness: Annotated[
        list[str] | None,
        typer.Option(help="A witness's key, who must have cosigned the newest checkpoint."),
    ] = None,
) -> None:
    """Check the ledger: any edit, gap, changed order or cut ends with exit code 1."""
    context = context_of(ctx)
    witnesses = [ledger_log.read_key(text) for text in witness or ()]
    with context.open() as delist:
        records = delist.ledger_log.verify(witnesses=witnesses)
    context.output.result(
        {"records": records, "verified": True}, f"{records} records, all as written"
    )


def snapshot(ctx: typer.Context) -> None:
    """Build or renew now what the filter of result pages maps; `delist run` does so in time."""
    context = context_of(ctx)
    with context.open() as delist:
        report = delist.keep_snapshot(force=True)
    refused = f"; the one that was there is not used: {report.refused}" if report.refused else ""
    context.output.result(
        document_of(report),
        f"{report.built.value}: {report.urls:,} URLs, as of record {report.sequence}, "
        f"{report.size_bytes:,} bytes{refused}",
    )


def suppressed(
    ctx: typer.Context,
    urls: Annotated[
        list[str], typer.Argument(help="Image URLs; - for standard input, one a line.")
    ],
) -> None:
    """Say of each URL whether it is suppressed."""
    context = context_of(ctx)
    code = Exit.DONE
    with context.open() as delist, delist.suppression_filter() as results:
        for url in _read(urls):
            try:
                records = results.records(url)
            except InvalidUrlError as error:
                code = Exit.REFUSED
                refusal = {"code": "invalid_url", "message": str(error)}
                context.output.result({"url": url, "error": refusal}, f"{url}  {error}")
                continue
            context.output.result(
                {
                    "url": url,
                    "suppressed": bool(records),
                    "records": [_shown(record) for record in records],
                },
                f"{url}  {'suppressed' if records else 'not suppressed'}",
            )
    leave(code)


def _shown(record: SuppressionRecord) -> dict[str, Any]:
    return document_of(record, "commitment", "previous_hash", "hash")


def _read(urls: list[str]) -> Iterator[str]:
    for url in urls:
        if url == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield url

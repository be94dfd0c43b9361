"""Copies of everything, and what is kept how long.

``backup``, ``backup-key``, ``backup-verify``, ``restore``, ``accept-restored``, ``retention run``.
"""

from pathlib import Path
from typing import Annotated

import typer

from delist.cli.context import Context, context_of
from delist.cli.output import document_of
from delist.cli.people import Actor, operator
from delist.errors import UsageError

KeyFile = Annotated[Path | None, typer.Option(help="The file of the key; else [backup] key_file.")]
Plain = Annotated[
    bool, typer.Option("--no-encryption", help="The archive is plain: whoever has it can read it.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("backup")(backup)
    app.command("backup-key")(backup_key)
    app.command("backup-verify")(backup_verify)
    app.command("restore")(restore)
    app.command("accept-restored")(accept_restored)
    commands = typer.Typer(help="What is kept how long.", no_args_is_help=True)
    commands.callback()(_retention)
    commands.command("run")(retention_run)
    app.add_typer(commands, name="retention")


def _retention() -> None:
    """Decide what goes: one command of more to come keeps its name."""


def backup(
    ctx: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="A new file, or a folder; else [backup] folder.")
    ] = None,
    key_file: KeyFile = None,
    no_encryption: Plain = False,
) -> None:
    """Copy both stores and the secrets as of one moment, encrypted, while everything works."""
    context = context_of(ctx)
    with context.open() as delist:
        report = delist.backups.take(
            out, key_file=key_file, encrypted=not no_encryption, actor=operator()
        )
    context.output.result(
        document_of(report),
        f"{report.file}: {report.size_bytes:,} bytes, {report.rows:,} rows,"
        f" {report.pairs:,} pairs and {report.secrets} secrets as of"
        f" {report.taken_at:%Y-%m-%d %H:%M:%S}Z; writers waited {report.held_ms} ms",
    )


def backup_key(
    ctx: typer.Context, file: Annotated[Path, typer.Argument(help="A new file.")]
) -> None:
    """Make a key for backups. Keep it elsewhere too: without it no backup can be opened."""
    from delist.backup import make_key

    make_key(file)
    context_of(ctx).output.result({"file": str(file)}, f"{file} written; keep a copy elsewhere")


def backup_verify(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup.")],
    key_file: KeyFile = None,
    no_encryption: Plain = False,
) -> None:
    """Check a backup whole, its ledger too, without putting it back."""
    from delist.backup import check

    context = context_of(ctx)
    checked = check(file, _key(context, key_file, plain=no_encryption))
    context.output.result(
        document_of(checked),
        f"as written at {checked.taken_at:%Y-%m-%d %H:%M:%S}Z: {checked.chunks} chunks,"
        f" {len(checked.items)} members, {sum(checked.items.values()):,} items;"
        f" {checked.records} records and {checked.audit_entries} audit entries verify",
    )


def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup.")],
    into: Annotated[Path, typer.Option(help="The data directory to make; empty or not there.")],
    key_file: KeyFile = None,
    no_encryption: Plain = False,
) -> None:
    """Put a backup back into an empty place; with [database], cases into an empty database."""
    from delist.backup import restore as put_back
    from delist.settings import load_settings
    from indexer.build import utc_now

    context = context_of(ctx)
    settings = load_settings(context.config_in_use, data_dir=into)
    report = put_back(
        file,
        into,
        _key(context, key_file, plain=no_encryption),
        store=settings.indexer.store,
        database=settings.database,
        actor=operator(),
        now=utc_now(),
    )
    lines = [
        f"{report.into}: as of {report.taken_at:%Y-%m-%d %H:%M:%S}Z, {report.records} records",
        "before anything is decided: delist feed sync",
    ]
    if report.direct:
        lines.append(
            "what people withdrew from us since: delist direct withdraw, then"
            " delist accept-restored direct"
        )
    lines += [
        "before the ledger is signed: delist suppressions resume-log, or new-log",
        "tokens, accounts and brakes are as they were then: look at what was revoked since",
    ]
    for what, path, digest in (
        ("configuration", report.config, report.config_sha256),
        ("policy", report.policy, report.policy_sha256),
    ):
        if path:
            lines.append(f"{what}, not in the backup: {path} (SHA-256 {digest or 'unknown'})")
    context.output.result(document_of(report), "\n".join(lines))


def accept_restored(
    ctx: typer.Context,
    feed: Annotated[str, typer.Argument(help="`direct`, or a feed that is gone.")],
    actor: Actor,
    reason: Annotated[str, typer.Option(help="Why; it stays in the audit log.")],
) -> None:
    """Say that what was put back of a feed that cannot be read anew is as it should be."""
    context = context_of(ctx)
    with context.open() as delist:
        delist.accept_restored(feed, actor=actor, reason=reason)
    context.output.result({"feed": feed}, f"{feed} is taken as it was put back")


def retention_run(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove what has been kept long enough, as [retention] says."""
    context = context_of(ctx)
    with context.open() as delist:
        context.output.result(document_of(delist.retain(dry_run=dry_run)))


def _key(context: Context, key_file: Path | None, *, plain: bool) -> bytes | None:
    from delist.backup import read_key
    from delist.settings import load_settings

    if plain:
        return None
    named = key_file or load_settings(context.config_in_use).backup.key_file
    if named is None:
        raise UsageError("name the file of the key: --key-file, or [backup] key_file")
    return read_key(named)

"""The ledger as a log that others can check: the other commands of ``suppressions``."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from delist.cli.context import context_of
from delist.cli.output import document_of
from delist.cli.people import Actor
from delist.errors import LogProofError, UsageError
from delist.tlog.notes import KeyKind, SigningKey, VerifierKey
from delist.tlog.proofs import is_consistency

Witnesses = Annotated[
    list[str] | None, typer.Option("--witness", help="A witness's key, who must have cosigned.")
]

Reason = Annotated[str, typer.Option(help="Why; it stays in the audit log.")]


def register(commands: typer.Typer) -> None:
    """Add the commands of this module."""
    for name, command in (
        ("erase", erase),
        ("checkpoint", checkpoint),
        ("key", key),
        ("prove", prove),
        ("check-proof", check_proof),
        ("cosign", cosign),
        ("schema", schema),
        ("new-log", new_log),
        ("resume-log", resume_log),
    ):
        commands.command(name)(command)


def read_key(text: str) -> VerifierKey:
    """Read a public key that a user gave.

    Raises:
        UsageError: it is none.
    """
    try:
        return VerifierKey.parse(text)
    except LogProofError as error:
        raise UsageError(str(error)) from None


def erase(
    ctx: typer.Context,
    sequences: Annotated[list[int], typer.Argument(help="Numbers of records.", min=1)],
    actor: Annotated[str, typer.Option(help="Who asks for it.")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the audit log.")],
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Also what a consumer has not obeyed yet.")
    ] = False,
) -> None:
    """Erase what records say, for good; none that is in effect. The log still verifies."""
    context = context_of(ctx)
    with context.open() as delist:
        erased = delist.erase_records(sequences, actor=actor, reason=reason, at_once=at_once)
    context.output.result({"erased": erased}, f"{erased} records erased")


def checkpoint(ctx: typer.Context) -> None:
    """Sign the ledger's head and publish it with its tiles, under DATA_DIR/ledger."""
    context = context_of(ctx)
    with context.open() as delist:
        report = delist.ledger_log.checkpoint()
    word = "new checkpoint" if report.moved else "checkpoint as before"
    context.output.result(document_of(report), f"{word}, of {report.size} records")


def new_log(ctx: typer.Context, actor: Actor, reason: Reason) -> None:
    """Begin a new log, with a new key and origin; what was signed before is kept as evidence."""
    context = context_of(ctx)
    with context.open() as delist:
        made = delist.begin_new_log(actor=actor, reason=reason)
    context.output.result(
        document_of(made),
        f"{made.key}\nended: {made.ended}, of {made.size} records; evidence: {made.evidence}\n"
        "give the new key to those who follow the log: delist suppressions checkpoint",
    )


def resume_log(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The newest checkpoint that anybody has seen.")],
    actor: Actor,
    reason: Reason,
) -> None:
    """Go on with the log after a backup was put back, if nothing was signed since."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{file} cannot be read") from None
    context = context_of(ctx)
    with context.open() as delist:
        size = delist.resume_log(text, actor=actor, reason=reason)
    context.output.result({"records": size}, f"the log goes on behind {size} records")


def key(ctx: typer.Context) -> None:
    """Print the log's public key; its name is the log's origin."""
    context = context_of(ctx)
    with context.open() as delist:
        found = str(delist.ledger_log.key)
    context.output.result({"key": found}, found)


def prove(
    ctx: typer.Context,
    sequence: Annotated[int | None, typer.Argument(help="Number of a record.", min=1)] = None,
    since: Annotated[
        int | None, typer.Option("--from", help="Prove growth from this size instead.", min=0)
    ] = None,
) -> None:
    """Print the proof that a record is in the log (it tells the record), or that the log grew."""
    context = context_of(ctx)
    if (sequence is None) == (since is None):
        raise UsageError("name the number of a record, or --from and a size")
    with context.open() as delist:
        log = delist.ledger_log
        proof = log.prove(sequence) if sequence is not None else log.prove_growth(since or 0)
    context.output.result({"proof": proof}, proof.removesuffix("\n"))


def check_proof(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The proof; - for standard input.")],
    log_key: Annotated[str, typer.Option("--key", help="The log's public key.")],
    older: Annotated[
        Path | None, typer.Option(help="For growth: the older checkpoint, as it was published.")
    ] = None,
    witness: Witnesses = None,
) -> None:
    """Check a proof offline: it needs no data directory, only the log's public key."""
    from delist.attestation.proving import check_growth, check_record

    context = context_of(ctx)
    log, witnesses = read_key(log_key), [read_key(text) for text in witness or ()]
    text = _read(file)
    if is_consistency(text):
        if older is None:
            raise UsageError("a proof of growth needs --older, the checkpoint that it starts from")
        grown = check_growth(text, _read(older), log, witnesses=witnesses)
        said = f"{grown.origin} goes on from {grown.old_size} to {grown.size} records"
        context.output.result({"verified": True, **document_of(grown)}, said)
        return
    found = check_record(text, log, witnesses=witnesses)
    document: dict[str, Any] = {"verified": True, **document_of(found)}
    opened = (
        "which the proof tells" if found.record is not None else "which the proof does not tell"
    )
    said = f"record {found.sequence} is in {found.origin} of {found.size} records, {opened}"
    context.output.result(document, said)


def cosign(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A published log: checkpoint and tile/.")],
    log_key: Annotated[str, typer.Option("--log", help="The log's public key.")],
    name: Annotated[str, typer.Option(help="The witness's name, such as witness.example/w1.")],
    key_file: Annotated[
        Path, typer.Option("--key", help="The witness's key; made if there is none.")
    ],
) -> None:
    """Be a witness: cosign a log's checkpoint unless it contradicts what was seen before.

    What was seen is kept beside the key, in KEY.seen.
    """
    from delist.attestation.witnessing import cosign_log
    from indexer.build import utc_now
    from indexer.store import load_or_create_secret

    context = context_of(ctx)
    signing = SigningKey(name=name, secret=load_or_create_secret(key_file.absolute()))
    public = str(signing.verifier(KeyKind.COSIGNATURE))
    seen = key_file.with_name(f"{key_file.name}.seen")
    head = cosign_log(folder, read_key(log_key), signing, seen, now=utc_now())
    said = f"cosigned {head.origin} of {head.size} records\n{public}"
    context.output.result({"origin": head.origin, "size": head.size, "key": public}, said)


class SchemaOf(StrEnum):
    """What there is a schema of."""

    RECORD = "record"
    INSTRUCTION = "instruction"


def schema(
    ctx: typer.Context,
    of: Annotated[
        SchemaOf,
        typer.Option(help="A record as it is exported, or an instruction as consumers read it."),
    ] = SchemaOf.RECORD,
) -> None:
    """Print the JSON Schema of what others read."""
    import json

    from delist.schemas import INSTRUCTION, RECORD, load

    text = load(RECORD if of is SchemaOf.RECORD else INSTRUCTION)
    context_of(ctx).output.result(json.loads(text), text.removesuffix("\n"))


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            return sys.stdin.read()
        # As bytes: a line end that is translated is another text.
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text") from None

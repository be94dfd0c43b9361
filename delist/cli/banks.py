"""``delist bank``: the bank of known-benign images, hashes only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delist.cli.context import Context, Exit, context_of, leave
from delist.cli.output import document_of
from delist.cli.steps import take_in

if TYPE_CHECKING:
    from delist.cli.files import FileOutcome
    from delist.governance.vouching import Picture, Vouched

bank_app = typer.Typer(
    help="Known-benign images, on which no machine acts: logos, flags, news photographs.",
    no_args_is_help=True,
)
add_app = typer.Typer(help="Add images to a bank.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    bank_app.add_typer(add_app, name="add")
    app.add_typer(bank_app, name="bank")


@add_app.command("benign")
def add_benign(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    actor: Annotated[str, typer.Option(help="Who knows that they are benign.")],
    label: Annotated[str, typer.Option(help="What they are, at most 200 characters.")] = "",
) -> None:
    """Add known-benign images: their hashes are kept, nothing else of them."""
    from delist.cli.files import hash_paths

    context = context_of(ctx)
    code, pictures, names = Exit.DONE, list["Picture"](), list[str]()
    with context.open() as delist:
        for outcome in hash_paths(paths, delist.settings.indexer.hashing):
            picture = _picture_of(outcome)
            if picture is None:
                code = max(code, _refused(context, outcome))
                continue
            pictures.append(picture)
            names.append(str(outcome.path))
        added = delist.governance.add_benign(pictures, label=label, actor=actor)
        for name, vouched in zip(names, added, strict=True):
            _show_added(context, name, vouched)
        if added:
            context.output.result({"intake": take_in(context, delist)})
    leave(code)


@bank_app.command("list")
def list_bank(ctx: typer.Context) -> None:
    """List the known-benign images: number, label, and who added them."""
    context = context_of(ctx)
    with context.open() as delist:
        for image in delist.governance.benign_images():
            document = document_of(image, "rows", "image_sha256")
            text = f"{image.id:>6}  {image.added_at:%Y-%m-%d}  {image.added_by}  {image.label}"
            context.output.result(document, text.rstrip())


@bank_app.command("remove")
def remove(
    ctx: typer.Context,
    image_id: Annotated[int, typer.Argument(metavar="ID", help="As `delist bank list` says.")],
    actor: Annotated[str, typer.Option(help="Who removes it.")],
    reason: Annotated[str, typer.Option(help="Why, for the record; no addresses, no names.")],
) -> None:
    """Remove an image from the bank; the cases near it are looked at again."""
    context = context_of(ctx)
    with context.open() as delist:
        removed = delist.governance.remove_benign(image_id, actor=actor, reason=reason)
        context.output.result(
            {
                "id": removed.id,
                "cases": len(removed.images),
                "signals": list(removed.signals),
                "intake": take_in(context, delist),
            }
        )


def _picture_of(outcome: "FileOutcome") -> "Picture | None":
    from delist.casework.benign import rows_of
    from delist.governance.vouching import Picture

    if outcome.hashed is None or not outcome.hashed.rows:
        return None
    return Picture(sha256=outcome.hashed.sha256, rows=rows_of(outcome.hashed.rows))


def _refused(context: Context, outcome: "FileOutcome") -> Exit:
    """Say what was refused; the exit code counts what the user named, not what a folder held."""
    code, message = outcome.error or ("not_comparable", "nothing of it can be compared")
    document = {"path": str(outcome.path), "error": {"code": code, "message": message}}
    context.output.result(document, f"{outcome.path}: refused: {message}")
    return Exit.REFUSED if outcome.named else Exit.DONE


def _show_added(context: Context, path: str, vouched: "Vouched") -> None:
    document = {
        "path": path,
        "id": vouched.id,
        "added": vouched.changed,
        "cases": len(vouched.images),
        "conflict": {
            "confirmed_cases": list(vouched.confirmed_cases),
            "signals": list(vouched.signals),
        },
    }
    text = f"{path}: {'added' if vouched.changed else 'held already'} as {vouched.id}"
    if vouched.confirmed_cases:
        named = ", ".join(vouched.confirmed_cases)
        text += f"\n  CONFLICT: a person has confirmed this picture in {named}; look again"
    if vouched.signals:
        text += (
            f"\n  CONFLICT: somebody has reported this picture (signals "
            f"{', '.join(vouched.signals)}); its cases wait for a person"
        )
    context.output.result(document, text)

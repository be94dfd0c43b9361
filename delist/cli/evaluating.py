"""``evaluate``: how well one's own photos are found again."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from delist.cli.context import Context, Exit, context_of, leave
from delist.errors import UsageError
from indexer.errors import ImageRefusedError
from indexer.match import is_degenerate
from indexer.model import DIGEST_BYTES, HASHERS, Hasher
from indexer.settings import HashingSettings

if TYPE_CHECKING:
    from delist.ops.evaluate.measuring import Photo

_SIGNALS, _SEED = 1_000_000, 1


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("evaluate")(evaluate)


def evaluate(  # noqa: PLR0913, PLR0917 - typer reads options off the arguments
    ctx: typer.Context,
    photos: Annotated[list[Path], typer.Argument(help="Files or folders of photos.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json.")
    ] = None,
    signals: Annotated[
        int, typer.Option(help="Signals to carry false matches on to.", min=1)
    ] = _SIGNALS,
    hasher: Annotated[str, typer.Option(help="Which path made the feed's hashes: cpp, web.")] = (
        "cpp"
    ),
    others: Annotated[
        Path | None,
        typer.Option(help="Further digests, of strangers: uint8[n, 32] .npy, or 64-hex lines."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Most photos, the first ones.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the edits.", min=0)] = _SEED,
    names: Annotated[
        bool, typer.Option("--names", help="Name the files that were missed in the report.")
    ] = False,
) -> None:
    """Edit copies of your photos in memory, look them up, and report; nothing of them is kept."""
    import numpy as np

    from delist.ops.bench.digests import load_digests
    from delist.ops.evaluate.measuring import Measured, measure
    from delist.ops.evaluate.report import text_of, write_report
    from delist.ops.evaluate.summary import summarise

    context = context_of(ctx)
    if hasher not in HASHERS:
        raise UsageError(f'--hasher: this version knows {", ".join(HASHERS)}, not "{hasher}"')
    strangers = np.empty((0, DIGEST_BYTES), np.uint8) if others is None else load_digests(others)
    with context.open() as delist:
        limits = delist.settings.indexer.hashing
    usable, code = _load(context, photos, Hasher(hasher), limits, limit)
    if not usable:
        raise UsageError("evaluate: none of the files can be hashed")
    measured: Measured | None = None
    with context.output.progress("evaluate") as advance:
        for measured in measure(usable, strangers, limits=limits, seed=seed):
            word = f"photo {measured.done} of {len(usable)}"
            advance(measured.done, len(usable), word)
    assert measured is not None  # noqa: S101 - there is a photo
    document = summarise(
        measured,
        signals=signals,
        seed=seed,
        now=datetime.now(UTC),
        settings={"hasher": hasher, "seed": seed, "others": len(strangers)},
        with_names=names,
    )
    written = "" if out is None else "\n" + "\n".join(map(str, write_report(out, document)))
    context.output.result(document, text_of(document) + written)
    leave(code)


def _load(
    context: Context,
    paths: list[Path],
    hasher: Hasher,
    limits: HashingSettings,
    limit: int | None,
) -> tuple[list["Photo"], Exit]:
    """Hash the photos; what cannot be hashed is named, and the others go on."""
    from delist.ops.evaluate.measuring import load_photo

    usable: list[Photo] = []
    code = Exit.DONE
    with context.output.progress("hash") as advance:
        for path, named in _files(paths):
            if limit is not None and len(usable) == limit:
                break
            try:
                photo = load_photo(path, hasher, limits)
                if is_degenerate(photo.digest):
                    context.output.error(f"{path}: left out: flat, so no feed may bring its hash")
                else:
                    usable.append(photo)
            except ImageRefusedError as error:
                context.output.error(f"{path}: refused ({error.code.value}): {error}")
                code = max(code, Exit.REFUSED if named else Exit.DONE)
            advance(0, None, f"{len(usable)} photos")
    return usable, code


def _files(paths: list[Path]) -> Iterator[tuple[Path, bool]]:
    """List files, and those in folders, by name; with whether the user named the file itself."""
    for path in paths:
        if not path.is_dir():
            yield path, True
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from ((Path(folder) / name, False) for name in sorted(names))

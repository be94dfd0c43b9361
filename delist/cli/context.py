"""What every command of the command line shares: options, the open whole, exit codes."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from delist.cli.output import Output
from delist.loading import without_collecting

if TYPE_CHECKING:
    from delist.build import Delist

DEFAULT_CONFIG = Path("delist.toml")


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    """Done, but an input that the user named was refused."""


@dataclass(frozen=True, slots=True)
class Context:
    """Options that stand before the command, and where results go."""

    config: Path | None
    data_dir: Path | None
    output: Output

    @property
    def config_in_use(self) -> Path | None:
        """The configuration file: the one named, else ``./delist.toml`` if it is there."""
        if self.config is not None:
            return self.config
        return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None

    def open(self) -> "Delist":
        """Open the whole that the options name; loads what most of the command line needs not."""
        with without_collecting():
            from delist.build import Delist

        return Delist.open(self.config_in_use, data_dir=self.data_dir)


def context_of(ctx: typer.Context) -> Context:
    """Return what the command line's head has set up."""
    found = ctx.obj
    assert isinstance(found, Context)  # noqa: S101 - set by the callback before every command
    return found


def leave(code: Exit) -> None:
    """End the command with an exit code; nothing happens for ``DONE``."""
    if code is not Exit.DONE:
        raise typer.Exit(int(code))

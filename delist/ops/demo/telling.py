"""How the demo speaks: headings, commands and plain sentences, on standard output."""

import textwrap
from collections.abc import Iterable

from rich.console import Console

_WIDTH = 88
_INDENT = "    "


class Narrator:
    """Tells people what happens; says nothing when ``quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        # Off a terminal this writes plain text, and never breaks a line by itself.
        self._console = Console(quiet=quiet, highlight=False, markup=False, soft_wrap=True)

    def heading(self, text: str) -> None:
        """Say what this is."""
        self._print(text, style="bold")

    def step(self, number: int, title: str) -> None:
        """Begin a step."""
        self._print(f"\n{number:2}  {title}", style="bold")

    def command(self, line: str) -> None:
        """Show a command that is about to run; a line to copy, so it is never wrapped."""
        self._print(f"{_INDENT}$ {line}", style="cyan")

    def say(self, text: str) -> None:
        """Say a few sentences."""
        self._print(_wrapped(text))

    def table(self, rows: Iterable[tuple[str, str]]) -> None:
        """Show pairs, one a line; the right side is never wrapped."""
        held = list(rows)
        width = max((len(left) for left, _ in held), default=0)
        for left, right in held:
            self._print(f"{_INDENT}  {left:<{width}}   {right}")

    def problem(self, text: str) -> None:
        """Say what is not as it should be."""
        self._print(_wrapped(f"NOT AS IT SHOULD BE: {text}"), style="bold red")

    def time(self, seconds: float) -> None:
        """Say how long a step took."""
        self._print(f"{_INDENT}{seconds:.1f} s", style="dim")

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style)


def count_of(number: int, one: str, many: str = "") -> str:
    """Write a number with its noun: ``1 photo``, ``60 photos``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )

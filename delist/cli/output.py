"""What commands print: text for people, or JSON lines and nothing else with ``--json``."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Advance = Callable[[int, int | None, str], None]
"""Called with steps done, steps in all (None: not known) and a word about them."""


class Output:
    """Standard output and standard error of one command."""

    def __init__(self, *, json_lines: bool) -> None:
        self.json_lines = json_lines
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def result(self, document: Mapping[str, Any], text: str | None = None) -> None:
        """Print one result: the document as a JSON line, or the text."""
        encoding = sys.stdout.encoding or "utf-8"
        if self.json_lines:
            line = json.dumps(document, default=_plain, ensure_ascii=False)
            if not _can_be_written(line, encoding):
                line = json.dumps(document, default=_plain)
        else:
            line = "\n".join(_lines(document)) if text is None else text
            if not _can_be_written(line, encoding):
                line = line.encode(encoding, "backslashreplace").decode(encoding)
        sys.stdout.write(line + "\n")

    def error(self, message: str) -> None:
        """Print one line about what went wrong, on standard error."""
        self._errors.print(f"delist: {message}", markup=False)

    @contextmanager
    def progress(self, what: str) -> Iterator[Advance]:
        """Show a progress bar while something long goes on; on a terminal only."""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[word]}"))
        visible = self._errors.is_terminal
        with Progress(
            *columns,
            TimeElapsedColumn(),
            console=self._errors,
            transient=True,
            disable=not visible,
        ) as bar:
            task = bar.add_task(what, total=None, word="")

            def advance(done: int, total: int | None, word: str) -> None:
                bar.update(task, completed=done, total=total, word=word)

            yield advance


def document_of(record: Any, *leave_out: str) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """Turn a record into JSON values, without some of its fields."""
    assert is_dataclass(record)  # noqa: S101 - our own callers
    return {
        key: value
        for key, value in asdict(record).items()  # type: ignore[arg-type] # an instance
        if key not in leave_out
    }


def _can_be_written(text: str, encoding: str) -> bool:
    """Say whether text is whole: a file name that is no UTF-8 is not, nor what a terminal lacks."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    width = max((len(key) for key in document), default=0)
    for key, value in document.items():
        yield f"{key.replace('_', ' '):<{width}}  {_text(value)}"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_text(part) for part in value) or "none"
    plain = _plain(value) if isinstance(value, datetime | Enum | bytes) else value
    return str(plain)

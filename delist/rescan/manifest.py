"""What a run has done: one line for each file, appended and durable before it counts.

The first line is the job (``Job.written``), each further one a ``FileOutcome`` that was compared.
A line that was cut off by a crash is dropped: its file is done again. One driver at a time.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from delist.errors import RescanError
from delist.rescan.sealing import sync_folder
from delist.rescan.work import FileOutcome


class Manifest:
    """An open manifest; to be closed.

    Attributes:
        header: the first line.
        done: outcomes by file, the last line of each.
    """

    def __init__(self, file: int, header: dict[str, Any], done: Iterable[FileOutcome]) -> None:
        self._file = file
        self.header = header
        self.done = {outcome.file: outcome for outcome in done}

    @classmethod
    def begin(cls, path: Path) -> Self:
        """Begin a new one in place of any other; without ``write_header`` there is none.

        ``header`` is what the other began with, as far as it can be read, until then.

        Raises:
            RescanError: another process is at work on it.
            OSError: it cannot be written.
        """
        descriptor = _locked(path)
        try:
            header = _object(_read(descriptor).split(b"\n", 1)[0])
        except ValueError:
            header = {}
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        sync_folder(path.parent)
        return cls(descriptor, header, ())

    def write_header(self, header: dict[str, Any]) -> None:
        """Write the first line; durable on return.

        Raises:
            OSError: it cannot be written.
        """
        self.header = header
        self._append(json.dumps(header))

    @classmethod
    def resume(cls, path: Path) -> Self | None:
        """Open one to go on with; None where there is none, or nothing whole in it.

        Raises:
            RescanError: another process is at work on it, or it is damaged.
            OSError: it cannot be read.
        """
        if not path.exists():
            return None
        descriptor = _locked(path)
        try:
            written = _read(descriptor)
            whole = written[: written.rfind(b"\n") + 1]
            lines = whole.splitlines()
            if not lines:
                os.close(descriptor)
                return None
            header = _object(lines[0])
            done = [FileOutcome.of_text(line.decode()) for line in lines[1:]]
            os.ftruncate(descriptor, len(whole))
            os.lseek(descriptor, 0, os.SEEK_END)
        except (ValueError, TypeError):
            os.close(descriptor)
            raise RescanError(f"{path.name} is damaged; begin anew") from None
        return cls(descriptor, header, done)

    def add(self, outcome: FileOutcome) -> None:
        """Write down that a file is done; durable on return.

        Raises:
            OSError: it cannot be written.
        """
        self._append(outcome.text())
        self.done[outcome.file] = outcome

    def close(self) -> None:
        """Let others go on with it."""
        os.close(self._file)

    def _append(self, line: str) -> None:
        data = memoryview(line.encode() + b"\n")
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise RescanError("another process is at work on this run") from None
    return descriptor


def _read(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()


def _object(line: bytes) -> dict[str, Any]:
    read = json.loads(line)
    if not isinstance(read, dict):
        raise ValueError("a JSON object is needed")  # noqa: TRY004 - as of a line that is no JSON
    return read

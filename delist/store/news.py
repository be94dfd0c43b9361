"""A file of eight bytes that changes after every commit to the ledger, for readers to map.

It holds a random number, which whoever writes replaces: two who write at once need no lock,
and no value comes back. It is a hint, no more: readers ask the database a few times a second
all the same, since a crash may come between commit and hint, and a writer on another machine
has another file.
"""

import mmap
import os
import secrets
from contextlib import suppress
from pathlib import Path

_BYTES = 8


def announce(path: Path) -> None:
    """Tell whoever maps the file that there is something new; never fails."""
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, secrets.token_bytes(_BYTES), 0)
        finally:
            os.close(file)


class News:
    """The mapped file.

    Attributes:
        mark: holds the number at [0], as the file has it at each look.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = (0, 0)
        self.mark = _nothing()
        self.look()

    def look(self) -> None:
        """Map the file, also where another one has taken its place; see to it that there is one."""
        try:
            found = self._stat()
            if found is None:
                announce(self._path)
                found = self._stat()
            if found != self._held:
                self.mark = _nothing() if found is None else self._map()
                self._held = found or (0, 0)
        except (OSError, ValueError):
            self.mark, self._held = _nothing(), (0, 0)

    def _stat(self) -> tuple[int, int] | None:
        """Identify the file; None where there is none that can be mapped."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return (found.st_dev, found.st_ino) if found.st_size == _BYTES else None

    def _map(self) -> memoryview:
        with self._path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), _BYTES, access=mmap.ACCESS_READ)).cast("Q")


def _nothing() -> memoryview:
    return memoryview(bytes(_BYTES)).cast("Q")

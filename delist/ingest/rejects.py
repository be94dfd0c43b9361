"""The file that names what was refused of one source: the only place where its address is written.

Lines of JSON: ``at`` (where it stands in the source), ``code``, and ``url`` where there is one.
It is for the person who runs the command, lies under the data directory, and is theirs alone
(mode 0600). It is held while the source is read, so that no other process reads the same one.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Self

from delist.errors import DelistError


class RejectsFile:
    """The file of one source, cut to what is known to belong to what is done.

    Attributes:
        path: where it lies; it is not there after ``close`` if nothing was refused.
    """

    def __init__(self, path: Path, *, size_bytes: int) -> None:
        """Open and hold it; lines behind ``size_bytes`` are of rows that will be read again.

        Raises:
            DelistError: another process holds it, or it cannot be opened.
        """
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise DelistError(f"cannot open {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise DelistError("another process takes this source in") from None
        size_bytes = min(size_bytes, os.fstat(self._descriptor).st_size)
        os.ftruncate(self._descriptor, size_bytes)
        self.size_bytes = os.lseek(self._descriptor, 0, os.SEEK_END)
        self._lines: list[bytes] = []

    def add(self, *, at: str, code: str, url: str) -> None:
        """Name one refused row."""
        entry = {"at": at, "code": code, **({"url": url} if url else {})}
        self._lines.append(json.dumps(entry).encode() + b"\n")

    def write(self) -> int:
        """Write what was added, durably; returns how long the file is now."""
        if self._lines:
            data = memoryview(b"".join(self._lines))
            self._lines.clear()
            self.size_bytes += len(data)
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        return self.size_bytes

    def close(self) -> None:
        """Let go of the file."""
        if not self.size_bytes:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

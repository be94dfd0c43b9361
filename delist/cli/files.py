"""Reading what a user names: files of images and videos, folders, files of digests."""

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from delist.errors import UsageError
from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing import FileDigest, VideoFile, hash_video, hash_within, video_mime
from indexer.hashing.files import HEAD_BYTES
from indexer.model import HashedImage
from indexer.settings import HashingSettings

_MAX_LINE = 4096
_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        named: whether the user named the file itself, not a folder that holds it.
        error: (code, message) when it was refused.
    """

    path: Path
    named: bool
    hashed: HashedImage | None = None
    error: tuple[str, str] | None = None


def hash_paths(
    paths: Iterable[Path], limits: HashingSettings, *, deep: bool = False
) -> Iterator[FileOutcome]:
    """Hash files and folders in the order in which they are named, on all processors."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[FileOutcome]] = deque()
        for path, named in _files(paths):
            pending.append(pool.submit(_hash_file, path, limits, named=named, deep=deep))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def read_digests(source: str) -> Iterator[str]:
    """Read lines of digests from a file, or from standard input for ``-``; blank ones are skipped.

    Raises:
        UsageError: the file cannot be read.
    """
    if source == "-":
        yield from _lines(sys.stdin)
        return
    try:
        with Path(source).open(encoding="utf-8", errors="replace") as file:
            yield from _lines(file)
    except OSError as error:
        raise UsageError(f"--digests: cannot read {source}: {error.strerror}") from None


def _lines(file: Iterable[str]) -> Iterator[str]:
    for line in file:
        if text := line.strip():
            yield text[:_MAX_LINE]


def _files(paths: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    for path in paths:
        if not path.is_dir():
            yield path, True
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                yield Path(folder) / name, False


def _hash_file(path: Path, limits: HashingSettings, *, named: bool, deep: bool) -> FileOutcome:
    try:
        data = _read(path, limits.max_bytes)
        if isinstance(data, VideoFile):
            hashed = hash_video(data, limits, deep=deep)
        else:
            hashed = hash_within(data, limits, deep=deep)
    except ImageRefusedError as error:
        return FileOutcome(path=path, named=named, error=(error.code.value, str(error)))
    return FileOutcome(path=path, named=named, hashed=hashed)


def _read(path: Path, max_bytes: int) -> bytes | VideoFile:
    """Read a file, at most one byte more than is allowed; what is no regular file is refused.

    A video is digested whole, however large it is.
    """
    try:
        if path.exists() and not path.is_file():
            raise ImageRefusedError(Refusal.UNREADABLE, "not a regular file")
        with path.open("rb") as file:
            head = file.read(min(HEAD_BYTES, max_bytes + 1))
            mime = video_mime(head)
            if not mime:
                return head + file.read(max_bytes + 1 - len(head))
            digest = FileDigest(mime, keep_bytes=max_bytes)
            while head:
                digest.update(head)
                head = file.read(_PIECE_BYTES)
            return digest.finish()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "cannot be read"
        raise ImageRefusedError(Refusal.UNREADABLE, reason) from None

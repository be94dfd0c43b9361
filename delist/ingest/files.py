"""Opening files below a folder, and reading an image or a video out of one.

A name in a table was written by somebody else, and a folder may hold links: nothing outside of
the folder is ever opened. Each part of a name is opened in the folder before it and no link is
followed, so nothing can be exchanged between a check and its use.
"""

import errno
import os
import stat
from typing import BinaryIO

from crawler.errors import RefusedError
from indexer.errors import Refusal
from indexer.hashing import FileDigest, VideoFile, video_mime
from indexer.hashing.files import HEAD_BYTES

OUTSIDE, SYMLINK, NOT_A_FILE = "outside_folder", "symlink", "not_a_file"

_PIECE_BYTES = 1024 * 1024
_STEP = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_below(folder: str, name: bytes) -> BinaryIO:
    """Open a regular file by its name below a folder, or by its path if that lies there.

    Raises:
        RefusedError: ``outside_folder``, ``symlink``, ``not_a_file``, ``unreadable``.
    """
    parts = _parts(os.fsencode(folder), name)
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise RefusedError(Refusal.UNREADABLE.value) from None
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        # A pipe would wait for its writer.
        flags = _STEP | (os.O_NONBLOCK if is_last else os.O_DIRECTORY)
        try:
            opened = os.open(part, flags, dir_fd=held)
        except OSError as error:
            raise RefusedError(_why(error, part, held)) from None
        finally:
            os.close(held)
        held = opened
    file = os.fdopen(held, "rb")
    if not stat.S_ISREG(os.fstat(held).st_mode):
        file.close()
        raise RefusedError(NOT_A_FILE)
    return file


def read_media(file: BinaryIO, *, max_bytes: int, max_video_bytes: int) -> bytes | VideoFile:
    """Read an image, at most one byte more than is allowed; a video is digested whole.

    Raises:
        RefusedError: ``unreadable``, ``video_too_large``.
    """
    try:
        head = file.read(min(HEAD_BYTES, max_bytes + 1))
        mime = video_mime(head)
        if not mime:
            return head + file.read(max_bytes + 1 - len(head))
        digest = FileDigest(mime, keep_bytes=max_bytes)
        while head:
            digest.update(head)
            if digest.size_bytes > max_video_bytes:
                raise RefusedError("video_too_large")  # as crawler.bodies names it
            head = file.read(_PIECE_BYTES)
        return digest.finish()
    except OSError:
        raise RefusedError(Refusal.UNREADABLE.value) from None


def _parts(folder: bytes, name: bytes) -> list[bytes]:
    if b"\0" in name:
        raise RefusedError(Refusal.UNREADABLE.value)
    if name.startswith(b"/"):
        start = folder.rstrip(b"/") + b"/"
        if not name.startswith(start):
            raise RefusedError(OUTSIDE)
        name = name[len(start) :]
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if not parts or b".." in parts:
        raise RefusedError(OUTSIDE)
    return parts


def _why(error: OSError, part: bytes, folder: int) -> str:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        try:
            mode = os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode
        except OSError:
            return Refusal.UNREADABLE.value
        return SYMLINK if stat.S_ISLNK(mode) else NOT_A_FILE
    return NOT_A_FILE if error.errno == errno.ENXIO else Refusal.UNREADABLE.value

"""A folder of images, in the order of their names; links are named and never followed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from delist.ingest.files import SYMLINK
from delist.ingest.rows import Content, FileName, Place, Refused, Row
from indexer.errors import Refusal

NOWHERE = "https://local.invalid"
"""Begins the addresses of images that have none: a name that no server ever has (RFC 2606)."""

_Entry = Any
"""An ``os.DirEntry[bytes]``, or None where a folder cannot be listed."""


class FolderSource:
    """All files below a folder, but those that are sources of their own."""

    form = "folder"
    modified_ns = 0

    def __init__(
        self,
        path: Path,
        *,
        base_url: str | None,
        size_bytes: int,
        but: frozenset[bytes] = frozenset(),
        only: bytes | None = None,
    ) -> None:
        """Prepare to read a folder.

        Args:
            path: an existing folder.
            base_url: what its names are put behind to make addresses; None: they have none, and
                are told from each other by the path on this machine, under ``NOWHERE``.
            size_bytes: of its files.
            but: names below it that are left out.
            only: the one name below it that counts.
        """
        self.path = path.absolute()
        self.size_bytes = size_bytes
        self._base = base_url.rstrip("/") + "/" if base_url else None
        self._but, self._only = but, only

    def rows(self, stage: str, place: Place) -> Iterator[Row]:
        """See ``Source``."""
        del stage
        done_bytes = 0
        for name, entry in self._names(after=_key(place.name)):
            if name in self._but:
                continue
            content: Content = FileName(str(self.path), name)
            if entry is None or entry.is_symlink():
                content = Refused(Refusal.UNREADABLE.value if entry is None else SYMLINK)
            done_bytes += _size(entry)
            shown = os.fsdecode(name)
            yield Row(
                at=shown,
                url=self._url(name),
                content=content,
                document_id=None if self._base else _text(name),
                next=Place(name=name),
                done_bytes=done_bytes,
            )

    def _url(self, name: bytes) -> str:
        if self._base:
            return self._base + quote(name)
        return f"{NOWHERE}{quote(os.fsencode(self.path))}/{quote(name)}"

    def _names(self, after: tuple[bytes, ...]) -> Iterator[tuple[bytes, _Entry]]:
        """Yield names below the folder behind a name, by their parts; None: cannot be listed."""
        if self._only is not None:
            yield from (found for found in self._listed(b"", after) if found[0] == self._only)
            return
        waiting = [self._listed(b"", after)]
        while waiting:
            try:
                name, entry = next(waiting[-1])
            except StopIteration:
                waiting.pop()
                continue
            if entry is not None and entry.is_dir(follow_symlinks=False):
                waiting.append(self._listed(name, after))
            elif _key(name) > after:
                yield name, entry

    def _listed(self, below: bytes, after: tuple[bytes, ...]) -> Iterator[tuple[bytes, _Entry]]:
        try:
            with os.scandir(os.fsencode(self.path) + b"/" + below) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            yield below, None
            return
        depth = len(_key(below))
        for entry in found:
            name = below + b"/" + entry.name if below else entry.name
            if _key(name) >= after[: depth + 1]:  # what lies before is done
                yield name, entry


def _key(name: bytes) -> tuple[bytes, ...]:
    return tuple(name.split(b"/")) if name else ()


def _size(entry: _Entry) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size if entry else 0
    except OSError:
        return 0


def _text(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None

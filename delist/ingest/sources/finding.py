"""Which sources there are in what somebody names; what a file is, its bytes say."""

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crawler.kinds import HEAD_BYTES as IMAGE_HEAD_BYTES
from crawler.kinds import is_image
from delist.ingest.sources.folder import FolderSource
from delist.ingest.sources.lines import LinesSource
from delist.ingest.sources.parquet import ParquetSource
from delist.ingest.sources.source import Source
from delist.ingest.sources.warc import ArchiveLimits, WarcSource
from indexer.errors import Refusal
from indexer.hashing import video_mime
from indexer.hashing.files import HEAD_BYTES

AUTO, FOLDER, JSONL, PARQUET, WARC = "auto", "folder", "jsonl", "parquet", "warc"
FORMATS = (AUTO, FOLDER, JSONL, PARQUET, WARC)
UNKNOWN_FORMAT, NOT_FOUND = "unknown_format", "not_found"

_SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".warc", ".warc.gz")
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How sources are read.

    Attributes:
        form: one of ``FORMATS``.
        base_url: what names in folders are put behind; None: they have no address.
        root: what paths in tables are below; None: the folder of the table.
        limits: what one record of an archive may cost.
    """

    form: str = AUTO
    base_url: str | None = None
    root: Path | None = None
    limits: ArchiveLimits


def find_sources(paths: Sequence[Path], reading: Reading) -> Iterator[Source | tuple[Path, str]]:
    """Yield the sources that paths name, and (path, code) of each that is none.

    Raises:
        UsageError, SettingsError: what reads a source is not installed.
    """
    for path in paths:
        try:
            if path.is_dir():
                yield from _in_folder(path, reading)
            else:
                yield _of_file(path, reading) or (path, UNKNOWN_FORMAT)
        except FileNotFoundError:
            yield path, NOT_FOUND
        except OSError:
            yield path, Refusal.UNREADABLE.value


def _in_folder(path: Path, reading: Reading) -> Iterator[Source | tuple[Path, str]]:
    """Find the tables and archives in a folder; what is left are images."""
    size_bytes, has_images, left_out = 0, False, set[bytes]()
    top = os.fsencode(path.absolute())
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            whole = os.path.join(folder, name)  # noqa: PTH118 - names are bytes
            is_source = os.fsdecode(name).lower().endswith(_SUFFIXES) and reading.form == AUTO
            if is_source and not os.path.islink(whole):  # noqa: PTH114
                file = Path(os.fsdecode(whole))
                yield _of_file(file, reading) or (file, UNKNOWN_FORMAT)
                left_out.add(whole[len(top) + 1 :])
                continue
            has_images = True
            size_bytes += os.lstat(whole).st_size
    if has_images or not left_out:
        yield FolderSource(
            path, base_url=reading.base_url, size_bytes=size_bytes, but=frozenset(left_out)
        )


def _of_file(path: Path, reading: Reading) -> Source | None:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES * 4)
    is_packed = head.startswith(_GZIP)
    inside = _unpacked(head) if is_packed else head
    form = _form_of(inside) if reading.form == AUTO else reading.form
    folder = str((reading.root or path.parent).absolute())
    if form == PARQUET:
        return ParquetSource(path, folder=folder)
    if form == WARC:
        return WarcSource(path, is_packed=is_packed, limits=reading.limits)
    if form == JSONL:
        max_bytes = reading.limits.image_bytes
        return LinesSource(path, folder=folder, is_packed=is_packed, max_bytes=max_bytes)
    if form == FOLDER:
        return FolderSource(
            path.parent,
            base_url=reading.base_url,
            size_bytes=path.stat().st_size,
            only=os.fsencode(path.name),
        )
    return None


def _form_of(head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return PARQUET
    if head.startswith(b"WARC/"):
        return WARC
    if is_image(head[:IMAGE_HEAD_BYTES]) or video_mime(head[:HEAD_BYTES]):
        return FOLDER
    return JSONL if head.lstrip().startswith(b"{") else ""


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""

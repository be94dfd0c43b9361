r"""Files: instructions as JSON lines in a folder, for those who follow files.

``suppressions-00000001.jsonl`` is named by the number of its first record; when it is full the next
file begins. Each record is there once, in order, whatever was killed when: a line counts once
its ``\n`` is there. Files are never rewritten, so a record that is erased later stays in them
as it was told; with ``urls = "keyed"`` that is no address.

Nobody else may write there. What is found is checked against what is brought:

1. the last file's last whole line tells the last number; what stands behind it was cut, and goes;
2. what is brought again must be there under the same id, and is not written again;
3. what is new must begin right behind the last number.
"""

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass
from pathlib import Path

from delist.consumers import Instruction, document
from delist.errors import SinkError
from delist.sinks.lines import cut, edited, last_of, take_known
from delist.sinks.port import KEYED, Place, check_urls
from indexer.settings import setting

_NAME = re.compile(r"suppressions-(\d{8,})\.jsonl")
_MIB = 1024 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """[sinks.NAME] of type "files"."""

    folder: Path = setting(
        MISSING,
        "Where the files are written; nothing else stands there. Made for this user alone when it\n"
        "is missing.",
    )
    urls: str = setting(KEYED, '"keyed": no addresses, only keys of them; "plain": both.')
    max_bytes: int = setting(64 * _MIB, "Size at which the next file begins.", low=1024)

    def __post_init__(self) -> None:
        check_urls(self.urls)


def open_sink(settings: Settings, place: Place) -> "FilesSink":
    """Make the sink; looks at nothing yet."""
    del place
    return FilesSink(settings)


@dataclass(slots=True)
class _End:
    """Where the next line goes.

    Attributes:
        sequence: number of the last record that is there; 0 for none.
    """

    file: int
    size: int
    sequence: int


class FilesSink:
    """Appends to files in one folder."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.folder
        self._max_bytes = settings.max_bytes
        self._end: _End | None = None

    def deliver(self, batch: Sequence[Instruction]) -> Mapping[int, str]:
        """Hand instructions over; see ``port.Sink``."""
        with self._troubles():
            if self._end is None:
                self._end = self._find_end()
            last = self._end.sequence
            self._check_known([told for told in batch if told.sequence <= last])
            new = [told for told in batch if told.sequence > last]
            if new and new[0].sequence != last + 1:
                raise SinkError(
                    "lines_missing",
                    f"the files end with record {last}, and the next to be written is"
                    f" {new[0].sequence}: put back what is missing, or remove this consumer and"
                    " let it begin anew in an empty folder",
                )
            self._append(new)
        return {}

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        end, self._end = self._end, None
        if end is not None and end.file >= 0:
            os.close(end.file)

    @contextmanager
    def _troubles(self) -> Iterator[None]:
        """Look at everything anew after an error, whatever it was."""
        try:
            yield
        except OSError as error:
            self.close()
            code = "disk_full" if error.errno in _FULL else "unwritable"
            raise SinkError(code, f"{self._folder} cannot be written: {error.strerror}") from None
        except SinkError:
            self.close()
            raise

    # -- writing ---------------------------------------------------------------------------------

    def _append(self, batch: Sequence[Instruction]) -> None:
        end = self._end
        assert end is not None  # noqa: S101 - see deliver
        lines: list[bytes] = []
        size = end.size
        for told in batch:
            line = json.dumps(document(told), separators=(",", ":")).encode() + b"\n"
            if size and size + len(line) > self._max_bytes:
                self._write(end, lines)
                self._begin_file(end, told.sequence)
                lines, size = [], 0
            elif end.file < 0:
                self._begin_file(end, told.sequence)
            lines.append(line)
            size += len(line)
        self._write(end, lines)
        if batch:
            end.sequence = batch[-1].sequence

    def _begin_file(self, end: _End, sequence: int) -> None:
        path = self._folder / f"suppressions-{sequence:08d}.jsonl"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        if end.file >= 0:
            os.close(end.file)
        end.file, end.size = file, 0
        _sync_folder(self._folder)

    @staticmethod
    def _write(end: _End, lines: Sequence[bytes]) -> None:
        """Write lines whole and for good, or none of them."""
        if not lines:
            return
        data = memoryview(b"".join(lines))
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(end.file, data[written:], end.size + written)
            os.fsync(end.file)
        except OSError:
            os.ftruncate(end.file, end.size)
            raise
        end.size += written

    # -- what is there ---------------------------------------------------------------------------

    def _files(self) -> list[tuple[int, Path]]:
        """List the files by the number of their first record."""
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700, parents=True)
            _sync_folder(self._folder.parent)
        named = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        return sorted((int(match[1]), path) for match, path in named if match)

    def _find_end(self) -> _End:  # (1)
        files = self._files()
        if not files:
            return _End(file=-1, size=0, sequence=0)
        newest, path = files[-1]
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        end = _End(file=file, size=cut(file), sequence=newest - 1)
        if end.size:
            end.sequence = last_of(path)
        elif len(files) > 1 and last_of(files[-2][1]) != end.sequence:
            raise edited(files[-2][1])
        if end.sequence < newest - 1:
            raise edited(path)
        return end

    def _check_known(self, known: Sequence[Instruction]) -> None:  # (2)
        if not known:
            return
        wanted = {told.sequence: told.id for told in known}
        files = self._files()
        ends = [first for first, _ in files[1:]] + [known[-1].sequence + 1]
        for (first, path), behind in zip(files, ends, strict=True):
            if first <= known[-1].sequence and behind > known[0].sequence:
                take_known(path, wanted)
        if wanted:
            raise SinkError(
                "lines_missing", f"the files lack record {min(wanted)}, which was written before"
            )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

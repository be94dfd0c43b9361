"""Files: once each, in order, whatever was cut, filled up, edited or exchanged."""

import json
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from delist.consumers import ConsumerKey, Instruction
from delist.errors import SinkError
from delist.settings import SinkTable
from delist.sinks import read_sink
from delist.sinks.port import Place

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LINE_BYTES = 400
"""More than one line has."""


def told(first: int, last: int, ledger: str = "a") -> list[Instruction]:
    """Make the instructions of these numbers, of one ledger or another."""
    return [
        Instruction(
            sequence=number,
            id=f"{ledger}{number}",
            suppressed=False,
            url_key=f"{number:032x}",
            effective_at=NOW,
        )
        for number in range(first, last + 1)
    ]


def deliver(folder: Path, *batches: Sequence[Instruction], max_bytes: int = 1 << 20) -> None:
    """Open the sink, bring it these batches, close it."""
    values = {"folder": str(folder), "max_bytes": max_bytes}
    table = SinkTable(name="out", kind="files", values=values, base_dir=folder.parent)
    found = read_sink(table)
    place = Place(name="out", data_dir=folder.parent, key=ConsumerKey(bytes(32)))
    sink = found.open_sink(found.settings, place)
    try:
        for batch in batches:
            sink.deliver(batch)
    finally:
        sink.close()
        sink.close()


def code_of(folder: Path, batch: Sequence[Instruction]) -> str:
    with pytest.raises(SinkError) as refused:
        deliver(folder, batch)
    return refused.value.code


def sequences(folder: Path) -> list[int]:
    text = "".join(path.read_text() for path in sorted(folder.iterdir()))
    return [json.loads(line)["sequence"] for line in text.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "out"


def test_files_follow_each_other_and_are_private(folder: Path) -> None:
    """A file is named by its first record, begins when one is full, and is its owner's alone."""
    old = os.umask(0)
    try:
        deliver(folder, told(1, 7), told(8, 8), max_bytes=1024)
    finally:
        os.umask(old)
    files = sorted(folder.iterdir())

    assert sequences(folder) == list(range(1, 9))
    assert len(files) > 2
    assert all(path.stat().st_size <= 1024 for path in files)
    for path in files:
        first = json.loads(path.read_text().splitlines()[0])["sequence"]
        assert path.name == f"suppressions-{first:08d}.jsonl"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_cut_at_any_byte_is_mended(folder: Path) -> None:
    """Killed within a batch: what is whole stays, what is cut is written again, nothing twice."""
    deliver(folder, told(1, 2), told(3, 4))
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    second = len(b"".join(whole.splitlines(keepends=True)[:2]))
    for size in [0, 1, *range(second, len(whole), 7), len(whole) - 1, len(whole)]:
        path.write_bytes(whole[:size])
        deliver(folder, told(1 if size < second else 3, 4))
        assert path.read_bytes() == whole, size


def test_a_file_that_was_begun_and_not_written(folder: Path) -> None:
    """Killed right after the next file was made: it is gone on with."""
    deliver(folder, told(1, 3))
    (folder / "suppressions-00000004.jsonl").touch()
    deliver(folder, told(2, 5))

    assert sequences(folder) == [1, 2, 3, 4, 5]
    assert len(list(folder.iterdir())) == 2


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size; the kernel says so as for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing_half(folder: Path) -> None:
    """What did not fit as a whole is taken away again, and written when there is room."""
    deliver(folder, told(1, 2))
    (path,) = folder.iterdir()
    before = path.read_bytes()
    with room_for(len(before) + LINE_BYTES):
        assert code_of(folder, told(3, 9)) == "disk_full"
    assert path.read_bytes() == before
    deliver(folder, told(3, 9))

    assert sequences(folder) == list(range(1, 10))


@pytest.mark.parametrize("edit", [b"", b"{}", b"[1]", b'"text"', b'{"sequence": "3"}', b"[" * 9000])
def test_an_edited_line_is_seen(folder: Path, edit: bytes) -> None:
    """A last line that is none of ours, or one among those that come again, stops the sink."""
    deliver(folder, told(1, 3))
    (path,) = folder.iterdir()
    one, two, three = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(one + two + edit + b"\n")
    assert code_of(folder, told(4, 4)) == "edited"
    path.write_bytes(one + edit + b"\n" + three)
    assert code_of(folder, told(2, 4)) == "edited"
    path.write_bytes(one + three)
    assert code_of(folder, told(2, 4)) == "lines_missing"


def test_files_of_another_ledger_are_seen(folder: Path) -> None:
    """A store that was set back goes on under the same numbers; its records are not those here."""
    deliver(folder, told(1, 30), max_bytes=4096)
    before = sequences(folder)

    assert code_of(folder, told(15, 40, ledger="b")) == "another_ledger"
    assert sequences(folder) == before
    deliver(folder, told(12, 31))
    assert sequences(folder) == list(range(1, 32))


def test_lines_that_went_missing_are_seen(folder: Path) -> None:
    """Where the newest file is gone, nothing is written that would leave a gap."""
    deliver(folder, told(1, 9), max_bytes=1024)
    max(folder.iterdir()).unlink()

    assert code_of(folder, told(10, 11)) == "lines_missing"
    assert code_of(folder.with_name("empty"), told(5, 6)) == "lines_missing"


def test_older_files_may_be_moved_away(folder: Path) -> None:
    """The newest tells where to go on."""
    deliver(folder, told(1, 9), max_bytes=1024)
    *older, newest = sorted(folder.iterdir())
    for path in older:
        path.unlink()
    (folder / "notes.txt").touch()
    deliver(folder, told(10, 10))

    assert newest.read_text().splitlines()[-1].startswith('{"version":1,"sequence":10,')


def test_a_link_in_its_place_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """Nobody makes us write elsewhere."""
    target = tmp_path / "target"
    target.touch()
    folder.mkdir(parents=True)
    (folder / "suppressions-00000001.jsonl").symlink_to(target)

    assert code_of(folder, told(1, 2)) == "unwritable"
    assert target.read_bytes() == b""


def test_what_was_erased_meanwhile_is_not_written_twice(folder: Path) -> None:
    """The number and id are there already; files are never rewritten."""
    deliver(folder, told(1, 3))
    deliver(folder, [replace(entry, erased=True, url_key="") for entry in told(2, 3)], told(4, 4))

    assert sequences(folder) == [1, 2, 3, 4]

"""What was withdrawn or dropped is in no file any more, and everything else still is."""

import contextlib
import ctypes
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.ann import ExactIndexes
from indexer.compaction import Compaction, CompactionReport
from indexer.errors import StoreDamagedError, StoreFullError
from indexer.model import FeedRecord, HashedImage, ImageRecord
from indexer.scan import Scanner
from indexer.settings import ScanSettings, StoreSettings
from indexer.store import ScanCursor, Store, freed
from indexer.stored import StoredIndexes
from indexer.view import SignalViews
from indexer.visits import VisitRecorder, replace_matches
from tests.fakes.signals import (
    NOW,
    SETTINGS,
    all_matches,
    make_cases,
    make_digest,
    make_image,
    make_lookup,
    make_record,
    make_visit,
    open_store,
    signals,
    sync,
    withdraw,
)

SOAK = bool(os.environ.get("DELIST_SOAK"))
DAY = timedelta(days=1)
LARGE = StoreSettings(map_size_bytes=1 << 30)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data", LARGE) as opened:
        yield opened


def compaction(store: Store, folder: Path, *, publish_from: int = 1) -> Compaction:
    """Make what ``Indexer`` makes, with few signals to a generation and chunks to a segment."""
    factory = ExactIndexes()
    views = SignalViews(store, factory, folder, publish_from=publish_from)
    stored = StoredIndexes(store, factory, folder, most_bytes=1 << 30, segment_chunks=2)
    return Compaction(store, views, stored, purge_after=DAY)


def compact(store: Store, folder: Path, *, now: datetime = NOW) -> CompactionReport:
    return compaction(store, folder).run(now=now)


def files_of(folder: Path) -> dict[str, bytes]:
    """Read every file of a data directory; hexadecimal digits in lower case."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def found_in(folder: Path, values: list[bytes]) -> set[bytes]:
    """Say which values are in any file, as they are or as hexadecimal digits.

    Compares at every position at once by a table of the values' first four bytes.
    """
    forms = {}
    for value in values:
        for form in (value, value.hex().encode(), value.hex().upper().encode()):
            forms[form[:8]] = value
    heads = np.unique(np.frombuffer(b"".join(forms), np.uint64))
    found = set()
    for raw in files_of(folder).values():
        for shift in range(8):
            size = (len(raw) - shift) // 8 * 8
            words = np.frombuffer(raw, np.uint64, size // 8, shift) if size > 0 else heads[:0]
            for word in words[np.isin(words, heads)]:
                found.add(forms[word.tobytes()])
    return found


# Everything that goes


def test_nothing_of_what_was_withdrawn_is_left(store: Store, tmp_path: Path) -> None:
    """Thousands of signals come, change and go in many batches; the raw bytes are searched."""
    rng = random.Random(4)
    folder = tmp_path / "data"
    run = compaction(store, folder / "index")
    live: set[int] = set()
    gone: set[int] = set()
    used = 0
    for step in range(50):
        fresh = list(range(used, used + rng.randint(20, 120)))
        used += len(fresh)
        ended = rng.sample(sorted(live), min(len(live), rng.randint(0, 90)))
        changed = rng.sample(sorted(live), min(len(live), rng.randint(0, 60)))
        records = [record_of(seed, at=step) for seed in (*fresh, *changed)]
        records += [record_of(seed, at=step, status="Withdrawn") for seed in ended]
        rng.shuffle(records)
        sync(store, records)
        live = live.union(fresh).difference(ended)
        gone = gone.union(ended)
        if step % 9 == 0:
            run._views.publish_if_due(now=NOW + step * 10 * DAY)
    report = run.run(now=NOW)

    assert len(gone) > 1000
    assert report.pages_overwritten > 0
    assert (report.pages_pinned, report.index_republished) == (0, True)
    digests = {seed: make_digest(seed) for seed in live | gone}
    assert found_in(folder, [digests[seed] for seed in gone]) == set()
    assert found_in(folder, [digests[seed] for seed in live]) == {digests[s] for s in live}
    assert {entry.digest for entry in signals(store).values()} == {digests[s] for s in live}


def record_of(seed: int, *, at: int, status: str = "Active") -> FeedRecord:
    """Make a record whose size changes from time to time."""
    cases = make_cases(**{f"case-{seed}-{n}": status for n in range((seed + at) % 5)})
    return make_record(make_digest(seed), modified_at=1000 + at, status=status, cases=cases)


def test_withdrawn_case_references_and_quarantine_leave_too(store: Store, tmp_path: Path) -> None:
    """Not only what is matched: other kinds, malformed and degenerate digests, case numbers."""
    rng = random.Random(6)
    words = [f"{rng.getrandbits(256):064x}" for _ in range(600)]
    kinds = ["ImagePDQ", "VideoMD5", "VideoTMK"]

    def records(status: str, at: int, some: list[str]) -> list[FeedRecord]:
        made = []
        for number, word in enumerate(some):
            value = {0: word, 1: word[:32], 2: word * 20}[number % 3]
            if number % 3 == 0:
                value = "zz" + word  # no digest at all
            case = {f"ref-{word[32:]}": status}
            made.append(
                make_record(
                    value,
                    kind=kinds[number % 3],
                    status=status,
                    modified_at=at,
                    cases=make_cases(**case),
                )
            )
        return made

    for start in range(0, 600, 60):
        sync(store, records("Active", 1000, words[start : start + 60]))
    for start in range(0, 300, 60):
        sync(store, records("Withdrawn", 2000, words[start : start + 60]))
    compact(store, tmp_path / "data" / "index")
    raw = b"".join(files_of(tmp_path / "data").values())

    assert not any(word[:32].encode() in raw for word in words[:300])
    assert not any(word[32:].encode() in raw for word in words[:300])
    assert len(signals(store)) == 200
    with store.read() as txn:
        assert store.signals.quarantined(txn, "stopncii") == {"malformed_digest": 100}


def test_digests_of_images_that_changed_or_went_leave(store: Store, tmp_path: Path) -> None:
    """Changed bytes and forgotten images: their rows are in no file, those of others are."""
    folder = tmp_path / "data"
    recorder = VisitRecorder(store, make_lookup(store))
    count = 700
    run = compaction(store, folder / "index")
    for start in range(0, count, 100):
        recorder.record(
            [make_visit(f"http://x/{n}", make_image(n)) for n in range(start, start + 100)],
            now=NOW,
        )
    for number in range(2):
        run._stored.build(number, now=NOW)
    changed, dropped = range(200), range(200, 500)
    for n in changed:
        recorder.record([make_visit(f"http://x/{n}", make_image(5000 + n))], now=NOW)
    forget(store, dropped)
    report = run.run(now=NOW)

    def rows(numbers: Any) -> list[bytes]:  # noqa: ANN401 - any integers
        return [make_image(n).rows[0][1][32 * at :][:32] for n in numbers for at in (0, 7, 15)]

    assert report.moved > 0
    assert report.chunks_dropped == 1
    assert report.indexes_dropped > 0
    assert found_in(folder, rows([*changed, *dropped])) == set()
    kept = rows([*range(500, count), *range(5000, 5200)])
    assert found_in(folder, kept) == set(kept)
    assert images_are_whole(store) == count - len(dropped)


def forget(store: Store, numbers: range) -> None:
    for number in numbers:
        with store.write() as txn, store.images.column.writer(txn) as rows:
            record = store.images.find_by_url(txn, f"http://x/{number}")
            assert record is not None
            store.images.drop(txn, rows, record)


def images_are_whole(store: Store) -> int:
    """Check that each image has its own rows, and each live row an image; count the images."""
    column, seen = store.images.column, set()
    with store.read() as txn:
        with txn.cursor(db=store.images._db) as cursor:
            records = [store.images._codec.decode(raw) for raw in cursor.iternext(keys=False)]
        for record in records:
            seen.update(record.rows)
            content = int.from_bytes(record.sha256)
            assert store.images.rows(txn, record) == make_image(content).rows
        live = set()
        for number in range(column.chunk_count(txn)):
            flags = np.flatnonzero(column.chunk(txn, number).flags)
            live.update(int(at) + number * column.rows_per_chunk for at in flags)
        assert live == seen
        end, free = column.rows(txn)
        assert end - free == len(live)
    return len(records)


# Beside others


def test_what_a_reader_holds_is_told_and_goes_next_time(store: Store, tmp_path: Path) -> None:
    """An old reader keeps its state; its pages are counted and overwritten when it has gone."""
    folder = tmp_path / "data"
    digests = [make_digest(seed) for seed in range(300)]
    sync(store, [make_record(digest) for digest in digests])
    with store.read() as reading:
        withdraw(store, *digests[:100])
        report = compact(store, folder / "index")
        assert report.pages_pinned > 0
        assert len(list(store.signals.every(reading))) == 300
        assert not store.purges.load(reading, "store").removed
    with store.read() as txn:
        assert not store.purges.load(txn, "store").removed
    report = compaction(store, folder / "index").run(now=NOW, at_once=False)

    assert (report.pages_pinned, report.pages_overwritten > 0) == (0, True)
    assert found_in(folder, digests[:100]) == set()
    report = compaction(store, folder / "index").run(now=NOW, at_once=False)
    assert report.pages_overwritten == 0  # nothing has gone since


def test_nothing_is_done_that_is_not_due(store: Store, tmp_path: Path) -> None:
    """Unasked: rows stay while few are free, pages while nothing has gone, the index for a day."""
    run = compaction(store, tmp_path / "data" / "index")
    sync(store, [make_record(make_digest(seed)) for seed in range(100)])
    run._views.publish_if_due(now=NOW)
    assert run.run(now=NOW, at_once=False) == CompactionReport()
    withdraw(store, make_digest(50))
    first = run.run(now=NOW, at_once=False)
    second = run.run(now=NOW + DAY, at_once=False)

    assert (first.moved, first.index_republished, first.pages_overwritten > 0) == (0, False, True)
    assert (second.index_republished, second.pages_overwritten) == (True, 0)
    assert run.run(now=NOW).moved > 0


@pytest.mark.parametrize("name", ["delta", "full"])
def test_image_rows_stay_while_a_scan_is_open(store: Store, tmp_path: Path, name: str) -> None:
    """A row must not move past a scan's position: image rows wait, everything else goes on."""
    recorder = VisitRecorder(store, make_lookup(store))
    recorder.record([make_visit(f"http://x/{n}", make_image(n)) for n in range(40)], now=NOW)
    forget(store, range(20))
    sync(store, [make_record(make_digest(seed)) for seed in range(40)])
    withdraw(store, *map(make_digest, range(20)))
    with store.write() as txn:
        store.scan_cursors.put(txn, name, ScanCursor(target=3))
    report = compact(store, tmp_path / "index")

    assert report.scan_open
    assert report.moved > 0
    assert report.pages_overwritten > 0
    with store.read() as txn:
        assert store.images.column.rows(txn) == (40, 20)
        assert store.signals.column.rows(txn) == (20, 0)
    with store.write() as txn:
        store.scan_cursors.put(txn, name, ScanCursor(done=3))
    assert compact(store, tmp_path / "index").moved == 20
    assert images_are_whole(store) == 20


def test_a_full_map(tmp_path: Path) -> None:
    """Overwriting needs no room: it works where nothing more can be written."""
    folder = tmp_path / "data"
    small = StoreSettings(map_size_bytes=2 << 20, max_readers=16)
    digests = [make_digest(seed) for seed in range(4000)]
    held = 0
    with open_store(folder, small) as store:
        with contextlib.suppress(StoreFullError):
            for first in range(0, 4000, 50):
                sync(store, [make_record(digest) for digest in digests[first : first + 50]])
                held = first + 50
        assert 0 < held < 4000
        with contextlib.suppress(StoreFullError):
            for first in range(0, held, 50):
                withdraw(store, *digests[first : first + 25])
        live = {entry.digest for entry in signals(store).values()}
        gone = set(digests[:held]) - live
        run = compaction(store, folder / "index", publish_from=10**6)
        report = run.run(now=NOW)
        assert len(gone) >= 50
        assert (report.pages_overwritten > 0, report.pages_pinned) == (True, 0), report
        assert found_in(folder, sorted(gone)) == set()
        columns_are_whole(store)
    with open_store(folder, small) as store:
        assert {entry.digest for entry in signals(store).values()} == live


def test_a_damaged_column_does_not_keep_what_was_withdrawn(store: Store, tmp_path: Path) -> None:
    """A row without an image is an error, told when everything else is done; nothing is lost."""
    folder = tmp_path / "data"
    recorder = VisitRecorder(store, make_lookup(store))
    recorder.record([make_visit(f"http://x/{n}", make_image(n)) for n in range(4)], now=NOW)
    forget(store, range(1))
    with store.write() as txn:
        for record in [store.images.find_by_url(txn, "http://x/3")]:
            assert record is not None
            txn.delete(record.key, db=store.images._db)
    sync(store, [make_record(make_digest(seed)) for seed in range(9)])
    withdraw(store, make_digest(2))

    with pytest.raises(StoreDamagedError, match="no image"):
        compact(store, folder / "index")
    assert found_in(folder, [make_digest(2)]) == set()
    with store.read() as txn:
        assert store.images.column.rows(txn) == (4, 1)


def test_the_file_does_not_grow(store: Store, tmp_path: Path) -> None:
    """Only pages that are there are overwritten, and those that are zero are not written."""
    sync(store, [make_record(make_digest(seed)) for seed in range(3000)])
    withdraw(store, *map(make_digest, range(1500)))
    store.overwrite_freed()
    path = tmp_path / "data" / "store" / "data.mdb"
    size = path.stat().st_size
    again = store.overwrite_freed()

    assert path.stat().st_size == size
    assert again.overwritten < 10


def test_a_file_of_another_layout_is_left_alone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a count does not fit, nothing is overwritten."""
    sync(store, [make_record(make_digest(seed)) for seed in range(300)])
    withdraw(store, *map(make_digest, range(150)))
    path = tmp_path / "data" / "store" / "data.mdb"
    with monkeypatch.context() as patched:
        patched.setattr(freed, "_DATA_VERSION", 2)
        with pytest.raises(StoreDamagedError, match="data version"):
            store.overwrite_freed()
    database = store._environment.database(b"meta")
    with store.write() as txn:
        txn.put(b"x", b"y", db=database)
    raw = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(freed, "_METAS", 3)
        with pytest.raises(StoreDamagedError, match="nothing was overwritten"):
            store.overwrite_freed()
    assert path.read_bytes()[3 * 4096 :].count(0) <= raw[3 * 4096 :].count(0) + 8192


def near_image(number: int) -> HashedImage:
    return make_image(number, {3: make_digest(number)})


def matched(store: Store) -> set[str]:
    return {
        record.image_url
        for image_key, _ in all_matches(store)
        if (record := find(store, image_key)) is not None
    }


def find(store: Store, key: bytes) -> ImageRecord | None:
    with store.read() as txn:
        return store.images.find(txn, key)


def scanner(store: Store, folder: Path) -> Scanner:
    """Make a scanner that reads one chunk at a time and keeps no index."""
    stored = StoredIndexes(store, ExactIndexes(), folder, most_bytes=0)
    return Scanner(store, make_lookup(store), stored, ScanSettings(threads=1), block_chunks=1)


@pytest.mark.parametrize("name", ["delta", "full"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_scan_misses_nothing_that_could_have_moved(
    store: Store, tmp_path: Path, name: str, *, interrupted: bool
) -> None:
    """Compaction between any two chunks, and between a stop and the next start of a scan."""
    recorder = VisitRecorder(store, make_lookup(store))
    count = 3 * 256
    recorder.record([make_visit(f"http://x/{n}", near_image(n)) for n in range(count)], now=NOW)
    forget(store, range(200))  # the first chunk has room for many rows of the last
    sync(store, [make_record(make_digest(n)) for n in range(count - 60, count)])
    run, reports = compaction(store, tmp_path / "index"), []

    def stopped() -> bool:
        reports.append(run.run(now=NOW))
        return interrupted and len(reports) in {2, 3}

    complete = False
    while not complete:
        one = scanner(store, tmp_path / "index")
        if name == "full":
            complete = one.full(now=NOW, resume=True, stopped=stopped).complete
        else:
            complete = one.delta(now=NOW, stopped=stopped).complete
        reports.append(run.run(now=NOW))

    assert matched(store) == {f"http://x/{n}" for n in range(count - 60, count)}
    assert all(report.scan_open for report in reports[:-1])
    assert (reports[-1].scan_open, reports[-1].moved) == (False, 200)


# Killed, and beside writers in other processes


def _churn(folder: Path, ready: Any, seed: int) -> None:  # noqa: ANN401 - a semaphore
    """Add, change and withdraw signals, record and forget images, until killed."""
    rng = random.Random(seed)
    with Store(folder, LARGE) as store:
        recorder = VisitRecorder(store, make_lookup(store))
        at = 10_000
        while True:
            at += 1
            some = rng.sample(range(1000 * seed, 1000 * seed + 200), 20)
            sync(
                store,
                [record_of(s, at=at, status=rng.choice(["Active", "Withdrawn"])) for s in some],
            )
            numbers = [1000 * seed + rng.randrange(300) for _ in range(20)]
            visits = [
                make_visit(f"http://x/{n}", make_image(n if rng.random() < 0.5 else n + 10**6))
                for n in numbers
            ]
            recorder.record(visits, now=NOW)
            for n in numbers[:10]:
                with contextlib.suppress(AssertionError):
                    forget(store, range(n, n + 1))
            ready.release()


def _compact_for_ever(folder: Path, ready: Any) -> None:  # noqa: ANN401 - a semaphore
    with Store(folder, LARGE) as store:
        run = compaction(store, folder / "index")
        while True:
            ready.release()
            run.run(now=NOW)


def _start(target: Any, *arguments: Any) -> Any:  # noqa: ANN401 - a process
    process = _context().Process(target=target, args=arguments)
    process.start()
    return process


def _context() -> Any:  # noqa: ANN401 - spawned, since nothing of the store may be forked
    return multiprocessing.get_context("spawn")


def _kill(process: Any) -> None:  # noqa: ANN401 - a process
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def columns_are_whole(store: Store) -> None:
    """Check that every signal has its row and every live row its signal."""
    with store.read() as txn:
        held = {entry.key: entry for entry in store.signals.every(txn)}
        column, seen = store.signals.column, {}
        for number in range(column.chunk_count(txn)):
            chunk = column.chunk(txn, number)
            for at in np.flatnonzero(chunk.flags):
                seen[chunk.owners[at].tobytes()] = chunk.digests[at, 0].tobytes()
        assert seen == {key: entry.digest for key, entry in held.items()}
        assert all(column.row(txn, entry.row or 0) == entry.digest for entry in held.values())


def test_compaction_killed_beside_a_writer_that_is_killed(tmp_path: Path) -> None:
    """After each kill -9 the store is whole, and a run that comes through leaves nothing."""
    folder = tmp_path / "data"
    with open_store(folder, LARGE) as store:
        sync(store, [record_of(seed, at=1) for seed in range(1000, 1200)])
    rng = random.Random(3)
    for seed in range(100 if SOAK else 3):
        ready = [_context().Semaphore(0) for _ in range(2)]
        writer = _start(_churn, folder, ready[0], 1)
        compactor = _start(_compact_for_ever, folder, ready[1])
        assert all(process.acquire(timeout=30) for process in ready)
        time.sleep(0.5 * rng.random())
        for process in (compactor, writer) if seed % 2 else (writer, compactor):
            _kill(process)
        with open_store(folder, LARGE) as store:
            columns_are_whole(store)
            images_are_whole(store)
    with open_store(folder, LARGE) as store:
        report = compact(store, folder / "index")
        live = {entry.digest for entry in signals(store).values()}
        gone = [d for d in map(make_digest, range(1000, 1200)) if d not in live]
        assert report.pages_pinned == 0
        assert gone
        assert found_in(folder, gone) == set()
        assert found_in(folder, sorted(live)) == live


def _read_for_ever(folder: Path, until: Any) -> None:  # noqa: ANN401 - an event
    """Read whole states while pages are overwritten; an exception is an exit code."""
    with Store(folder, LARGE) as store:
        while not until.is_set():
            columns_are_whole(store)
            images_are_whole(store)


def test_readers_and_writers_beside_a_purge_see_whole_states(tmp_path: Path) -> None:
    """Nobody waits, and nobody ever sees a page that was overwritten."""
    folder = tmp_path / "data"
    until, ready = _context().Event(), _context().Semaphore(0)
    with open_store(folder, LARGE) as store:
        sync(store, [record_of(seed, at=1) for seed in range(1000, 1200)])
        reader = _start(_read_for_ever, folder, until)
        writer = _start(_churn, folder, ready, 1)
        assert ready.acquire(timeout=30)
        run, ended = compaction(store, folder / "index"), time.monotonic() + (120 if SOAK else 3)
        reports = []
        while time.monotonic() < ended:
            reports.append(run.run(now=NOW))
        until.set()
        reader.join(30)
        _kill(writer)
        columns_are_whole(store)
        images_are_whole(store)

    assert reader.exitcode == 0
    assert sum(report.pages_overwritten for report in reports) > 100
    assert sum(report.moved for report in reports) > 0


def _scan_for_ever(folder: Path, ready: Any, until: Any) -> None:  # noqa: ANN401 - semaphore, event
    with Store(folder, LARGE) as store:
        one = scanner(store, folder / "index")
        while not until.is_set():
            one.delta(now=NOW)
            ready.release()


def test_scans_beside_a_compaction_in_another_process(tmp_path: Path) -> None:
    """Images come and go, rows move, signals come: every image that is stored has its match."""
    folder, rng = tmp_path / "data", random.Random(8)
    until, ready = _context().Event(), _context().Semaphore(0)
    with open_store(folder, LARGE) as store:
        recorder = VisitRecorder(store, make_lookup(store))
        numbers, at, moved = set(range(900)), 900, 0
        recorder.record([make_visit(f"http://x/{n}", near_image(n)) for n in numbers], now=NOW)
        process = _start(_scan_for_ever, folder, ready, until)
        assert ready.acquire(timeout=30)
        ended = time.monotonic() + (120 if SOAK else 3)
        while time.monotonic() < ended:
            sync(store, [make_record(make_digest(n)) for n in rng.sample(sorted(numbers), 5)])
            for n in rng.sample(sorted(numbers), 40):
                forget_and_end(store, n)
                numbers.discard(n)
            moved += compact(store, folder / "index").moved
            fresh = list(range(at, at + 40))
            at += 40
            recorder.record([make_visit(f"http://x/{n}", near_image(n)) for n in fresh], now=NOW)
            numbers.update(fresh)
        until.set()
        process.join(30)
        scanner(store, folder / "index").delta(now=NOW)
        live = {entry.digest for entry in signals(store).values()}

        assert process.exitcode == 0
        assert moved > 0
        assert matched(store) == {f"http://x/{n}" for n in numbers if make_digest(n) in live}


def forget_and_end(store: Store, number: int) -> None:
    """Forget an image as visits do: what it matches ends first."""
    with store.write() as txn, store.images.column.writer(txn) as rows:
        record = store.images.find_by_url(txn, f"http://x/{number}")
        assert record is not None
        replace_matches(store, txn, record.key, [], now=NOW)
        store.images.drop(txn, rows, record)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 6 MiB, where this process may."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=6291456"):
        pytest.skip(f"no disk can be mounted here: {os.strerror(ctypes.get_errno())}")
    yield folder
    assert libc.umount2(bytes(folder), 2) == 0


def test_a_full_disk(disk: Path) -> None:
    """What was withdrawn leaves a full disk, but for the last of it, which is told."""
    folder = disk / "data"
    digests = [make_digest(seed) for seed in range(400)]
    with open_store(folder, SETTINGS) as store:
        sync(store, [make_record(digest) for digest in digests])
        withdraw(store, *digests[:100])
        sync(store, [make_record(digest) for digest in digests[:0]])
        withdraw(store, *digests[100:200])
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        run = compaction(store, folder / "index", publish_from=10**6)
        report = run.run(now=NOW)
        # What the newest transaction has freed must stay until another one fits.
        assert report.pages_overwritten > 0
        assert bool(report.pages_pinned) is bool(found_in(folder, digests[:200]))
        assert found_in(folder, digests[:100]) == set()
        filler.unlink()

        assert run.run(now=NOW, at_once=False).pages_pinned == 0
        assert found_in(folder, digests[:200]) == set()
        assert len(signals(store)) == 200


def test_a_record_from_before_is_read_and_sealed_when_it_changes(store: Store) -> None:
    """A record that is not sealed is read as ever."""
    sync(store, [make_record(make_digest(1))])
    (held,) = signals(store).values()
    database = store._environment.database(b"signals")
    with store.write() as txn:
        store.signals._records.delete(txn, held.key)
        txn.put(held.key, store.signals._records._codec.encode(held), db=database)
    assert list(signals(store).values()) == [held]
    with store.write() as txn:
        store.signals.change(txn, held, replace(held, status="Blocked"))
        raw = txn.get(held.key, db=database)
        assert raw is not None
        assert held.digest not in bytes(raw)

    (changed,) = signals(store).values()
    assert changed == replace(held, status="Blocked")

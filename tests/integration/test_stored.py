"""Indexes of stored hashes: the same matches as streaming, whatever changed since."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.ann import ExactIndexes
from indexer.errors import IndexDamagedError
from indexer.model import HashedImage
from indexer.scan import Scanner, ScanReport
from indexer.settings import ScanSettings
from indexer.store import IndexPointer, Store
from indexer.stored import StoredIndexes
from indexer.url import url_key
from tests.fakes.signals import NOW, add_signals, make_digest, make_image, make_lookup, open_store
from tests.integration.test_scan import (
    brute_force,
    held,
    index,
    logged,
    make_images,
    url_of,
)

ROOT = Path(__file__).parents[2]
SOAK = bool(os.environ.get("DELIST_SOAK"))
DIGESTS = [make_digest(number) for number in range(8)]
PLENTY = 1 << 40
TWO_THREADS = ScanSettings(threads=2)
CHUNKS = 2
"""Chunks of a segment here: 512 rows."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


def indexes(
    store: Store, folder: Path, most_bytes: int = PLENTY, least_digests: int = 0
) -> StoredIndexes:
    return StoredIndexes(
        store,
        ExactIndexes(),
        folder,
        most_bytes=most_bytes,
        segment_chunks=CHUNKS,
        least_digests=least_digests,
    )


def build_all(store: Store, folder: Path) -> StoredIndexes:
    stored = indexes(store, folder)
    with store.read() as txn:
        chunks = store.images.column.chunk_count(txn)
    for number in range(-(-chunks // CHUNKS)):
        stored.build(number, now=NOW)
    return stored


def delta(store: Store, stored: StoredIndexes, scan: ScanSettings = TWO_THREADS) -> ScanReport:
    scanner = Scanner(store, make_lookup(store), stored, scan, block_chunks=1)
    return scanner.delta(now=NOW)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("images-*"))


def check(store: Store, images: Sequence[HashedImage], digests: Sequence[bytes]) -> None:
    """Compare all matches with brute force; each was logged once."""
    expected = brute_force(store, images, digests)
    assert held(store) == expected
    assert sorted(logged(store)) == sorted(expected)


def test_an_index_finds_what_streaming_finds(store: Store, folder: Path) -> None:
    """All segments answered by their index: the matches of brute force, each logged once."""
    images = make_images(1300)  # two whole segments and a part of a third
    index(store, images)
    stored = build_all(store, folder)
    assert len(files(folder)) == 3
    add_signals(store, DIGESTS)
    report = delta(store, stored)

    check(store, images, DIGESTS)
    assert report.images == sum(len(image.rows) for image in images)
    assert report.indexed > report.images / 2


def test_what_changed_since_is_streamed(store: Store, folder: Path) -> None:
    """Images that changed, came and went after an index was built are compared as they are."""
    images = make_images(1100)
    index(store, images[:900])
    stored = build_all(store, folder)
    index(store, images[900:], start=900)
    images[5] = make_image(7000, {4: DIGESTS[6]})  # matches now
    images[10] = make_image(7001)  # matched before
    index(store, [images[5]], start=5)
    index(store, [images[10]], start=10)
    add_signals(store, DIGESTS)
    report = delta(store, stored)

    check(store, images, DIGESTS)
    assert 0 < report.indexed < 900


operations = st.lists(
    st.one_of(
        st.tuples(st.just("index"), st.integers(0, 700), st.integers(1, 300)),
        st.tuples(st.just("build"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("signals"), st.integers(0, 7), st.just(0)),
    ),
    min_size=3,
    max_size=12,
)


@settings(deadline=None, max_examples=25)
@given(operations, st.integers(0, 2**32))
def test_any_order_of_changes_builds_and_scans(
    steps: list[tuple[str, int, int]], seed: int
) -> None:
    """However changes, builds and scans follow each other, nothing is missed or doubled."""
    rng = random.Random(seed)
    images: dict[int, HashedImage] = {}
    known: set[int] = set()
    with TemporaryDirectory() as place, open_store(Path(place, "data")) as store:
        stored = indexes(store, Path(place, "index"))
        for step, number, count in steps:
            if step == "build":
                stored.build(number, now=NOW)
            elif step == "signals":
                known.add(number)
                add_signals(store, [DIGESTS[number]])
                delta(store, stored)
            else:
                for key in range(number, number + count):
                    near = {rng.randrange(16): rng.choice(DIGESTS)} if rng.random() < 0.1 else {}
                    images[key] = make_image(rng.randrange(1 << 40), near)
                    index(store, [images[key]], start=key) if count < 3 else None
                if count >= 3:
                    index(
                        store, [images[key] for key in range(number, number + count)], start=number
                    )
        delta(store, stored)
        expected = {}
        for key, image in images.items():
            found = brute_force(store, [image], [DIGESTS[number] for number in known])
            expected |= {(url_key(url_of(key)), pair[1]): bits for pair, bits in found.items()}
        assert held(store) == expected


def test_an_index_is_built_once_it_would_have_paid(store: Store, folder: Path) -> None:
    """Nothing is built before scans have streamed for as long as building takes."""
    index(store, make_images(600))
    stored = indexes(store, folder)
    stored.note_streamed(0, signals=10, seconds=1e-4)
    assert stored.build_due(now=NOW) == 0
    stored.note_streamed(0, signals=10, seconds=1e-1)
    assert stored.build_due(now=NOW) == 1
    assert len(files(folder)) == 1
    assert stored.build_due(now=NOW) == 0
    stored.note_streamed(0, signals=10, seconds=1e3)  # what has changed since is streamed too
    assert stored.build_due(now=NOW) == 1
    assert len(files(folder)) == 1


def test_scans_for_many_signals_do_not_ask_for_an_index(store: Store, folder: Path) -> None:
    """Where looking up in an index would have taken longer than streaming, none is built."""
    index(store, make_images(600))
    stored = indexes(store, folder)
    stored.note_streamed(0, signals=10**9, seconds=10.0)

    assert stored.build_due(now=NOW) == 0


def test_none_is_built_for_few_hashes(store: Store, folder: Path) -> None:
    """What streams in milliseconds has no index, however often it is streamed."""
    index(store, make_images(600))
    stored = indexes(store, folder, least_digests=20_000)
    stored.note_streamed(0, signals=1, seconds=1e3)

    assert stored.build_due(now=NOW) == 0


def test_scans_note_what_they_streamed(store: Store, folder: Path) -> None:
    """Repeated scans lead to an index without anybody asking for one."""
    index(store, make_images(600))
    stored = indexes(store, folder)
    built = 0
    for number in range(100):
        add_signals(store, [make_digest(1000 + number)])
        delta(store, stored)
        built += stored.build_due(now=NOW)
        if built:
            break

    assert built
    add_signals(store, DIGESTS)
    assert delta(store, stored).indexed > 0


def test_no_more_disk_is_taken_than_allowed(store: Store, folder: Path) -> None:
    """An index that does not fit is not built; 0 keeps none at all."""
    index(store, make_images(1300))
    for most_bytes, count in ((0, 0), (10_000, 0), (3_000_000, 0), (20_000_000, 1)):
        stored = indexes(store, folder, most_bytes)
        for number in range(3):
            indexes(store, folder).note_streamed(number, signals=1, seconds=1e3)
        assert (stored.build_due(now=NOW) > 0) == (count > 0)
        assert sum(path.stat().st_size for path in folder.glob("images-*")) <= most_bytes


@pytest.mark.parametrize("damage", ["cut", "header", "gone", "bounds", "rows"])
def test_a_damaged_index_is_not_used(
    store: Store, folder: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What cannot be trusted is said once and streamed instead; nothing is missed."""
    images = make_images(500)
    index(store, images)
    stored = build_all(store, folder)
    path = folder / files(folder)[0]
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif damage == "header":
        raw[70] ^= 1
        path.write_bytes(raw)
    elif damage == "gone":
        path.unlink()
    elif damage == "rows":
        labels = {"rows": np.zeros(3, np.uint32), "stamps": np.zeros(2, np.uint64)}
        ExactIndexes().write(path, np.zeros((16, 32), np.uint8), labels, version=0)
    else:
        raw[4096 * 4 :] = bytes(len(raw) - 4096 * 4)
        path.write_bytes(raw)
    add_signals(store, DIGESTS)
    report = delta(store, indexes(store, folder))

    assert report.indexed == 0
    check(store, images, DIGESTS)
    if damage not in {"rows", "gone"}:
        with pytest.raises(IndexDamagedError):
            stored.verify()
    stored.note_streamed(0, signals=1, seconds=1e3)
    assert indexes(store, folder).build_due(now=NOW) == 1
    assert indexes(store, folder).verify() == 1
    capfd.readouterr()


def test_an_index_of_what_has_gone_is_dropped_in_time(store: Store, folder: Path) -> None:
    """An old index whose rows have changed may hold digests that are gone: it goes too."""
    images = make_images(1300)
    index(store, images)
    stored = build_all(store, folder)
    day = timedelta(days=1)
    assert stored.drop_outdated(before=NOW + day) == 0
    index(store, [make_image(7002)], start=3)
    assert stored.drop_outdated(before=NOW - day) == 0
    assert stored.drop_outdated(before=NOW + day) == 1
    assert len(files(folder)) == 2
    with store.read() as txn:
        assert store.index_pointers.load(txn, "images-0") == IndexPointer()
    add_signals(store, DIGESTS)
    images[3] = make_image(7002)
    delta(store, stored)
    check(store, images, DIGESTS)


def test_a_rate_limit_slows_a_scan_and_changes_nothing_else(store: Store, folder: Path) -> None:
    """With a limit a scan takes at least as long as the limit says."""
    images = make_images(1300)
    index(store, images)
    add_signals(store, DIGESTS)
    started = time.monotonic()
    report = delta(store, indexes(store, folder), ScanSettings(threads=1, images_per_s=2000))

    assert time.monotonic() - started > 0.25
    assert report.complete
    check(store, images, DIGESTS)


def test_a_scan_under_a_rate_limit_can_be_stopped(store: Store, folder: Path) -> None:
    """Waiting for the limit does not keep a scan from stopping."""
    index(store, make_images(1300))
    add_signals(store, DIGESTS)
    scanner = Scanner(
        store,
        make_lookup(store),
        indexes(store, folder),
        ScanSettings(threads=1, images_per_s=1),
        block_chunks=1,
    )
    started = time.monotonic()
    report = scanner.delta(now=NOW, stopped=lambda: time.monotonic() - started > 1)

    assert not report.complete
    assert time.monotonic() - started < 20


KILLED = """
import os, signal, sys, threading, time
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.fakes.signals import open_store
from tests.integration.test_stored import build_all

threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
with open_store(Path(sys.argv[1], "data")) as store:
    while True:
        build_all(store, Path(sys.argv[1], "index"))
"""


def test_killed_while_building(tmp_path: Path) -> None:
    """Killed at any moment of building, the store opens and scans find everything."""
    images = make_images(600)
    rng = random.Random(5)
    with open_store(tmp_path / "data") as store:
        index(store, images)
    rounds = 100 if SOAK else 4
    for _ in range(rounds):
        arguments = [sys.executable, "-c", KILLED.format(root=str(ROOT)), str(tmp_path)]
        finished = subprocess.run(
            [*arguments, str(0.8 + rng.random())], capture_output=True, timeout=60, check=False
        )
        assert finished.returncode == -signal.SIGKILL, finished.stderr.decode()
        with open_store(tmp_path / "data") as store:
            stored = indexes(store, tmp_path / "index")
            assert stored.verify() in {0, 1, 2}
    with open_store(tmp_path / "data") as store:
        add_signals(store, DIGESTS)
        stored = build_all(store, tmp_path / "index")
        assert len(files(tmp_path / "index")) == 2
        assert delta(store, stored).indexed > 0
        check(store, images, DIGESTS)

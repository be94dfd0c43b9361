"""Generations of the index: published whole, followed at once, mended when damaged."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.ann import ExactIndexes, MihIndex
from indexer.ann.generation import map_generation, verify, write_generation
from indexer.errors import IndexDamagedError
from indexer.model import FeedRecord
from indexer.ports import AnnIndex, Digests
from indexer.store import Store
from indexer.sync import FeedSync
from indexer.view import FoundSignals, SignalViews
from tests.fakes.signals import NOW, SETTINGS, FakeFeed, InMemory, make_digest, make_record

SIGNALS = 40
SOAK = bool(os.environ.get("DELIST_SOAK"))
Live = dict[bytes, bytes]
"""Signal key to digest."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data", SETTINGS) as opened:
        yield opened


def views_of(store: Store, folder: Path, factory: ExactIndexes | None = None) -> SignalViews:
    return SignalViews(store, factory or ExactIndexes(), folder, publish_from=1)


def sync(store: Store, records: list[FeedRecord]) -> None:
    FeedSync(store, FakeFeed(records), overlap_s=0).run(now=NOW)


def put(store: Store, seeds: range | list[int], *, at: int = 1000, status: str = "Active") -> None:
    sync(store, [make_record(make_digest(s), modified_at=at, status=status) for s in seeds])


def live(store: Store) -> Live:
    with store.read() as txn:
        return {entry.key: entry.digest for entry in store.signals.every(txn)}


def answers(found: FoundSignals, held: Live) -> list[tuple[int, bytes, int]]:
    """List the matches with signals that are live, sorted."""
    hits = zip(*found, strict=True)
    return sorted(
        (int(row), key.tobytes(), int(distance))
        for row, key, distance in hits
        if key.tobytes() in held
    )


def brute_force(queries: Digests, held: Live, threshold_bits: int) -> list[tuple[int, bytes, int]]:
    return sorted(
        (row, key, distance)
        for row, query in enumerate(queries)
        for key, digest in held.items()
        if (distance := (int.from_bytes(query.tobytes()) ^ int.from_bytes(digest)).bit_count())
        <= threshold_bits
    )


def queries_near(seeds: range) -> Digests:
    """Make queries 0 to 35 bits away from signals, and some far from all."""
    near = [
        (int.from_bytes(make_digest(seed)) ^ ((1 << seed % 36) - 1)).to_bytes(32) for seed in seeds
    ]
    far = [make_digest(10_000 + seed) for seed in seeds]
    return np.frombuffer(b"".join(near + far), np.uint8).reshape(-1, 32)


QUERIES = queries_near(range(SIGNALS + 10))


class Counting(InMemory):
    """Counts the digests of every index that is built in memory."""

    def __init__(self) -> None:
        self.built: list[int] = []
        super().__init__(self._count)

    def _count(self, digests: Digests) -> AnnIndex:
        self.built.append(len(digests))
        return MihIndex(digests)


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("signals-*")
    return path


# The file


@pytest.mark.parametrize("count", [1, 2, 255, 3000])
@pytest.mark.parametrize("threshold_bits", [0, 1, 15, 31])
def test_a_mapped_index_answers_as_the_one_in_memory(
    tmp_path: Path, count: int, threshold_bits: int
) -> None:
    """What is written and mapped finds the same, in the same order."""
    rng = np.random.default_rng(count)
    digests = rng.integers(0, 256, (count, 32), dtype=np.uint8)
    keys = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    path = tmp_path / "signals-7.idx"
    write_generation(path, digests, {"keys": keys}, version=7)
    mapped = map_generation(path)
    queries = np.concatenate([digests[:50], rng.integers(0, 256, (50, 32), dtype=np.uint8)])
    queries[:, 5] ^= 0x1F

    expected = MihIndex(digests).find(queries, threshold_bits=threshold_bits)
    found = mapped.find(queries, threshold_bits=threshold_bits)

    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert (mapped.version, len(mapped)) == (7, count)
    assert np.array_equal(mapped.labels["keys"].reshape(-1, 16), keys)
    verify(path)


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_damaged_byte_is_noticed(tmp_path: Path, position: float, bit: int) -> None:
    """A changed bit anywhere but in the padding fails the check; in the header, mapping too."""
    path = tmp_path / "signals-1.idx"
    digests = np.frombuffer(make_digest(1), np.uint8).reshape(1, 32)
    write_generation(path, digests, {"keys": np.ones((1, 16), np.uint8)}, version=1)
    raw = bytearray(path.read_bytes())
    # Header and table lie in the first 376 bytes; the arrays' first bytes at 4096 and on.
    at = int(position * 376) if bit % 2 else 2 * 4096 + int(position * 32)
    raw[at] ^= 1 << bit
    path.write_bytes(raw)

    with pytest.raises(IndexDamagedError):
        verify(path)
    if at < 376:
        with pytest.raises(IndexDamagedError):
            map_generation(path)


@pytest.mark.parametrize("size", [0, 10, 55, 300, 4096, 100_000, -1])
def test_a_file_that_is_cut_short_is_noticed(tmp_path: Path, size: int) -> None:
    """Mapping reads the size: whatever is cut off, it is not used."""
    path = tmp_path / "signals-1.idx"
    digests = np.frombuffer(make_digest(1), np.uint8).reshape(1, 32)
    write_generation(path, digests, {"keys": np.ones((1, 16), np.uint8)}, version=1)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(IndexDamagedError):
        map_generation(path)


def test_bucket_bounds_are_checked_before_they_are_followed(tmp_path: Path) -> None:
    """Compiled code follows them blindly: mapping refuses bounds that leave the arrays."""
    path = tmp_path / "signals-1.idx"
    digests = np.frombuffer(make_digest(1), np.uint8).reshape(1, 32)
    write_generation(path, digests, {"keys": np.ones((1, 16), np.uint8)}, version=1)
    raw = bytearray(path.read_bytes())
    # Keys and digests take a page each; the third array is ``starts``, 32 bits an entry.
    raw[3 * 4096 + 4 * 1000 + 3] = 0x7F
    path.write_bytes(raw)

    with pytest.raises(IndexDamagedError, match="starts"):
        map_generation(path)


# Readers


def test_a_published_index_is_mapped_not_built(store: Store, tmp_path: Path) -> None:
    """Whoever opens after publishing builds nothing; what comes after is a small index."""
    put(store, range(SIGNALS))
    assert views_of(store, tmp_path / "index").publish_if_due(now=NOW)
    factory = Counting()
    views = views_of(store, tmp_path / "index", factory)
    first = answers(views.newest().find(QUERIES, threshold_bits=31), live(store))
    put(store, range(SIGNALS, SIGNALS + 3))
    second = answers(views.newest().find(QUERIES, threshold_bits=31), live(store))

    assert factory.built == [3]
    assert first == brute_force(QUERIES, dict(list_of(range(SIGNALS), store)), 31)
    assert second == brute_force(QUERIES, live(store), 31)


def list_of(seeds: range, store: Store) -> list[tuple[bytes, bytes]]:
    wanted = {make_digest(seed) for seed in seeds}
    return [(key, digest) for key, digest in live(store).items() if digest in wanted]


def test_publishing_again_needs_a_reason(store: Store, tmp_path: Path) -> None:
    """Nothing new, or little, publishes nothing."""
    views = views_of(store, tmp_path / "index")
    put(store, range(SIGNALS))

    assert views.publish_if_due(now=NOW)
    assert not views.publish_if_due(now=NOW)
    put(store, range(SIGNALS, SIGNALS + 5))
    assert not views.publish_if_due(now=NOW + timedelta(days=3))


def test_a_withdrawn_digest_leaves_the_file_within_a_day(store: Store, tmp_path: Path) -> None:
    """A generation that holds a withdrawn signal is replaced, and its file removed."""
    folder = tmp_path / "index"
    views = views_of(store, folder)
    put(store, range(SIGNALS))
    views.publish_if_due(now=NOW)
    before = only_file(folder)
    assert make_digest(3) in before.read_bytes()
    put(store, [3], at=2000, status="Withdrawn")

    assert not views.publish_if_due(now=NOW + timedelta(hours=23))
    assert views.publish_if_due(now=NOW + timedelta(hours=25))
    assert not before.exists()
    assert make_digest(3) not in only_file(folder).read_bytes()


def test_a_generation_goes_when_too_few_signals_are_left(store: Store, tmp_path: Path) -> None:
    """What remains is below the least number: no file is left that holds what was withdrawn."""
    folder = tmp_path / "index"
    put(store, range(SIGNALS))
    views_of(store, folder).publish_if_due(now=NOW)
    put(store, range(1, SIGNALS), at=2000, status="Withdrawn")
    views = SignalViews(store, ExactIndexes(), folder, publish_from=2)
    reader = views_of(store, folder)

    assert not views.publish_if_due(now=NOW + timedelta(hours=23))
    assert views.publish_if_due(now=NOW, purge=True)
    assert list(folder.glob("signals-*")) == []
    assert not views.publish_if_due(now=NOW, purge=True)
    for some in (views, reader):
        found = answers(some.newest().find(QUERIES, threshold_bits=31), live(store))
        assert found == brute_force(QUERIES, live(store), 31)


@pytest.mark.parametrize("hours", [1, 100])
def test_the_time_to_purge_can_be_set(store: Store, tmp_path: Path, hours: int) -> None:
    """A generation may hold a withdrawn digest for as long as it is told, and no longer."""
    folder, limit = tmp_path / "index", timedelta(hours=hours)
    views = SignalViews(store, ExactIndexes(), folder, publish_from=1, purge_after=limit)
    put(store, range(SIGNALS))
    views.publish_if_due(now=NOW)
    put(store, [3], at=2000, status="Withdrawn")

    assert not views.publish_if_due(now=NOW + limit - timedelta(seconds=1))
    assert views.publish_if_due(now=NOW + limit)


@given(steps=st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=12), data=st.data())
@settings(
    max_examples=300 if SOAK else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_of_changes_answers_as_brute_force(
    tmp_path: Path, steps: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """Added, withdrawn, come back, published in between: every look-up sees the truth, once."""
    folder = tmp_path / str(time.monotonic_ns())
    with Store(folder, SETTINGS) as opened:
        views = views_of(opened, folder / "index")
        put(opened, range(5))
        for at, (seed, is_added) in enumerate(steps, 2000):
            put(opened, [seed], at=at, status="Active" if is_added else "Withdrawn")
            if data.draw(st.integers(0, 3)) == 0:
                views.publish_if_due(now=NOW + timedelta(days=at))
            held = live(opened)
            found = answers(views.newest().find(QUERIES, threshold_bits=31), held)
            assert found == brute_force(QUERIES, held, 31)


@pytest.mark.parametrize("is_fresh", [True, False])
def test_an_older_transaction_is_answered_as_it_sees_things(
    store: Store, tmp_path: Path, *, is_fresh: bool
) -> None:
    """What is withdrawn and published meanwhile is still there for who began before."""
    folder = tmp_path / "index"
    put(store, range(SIGNALS))
    views = views_of(store, folder)
    views.publish_if_due(now=NOW)
    with store.read() as older:
        held = {entry.key: entry.digest for entry in store.signals.every(older)}
        put(store, range(10), at=2000, status="Withdrawn")
        publisher = views_of(store, folder)
        publisher.publish_if_due(now=NOW + timedelta(days=2))
        views.newest()
        reader = views_of(store, folder) if is_fresh else views
        found = answers(reader.in_(older).find(QUERIES, threshold_bits=31), held)

    assert found == brute_force(QUERIES, held, 31)
    found = answers(reader.newest().find(QUERIES, threshold_bits=31), live(store))
    assert found == brute_force(QUERIES, live(store), 31)


@pytest.mark.parametrize("damage", ["cut", "header", "gone"])
def test_a_damaged_generation_is_not_used_and_built_anew(
    store: Store, tmp_path: Path, damage: str
) -> None:
    """Readers build their own from the store; the next publisher replaces the file."""
    folder = tmp_path / "index"
    put(store, range(SIGNALS))
    views_of(store, folder).publish_if_due(now=NOW)
    path = only_file(folder)
    raw = path.read_bytes()
    if damage == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif damage == "header":
        path.write_bytes(raw[:20] + b"\xff" + raw[21:])
    else:
        path.unlink()
    views = views_of(store, folder)

    found = answers(views.newest().find(QUERIES, threshold_bits=31), live(store))
    assert found == brute_force(QUERIES, live(store), 31)
    assert views.publish_if_due(now=NOW)
    verify(only_file(folder))


# Several processes


def _publish_for_ever(folder: Path) -> None:
    """Change signals and publish, until killed."""
    rng = random.Random(os.getpid())
    with Store(folder, SETTINGS) as opened:
        views = views_of(opened, folder / "index")
        at = 10_000
        while True:
            at += 1
            status = rng.choice(["Active", "Withdrawn"])
            put(opened, [rng.randrange(SIGNALS)], at=at, status=status)
            views.publish_if_due(now=NOW + timedelta(days=at))


@pytest.mark.parametrize("seed", range(100 if SOAK else 3))
def test_a_publisher_that_is_killed_leaves_a_good_index(tmp_path: Path, seed: int) -> None:
    """After kill -9 at any moment the index opens and equals the store."""
    folder = tmp_path / "data"
    with Store(folder, SETTINGS) as opened:
        put(opened, range(SIGNALS))
    child = multiprocessing.get_context("spawn").Process(target=_publish_for_ever, args=(folder,))
    child.start()
    time.sleep(1.2 + random.Random(seed).random())
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()

    with Store(folder, SETTINGS) as opened:
        views = views_of(opened, folder / "index")
        found = answers(views.newest().find(QUERIES, threshold_bits=31), live(opened))
        assert found == brute_force(QUERIES, live(opened), 31)
        far = NOW + timedelta(days=10**5)
        views.publish_if_due(now=far)
        verify(only_file(folder / "index"))


def _read_for_ever(folder: Path, results: Connection) -> None:
    """Look up again and again; report the first answer that fits no state of the store."""
    with Store(folder, SETTINGS) as opened:
        views = views_of(opened, folder / "index")
        looked = 0
        while not results.poll():
            with opened.read() as txn:
                held = {entry.key: entry.digest for entry in opened.signals.every(txn)}
                found = answers(views.in_(txn).find(QUERIES, threshold_bits=31), held)
            looked += 1
            if looked == 1:
                results.send("looking")
            if found != brute_force(QUERIES, held, 31):
                results.send(("wrong", looked))
                return
        results.send(("right", looked))


def test_a_view_outlives_what_the_log_forgets(store: Store, tmp_path: Path) -> None:
    """A process that nobody asked meanwhile finds what was added in forgotten entries too."""
    views = views_of(store, tmp_path / "index")
    put(store, range(3))
    views.newest()
    put(store, range(3, 6), at=2000)
    with store.write() as txn:
        assert store.signals.log.forget(txn, up_to=5, before=NOW + timedelta(days=1), limit=9) == 5
    held = live(store)
    queries = queries_near(range(6))

    assert answers(views.newest().find(queries, threshold_bits=31), held) == brute_force(
        queries, held, 31
    )


def test_readers_see_whole_states_while_a_writer_works(tmp_path: Path) -> None:
    """Every answer equals the state that its transaction sees, across publications."""
    folder = tmp_path / "data"
    context: Any = multiprocessing.get_context("spawn")
    with Store(folder, SETTINGS) as opened:
        put(opened, range(SIGNALS))
        pipes = [context.Pipe() for _ in range(4 if SOAK else 2)]
        readers = [
            context.Process(target=_read_for_ever, args=(folder, theirs)) for _, theirs in pipes
        ]
        for reader in readers:
            reader.start()
        assert [ours.recv() for ours, _ in pipes] == ["looking"] * len(pipes)
        _write_for(opened, folder, seconds=60 if SOAK else 2)
    for (ours, _), reader in zip(pipes, readers, strict=True):
        ours.send("stop")
        verdict, looked = ours.recv()
        reader.join(30)
        assert verdict == "right"
        assert looked > 0


def _write_for(store: Store, folder: Path, *, seconds: float) -> None:
    views = views_of(store, folder / "index")
    rng, at, end = random.Random(5), 10_000, time.monotonic() + seconds
    while time.monotonic() < end:
        at += 1
        status = rng.choice(["Active", "Withdrawn"])
        put(store, [rng.randrange(SIGNALS + 5)], at=at, status=status)
        if at % 7 == 0:
            moment: datetime = NOW + timedelta(days=at)
            views.publish_if_due(now=moment)

"""Re-scans on a real LMDB: exactly the new matches, once, however often they are cut off."""

import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from indexer.ann import ExactIndexes, FlatIndex
from indexer.model import HashedImage, MatchEventKind
from indexer.ports import AnnIndex, Digests
from indexer.scan import DELTA, FULL, Scanner, ScanReport
from indexer.settings import ScanSettings
from indexer.store import ScanCursor, Store
from indexer.stored import StoredIndexes
from indexer.url import url_key
from indexer.visits import VisitRecorder
from tests.fakes.forking import Forking, forking
from tests.fakes.signals import (
    NOW,
    add_signals,
    all_matches,
    flip,
    key_of,
    make_digest,
    make_image,
    make_lookup,
    make_record,
    make_visit,
    match_log,
    open_store,
    sync,
    withdraw,
)

MATCHED, ENDED = MatchEventKind.MATCHED, MatchEventKind.ENDED
SIGNALS = [make_digest(number) for number in range(8)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data") as opened:
        yield opened


def url_of(number: int) -> str:
    return f"http://images.example/{number}"


def index(store: Store, images: Sequence[HashedImage], *, start: int = 0) -> None:
    visits = [make_visit(url_of(number), image) for number, image in enumerate(images, start=start)]
    VisitRecorder(store, make_lookup(store)).record(visits, now=NOW)


def make_images(count: int) -> list[HashedImage]:
    """Make images of which every fifth lies within 31 bits of one of ``SIGNALS``."""
    rng = random.Random(count)
    images = []
    for number in range(count):
        near = {}
        if number % 5 == 0:
            near = {rng.randrange(16): flip(SIGNALS[number // 5 % 8], rng.choice([0, 17, 31]))}
        black = {3: SIGNALS[2]} if number % 97 == 0 else None
        images.append(make_image(number, near, black=black))
    return images


def brute_force(
    store: Store,
    images: Sequence[HashedImage],
    digests: Sequence[bytes],
    *,
    threshold_bits: int = 31,
) -> dict[tuple[bytes, bytes], int]:
    """Find what matches by comparing every hash with every digest."""
    found = {}
    for number, image in enumerate(images):
        for digest in digests:
            value = int.from_bytes(digest)
            distance = min((int.from_bytes(h.digest) ^ value).bit_count() for h in image.hashes)
            if distance <= threshold_bits:
                found[url_key(url_of(number)), key_of(store, digest)] = distance
    return found


def held(store: Store) -> dict[tuple[bytes, bytes], int]:
    return {pair: match.distance_bits for pair, match in all_matches(store).items()}


def logged(store: Store) -> list[tuple[bytes, bytes]]:
    """List what the log says matched, in order; an end has to follow a match."""
    events = match_log(store)
    assert all(event.kind is MATCHED for event in events)
    return [(event.match.image_key, event.match.signal_key) for event in events]


def make_scanner(
    store: Store, *, threshold_bits: int = 31, make_index: Callable[[Digests], AnnIndex] = FlatIndex
) -> Scanner:
    lookup = make_lookup(store, make_index, threshold_bits=threshold_bits)
    stored = StoredIndexes(store, ExactIndexes(), Path("none"), most_bytes=0)
    return Scanner(store, lookup, stored, ScanSettings(threads=1), block_chunks=1)


def delta(store: Store, stopped: Callable[[], bool] = lambda: False) -> ScanReport:
    return make_scanner(store).delta(now=NOW, stopped=stopped)


def cursor(store: Store, name: str = DELTA) -> ScanCursor:
    with store.read() as txn:
        return store.scan_cursors.load(txn, name)


def stop_after(chunks: int) -> Callable[[], bool]:
    """Make a callback that stops a scan before the chunk after so many."""
    asked = iter([False] * chunks)
    return lambda: next(asked, True)


def test_delta_finds_exactly_the_matches_of_new_signals(store: Store) -> None:
    """New signals against stored images: what brute force finds, each logged once."""
    images = make_images(600)
    index(store, images)
    add_signals(store, SIGNALS[:5])
    report = delta(store)

    expected = brute_force(store, images, SIGNALS[:5])
    assert held(store) == expected
    assert sorted(logged(store)) == sorted(expected)
    assert (report.signals, report.matches, report.complete) == (5, len(expected), True)
    assert report.images == 600 + len([image for image in images if len(image.rows) > 1])
    add_signals(store, SIGNALS[5:])
    report = delta(store)
    assert report.signals == 3
    assert held(store) == brute_force(store, images, SIGNALS)
    assert sorted(logged(store)) == sorted(held(store))


def test_a_match_from_a_scan_is_the_match_from_a_visit(store: Store, tmp_path: Path) -> None:
    """Indexed before or after the signals came, an image has the same matches in every field."""
    images = make_images(120)
    index(store, images)
    add_signals(store, SIGNALS)
    delta(store)
    folder = tmp_path / "other"
    (folder / "secrets").mkdir(parents=True)
    secret = Path("secrets") / "signal-key"
    (folder / secret).write_bytes((tmp_path / "data" / secret).read_bytes())
    with open_store(folder) as other:
        add_signals(other, SIGNALS)
        index(other, images)
        assert all_matches(other) == all_matches(store)


def test_a_second_delta_finds_nothing_new(store: Store) -> None:
    """What was scanned for is not scanned for again."""
    index(store, make_images(20))
    add_signals(store, SIGNALS)
    delta(store)
    before = match_log(store)
    report = delta(store)

    assert (report.signals, report.matches) == (0, 0)
    assert match_log(store) == before


def test_signals_that_are_not_new_are_not_scanned_for(store: Store) -> None:
    """A changed word of a signal, a withdrawn one and one of another kind need no scan."""
    index(store, make_images(20))
    add_signals(store, SIGNALS[:2])
    delta(store)
    sync(store, [make_record(SIGNALS[0], status="Active", modified_at=2000)])
    add_signals(store, [SIGNALS[3]])
    withdraw(store, SIGNALS[3])
    sync(store, [make_record("video", kind="VideoTMK")])

    assert delta(store).signals == 0
    assert cursor(store).done == 6


def test_a_signal_that_returns_is_scanned_for(store: Store) -> None:
    """Withdrawn and submitted again, a signal finds the stored images again and logs them."""
    images = make_images(20)
    index(store, images)
    add_signals(store, SIGNALS[:1])
    delta(store)
    withdraw(store, SIGNALS[0])
    assert held(store) == {}
    sync(store, [make_record(SIGNALS[0], modified_at=6000)])
    delta(store)

    assert held(store) == brute_force(store, images, SIGNALS[:1])
    assert len(logged(store)) == 2 * len(held(store))


def test_a_delta_leaves_matches_of_older_signals(store: Store) -> None:
    """An image that also matches an older signal keeps that match, as it was logged."""
    images = [make_image(number, {2: SIGNALS[0], 11: flip(SIGNALS[1], 6)}) for number in range(3)]
    index(store, images)
    for digest in SIGNALS[:2]:
        add_signals(store, [digest])
        delta(store)

    assert held(store) == brute_force(store, images, SIGNALS[:2])
    assert sorted(logged(store)) == sorted(held(store))


def test_what_was_matched_on_a_visit_is_not_logged_again(store: Store) -> None:
    """An image indexed after the signal came, but before the scan, is logged once."""
    add_signals(store, SIGNALS)
    index(store, make_images(30))
    before = match_log(store)

    assert delta(store).matches == 0
    assert match_log(store) == before


def test_an_empty_store_is_scanned(store: Store) -> None:
    """Nothing stored, nothing known: scans end at once and find nothing."""
    for scan in (make_scanner(store).delta, make_scanner(store).full):
        report = scan(now=NOW)
        assert (report.signals, report.images, report.matches, report.complete) == (0, 0, 0, True)


@pytest.mark.parametrize("stops", [[0], [1], [2, 0, 1], [1, 1, 1]])
def test_a_stopped_delta_goes_on_where_it_was(store: Store, stops: list[int]) -> None:
    """Stopped between chunks and repeated: every image compared once, every match logged once."""
    images = make_images(900)  # four chunks
    index(store, images)
    add_signals(store, SIGNALS)
    compared = 0
    for chunks in stops:
        report = delta(store, stopped=stop_after(chunks))
        assert not report.complete
        compared += report.images
    report = delta(store)

    assert report.complete
    assert compared + report.images == sum(len(image.rows) for image in images)
    assert held(store) == brute_force(store, images, SIGNALS)
    assert sorted(logged(store)) == sorted(held(store))
    assert cursor(store) == ScanCursor(done=8)


def test_progress_counts_chunks(store: Store) -> None:
    """Progress rises from one to all, also after a stop."""
    index(store, make_images(600))
    add_signals(store, SIGNALS)
    seen: list[tuple[int, int]] = []
    for stopped in (stop_after(1), stop_after(9)):
        make_scanner(store).delta(
            now=NOW, stopped=stopped, on_progress=lambda *step: seen.append(step)
        )

    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_signals_that_come_while_a_delta_is_stopped_are_scanned_for(store: Store) -> None:
    """A delta that goes on also takes the signals that came since: none waits for another."""
    images = make_images(900)
    index(store, images)
    add_signals(store, SIGNALS[:3])
    delta(store, stopped=stop_after(2))
    add_signals(store, SIGNALS[3:])
    report = delta(store)

    assert report.complete
    assert held(store) == brute_force(store, images, SIGNALS)
    assert sorted(logged(store)) == sorted(held(store))


def test_a_delta_that_ends_leaves_the_one_that_goes_further(store: Store) -> None:
    """Two processes scan: rows must not move before the later one has seen them all."""
    images = make_images(900)  # four chunks
    index(store, images)
    add_signals(store, SIGNALS[:3])

    def join(done: int, _: int) -> None:
        if done == 2:
            add_signals(store, SIGNALS[3:])
            delta(store, stopped=stop_after(7))  # the four of the first scan, two of its own

    report = make_scanner(store).delta(now=NOW, on_progress=join)

    assert report.complete
    assert cursor(store) == ScanCursor(done=3, target=8, next_chunk=2)
    delta(store)
    assert held(store) == brute_force(store, images, SIGNALS)
    assert cursor(store) == ScanCursor(done=8)


def test_withdrawn_while_a_delta_is_stopped(store: Store) -> None:
    """What is withdrawn before a scan goes on is not found any more."""
    images = make_images(900)
    index(store, images)
    add_signals(store, SIGNALS)
    delta(store, stopped=stop_after(1))
    withdraw(store, *SIGNALS[1:])
    delta(store)

    assert held(store) == brute_force(store, images, SIGNALS[:1])


def test_withdrawn_while_a_delta_runs(store: Store) -> None:
    """What is withdrawn while chunks are compared leaves no match behind."""
    images = make_images(900)
    index(store, images)
    add_signals(store, SIGNALS)
    steps: list[int] = []

    def change(done: int, _: int) -> None:
        steps.append(done)
        if done == 2:
            withdraw(store, *SIGNALS[1:])

    make_scanner(store).delta(now=NOW, on_progress=change)

    assert held(store) == brute_force(store, images, SIGNALS[:1])


@pytest.mark.parametrize("scan", ["delta", "full"])
def test_images_indexed_while_a_scan_runs_are_not_missed(store: Store, scan: str) -> None:
    """New and changed images, before and behind the chunk under way, end with their matches."""
    images = make_images(900)
    index(store, images[:700])
    add_signals(store, SIGNALS)
    changed = make_image(5000, {4: flip(SIGNALS[6], 30)})
    gone = make_image(5001)

    def change(done: int, _: int) -> None:
        if done == 1:
            index(store, images[700:], start=700)
            index(store, [changed], start=3)  # in the chunk that was compared
            index(store, [changed], start=603)  # in one that comes
            index(store, [gone], start=605)  # matched until now

    getattr(make_scanner(store), scan)(now=NOW, on_progress=change)
    images[3] = images[603] = changed
    images[605] = gone

    assert held(store) == brute_force(store, images, SIGNALS)
    assert len(set(logged(store))) == len(logged(store))


def test_an_image_that_changes_between_comparing_and_writing(store: Store) -> None:
    """What is written are the image's hashes of the moment of writing, not those compared."""
    images = make_images(6)
    index(store, images)
    add_signals(store, SIGNALS[:1])
    calls: list[int] = []

    class Meddling(FlatIndex):
        def find(self, queries: Digests, *, threshold_bits: int) -> tuple:  # type: ignore[type-arg]
            found = super().find(queries, threshold_bits=threshold_bits)
            calls.append(len(queries))
            if len(calls) == 1:
                index(store, [make_image(5002)])  # image 0 no longer matches
            return found

    report = make_scanner(store, make_index=Meddling).delta(now=NOW)

    assert calls[0] == 16 * (6 + 1)
    assert report.matches == 0
    assert held(store) == {}


# Full scans


def test_full_ends_what_a_lower_threshold_excludes(store: Store) -> None:
    """After a lower threshold the matches beyond it end, and are logged as ended, once."""
    images = make_images(300)
    index(store, images)
    add_signals(store, SIGNALS)
    delta(store)
    before = held(store)
    for _ in range(2):
        make_scanner(store, threshold_bits=16).full(now=NOW)

    expected = brute_force(store, images, SIGNALS, threshold_bits=16)
    assert held(store) == expected
    assert {match.threshold_bits for match in all_matches(store).values()} == {16}
    ended = [event for event in match_log(store) if event.kind is ENDED]
    assert {(event.match.image_key, event.match.signal_key) for event in ended} == (
        set(before) - set(expected)
    )
    assert len(ended) == len(before) - len(expected)


def test_full_finds_what_is_missing(store: Store) -> None:
    """A higher threshold, or a match that was lost: a full scan finds it."""
    images = make_images(300)
    index(store, images)
    add_signals(store, SIGNALS)
    make_scanner(store, threshold_bits=0).delta(now=NOW)
    few = held(store)
    assert few == brute_force(store, images, SIGNALS, threshold_bits=0)
    report = make_scanner(store).full(now=NOW)

    assert held(store) == brute_force(store, images, SIGNALS)
    assert report.signals == 8
    lost = list(all_matches(store).values())[:7]
    with store.write() as txn:
        for match in lost:
            store.images.drop_match(txn, match)
    make_scanner(store).full(now=NOW)
    assert held(store) == brute_force(store, images, SIGNALS)


def test_a_second_full_scan_changes_nothing(store: Store) -> None:
    """However often it is repeated, a full scan logs each match once."""
    images = make_images(300)
    index(store, images)
    add_signals(store, SIGNALS)
    scanner = make_scanner(store)
    scanner.full(now=NOW)
    before = match_log(store)
    assert scanner.full(now=NOW).matches == 0

    assert match_log(store) == before
    assert sorted(logged(store)) == sorted(brute_force(store, images, SIGNALS))


def test_a_stopped_full_scan_goes_on_or_starts_anew(store: Store) -> None:
    """With resume it goes on where it was, without it begins again; both end the same."""
    images = make_images(900)
    index(store, images)
    add_signals(store, SIGNALS)
    scanner = make_scanner(store)
    first = scanner.full(now=NOW, stopped=stop_after(3))
    assert not first.complete
    resumed = scanner.full(now=NOW, resume=True)
    assert resumed.images + first.images == sum(len(image.rows) for image in images)
    scanner.full(now=NOW, stopped=stop_after(1))
    again = scanner.full(now=NOW)

    assert again.images == sum(len(image.rows) for image in images)
    assert held(store) == brute_force(store, images, SIGNALS)
    assert sorted(logged(store)) == sorted(held(store))
    assert cursor(store, FULL).target == 0


def test_signals_that_come_while_a_full_scan_runs_keep_their_matches(store: Store) -> None:
    """A full scan does not end matches of signals that are newer than its view.

    Images that match an old signal and a new one are looked at by both scans.
    """
    both = [make_image(number, {0: SIGNALS[0], 9: flip(SIGNALS[1], 5)}) for number in range(600)]
    index(store, both)
    add_signals(store, SIGNALS[:1])

    def change(done: int, _: int) -> None:
        if done == 1:
            add_signals(store, SIGNALS[1:2])
            delta(store)

    make_scanner(store).full(now=NOW, on_progress=change)

    assert held(store) == brute_force(store, both, SIGNALS[:2])
    assert sorted(logged(store)) == sorted(held(store))


def test_a_signal_that_comes_between_view_and_clean_up_keeps_its_matches(store: Store) -> None:
    """A signal that arrives with its matches while a full scan builds its index loses none."""
    images = make_images(20)
    index(store, images)
    add_signals(store, SIGNALS[:1])
    steps: list[int] = []

    def make_index(digests: Digests) -> AnnIndex:
        steps.append(len(digests))
        if len(steps) == 1:
            add_signals(store, SIGNALS[1:])
            delta(store)
        return FlatIndex(digests)

    make_scanner(store, make_index=make_index).full(now=NOW)

    assert held(store) == brute_force(store, images, SIGNALS)


# kill -9

SCAN = """
import os, signal
from pathlib import Path
from tests.fakes.signals import NOW, open_store
from tests.integration.test_scan import make_scanner

def run(folder, kind, deadly, moment):
    with open_store(Path(folder)) as store:
        report = scan(store, kind, int(deadly), moment)
    os._exit(0 if report.complete else 1)


def scan(store, kind, deadly, moment):
    scanner = make_scanner(store)
    written = 0

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    if deadly >= 0 and moment == "write":
        put = store.scan_cursors.put

        def put_and_die(txn, name, state):
            nonlocal written
            put(txn, name, state)
            written += 1
            if written > deadly:
                die()  # the position is written, but not committed

        store.scan_cursors.put = put_and_die

    def on_progress(done, of):
        if moment == "chunk" and done > deadly >= 0:
            die()

    arguments = dict(resume=True) if kind == "full" else dict()
    return getattr(scanner, kind)(now=NOW, on_progress=on_progress, **arguments)
"""


def test_signals_that_the_log_has_forgotten_are_all_signals(store: Store) -> None:
    """Whoever asks for what came after a forgotten entry gets everything, not less than it."""
    add_signals(store, SIGNALS[:3])
    with store.write() as txn:
        assert store.signals.log.forget(txn, up_to=2, before=NOW + timedelta(days=1), limit=9) == 2
    add_signals(store, SIGNALS[3:4])

    def keys_after(number: int) -> set[bytes]:
        version, _digests, keys = make_scanner(store).signals(after=number)
        assert version == 4
        return {key.tobytes() for key in keys}

    assert keys_after(1) == keys_after(0) == {key_of(store, digest) for digest in SIGNALS[:4]}
    assert keys_after(2) == {key_of(store, digest) for digest in SIGNALS[2:4]}


@pytest.fixture(scope="module")
def scanning() -> Iterator[Forking]:
    with forking(SCAN) as started:
        yield started


def run_scan(
    scanning: Forking, folder: Path, kind: str, deadly: int = -1, moment: str = "chunk"
) -> int:
    scanning.start(folder, kind, deadly, moment)
    return scanning.wait()


@pytest.mark.parametrize("kind", ["delta", "full"])
def test_a_killed_scan_logs_each_match_once(tmp_path: Path, scanning: Forking, kind: str) -> None:
    """Killed after a chunk and inside a transaction, then repeated: each match once, none lost."""
    images = make_images(900)
    with open_store(tmp_path) as store:
        index(store, images)
        add_signals(store, SIGNALS)
        expected = brute_force(store, images, SIGNALS)
    killed = [run_scan(scanning, tmp_path, kind, 0), run_scan(scanning, tmp_path, kind, 1, "write")]
    finished = run_scan(scanning, tmp_path, kind)

    assert killed == [-signal.SIGKILL, -signal.SIGKILL]
    assert finished == os.EX_OK
    with open_store(tmp_path) as store:
        assert held(store) == expected
        assert sorted(logged(store)) == sorted(expected)
        assert [event.sequence for event in match_log(store)] == list(range(1, len(expected) + 1))

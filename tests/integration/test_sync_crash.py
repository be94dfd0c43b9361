"""A sync that is killed and repeated ends like one that was not, byte for byte."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from delist.ops.standin import Faults, Record, StopNciiStandIn, make_records, odd_records
from indexer.errors import FeedUnavailableError
from indexer.sync import FeedSync, SyncReport
from tests.fakes.forking import Forking, forking
from tests.fakes.signals import (
    NOW,
    Dump,
    FakeFeed,
    dump,
    make_digest,
    make_record,
    open_store,
    signal_words,
    signals,
)

COUNT = 600

SYNC = """
import os, signal, sys
from pathlib import Path
import structlog
from indexer.feed import StopNciiFeed
from indexer.settings import FeedSettings
from indexer.sync import FeedSync
from tests.fakes.signals import NOW, open_store

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def run(folder, base_url, page, moment):
    with open_store(Path(folder)) as store:
        sync(store, Path(folder).parent, base_url, int(page), moment)

def sync(store, keys, base_url, page, moment):
    settings = FeedSettings(
        name="stopncii", type="stopncii", base_url=base_url, page_size=25,
        subscription_key_file=keys / "subscription",
        function_key_files={"FetchHashes": keys / "FetchHashes"},
    )
    put = store.feed_cursors.put
    written = 0

    def put_and_die(txn, name, cursor):
        nonlocal written
        put(txn, name, cursor)
        written += 1
        if moment == "write" and written == page:
            die()  # everything of the page is written, nothing committed

    store.feed_cursors.put = put_and_die
    print("open", flush=True)
    FeedSync(store, StopNciiFeed(settings, backoff_s=0.001, tries=9), overlap_s=600).run(
        now=NOW, on_page=lambda report: moment == "page" and report.pages == page and die()
    )
"""


def make_entries() -> list[Record]:
    entries = [*make_records(COUNT, seed=3), *odd_records(seed=4)]
    for entry in entries[::9]:
        entry["hashStatus"] = "Withdrawn"
        entry["caseNumbers"] = []
    random.Random(5).shuffle(entries)
    return entries


@pytest.fixture(scope="module")
def standin() -> Iterator[StopNciiStandIn]:
    faults = Faults(rate=0.1, seed=6)
    with StopNciiStandIn(make_entries(), faults=faults, repeats=2) as server:
        yield server


@pytest.fixture(scope="module")
def syncing() -> Iterator[Forking]:
    with forking(SYNC) as started:
        yield started


def start(
    syncing: Forking,
    folder: Path,
    standin: StopNciiStandIn,
    page: int = 0,
    moment: str = "never",
) -> None:
    (folder.parent / "subscription").write_text(standin.subscription_key)
    (folder.parent / "FetchHashes").write_text(standin.function_keys["FetchHashes"])
    syncing.start(folder, standin.base_url, page, moment)
    assert syncing.heard() == "open"


def share_secret(one: Path, other: Path) -> None:
    """Give a second store the first one's secret, so that equal signals have equal keys."""
    (other / "secrets").mkdir(parents=True)
    secret = Path("secrets") / "signal-key"
    (other / secret).write_bytes((one / secret).read_bytes())


@pytest.fixture(scope="module")
def undisturbed(
    standin: StopNciiStandIn, syncing: Forking, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Dump]:
    folder = tmp_path_factory.mktemp("undisturbed") / "data"
    start(syncing, folder, standin)
    assert syncing.wait() == os.EX_OK
    with open_store(folder) as store:
        assert len(signals(store)) > COUNT / 2
        return folder, dump(store)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_sync_ends_like_an_undisturbed_one(
    standin: StopNciiStandIn,
    syncing: Forking,
    undisturbed: tuple[Path, Dump],
    tmp_path: Path,
    seed: int,
) -> None:
    """SIGKILL after a page and inside a page's transaction, at random pages, then repeated."""
    rng = random.Random(seed)
    folder = tmp_path / "data"
    share_secret(undisturbed[0], folder)
    for moment in ("page", "write"):
        start(syncing, folder, standin, rng.randint(1, 8), moment)
        assert syncing.wait() == -signal.SIGKILL
    if seed == 3:
        standin.expire_tokens()
    start(syncing, folder, standin)
    assert syncing.wait() == os.EX_OK

    with open_store(folder) as store:
        assert dump(store) == undisturbed[1]


def test_a_sync_killed_at_any_moment_ends_like_an_undisturbed_one(
    standin: StopNciiStandIn, syncing: Forking, undisturbed: tuple[Path, Dump], tmp_path: Path
) -> None:
    """SIGKILL from outside, at moments that nobody chose, until a sync comes through."""
    rng = random.Random(9)
    folder = tmp_path / "data"
    share_secret(undisturbed[0], folder)
    for _ in range(3):
        start(syncing, folder, standin)
        time.sleep(rng.uniform(0, 0.15))
        syncing.kill()
    for _ in range(2):
        start(syncing, folder, standin)
        assert syncing.wait() == os.EX_OK

    with open_store(folder) as store:
        assert dump(store) == undisturbed[1]


def test_a_feed_that_fails_in_the_middle_is_gone_on_with(tmp_path: Path) -> None:
    """Whatever page fails, however often: the end and the log are those of one good sync."""
    pages = [[make_record(make_digest(10 * page + at)) for at in range(5)] for page in range(6)]
    pages[4].append(make_record(make_digest(3), status="Withdrawn", modified_at=2000))
    ends: list[Dump] = []
    for failing in [[], [0], [3], [1, 1, 4], [5, 5, 5]]:
        folder = tmp_path / f"data{failing}"
        if ends:
            share_secret(tmp_path / "data[]", folder)
        with open_store(folder) as store:
            feed = FakeFeed(*pages, cursor=3000)
            reached = 0
            for page in failing:
                feed.before = [*[None] * (page - reached), FeedUnavailableError("down")]
                reached = page
                with pytest.raises(FeedUnavailableError):
                    FeedSync(store, feed, overlap_s=0).run(now=NOW)
            FeedSync(store, feed, overlap_s=0).run(now=NOW)
            assert len(signal_words(store)) == 31
            ends.append(dump(store))

    assert all(end == ends[0] for end in ends)


def test_an_error_after_a_page_keeps_that_page(tmp_path: Path) -> None:
    """Whoever is told of a page may fail: the page is durable already."""

    def fail(_: SyncReport) -> None:
        raise KeyboardInterrupt

    with open_store(tmp_path / "data") as store:
        feed = FakeFeed([make_record(make_digest(1))], [make_record(make_digest(2))])
        with pytest.raises(KeyboardInterrupt):
            FeedSync(store, feed, overlap_s=0).run(now=NOW, on_page=fail)
        assert len(signals(store)) == 1
        FeedSync(store, feed, overlap_s=0).run(now=NOW)
        assert feed.asked == [(0, None), (0, "1")]

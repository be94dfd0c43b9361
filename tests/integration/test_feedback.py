"""What the feeds are told of their signals (DESIGN.md 9): the right word, in order, not lost."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from delist.build import Delist
from delist.feedback import BLOCKED, NOT_BLOCKED, PENDING, deliver, word_for
from delist.model import CaseState, Verdict
from delist.ops.standin import StopNciiStandIn, answer_with
from delist.review import Ruling
from delist.settings import DatabaseSettings, load_settings
from indexer.build import Indexer
from indexer.errors import FeedProtocolError, FeedSettingsError, FeedUnavailableError
from tests.fakes.delisting import Clock, Listener, World, digest_of, image_near
from tests.integration.test_desk import stranger

NEAR, OTHER = digest_of("near"), digest_of("other")
URL, SECOND = "https://site.example/a.jpg", "https://site.example/b.jpg"

OPEN, SUPPRESSED, DISMISSED = CaseState.OPEN, CaseState.SUPPRESSED, CaseState.DISMISSED
NCII, NOT_NCII, UNSURE = Verdict.NCII, Verdict.NOT_NCII, Verdict.UNSURE


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def find(world: World, url: str = URL, *, bits: int = 5, signal: bytes = NEAR) -> str:
    world.offer(signal)
    world.visit(url, image_near({signal: bits}, name=url))
    world.settle()
    return world.case_of(url).id


def words(world: World) -> list[str]:
    """What the feed was told, in order."""
    return [word for _, word in world.listener.words]


@pytest.mark.parametrize(
    ("standings", "word"),
    [
        ([], None),
        ([(OPEN, None)], PENDING),
        ([(SUPPRESSED, None)], PENDING),
        ([(SUPPRESSED, UNSURE)], PENDING),
        ([(SUPPRESSED, NCII)], BLOCKED),
        ([(SUPPRESSED, NCII), (DISMISSED, NOT_NCII)], BLOCKED),
        ([(SUPPRESSED, NCII), (OPEN, None)], BLOCKED),
        ([(DISMISSED, NOT_NCII)], NOT_BLOCKED),
        ([(DISMISSED, NOT_NCII), (SUPPRESSED, None)], PENDING),
        ([(DISMISSED, NOT_NCII), (OPEN, UNSURE)], PENDING),
        ([(OPEN, NOT_NCII)], PENDING),
        ([(OPEN, NOT_NCII), (DISMISSED, NOT_NCII)], PENDING),
    ],
)
def test_words(standings: list[tuple[CaseState, Verdict | None]], word: str | None) -> None:
    """Any ncii blocks; only when every verdict is not_ncii it is not; otherwise it is pending."""
    assert word_for(standings) == word


@pytest.mark.parametrize(
    ("verdict", "listed", "bits", "alone", "with_another"),
    [
        (NCII, "blocked_by", 28, OPEN, SUPPRESSED),
        (NOT_NCII, "not_blocked_by", 20, SUPPRESSED, OPEN),
    ],
)
def test_our_own_word_is_nobody_elses(
    world: World,
    verdict: Verdict,
    listed: str,
    bits: int,
    alone: CaseState,
    with_another: CaseState,
) -> None:
    """A feed lists our word among others': it speaks neither for nor against further images."""
    world.decide(find(world, bits=20), verdict)
    world.deliver()
    world.offer(NEAR, **{listed: ["us"]})
    world.visit(SECOND, stranger(bits, name="another picture"))
    world.settle()
    assert world.state_of(SECOND) is alone

    world.offer(NEAR, **{listed: ["us", "another platform"]})
    world.settle()
    assert world.state_of(SECOND) is with_another


def test_pending_with_the_first_match(world: World) -> None:
    """The feed learns of a match once; a second image of the same signal is no news."""
    find(world)
    find(world, SECOND)

    report = world.deliver()

    assert (report.sent, report.dropped, report.waiting, report.failed) == (1, 0, 0, {})
    assert world.listener.words == [(NEAR.hex(), PENDING)]


def test_a_verdict_is_told(world: World) -> None:
    """Pending, then what a person decided, in this order."""
    case = find(world)
    world.deliver()
    world.decide(case, NCII)
    world.deliver()
    world.decide(case, NOT_NCII)
    world.deliver()
    world.decide(case, NOT_NCII)
    world.deliver()

    assert words(world) == [PENDING, BLOCKED, NOT_BLOCKED]


def test_all_verdicts_count(world: World) -> None:
    """One image dismissed, another undecided: pending. Both dismissed: not blocked."""
    first, second = find(world), find(world, SECOND)
    world.decide(first, NOT_NCII)
    world.deliver()
    world.decide(second, NOT_NCII)
    world.deliver()
    world.decide(first, NCII)
    world.deliver()

    assert words(world) == [PENDING, NOT_BLOCKED, BLOCKED]


def test_each_signal_is_told_of(world: World) -> None:
    """A verdict on an image is a word about every signal that it matches."""
    world.offer(NEAR, OTHER)
    world.visit(URL, image_near({NEAR: 2, OTHER: 4}))
    world.take_in()
    world.decide(world.case_of(URL), NCII)
    world.deliver()

    assert sorted(world.listener.words) == sorted([(NEAR.hex(), BLOCKED), (OTHER.hex(), BLOCKED)])


def test_a_newer_word_supersedes_one_that_waits(world: World) -> None:
    """What was not sent yet and is no longer true is never sent."""
    case = find(world)
    world.decide(case, NOT_NCII)
    world.decide(case, NCII)

    report = world.deliver()

    assert (report.sent, words(world)) == (1, [BLOCKED])
    assert world.deliver().sent == 0


def test_a_case_that_opens_again_is_pending_again(world: World) -> None:
    """A verdict that no longer covers the image is not what the feed is left with."""
    world.visit(URL, image_near({NEAR: 2, OTHER: 3}))
    case = find(world, SECOND)
    world.settle()
    for url in (URL, SECOND):
        world.decide(world.case_of(url), NOT_NCII)
    world.deliver()
    assert words(world) == [NOT_BLOCKED]

    world.offer(OTHER)
    world.settle()
    world.deliver()

    assert case
    assert sorted(world.listener.words[1:]) == sorted(
        [(NEAR.hex(), PENDING), (OTHER.hex(), PENDING)]
    )


def test_a_feed_that_fails_loses_no_word(world: World) -> None:
    """Tried again after 30 s, then after twice as long each time, an hour at most; never early."""
    find(world)
    database, store = world.delist.database, world.delist.indexer.store
    receivers = {"exchange": world.listener}
    world.listener.error = FeedUnavailableError("exchange: answered 503")
    at = world.clock()
    for pause_s in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]:
        report = deliver(database, store, receivers, now=at)
        calls = world.listener.calls
        assert (report.sent, report.waiting) == (0, 1)
        assert report.failed == {"exchange": "exchange: answered 503"}

        early = deliver(database, store, receivers, now=at + timedelta(seconds=pause_s - 1))
        assert (early.waiting, early.failed, world.listener.calls) == (1, {}, calls)
        at += timedelta(seconds=pause_s)

    world.listener.error = None
    assert deliver(database, store, receivers, now=at).sent == 1
    assert words(world) == [PENDING]


@pytest.mark.parametrize("error", [FeedProtocolError("html"), FeedSettingsError("no key")])
def test_whatever_is_wrong_with_the_feed_loses_no_word(world: World, error: Exception) -> None:
    """A wrong key is mended by a person; until then the word waits."""
    find(world)
    world.listener.error = error  # type: ignore[assignment]
    assert world.deliver().waiting == 1
    world.listener.error = None

    assert world.deliver().sent == 0  # not yet
    world.clock.advance(seconds=60)
    assert world.deliver().sent == 1


def test_a_new_word_does_not_wait_for_the_failed_one(world: World) -> None:
    """A verdict is tried at once, though the word before it waits for its next try."""
    case = find(world)
    world.listener.error = FeedUnavailableError("down")
    world.deliver()
    world.listener.error = None

    world.decide(case, NCII)
    world.deliver()

    assert words(world) == [BLOCKED]
    world.clock.advance(hours=2)
    assert world.deliver().sent == 0


def test_one_feed_that_fails_does_not_hold_up_another(world: World) -> None:
    """Feeds are told apart from each other."""
    find(world)
    world.feed.name = "second"
    world.feed.records.clear()
    world.offer(OTHER)
    world.visit(SECOND, image_near({OTHER: 2}))
    world.settle()
    down, up = Listener(error=FeedUnavailableError("down")), Listener()

    report = deliver(
        world.delist.database,
        world.delist.indexer.store,
        {"exchange": down, "second": up},
        now=world.clock(),
    )

    assert (report.sent, report.waiting, set(report.failed)) == (1, 1, {"exchange"})
    assert up.words == [(OTHER.hex(), PENDING)]


def test_a_signal_withdrawn_meanwhile_is_not_spoken_of(world: World) -> None:
    """Its digest is gone, and so is the word about it."""
    find(world)
    world.withdraw(NEAR)

    report = world.deliver()

    assert (report.sent, report.dropped, report.waiting) == (0, 1, 0)
    assert world.listener.calls == 0


def test_a_signal_that_returns_is_spoken_of(world: World) -> None:
    """A word that was dropped with its signal is news when the signal comes back."""
    find(world)
    world.withdraw(NEAR)
    world.deliver()
    world.take_in()

    world.offer(NEAR)
    world.settle()
    world.deliver()

    assert words(world) == [PENDING]


def test_a_feed_that_takes_no_feedback_is_told_nothing(world: World) -> None:
    """Words for a local bank do not pile up."""
    case = find(world)
    report = deliver(world.delist.database, world.delist.indexer.store, {}, now=world.clock())

    assert (report.sent, report.dropped, report.waiting) == (0, 1, 0)
    world.decide(case, UNSURE)
    assert deliver(world.delist.database, world.delist.indexer.store, {}, now=world.clock()) == (
        type(report)(failed={})
    )


def test_many_words_go_in_batches(world: World) -> None:
    """More than one request's worth: each is sent once."""
    digests = found_many(world, 201)

    report = world.deliver()

    assert report.sent == 201
    assert sorted(world.listener.words) == sorted((digest, PENDING) for digest in digests)
    assert world.listener.calls == 2


def test_a_delivery_that_was_killed_sends_again(world: World) -> None:
    """Between the feed's answer and our note, a crash repeats the word; repeating is harmless."""

    class Crash(Exception):  # noqa: N818 - not an error of ours
        pass

    class Crashing(Listener):
        def send_feedback(self, feedback: object) -> None:
            super().send_feedback(feedback)  # type: ignore[arg-type]
            raise Crash

    find(world)
    crashing = Crashing()
    with pytest.raises(Crash):
        deliver(
            world.delist.database,
            world.delist.indexer.store,
            {"exchange": crashing},
            now=world.clock(),
        )
    world.deliver()

    assert crashing.words == world.listener.words == [(NEAR.hex(), PENDING)]


def test_stopncii_is_told_over_http(tmp_path: Path) -> None:
    """The whole way to the stand-in: pending, then blocked; a refused try is made up for."""
    with StopNciiStandIn(
        [
            {
                "lastModtimestamp": 1_700_000_000,
                "signalType": "ImagePDQ",
                "hashValue": NEAR.hex(),
                "hashStatus": "Received",
                "caseNumbers": {"case-1": "Received"},
                "CSPFeedbacks": [],
                "hashRegions": [],
            }
        ]
    ) as standin:
        configure(tmp_path, standin)
        clock = Clock()
        with Delist(load_settings(tmp_path / "delist.toml"), clock=clock) as delist:
            list(delist.sync_feeds())
            with World(delist.settings.indexer.data_dir) as world:
                world.visit(URL, image_near({NEAR: 3}))
            delist.take_in()
            standin.faults.add(answer_with(503))
            assert delist.send_feedback().waiting == 1
            clock.advance(minutes=1)
            assert delist.send_feedback().sent == 1
            (case,) = delist.cases()
            delist.decide(case.id, Ruling(verdict=NCII, actor="Robin", reason="seen"))
            assert delist.send_feedback().sent == 1
            assert delist.send_feedback().sent == 0

        told = [(item["hashValue"], item["feedbackValue"]) for item in standin.feedback]

    assert told == [(NEAR.hex(), PENDING), (NEAR.hex(), BLOCKED)]


def found_many(world: World, count: int) -> list[str]:
    """Meet one image of each of many signals; returns their digests."""
    signals = [digest_of(number) for number in range(count)]
    world.offer(*signals)
    world.visit_all(
        {f"https://site.example/{n}.jpg": image_near({s: 1}) for n, s in enumerate(signals)}
    )
    world.take_in()
    return [signal.hex() for signal in signals]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Stores in which 260 words wait, and the digests."""
    folder = tmp_path_factory.mktemp("crowd") / "data"
    with World(folder) as opened:
        digests = found_many(opened, 260)
    return folder, digests


@pytest.fixture
def crowded(tmp_path: Path, crowd: tuple[Path, list[str]]) -> Iterator[tuple[World, list[str]]]:
    """A copy of them. On SQLite alone: on both, fewer words say what the SQL does."""
    folder, digests = crowd
    shutil.copytree(folder, tmp_path / "data")
    with World(tmp_path / "data") as opened:
        opened.clock.advance(hours=1)
        yield opened, digests


@pytest.mark.parametrize("bad", [{0}, {199}, {7, 8}, {0, 1, 2, 3, 4, 250}])
def test_a_word_that_is_refused_does_not_hold_up_the_others(
    crowded: tuple[World, list[str]], bad: set[int]
) -> None:
    """It is found out at once, counted, and tried again a day later; the others are sent."""
    world, digests = crowded
    world.listener.bad = {digests[number] for number in bad}

    report = world.deliver()

    assert (report.sent, report.refused, report.waiting) == (260 - len(bad), len(bad), len(bad))
    assert report.failed == {"exchange": "exchange: answered 400"}
    calls = world.listener.calls
    world.clock.advance(hours=23)
    assert (world.deliver().failed, world.listener.calls) == ({}, calls)
    world.clock.advance(hours=2)
    world.listener.bad.clear()
    assert (world.deliver().sent, world.deliver().waiting) == (len(bad), 0)


def test_few_requests_find_the_word(crowded: tuple[World, list[str]]) -> None:
    """One among 200 is found by halving; the other 60 take one request more."""
    world, digests = crowded
    world.listener.bad = {digests[123]}

    report = world.deliver()

    assert report.sent == 259
    assert world.listener.calls <= 18


def test_a_feed_that_refuses_everything_is_not_asked_for_each_word(
    crowded: tuple[World, list[str]],
) -> None:
    """A page instead of an answer is not the words' fault: all wait, for half a minute."""
    world, _ = crowded
    world.listener.error = FeedProtocolError("exchange: answered text/html instead of JSON")

    report = world.deliver()

    assert (report.sent, report.refused, report.waiting) == (0, 0, 260)
    assert world.listener.calls < 25
    world.listener.error = None
    world.clock.advance(minutes=1)
    assert world.deliver().sent == 260


def test_a_newer_word_is_tried_although_the_last_was_refused(world: World) -> None:
    """The refusal may have been of the word, not of the hash."""
    digests = found_many(world, 2)
    world.listener.bad = {digests[0]}
    world.deliver()
    world.listener.bad.clear()

    world.decide(world.case_of("https://site.example/0.jpg"), NCII)
    report = world.deliver()

    assert (report.sent, report.refused) == (1, 0)
    assert world.listener.words[-1] == (digests[0], BLOCKED)


def test_a_refused_word_is_not_queued_anew(world: World) -> None:
    """Another match of the same signal is no news about it, and no reason to try again."""
    digests = found_many(world, 2)
    world.listener.bad = {digests[0]}
    world.deliver()
    calls = world.listener.calls
    world.visit(URL, image_near({digest_of(0): 4}, name="another"))
    world.take_in()

    assert (world.deliver().waiting, world.listener.calls) == (1, calls)


def test_the_stand_in_refuses_one_word_for_ever(tmp_path: Path) -> None:
    """Over HTTP: 400 names no item, and the rest arrives all the same."""
    bad, good = NEAR.hex(), OTHER.hex()
    records = [
        {"lastModtimestamp": 1_700_000_000, "signalType": "ImagePDQ", "hashValue": value}
        | {"hashStatus": "Received", "caseNumbers": {"case-1": "Received"}}
        for value in (bad, good)
    ]
    with StopNciiStandIn(records, refuses=[bad]) as standin:
        configure(tmp_path, standin)
        with Delist(load_settings(tmp_path / "delist.toml"), clock=Clock()) as delist:
            list(delist.sync_feeds())
            with World(delist.settings.indexer.data_dir) as world:
                world.visit(URL, image_near({NEAR: 3}))
                world.visit(SECOND, image_near({OTHER: 3}))
            delist.take_in()

            report = delist.send_feedback()

    assert (report.sent, report.refused) == (1, 1)
    assert [item["hashValue"] for item in standin.feedback] == [good]


def test_the_stand_in_takes_a_hash_and_offers_it_back(tmp_path: Path) -> None:
    """Over HTTP: offered under its own key, listed with our word and no case behind it."""
    with StopNciiStandIn() as standin:
        configure(tmp_path, standin)
        with Indexer.open(tmp_path / "delist.toml") as indexer:
            receiver = indexer.hash_receivers()["stopncii"]
            receiver.submit_hashes([NEAR.hex().upper()], word=BLOCKED, at=Clock()())
            indexer.feed_sync("stopncii").run(now=Clock()())
            (match,) = indexer.match_digest_list([NEAR])[0]
            with indexer.store.read() as txn:
                signal = indexer.store.signals.find(txn, match.signal_key)

    assert signal is not None
    assert (signal.cases, signal.status) == ((), "Received")
    assert [(entry.source, entry.value) for entry in signal.feedback] == [("Delist", BLOCKED)]
    assert [request.endpoint for request in standin.requests] == ["SubmitHashes", "FetchHashes"]


def test_a_hash_that_a_survivor_reported_keeps_its_case(tmp_path: Path) -> None:
    """The stand-in does not take a case away because a platform offers the same hash."""
    record = {
        "lastModtimestamp": 1_700_000_000,
        "signalType": "ImagePDQ",
        "hashValue": NEAR.hex(),
        "hashStatus": "Active",
        "caseNumbers": {"case-1": "Active"},
    }
    with StopNciiStandIn([record]) as standin:
        configure(tmp_path, standin)
        with Indexer.open(tmp_path / "delist.toml") as indexer:
            indexer.hash_receivers()["stopncii"].submit_hashes(
                [NEAR.hex()], word=BLOCKED, at=Clock()()
            )
        (served,) = standin.state.fetch(start=0, page_size=10, token=None)["hashRecords"]

    assert served["caseNumbers"] == {"case-1": "Active"}
    assert [entry["source"] for entry in served["CSPFeedbacks"]] == ["Delist"]


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    """Without the function key of SubmitHashes a person is told which one is missing."""
    with StopNciiStandIn() as standin:
        configure(tmp_path, standin, endpoints=("FetchHashes", "SubmitFeedback"))
        with Indexer.open(tmp_path / "delist.toml") as indexer:
            receiver = indexer.hash_receivers()["stopncii"]
            with pytest.raises(FeedSettingsError, match="SubmitHashes: is missing"):
                receiver.submit_hashes([NEAR.hex()], word=BLOCKED, at=Clock()())


def configure(
    folder: Path,
    standin: StopNciiStandIn,
    endpoints: tuple[str, ...] = ("FetchHashes", "SubmitFeedback", "SubmitHashes"),
) -> None:
    """Write a configuration with the stand-in as its feed."""
    (folder / "key").write_text("subscription-key")
    for name in endpoints:
        (folder / name).write_text(f"{name}-key")
    keys = ", ".join(f'{name} = "{name}"' for name in endpoints)
    (folder / "delist.toml").write_text(
        f"""
[feeds.stopncii]
base_url = "{standin.base_url}"
subscription_key_file = "key"
function_key_files = {{ {keys} }}
"""
    )

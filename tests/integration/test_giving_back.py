"""Confirmed copies that a feed's own hash does not reach: offered, taken back, never lived off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from delist.feedback import BLOCKED, WITHDRAWN
from delist.feedback.submitting import NEAR_BITS
from delist.model import CaseState, Verdict
from delist.settings import DatabaseSettings
from delist.store import submissions
from indexer.errors import FeedUnavailableError
from indexer.lookup import DeepVariant
from indexer.match import FEED_KIND_PDQ
from indexer.model import DIGEST_BYTES, HashedImage, ImageVisit
from indexer.visits import DeepResult
from tests.fakes.delisting import FEED, World, digest_of, flipped, image_near

ROOT, OTHER = digest_of("root"), digest_of("other")
URL, COPY = "https://site.example/crop.jpg", "https://mirror.example/copy.jpg"
NCII, NOT_NCII, UNSURE = Verdict.NCII, Verdict.NOT_NCII, Verdict.UNSURE
OPEN, SUPPRESSED, WITHDRAWN_STATE = CaseState.OPEN, CaseState.SUPPRESSED, CaseState.WITHDRAWN
CASE_REF = "case-1"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text('version = "gives"\n[giving_back]\nsubmit_confirmed_edits = true\n')
    return path


@pytest.fixture
def world(tmp_path: Path, policy: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", policy_file=policy, database=sql) as opened:
        yield opened


def crop(name: object = "crop", *, quality: int = 100) -> HashedImage:
    """An image that no signal reaches by its stored hashes."""
    return image_near({}, name=name, quality=quality)


def own_hash(image: HashedImage) -> bytes:
    """Its own upright hash, as it is offered."""
    return image.rows[0][1][:DIGEST_BYTES]


def visit_deeply(
    world: World, image: HashedImage, url: str = URL, *, signal: bytes = ROOT, **visit: object
) -> None:
    """Meet an image of which the deep tier guesses that it is an edit of a signal's picture."""
    store = world.delist.indexer.store
    key = store.signals.key(feed=FEED, kind=FEED_KIND_PDQ, value=signal)
    with store.read() as txn:
        version = store.signals.version(txn)
    found = {key: DeepVariant(distance_bits=60, weighted_bits=20.0, variant="crop:10,0,0,0")}
    deep = DeepResult(version=version, threshold_bits=36, found=found)
    seen = ImageVisit(image_url=url, hashed=image, **visit)  # type: ignore[arg-type]
    world.delist.indexer._visits.record([seen], now=world.clock(), deep=[deep])
    world.take_in()


def confirmed(world: World, image: HashedImage | None = None, url: str = URL) -> HashedImage:
    """A crop of a reported picture, confirmed by a person."""
    image = crop() if image is None else image
    world.offer(ROOT, cases={CASE_REF: "Received"})
    visit_deeply(world, image, url)
    world.decide(world.case_of(url), NCII)
    return image


def given(world: World) -> bytes:
    """A confirmed crop whose hash the feed has taken, and lists now."""
    image = confirmed(world)
    assert world.submit().submitted == 1
    world.deliver()
    world.listener.words.clear()
    world.offer(own_hash(image))
    world.settle()
    return own_hash(image)


def outcomes(world: World) -> list[str | None]:
    with world.delist.database.read() as connection:
        return [
            row.outcome for row in submissions._load(connection, submissions.submissions.c.id > 0)
        ]


def test_a_confirmed_edit_is_offered_once(world: World) -> None:
    """Its own upright hash, with our word about it; never again, whatever is looked at again."""
    image = confirmed(world)

    report = world.submit()

    assert (report.submitted, report.waiting, report.failed) == (1, 0, {})
    assert world.listener.hashes == [(own_hash(image).hex(), BLOCKED)]
    world.decide(world.case_of(URL), NCII)
    visit_deeply(world, image)
    assert world.submit().submitted == 0


@pytest.mark.parametrize("verdict", [NOT_NCII, UNSURE])
def test_nothing_else_is_offered(world: World, verdict: Verdict) -> None:
    """Not without a person's ncii, and not where the feed's own hash reaches the image."""
    world.offer(ROOT)
    visit_deeply(world, crop())
    world.decide(world.case_of(URL), verdict)
    world.visit(COPY, image_near({ROOT: 5}))
    world.settle()
    world.decide(world.case_of(COPY), NCII)

    assert world.submit().waiting == 0
    assert world.listener.hashes == []


def test_the_policy_switches_it_on(tmp_path: Path) -> None:
    """Built in, nothing is given back."""
    with World(tmp_path / "quiet") as world:
        confirmed(world)

        assert world.submit().submitted == 0
        assert outcomes(world) == []


def test_poor_hashes_are_not_offered(world: World) -> None:
    """Below quality 50 a hash says little, and would match strangers everywhere."""
    confirmed(world, crop(quality=49))

    assert (world.submit().submitted, world.listener.calls) == (0, 0)
    assert outcomes(world) == [submissions.LOW_QUALITY]


@pytest.mark.parametrize(("bits", "offered"), [(NEAR_BITS, 0), (NEAR_BITS + 1, 1)])
def test_what_the_feed_has_is_not_offered(world: World, bits: int, offered: int) -> None:
    """A live signal of the feed within 8 bits reaches what ours would reach."""
    image = confirmed(world)
    world.offer(flipped(own_hash(image), bits))

    assert world.submit().submitted == offered
    assert outcomes(world) == [submissions.SENT if offered else submissions.KNOWN]


def test_the_same_bytes_are_sent_once(world: World) -> None:
    """Two addresses, one content: one hash."""
    image = confirmed(world)
    confirmed(world, image, COPY)

    world.submit()
    world.clock.advance(minutes=5)
    world.submit()

    assert len(world.listener.hashes) == 1
    assert sorted(map(str, outcomes(world))) == [submissions.DUPLICATE, submissions.SENT]


def test_bytes_that_went_are_not_offered(world: World) -> None:
    """The digest is read when it is sent; of other bytes nobody has said anything."""
    confirmed(world)
    world.visit(URL, crop("another"))

    assert (world.submit().submitted, world.submit().waiting) == (0, 0)
    assert outcomes(world) == [submissions.GONE]


def test_a_feed_that_fails_gets_it_later(world: World) -> None:
    """Nothing is lost, and nothing is sent early."""
    image = confirmed(world)
    world.listener.error = FeedUnavailableError("down")
    assert world.submit().failed == {FEED: "down"}
    world.listener.error = None

    assert world.submit().submitted == 0
    world.clock.advance(minutes=1)
    assert world.submit().submitted == 1
    assert world.listener.hashes == [(own_hash(image).hex(), BLOCKED)]


def test_what_a_crash_left_in_doubt_is_not_taken_for_another_hash(world: World) -> None:
    """Sent, killed before it was noted, offered back: it counts as sent."""
    image = confirmed(world)
    world.listener.error = FeedUnavailableError("no answer, though it was taken")
    world.submit()
    world.offer(own_hash(image))
    world.settle()
    world.listener.error = None
    world.clock.advance(minutes=1)
    world.submit()

    assert outcomes(world) == [submissions.SENT]


def test_an_echo_finds_other_copies(world: World) -> None:
    """That is what it is for; it is told of as blocked, whatever it meets."""
    echo = given(world)
    world.visit(COPY, image_near({echo: 4}))
    world.take_in()
    world.deliver()

    assert world.state_of(COPY) is SUPPRESSED
    # It was offered as blocked: neither that nor the new match is news.
    assert echo.hex() not in [digest for digest, _ in world.listener.words]


def test_an_echo_does_not_outlive_the_survivors_withdrawal(world: World) -> None:
    """The feed still lists our hash, with nobody's case behind it: all that rested on it ends."""
    echo = given(world)
    world.visit(COPY, image_near({echo: 4}))
    world.take_in()
    assert list(world.results.suppressed([URL, COPY])) == [True, True]

    world.withdraw(ROOT)
    world.settle()

    assert (world.state_of(URL), world.state_of(COPY)) == (WITHDRAWN_STATE, WITHDRAWN_STATE)
    assert list(world.results.suppressed([URL, COPY])) == [False, False]
    world.deliver()
    assert world.listener.words[-1] == (echo.hex(), WITHDRAWN)
    world.settle()
    world.deliver()
    assert [word for _, word in world.listener.words].count(WITHDRAWN) == 1


def test_a_confirmed_copy_of_an_echo_is_withdrawn_too(world: World) -> None:
    """It follows the rule for withdrawals, not the one for a threshold that changed."""
    echo = given(world)
    world.visit(COPY, image_near({echo: 4}))
    world.take_in()
    world.decide(world.case_of(COPY), NCII)

    world.withdraw(ROOT)
    world.settle()

    assert world.state_of(COPY) is WITHDRAWN_STATE
    assert not world.results.is_suppressed(COPY)


def test_a_new_copy_is_not_found_by_an_echo_that_ended(world: World) -> None:
    """Not even a case is made of it."""
    echo = given(world)
    world.withdraw(ROOT)
    world.settle()

    world.visit(COPY, image_near({echo: 4}))
    world.take_in()

    assert [case.image_url for case in world.cases()] == [URL]


def test_a_withdrawal_that_is_withdrawn_brings_it_back(world: World) -> None:
    """The survivor's case lives again, and so does what was derived from it."""
    echo = given(world)
    world.visit(COPY, image_near({echo: 4}))
    world.take_in()
    world.withdraw(ROOT)
    world.settle()
    world.deliver()

    world.offer(ROOT, cases={CASE_REF: "Received"})
    visit_deeply(world, crop())
    world.settle()
    world.deliver()

    assert (world.state_of(URL), world.state_of(COPY)) == (SUPPRESSED, SUPPRESSED)
    assert world.listener.words[-1] in {(echo.hex(), BLOCKED), (ROOT.hex(), BLOCKED)}
    assert (echo.hex(), BLOCKED) in world.listener.words


def test_the_feed_is_told_although_the_echo_never_came(world: World) -> None:
    """The digest is still ours to read while the bytes are there."""
    image = confirmed(world)
    world.submit()
    world.withdraw(ROOT)
    world.settle()
    world.deliver()

    assert (own_hash(image).hex(), WITHDRAWN) in world.listener.words


def test_an_echo_that_comes_late_is_told_of(world: World) -> None:
    """Bytes gone, echo not there yet: the word has no digest. It has one when the echo comes."""
    image = confirmed(world)
    world.submit()
    world.withdraw(ROOT)
    world.visit(URL, crop("another"))
    world.settle()
    world.deliver()
    assert (own_hash(image).hex(), WITHDRAWN) not in world.listener.words

    world.offer(own_hash(image))
    world.settle()
    world.deliver()

    assert (own_hash(image).hex(), WITHDRAWN) in world.listener.words


def test_a_reversed_verdict_takes_it_back(world: World) -> None:
    """And a verdict that is given again offers it again, by a word: the hash is there."""
    echo = given(world)
    case = world.case_of(URL)
    world.decide(case, NOT_NCII)
    world.settle()
    world.deliver()
    assert (echo.hex(), WITHDRAWN) in world.listener.words
    assert world.state_of(URL) is CaseState.DISMISSED

    world.decide(case, NCII)
    world.deliver()

    assert [word for digest, word in world.listener.words if digest == echo.hex()] == [
        WITHDRAWN,
        BLOCKED,
    ]
    assert len(world.listener.hashes) == 1


def test_nothing_is_sent_that_ended_before(world: World) -> None:
    """Withdrawn while it waited: the feed never hears of it, in either way."""
    image = confirmed(world)
    world.withdraw(ROOT)
    world.settle()

    assert world.submit().submitted == 0
    world.deliver()
    assert own_hash(image).hex() not in [digest for digest, _ in world.listener.words]
    assert outcomes(world) == [submissions.ENDED]


def test_a_page_that_is_gone_takes_nothing_back(world: World) -> None:
    """The site has other bytes now; the hash of what was there still serves everybody."""
    echo = given(world)
    world.visit(URL, crop("another"))
    world.settle()
    world.deliver()

    assert WITHDRAWN not in [word for digest, word in world.listener.words if digest == echo.hex()]
    world.visit(COPY, image_near({echo: 4}))
    world.take_in()
    assert world.state_of(COPY) is SUPPRESSED


def test_a_survivors_own_case_keeps_it(world: World) -> None:
    """Somebody reported the very crop: then it is no echo, whoever offered it first."""
    echo = given(world)
    world.withdraw(ROOT)
    world.settle()
    assert world.state_of(URL) is WITHDRAWN_STATE

    world.offer(echo, cases={"case-2": "Received"})
    world.settle()

    assert world.state_of(URL) is SUPPRESSED


def test_our_own_word_is_no_corroboration(world: World) -> None:
    """The feed lists our Blocked under our name; at 25 bits that widens nothing."""
    echo = given(world)
    world.offer(echo, blocked_by=["Delist"])
    world.visit(COPY, image_near({echo: 25}))
    world.take_in()
    assert world.state_of(COPY) is OPEN

    world.offer(echo, blocked_by=["Delist", "Another"])
    world.visit(COPY, image_near({echo: 25}, name="again"))
    world.take_in()
    assert world.state_of(COPY) is SUPPRESSED


def test_an_echo_is_no_reason_to_offer_more(world: World) -> None:
    """A crop of the crop that only our own hash finds rests on nothing of a survivor's."""
    echo = given(world)
    second = crop("crop of the crop")
    visit_deeply(world, second, COPY, signal=echo)
    world.decide(world.case_of(COPY), NCII)

    assert world.submit().submitted == 0


def test_the_survivors_report_knows_what_an_echo_found(world: World) -> None:
    """A copy that only our hash reaches is theirs too; dated no earlier than their own report."""
    echo = given(world)
    world.visit(COPY, image_near({echo: 4}))
    world.take_in()
    assert world.delist.survivor_report(CASE_REF).delisted == 2

    world.clock.advance(days=3)
    world.offer(ROOT, cases={CASE_REF: "Received", "late": "Received"})
    code = world.delist.issue_access_code("late")
    late = world.delist.survivor_report("late", access_code=code)

    assert late.images is not None
    assert len(late.images) == 2
    assert all(image.since is not None and image.since >= "2026-03-04" for image in late.images)

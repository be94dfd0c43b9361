"""A second look without seeing the first: who is given what, what it changes, how it is counted."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.errors import UnknownCaseError, UsageError
from delist.model import Case, CaseState, Verdict
from delist.review import Ruling
from delist.review.sampling import is_drawn, share_of
from delist.settings import DatabaseSettings
from delist.store import cases as case_store
from tests.fakes.delisting import World, digest_of, image_near

NCII, NOT, UNSURE = Verdict.NCII, Verdict.NOT_NCII, Verdict.UNSURE
OTHER = digest_of("other")


def policy(folder: Path, percent: float) -> Path:
    path = folder / "policy.toml"
    path.write_text(f'version = "test"\n[people]\nblind_sample_percent = {percent:.1f}\n')
    return path


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    """Every decision is drawn."""
    with World(tmp_path / "data", database=sql, policy_file=policy(tmp_path, 100)) as opened:
        yield opened


def url(number: int) -> str:
    return f"https://s{number}.example/a.jpg"


def signal(number: int) -> bytes:
    return digest_of(("s", number))


def found(world: World, number: int = 0) -> str:
    world.offer(signal(number))
    world.visit(url(number), image_near({signal(number): 25}))
    world.take_in()
    return world.case_of(url(number)).id


def by(actor: str, verdict: Verdict = NCII) -> Ruling:
    return Ruling(verdict=verdict, actor=actor, reason="looked at it")


def case(world: World, case_id: str) -> Case:
    with world.delist.database.read() as connection:
        held = case_store.find(connection, case_id)
    assert held is not None
    return held


def given_to(world: World, actor: str) -> int:
    view = world.delist.desk.blind_next(actor)
    assert view is not None
    assert view.blind_review is not None
    return view.blind_review


def test_the_second_reviewer_is_another_who_knows_nothing(world: World) -> None:
    """Not who decided, under any spelling, nor who has looked at the case since."""
    case_id = found(world)
    world.delist.decide(case_id, by("Ann"))
    world.delist.desk.show(case_id, "Bob")
    desk = world.delist.desk

    assert [desk.blind_next(name) for name in ("Ann", " ANN", "bob")] == [None] * 3
    view = desk.blind_next("Cleo")
    assert view is not None
    assert view.file.case.id == case_id
    assert desk.blind_next("Dan") is None


def test_who_has_decided_on_the_case_makes_no_other_decision_again(world: World) -> None:
    """Two have decided: neither is given the other's, and what was taken back is not drawn."""
    case_id = found(world)
    world.delist.decide(case_id, by("Ann"))
    world.delist.desk.undo(case_id, "Ann")
    world.delist.decide(case_id, by("Ann"))
    world.delist.decide(case_id, by("Bob"))

    assert world.delist.desk.agreement().waiting == 2
    assert [world.delist.desk.blind_next(name) for name in ("Ann", "Bob")] == [None, None]


def test_who_looks_blind_is_shown_nothing_that_was_decided(world: World) -> None:
    """While it is theirs, an open view of the case is a blind one for them, and only for them."""
    case_id = found(world)
    world.delist.decide(case_id, by("Ann"))
    number = given_to(world, "Bob")

    assert world.delist.desk.show(case_id, "bob").blind_review == number
    assert world.delist.desk.show(case_id, "Cleo").blind_review is None
    acts = [(e.act, e.actor) for e in world.delist.audit_entries(subject=case_id)]
    assert acts[-3:] == [
        ("case.viewed_blind", "Bob"),
        ("case.viewed_blind", "bob"),
        ("case.viewed", "Cleo"),
    ]


def test_the_same_is_given_again_until_it_ends(world: World) -> None:
    """Asked twice, one has one review; after ``claim_minutes`` it is anybody's."""
    world.delist.decide(found(world), by("Ann"))
    number = given_to(world, "Bob")

    assert given_to(world, "Bob") == number
    world.clock.advance(minutes=31)
    assert given_to(world, "Cleo") == number
    with pytest.raises(UsageError, match="not yours"):
        world.delist.desk.blind_decide(number, by("Bob"))


def test_agreement_changes_nothing(world: World) -> None:
    """Case and ledger stay; it is on record as a blind decision and can be made once."""
    case_id = found(world)
    world.delist.decide(case_id, by("Ann"))
    before, ledger = case(world, case_id), world.ledger()
    outcome = world.delist.desk.blind_decide(given_to(world, "Bob"), by("Bob"))

    assert outcome.agrees
    assert (case(world, case_id), world.ledger()) == (before, ledger)
    assert world.delist.case_file(case_id).decisions[-1].kind.value == "blind"
    with pytest.raises(UsageError, match="already"):
        world.delist.desk.blind_decide(1, by("Bob"))
    assert world.delist.desk.blind_next("Cleo") is None


@pytest.mark.parametrize(
    ("first", "second"), [(NCII, NOT), (NOT, NCII), (NCII, UNSURE), (NOT, UNSURE)]
)
def test_disagreement_asks_a_third_and_lifts_nothing(
    world: World, first: Verdict, second: Verdict
) -> None:
    """Results stay as they are until somebody who had no part in it has decided."""
    case_id = found(world)
    world.delist.decide(case_id, by("Ann", first))
    suppressed, ledger = world.results.is_suppressed(url(0)), world.ledger()
    outcome = world.delist.desk.blind_decide(given_to(world, "Bob"), by("Bob", second))
    disputed = case(world, case_id)

    assert (outcome.agrees, outcome.case.disputed) == (False, True)
    assert (disputed.verdict, disputed.disputed, disputed.awaits_person) == (first, True, True)
    assert (world.results.is_suppressed(url(0)), world.ledger()) == (suppressed, ledger)
    for party in ("Ann", "Bob"):
        assert world.delist.desk.claim_next(party) is None
        with pytest.raises(UsageError, match="a third has to decide"):
            world.delist.decide(case_id, by(party, NOT))
    view = world.delist.desk.claim_next("Cleo")
    assert view is not None
    settled = world.delist.decide(case_id, by("Cleo", NOT))
    assert (settled.state, settled.disputed) == (CaseState.DISMISSED, False)


def test_what_changed_is_not_looked_at_again(world: World) -> None:
    """Other bytes, a withdrawal, a verdict that was taken back: nothing is left to compare."""
    world.offer(OTHER)
    ids = [found(world, number) for number in range(3)]
    for case_id in ids:
        world.delist.decide(case_id, by("Ann"))
    number = given_to(world, "Bob")
    world.delist.desk.undo(ids[2], "Ann")
    world.visit(url(0), image_near({OTHER: 25}))
    with pytest.raises(UsageError, match="has changed"):
        world.delist.desk.blind_decide(number, by("Bob"))
    world.take_in()
    with pytest.raises(UsageError, match="has changed"):
        world.delist.desk.blind_decide(number, by("Bob"))
    world.withdraw(signal(1))
    world.take_in()

    assert world.delist.desk.blind_next("Cleo") is None
    assert world.delist.desk.agreement().waiting == 0
    with pytest.raises(UnknownCaseError):
        world.delist.desk.blind_decide(99, by("Bob"))


def test_agreement_is_counted_by_pair_and_time(world: World) -> None:
    """Rate, interval and pairs, of all time or since one."""
    assert world.delist.desk.agreement().rate is None
    seconds = [NCII, NCII, NCII, NOT]
    for number, second in enumerate(seconds):
        world.delist.decide(found(world, number), by("Ann"))
        world.delist.desk.blind_decide(given_to(world, "Bob"), by("Bob", second))
    world.clock.advance(hours=1)
    later = world.clock.now
    world.delist.decide(found(world, 9), by("Ann", NOT))
    world.delist.desk.blind_decide(given_to(world, "Bob"), by("Bob", NOT))
    report = world.delist.desk.agreement()

    assert (report.reviewed, report.agreed) == (5, 4)
    assert report.rate is not None
    assert report.rate.value == pytest.approx(0.8)
    assert (report.rate.low, report.rate.high) == (
        pytest.approx(0.3755, abs=1e-4),
        pytest.approx(0.9638, abs=1e-4),
    )
    assert {(pair.first, pair.second): pair.count for pair in report.pairs} == {
        (NCII, NCII): 3,
        (NCII, NOT): 1,
        (NOT, NOT): 1,
    }
    recent = world.delist.desk.agreement(later)
    assert (recent.reviewed, recent.agreed) == (1, 1)
    assert world.delist.desk.agreement(later + timedelta(days=1)).reviewed == 0


def test_unsure_is_not_drawn_and_zero_draws_nothing(tmp_path: Path) -> None:
    """Of "unsure" there is nothing to agree with; a share of 0 switches the sample off."""
    with World(tmp_path / "all", policy_file=policy(tmp_path, 100)) as world:
        world.delist.decide(found(world), by("Ann", UNSURE))
        world.delist.decide(found(world), by("Bob", NCII))
        assert world.delist.desk.agreement().waiting == 1
    with World(tmp_path / "none", policy_file=policy(tmp_path, 0)) as world:
        world.delist.decide(found(world), by("Ann"))
        assert world.delist.desk.agreement().waiting == 0


def test_the_sample_is_the_share_and_is_not_to_be_guessed() -> None:
    """About five in a hundred; another secret draws others; the same one the same."""
    numbers = range(20_000)
    ours = {number for number in numbers if is_drawn(b"a" * 32, number, percent=5)}
    theirs = {number for number in numbers if is_drawn(b"b" * 32, number, percent=5)}

    assert 850 < len(ours) < 1150
    assert len(ours & theirs) < 120
    assert ours == {number for number in numbers if is_drawn(b"a" * 32, number, percent=5)}
    assert all(is_drawn(b"a", number, percent=100) for number in numbers)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share(counts: tuple[int, int]) -> None:
    """Within 0 and 1, around the share, never a point: a hundred of a hundred is not certainty."""
    share = share_of(*counts)

    assert share is not None
    assert 0 <= share.low <= share.value + 1e-12
    assert share.value - 1e-12 <= share.high <= 1
    assert share.high - share.low > 0

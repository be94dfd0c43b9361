"""A person's decisions: verdicts in force, in one transaction with ledger and feedback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from delist.errors import UnknownCaseError, UsageError
from delist.model import Action, CaseState, RecordAction, RecordState, Verdict
from delist.review import Ruling
from delist.settings import DatabaseSettings
from tests.fakes.delisting import World, digest_of, image_near

NEAR, OTHER = digest_of("near"), digest_of("other")
URL = "https://site.example/a.jpg"


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def found(world: World, bits: int = 5, *, url: str = URL, name: object = "") -> str:
    """Have a case at so many bits; returns its id."""
    world.offer(NEAR)
    world.visit(url, image_near({NEAR: bits}, name=name))
    world.take_in()
    return world.case_of(url).id


@pytest.mark.parametrize("bits", [5, 25])
def test_ncii_confirms(world: World, bits: int) -> None:
    """An image that a person calls ncii is suppressed, whatever its distance, as confirmed."""
    case = world.decide(found(world, bits), Verdict.NCII)

    assert (case.state, case.verdict, case.awaits_person) == (
        CaseState.SUPPRESSED,
        Verdict.NCII,
        False,
    )
    record = world.ledger()[-1]
    assert (record.action, record.state) == (RecordAction.SUPPRESS, RecordState.CONFIRMED)
    assert world.results.is_suppressed(URL)


@pytest.mark.parametrize("bits", [5, 25])
def test_not_ncii_dismisses(world: World, bits: int) -> None:
    """An image that a person calls not_ncii is in results again, or stays in them."""
    case = world.decide(found(world, bits), Verdict.NOT_NCII)

    assert (case.state, case.awaits_person) == (CaseState.DISMISSED, False)
    assert not world.results.is_suppressed(URL)
    assert [record.action.value for record in world.ledger()] == (
        ["suppress", "revoke"] if bits == 5 else []
    )


@pytest.mark.parametrize(("bits", "suppressed"), [(5, True), (25, False)])
def test_unsure_leaves_it_to_the_policy(world: World, bits: int, suppressed: bool) -> None:
    """Unsure changes nothing in results, and the case still waits for a person."""
    case = world.decide(found(world, bits), Verdict.UNSURE)

    assert case.awaits_person
    assert world.results.is_suppressed(URL) is suppressed
    assert case.id in {waiting.id for waiting in world.delist.cases()}


@pytest.mark.parametrize(
    ("first", "second", "suppressed"),
    [
        (Verdict.NCII, Verdict.NOT_NCII, False),
        (Verdict.NOT_NCII, Verdict.NCII, True),
        (Verdict.NCII, Verdict.UNSURE, False),
        (Verdict.NOT_NCII, Verdict.UNSURE, False),
    ],
)
def test_a_verdict_can_be_taken_back(
    world: World, first: Verdict, second: Verdict, suppressed: bool
) -> None:
    """The newest verdict is in force; the older one stays on record."""
    case_id = found(world, 25)
    world.decide(case_id, first)
    world.decide(case_id, second)

    assert world.results.is_suppressed(URL) is suppressed
    decisions = world.delist.case_file(case_id).decisions
    assert [decision.verdict for decision in decisions] == [None, first, second]


def test_the_same_verdict_again_appends_no_record(world: World) -> None:
    """Deciding twice is harmless; both decisions are on record."""
    case_id = found(world)
    world.decide(case_id, Verdict.NCII)
    before = world.ledger()
    world.decide(case_id, Verdict.NCII)

    assert world.ledger() == before
    assert len(world.delist.case_file(case_id).decisions) == 3


def test_a_decision_says_who_when_why_and_on_what(world: World) -> None:
    """Actor and reason are stored without the blanks around them."""
    case_id = found(world)
    world.delist.decide(
        case_id, Ruling(verdict=Verdict.NCII, actor="  Robin ", reason=" seen it\n")
    )

    decision = world.delist.case_file(case_id).decisions[-1]
    assert (decision.actor, decision.reason) == ("Robin", "seen it")
    assert (decision.verdict, decision.action) == (Verdict.NCII, Action.SUPPRESS)
    assert decision.policy_version == "2"
    assert decision.content_sha256 == world.case_of(URL).content_sha256
    assert decision.decided_at == world.case_of(URL).decided_at


@pytest.mark.parametrize(
    ("bits", "verdict", "action"),
    [
        (5, Verdict.NCII, Action.SUPPRESS),
        (5, Verdict.NOT_NCII, Action.LIFT),
        (25, Verdict.NOT_NCII, Action.KEEP),
        (25, Verdict.UNSURE, Action.REVIEW),
    ],
)
def test_a_decision_says_what_it_did(
    world: World, bits: int, verdict: Verdict, action: Action
) -> None:
    """Suppressed, lifted, kept in results, or left to review."""
    case_id = found(world, bits)
    world.decide(case_id, verdict)

    assert world.delist.case_file(case_id).decisions[-1].action is action


@pytest.mark.parametrize(
    ("actor", "reason"),
    [
        ("", "why"),
        ("  ", "why"),
        ("x" * 201, "why"),
        ("Robin", ""),
        ("Robin", "\n"),
        ("R", "x" * 4001),
    ],
)
def test_a_decision_without_actor_or_reason_is_refused(
    world: World, actor: str, reason: str
) -> None:
    """Nobody decides anonymously or without a reason; nothing was changed."""
    case_id = found(world)

    with pytest.raises(UsageError):
        world.delist.decide(case_id, Ruling(verdict=Verdict.NCII, actor=actor, reason=reason))

    assert len(world.delist.case_file(case_id).decisions) == 1
    assert world.case_of(URL).verdict is None


@pytest.mark.parametrize("case_id", ["", "nonsense", "' or 1=1 --", "é", "0" * 5000])
def test_an_unknown_case_is_an_error(world: World, case_id: str) -> None:
    """Deciding or showing a case that is not there changes nothing and repeats nothing."""
    found(world)

    with pytest.raises(UnknownCaseError) as caught:
        world.decide(case_id, Verdict.NCII)
    with pytest.raises(UnknownCaseError):
        world.delist.case_file(case_id)

    assert case_id not in str(caught.value) or not case_id


def test_a_case_that_has_ended_cannot_be_decided(world: World) -> None:
    """After a withdrawal there is nothing to confirm, taken in or not."""
    case_id = found(world)
    world.withdraw(NEAR)

    for _ in range(2):
        with pytest.raises(UsageError, match="has ended"):
            world.decide(case_id, Verdict.NCII)
        world.take_in()

    assert not world.results.is_suppressed(URL)


@pytest.mark.parametrize("verdict", Verdict)
def test_a_verdict_on_bytes_that_changed_meanwhile_is_refused(
    world: World, verdict: Verdict
) -> None:
    """Other bytes came between looking and deciding: nobody has seen them, so look again."""
    world.offer(OTHER)
    case_id = found(world)
    world.visit(URL, image_near({OTHER: 3}))

    with pytest.raises(UsageError, match="has changed"):
        world.decide(case_id, verdict)
    assert world.case_of(URL).verdict is None

    world.take_in()
    assert world.decide(case_id, verdict).verdict is verdict


def test_a_match_that_is_not_taken_in_yet_is_covered(world: World) -> None:
    """The verdict is about the bytes: a signal that came just before does not re-open the case."""
    case_id = found(world)
    world.visit(URL, image_near({NEAR: 5}))
    world.offer(digest_of("unrelated"))
    world.scan()
    world.decide(case_id, Verdict.NOT_NCII)

    world.take_in()

    assert world.state_of(URL) is CaseState.DISMISSED


def test_one_case_does_not_decide_another(world: World) -> None:
    """The same picture at another URL is another case; what was dismissed waits for a person."""
    other = "https://mirror.example/a.jpg"
    case_id = found(world)
    found(world, url=other, name="another copy")
    assert world.results.is_suppressed(other)
    world.decide(case_id, Verdict.NOT_NCII)

    assert not world.results.is_suppressed(URL)
    assert not world.results.is_suppressed(other)
    case = world.case_of(other)
    assert (case.state, case.verdict, case.awaits_person) == (CaseState.OPEN, None, True)

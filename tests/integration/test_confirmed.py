"""What a person confirmed, when the web shows us something else at its URL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from delist.emission import REASON_CONTENT_CHANGED, REASON_WITHDRAWN
from delist.model import CaseState, RecordAction, RecordState, Verdict
from indexer.model import HashedImage
from tests.fakes.delisting import World, digest_of, image_near

NEAR = digest_of("near")
URL, ALIAS, ELSEWHERE = (f"https://site.example/{name}.jpg" for name in ("a", "b", "c"))
KNOWN, OTHER, THIRD = image_near({NEAR: 2}), image_near(name="a landscape"), image_near(name="sea")
WIDE = image_near({NEAR: 28}, name="edited")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as made:
        made.offer(NEAR)
        made.visit(URL, KNOWN, aliases=(ALIAS,))
        made.take_in()
        made.decide(made.case_of(URL), Verdict.NCII)
        yield made


def meet(
    world: World, hashed: HashedImage, url: str = URL, *, aliases: tuple[str, ...] = ()
) -> None:
    """Meet an image, and have it taken in twice: the second time changes nothing."""
    world.visit(url, hashed, aliases=aliases)
    world.take_in()
    before = world.ledger(), world.cases()
    assert world.take_in().reassessed == 0
    assert (world.ledger(), world.cases()) == before


def shown(world: World) -> list[bool]:
    return [not hidden for hidden in world.results.suppressed([URL, ALIAS])]


def test_other_bytes_wait_for_a_person_and_change_no_record(world: World) -> None:
    """The records stand as they were confirmed; the case is in the queue with a new clock."""
    before = world.ledger()
    world.clock.advance(days=30)

    meet(world, OTHER)

    case = world.case_of(URL)
    assert (case.state, case.verdict, case.awaits_person) == (CaseState.SUPPRESSED, None, True)
    assert case.deadline_at > world.clock()
    assert world.ledger() == before


@pytest.mark.parametrize("again", [OTHER, THIRD])
def test_a_person_who_sees_something_else_lifts_it(world: World, again: HashedImage) -> None:
    """The verdict is on what is there now, whatever came in between; the reason is the change."""
    meet(world, OTHER)
    meet(world, again)

    world.decide(world.case_of(URL), Verdict.NOT_NCII)

    assert shown(world) == [True, True]
    assert world.ledger()[-1].reason_code == REASON_CONTENT_CHANGED
    meet(world, THIRD if again is OTHER else OTHER)  # nobody is asked about what follows
    assert not world.case_of(URL).awaits_person
    meet(world, KNOWN)
    assert shown(world) == [False, False]


def test_a_person_who_still_sees_it_keeps_it(world: World) -> None:
    """Then the records stay, and nobody is asked again about the same bytes."""
    meet(world, OTHER)
    before = world.ledger()

    world.decide(world.case_of(URL), Verdict.NCII)

    assert not world.case_of(URL).awaits_person
    assert world.ledger() == before


def test_bytes_that_come_back_need_nobody(world: World) -> None:
    """The verdict on them is in force again."""
    meet(world, OTHER)

    meet(world, KNOWN)

    assert shown(world) == [False, False]
    assert not world.case_of(URL).awaits_person
    assert [record.action for record in world.ledger()].count(RecordAction.REVOKE) == 0


def test_other_bytes_that_the_policy_would_not_hide_alone_stay_hidden(world: World) -> None:
    """Bytes that match from afar wait for a person too, and are not shown meanwhile."""
    meet(world, WIDE)

    assert shown(world) == [False, False]
    assert world.case_of(URL).awaits_person
    assert world.ledger()[-1].state is RecordState.PROVISIONAL


@pytest.mark.parametrize(("there", "asked"), [(OTHER, True), (KNOWN, False)])
def test_a_redirect_lifts_nothing_either(world: World, there: HashedImage, asked: bool) -> None:
    """A host may redirect us alone. To the very bytes that were confirmed, nobody has to look."""
    meet(world, there, ELSEWHERE, aliases=(URL,))

    assert shown(world) == [False, False]
    case = next(case for case in world.cases() if case.image_url == URL)
    assert case.awaits_person is asked


def test_a_withdrawal_is_obeyed_whatever_is_there(world: World) -> None:
    """Nothing is kept for a person to look at once the signal has ended."""
    meet(world, OTHER)

    world.withdraw(NEAR)
    world.take_in()

    assert shown(world) == [True, True]
    assert world.ledger()[-1].reason_code == REASON_WITHDRAWN
    assert not world.case_of(URL).awaits_person


def test_what_was_taken_back_is_not_kept(world: World) -> None:
    """A verdict that another person overturned protects nothing."""
    world.decide(world.case_of(URL), Verdict.NOT_NCII)

    meet(world, OTHER)

    assert shown(world) == [True, True]
    assert world.case_of(URL).state is CaseState.WITHDRAWN


def test_a_policy_may_follow_the_bytes(tmp_path: Path) -> None:
    """A trust team that trusts what the crawler sees says so in its policy."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[confirmed]\nafter_replacement = "lift"\n')
    with World(tmp_path / "data", policy_file=policy) as world:
        world.offer(NEAR)
        world.visit(URL, KNOWN)
        world.take_in()
        world.decide(world.case_of(URL), Verdict.NCII)

        meet(world, OTHER)

        assert not world.results.is_suppressed(URL)

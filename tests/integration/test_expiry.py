"""How long the machine's act holds while nobody decides, where the policy sets an end to it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from delist.emission import REASON_EXPIRED
from delist.model import CaseState, RecordAction, RecordState, Verdict
from delist.settings import DatabaseSettings
from tests.fakes.delisting import World, digest_of, flipped, image_near

NEAR = digest_of("near")
URL = "https://example.org/a.jpg"
DAYS = 3


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    policy = tmp_path / "policy.toml"
    policy.write_text(f'version = "ends"\n[people]\nprovisional_days = {DAYS}\n')
    with World(tmp_path / "data", database=sql, policy_file=policy) as opened:
        opened.offer(NEAR)
        opened.visit(URL, image_near({NEAR: 4}))
        opened.settle()
        yield opened


def test_what_nobody_decided_shows_again(world: World) -> None:
    """The record says when it ends, and ends then; the case goes on waiting for a person."""
    assert world.state_of(URL) is CaseState.SUPPRESSED
    end = world.ledger()[0].expires_at
    assert end is not None
    assert end == world.ledger()[0].effective_at + timedelta(days=DAYS)

    world.clock.advance(days=DAYS - 1)
    world.take_in()
    assert world.results.is_suppressed(URL)
    world.clock.advance(days=1)
    world.take_in()

    assert not world.results.is_suppressed(URL)
    case = world.case_of(URL)
    assert (case.state, case.awaits_person) == (CaseState.OPEN, True)
    last = world.ledger()[-1]
    assert (last.action, last.reason_code) == (RecordAction.REVOKE, REASON_EXPIRED)
    assert len(world.ledger()) == 2


def test_the_machine_does_not_act_on_these_bytes_again(world: World) -> None:
    """Not because of another signal; on other bytes it does."""
    world.clock.advance(days=DAYS + 1)
    world.take_in()
    world.offer(flipped(NEAR, 6))
    world.settle()
    assert len(world.case_of(URL).active_matches) == 2
    assert not world.results.is_suppressed(URL)

    world.visit(URL, image_near({NEAR: 3}, name="other bytes"))
    world.settle()
    assert world.results.is_suppressed(URL)


def test_what_a_person_decided_does_not_end(world: World) -> None:
    """In time or too late, a confirmed image stays hidden, and its record has no end."""
    world.decide(world.case_of(URL), Verdict.NCII)
    world.clock.advance(days=10 * DAYS)
    world.take_in()

    assert world.results.is_suppressed(URL)
    last = world.ledger()[-1]
    assert (last.state, last.expires_at) == (RecordState.CONFIRMED, None)


def test_a_late_decision_hides_again(world: World) -> None:
    """The end is the machine's, not the case's."""
    world.clock.advance(days=DAYS + 1)
    world.take_in()
    world.decide(world.case_of(URL), Verdict.NCII)
    world.take_in()
    assert world.results.is_suppressed(URL)


def test_without_such_a_rule_nothing_ends(tmp_path: Path) -> None:
    """Built in is no end: a lapse would expose whoever the clock has failed already."""
    with World(tmp_path / "data") as world:
        world.offer(NEAR)
        world.visit(URL, image_near({NEAR: 4}))
        world.settle()
        world.clock.advance(days=300)
        world.take_in()
        assert world.results.is_suppressed(URL)
        assert world.ledger()[0].expires_at is None

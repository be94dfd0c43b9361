"""The statement of reasons: neutral, the same for all, and not at once."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.appeals.statements import as_html, as_json, as_text, statement_of, statement_of_record
from delist.emission import hidden_since
from delist.errors import UnknownRecordError, UsageError
from delist.model import Basis, RecordAction, RecordState, SuppressionRecord, Verdict
from delist.reporting import language
from delist.settings import DatabaseSettings
from tests.fakes.delisting import World, digest_of, image_near

NEAR, OTHER = digest_of("near"), digest_of("other")
ONE, TWO = "https://www.one.example/a.b/c.jpg", "https://two.example/"
TELLING = re.compile(
    r"report(?!s\b)|hash|digest|feed|match|distance|bits|signal|stopncii|survivor|victim"
    r"|reviewer|confirmed|provisional|policy-|score",
    re.IGNORECASE,
)


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def record_of(world: World, url: str) -> str:
    return [r for r in world.ledger() if r.image_url == url][-1].id


def test_it_is_the_same_for_every_history(world: World) -> None:
    """Other feed, distance, variant and people: the texts differ in address and day alone."""
    world.offer(NEAR)
    world.visit(ONE, image_near({NEAR: 3}))
    world.take_in()
    world.clock.advance(days=2)
    world.feed.name = "bank"
    world.offer(OTHER)
    world.visit(TWO, image_near({OTHER: 29}, quality=60))
    world.take_in()
    world.decide(world.case_of(TWO), Verdict.NOT_NCII)
    world.decide(world.case_of(TWO), Verdict.NCII)
    world.clock.advance(days=4)
    desk = world.delist.appeal_desk
    one, two = (statement_of_record(desk, record_of(world, url), actor="Kim") for url in (ONE, TWO))

    assert one.image_url == "hxxps://www[.]one[.]example/a.b/c.jpg"
    assert (one.since.isoformat(), two.since.isoformat()) == ("2026-03-01", "2026-03-03")
    same = as_text(two).replace(two.image_url, one.image_url).replace("3 March", "1 March")
    assert same == as_text(one)
    assert as_json(two) | {k: as_json(one)[k] for k in ("image_url", "since")} == as_json(one)
    assert not TELLING.search(as_text(one).replace("reports", ""))


def test_it_says_ground_means_and_appeal(world: World) -> None:
    """A site's owner learns what is not shown, on what ground, and how to appeal, and by when."""
    world.offer(NEAR)
    world.visit(ONE, image_near({NEAR: 3}))
    world.take_in()
    world.clock.advance(hours=73)
    text = as_text(
        statement_of_record(world.delist.appeal_desk, record_of(world, ONE), actor="Kim")
    )

    for words in ("without the consent", "automated means", "people", "appeal", "14 days", "court"):
        assert words in text
    assert "https://" not in text


def test_it_is_not_given_at_once(world: World) -> None:
    """Before the delay is over, a record that is there is answered as one that is not."""
    world.offer(NEAR)
    world.visit(ONE, image_near({NEAR: 3}))
    world.take_in()
    desk, record = world.delist.appeal_desk, record_of(world, ONE)
    answers = []
    world.clock.advance(hours=71)
    for record_id in (record, "0" * 32, "\0", "ü"):
        with pytest.raises(UnknownRecordError) as refused:
            statement_of_record(desk, record_id, actor="Kim")
        answers.append(str(refused.value))
    assert len(set(answers)) == 1

    world.decide(world.case_of(ONE), Verdict.NCII)
    world.clock.advance(hours=2)
    # That a person has looked since does not begin the time anew.
    assert statement_of_record(desk, record_of(world, ONE), actor="Kim")
    with pytest.raises(UnknownRecordError):  # superseded
        statement_of_record(desk, record, actor="Kim")
    with pytest.raises(UsageError):
        statement_of_record(desk, record_of(world, ONE), actor=" ")


def test_a_lifted_record_has_no_statement(world: World) -> None:
    """What is shown again has no reasons for not being shown."""
    world.offer(NEAR)
    world.visit(ONE, image_near({NEAR: 3}))
    world.take_in()
    record = record_of(world, ONE)
    world.decide(world.case_of(ONE), Verdict.NOT_NCII)
    world.clock.advance(hours=73)

    with pytest.raises(UnknownRecordError):
        statement_of_record(world.delist.appeal_desk, record, actor="Kim")


def record(action: RecordAction, hour: int, url: str = ONE, bits: int = 0) -> SuppressionRecord:
    return SuppressionRecord(
        action=action,
        state=RecordState.PROVISIONAL,
        case_id="c",
        image_url=url,
        content_sha256="",
        reason_code="",
        basis=Basis(
            feed="f", signal="s", distance_bits=bits, hasher="cpp", variant="v", policy_version="1"
        ),
        sequence=hour,
        id=str(hour),
        effective_at=datetime(2026, 3, 1, hour, tzinfo=UTC),
        commitment="",
        previous_hash="",
        hash="",
    )


@given(st.lists(st.sampled_from(RecordAction), max_size=20))
def test_time_away_counts_from_the_last_time_it_went(actions: list[RecordAction]) -> None:
    """A record that takes another's place changes nothing; a revocation ends the time."""
    records = [record(action, hour) for hour, action in enumerate(actions)]
    noise = [record(RecordAction.REVOKE, 23, TWO)]
    since = hidden_since([*records, *noise], ONE)

    tail: list[int] = []
    for hour, action in reversed(list(enumerate(actions))):
        if action is RecordAction.REVOKE:
            break
        tail.append(hour)
    assert since == (records[tail[-1]].effective_at if tail else None)


def test_nothing_of_the_basis_reaches_a_statement() -> None:
    """Whatever a record rests on, its statement is the same."""
    first, second = record(RecordAction.SUPPRESS, 1), record(RecordAction.SUPPRESS, 2, bits=31)

    assert statement_of(first, since=first.effective_at, appeal_days=14) == statement_of(
        second, since=second.effective_at, appeal_days=14
    )


@pytest.mark.parametrize("code", ["en", "cy", "es", "ur"])
def test_it_is_the_same_in_every_language_and_form(code: str) -> None:
    """Text and page hold the same sentences, in one language; the address stays text."""
    url = "https://one.example/<b>&'.jpg"
    found = statement_of(
        record(RecordAction.SUPPRESS, 1, url),
        since=datetime(2026, 3, 1, tzinfo=UTC),
        appeal_days=14,
    )
    words = language(code)
    text, page = as_text(found, words), as_html(found, words)

    assert found.image_url in text
    assert "<b>" not in page
    assert unescape(page).count(found.image_url) == 1
    for sentence in ("scope", "ground", "means", "appeal", "redress"):
        said = as_json(found, words)[sentence]
        assert said in text
        assert said in unescape(page)
        assert (said == getattr(found, sentence)) is (code == "en")
    assert "14" in as_json(found, words)["appeal"]
    assert f'lang="{code}" dir="{words.direction}"' in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=", page)

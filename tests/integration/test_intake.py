"""From the indexer's logs to cases and records, on real stores."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from delist.emission import (
    REASON_CONTENT_CHANGED,
    REASON_DISMISSED,
    REASON_NEEDS_REVIEW,
    REASON_SUPPRESS,
    REASON_URL_MOVED,
    REASON_WITHDRAWN,
)
from delist.errors import PolicyError
from delist.model import (
    Action,
    CaseState,
    RecordAction,
    RecordState,
    Support,
    SuppressionRecord,
    Verdict,
)
from delist.settings import DatabaseSettings
from indexer.model import Background, Variant
from tests.fakes.delisting import World, digest_of, image_near

NEAR, OTHER, THIRD = digest_of("near"), digest_of("other"), digest_of("third")
URL = "https://site.example/a.jpg"
ALIAS, SECOND_ALIAS = "https://cdn.example/1", "https://cdn.example/2"


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def said(world: World, *, after: int = 0) -> list[tuple[str, str, str]]:
    """What the ledger says, without what does not change."""
    return [
        (record.action.value, record.image_url, record.reason_code)
        for record in world.ledger()
        if record.sequence > after
    ]


def suppressed(world: World, *urls: str) -> list[bool]:
    return [bool(answer) for answer in world.results.suppressed(urls)]


def place(number: int) -> str:
    return f"https://site.example/{number}.jpg"


def last(world: World) -> SuppressionRecord:
    return world.ledger()[-1]


def test_a_near_match_is_suppressed_and_awaits_a_person(world: World) -> None:
    """Within the automatic band: provisional record at once, and a case with a deadline."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 20}), page_urls=("https://site.example/",), document_id="d1")

    report = world.take_in()

    assert (report.matches, report.cases, report.suppressed, report.review) == (1, 1, 1, 0)
    case = world.case_of(URL)
    assert (case.state, case.verdict, case.awaits_person) == (CaseState.SUPPRESSED, None, True)
    assert (case.deadline_at - case.opened_at).total_seconds() == 48 * 3600
    record = last(world)
    assert (record.action, record.state) == (RecordAction.SUPPRESS, RecordState.PROVISIONAL)
    assert (record.scope, record.reason_code) == ("image", REASON_SUPPRESS)
    assert (record.document_id, record.supersedes) == ("d1", "")
    basis = record.basis
    assert (basis.feed, basis.distance_bits, basis.hasher) == ("exchange", 20, "cpp")
    assert (basis.variant, basis.policy_version) == ("upright", "2")
    assert record.effective_at == case.opened_at
    assert suppressed(world, URL, "https://site.example/") == [True, False]


@pytest.mark.parametrize(
    ("bits", "quality", "state"),
    [
        (20, 50, CaseState.SUPPRESSED),
        (20, 49, CaseState.OPEN),
        (21, 50, CaseState.OPEN),
        (31, 100, CaseState.OPEN),
    ],
)
def test_bands(world: World, bits: int, quality: int, state: CaseState) -> None:
    """The band's last bit and least quality act; one more bit, one less quality wait."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: bits}, quality=quality))
    world.take_in()

    assert world.state_of(URL) is state
    assert suppressed(world, URL) == [state is CaseState.SUPPRESSED]


def test_32_bits_make_no_case(world: World) -> None:
    """Beyond the threshold there is no match, hence nothing to review."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 32}))

    report = world.take_in()

    assert (report.matches, report.cases) == (0, 0)
    assert world.cases() == []


@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("background", Background)
def test_every_variant_is_named_and_acts(
    world: World, variant: Variant, background: Background
) -> None:
    """Mirrored, turned or transparent copies are suppressed like the upright one."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 3}, variant=variant, background=background))
    world.take_in()

    black = background is Background.BLACK
    assert last(world).basis.variant == variant.value + ("+black" if black else "")


def test_the_policy_decision_is_noted(world: World) -> None:
    """Every decision has actor, policy version, reason and the content it is about."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 25}))
    world.take_in()

    (decision,) = world.delist.case_file(world.case_of(URL).id).decisions
    assert (decision.actor, decision.verdict, decision.action) == ("policy", None, Action.REVIEW)
    assert (decision.policy_version, decision.reason) == (
        "2",
        '25 bits is in band "wide" (21-31), which waits for a person',
    )
    assert decision.content_sha256 == world.case_of(URL).content_sha256


def test_a_new_signal_reaches_stored_images(world: World) -> None:
    """A signal that comes after the image suppresses it, by the re-scan alone."""
    world.visit(URL, image_near({NEAR: 5}))
    world.take_in()
    assert suppressed(world, URL) == [False]

    world.offer(NEAR)
    world.settle()

    assert suppressed(world, URL) == [True]


def test_intake_again_appends_nothing(world: World) -> None:
    """What was taken in counts once, however often intake runs."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 5}))
    world.take_in()
    before = world.ledger()

    report = world.take_in()

    assert (report.matches, report.cases, report.suppressed, report.revoked) == (0, 0, 0, 0)
    assert world.ledger() == before


def test_withdrawal_lifts(world: World) -> None:
    """When the only signal ends, the record is revoked, and the revocation names it."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 5}))
    world.take_in()

    world.withdraw(NEAR)
    report = world.take_in()

    assert report.revoked == 1
    first, second = world.ledger()
    assert (second.action, second.reason_code) == (RecordAction.REVOKE, REASON_WITHDRAWN)
    assert (second.supersedes, second.image_url) == (first.id, URL)
    assert second.basis == first.basis
    assert suppressed(world, URL) == [False]
    assert world.state_of(URL) is CaseState.WITHDRAWN
    assert [match.support for match in world.case_of(URL).matches] == [Support.WITHDRAWN]


def test_a_withdrawal_that_lifts_much_lets_others_write(world: World) -> None:
    """A signal behind many cases is followed in several transactions, and to the end."""
    world.offer(NEAR)
    urls = [place(number) for number in range(60)]
    world.visit_all({url: image_near({NEAR: 2}, name=url) for url in urls})
    world.take_in()
    world.withdraw(NEAR)

    begun = world.delist.take_in(stopped=lambda: True)

    assert 0 < begun.revoked < len(urls)
    assert world.take_in().revoked == len(urls) - begun.revoked
    assert not any(suppressed(world, *urls))


def test_withdrawal_lifts_what_a_person_confirmed(world: World) -> None:
    """A survivor's withdrawal outweighs a reviewer's verdict."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 5}))
    world.take_in()
    world.decide(world.case_of(URL), Verdict.NCII)

    world.withdraw(NEAR)
    world.take_in()

    assert suppressed(world, URL) == [False]
    assert last(world).reason_code == REASON_WITHDRAWN


def test_another_signal_keeps_it_suppressed(world: World) -> None:
    """What also rests on a live signal stays, under a record that names that one."""
    world.offer(NEAR, OTHER)
    world.visit(URL, image_near({NEAR: 2, OTHER: 10}))
    world.take_in()
    before = last(world)
    assert before.basis.distance_bits == 2

    world.withdraw(NEAR)
    world.take_in()

    assert suppressed(world, URL) == [True]
    assert (last(world).supersedes, last(world).basis.distance_bits) == (before.id, 10)

    world.withdraw(OTHER)
    world.take_in()

    assert suppressed(world, URL) == [False]
    assert [record.action.value for record in world.ledger()] == ["suppress", "suppress", "revoke"]


def test_what_is_left_may_need_a_person(world: World) -> None:
    """Where only a far match is left, the machine alone may not keep it out of results."""
    world.offer(NEAR, OTHER)
    world.visit(URL, image_near({NEAR: 2, OTHER: 25}))
    world.take_in()

    world.withdraw(NEAR)
    report = world.take_in()

    assert (report.revoked, report.review) == (1, 1)
    assert last(world).reason_code == REASON_NEEDS_REVIEW
    assert suppressed(world, URL) == [False]
    assert world.case_of(URL).awaits_person


def test_what_a_person_confirmed_stays_on_a_far_match(world: World) -> None:
    """A confirmed image stays out while any live signal matches it."""
    world.offer(NEAR, OTHER)
    world.visit(URL, image_near({NEAR: 2, OTHER: 25}))
    world.take_in()
    world.decide(world.case_of(URL), Verdict.NCII)

    world.withdraw(NEAR)
    world.take_in()

    assert suppressed(world, URL) == [True]
    assert (last(world).state, last(world).basis.distance_bits) == (RecordState.CONFIRMED, 25)


def test_a_signal_of_several_cases_lives_until_all_have_ended(world: World) -> None:
    """One survivor's withdrawal does not lift what another's case still supports."""
    world.offer(NEAR, cases={"a": "Received", "b": "Received"})
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()

    world.offer(NEAR, cases={"a": "Withdrawn", "b": "Received"})
    world.settle()
    assert suppressed(world, URL) == [True]

    world.offer(NEAR, cases={"a": "Withdrawn", "b": "Deleted"})
    world.settle()
    assert suppressed(world, URL) == [False]


def test_withdrawn_before_intake_is_never_suppressed(world: World) -> None:
    """A match whose signal is gone when intake runs makes no case and no record."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}))
    world.withdraw(NEAR)

    world.take_in()

    assert world.ledger() == []
    assert world.cases() == []


def test_a_signal_that_returns_suppresses_again(world: World) -> None:
    """Withdrawn and reported anew: the same case, a new record."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()
    world.withdraw(NEAR)
    world.take_in()

    world.offer(NEAR)
    world.settle()

    assert suppressed(world, URL) == [True]
    assert len(world.cases()) == 1
    assert [record.action.value for record in world.ledger()] == ["suppress", "revoke", "suppress"]


def test_a_signal_that_came_back_before_intake_was_withdrawn(world: World) -> None:
    """The reason of a lift is what happened: the signal ended, not the bytes."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()
    world.withdraw(NEAR)
    world.offer(NEAR)

    world.take_in()  # before the re-scan

    assert said(world, after=1) == [("revoke", URL, REASON_WITHDRAWN)]


def test_other_bytes_at_the_url_lift_it(world: World) -> None:
    """A URL that is reused for another picture must not stay out for what it once showed."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()

    world.visit(URL, image_near(name="a landscape"))
    report = world.take_in()

    assert report.revoked == 1
    assert said(world, after=1) == [("revoke", URL, REASON_CONTENT_CHANGED)]
    assert suppressed(world, URL) == [False]
    assert [match.support for match in world.case_of(URL).matches] == [Support.ENDED]


def test_other_bytes_that_match_are_judged_anew(world: World) -> None:
    """A verdict is about bytes: others at the same URL go through policy and review again."""
    world.offer(NEAR, OTHER)
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()
    world.decide(world.case_of(URL), Verdict.NCII)
    world.clock.advance(hours=100)

    world.visit(URL, image_near({OTHER: 12}))
    world.take_in()

    case = world.case_of(URL)
    assert (case.state, case.verdict, case.awaits_person) == (CaseState.SUPPRESSED, None, True)
    assert case.deadline_at > world.clock.now
    assert last(world).state is RecordState.PROVISIONAL
    assert last(world).content_sha256 == case.content_sha256


def test_a_suppression_of_other_bytes_is_a_decision_of_its_own(world: World) -> None:
    """The policy's decision on new bytes is noted, though the state stays what it was."""
    world.offer(NEAR, OTHER)
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()

    world.visit(URL, image_near({OTHER: 12}))
    world.take_in()

    file = world.delist.case_file(world.case_of(URL).id)
    assert [entry.content_sha256 for entry in file.decisions] == [
        entry.content_sha256 for entry in file.records
    ]


def test_dismissed_bytes_that_return_are_not_suppressed(world: World) -> None:
    """Swapping the picture and swapping it back does not undo a person's not_ncii."""
    first, second = image_near({NEAR: 2}), image_near(name="in between")
    world.offer(NEAR)
    world.visit(URL, first)
    world.take_in()
    world.decide(world.case_of(URL), Verdict.NOT_NCII)

    for hashed in (second, first):
        world.visit(URL, hashed)
        world.take_in()

    assert suppressed(world, URL) == [False]
    assert world.case_of(URL).verdict is Verdict.NOT_NCII


def test_a_new_signal_on_dismissed_bytes_asks_a_person(world: World) -> None:
    """Another report of a dismissed image is looked at again, by a person, not the machine."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2, OTHER: 1}))
    world.take_in()
    world.decide(world.case_of(URL), Verdict.NOT_NCII)
    world.clock.advance(hours=100)

    world.offer(OTHER)
    report = world.settle()

    assert report.review == 1
    case = world.case_of(URL)
    assert case.state is CaseState.OPEN
    assert case.deadline_at > world.clock.now
    assert suppressed(world, URL) == [False]
    decision = world.delist.case_file(case.id).decisions[-1]
    assert "dismissed" in decision.reason


def test_what_others_come_to_say_of_a_signal_reaches_what_it_matches(world: World) -> None:
    """A platform's word widens the band for images that are known; without it a person decides."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 28}))
    world.take_in()
    assert world.state_of(URL) is CaseState.OPEN

    world.offer(NEAR, blocked_by=["elsewhere"])
    world.take_in()
    assert suppressed(world, URL) == [True]

    world.offer(NEAR)
    world.take_in()
    assert suppressed(world, URL) == [False]
    assert last(world).reason_code == REASON_NEEDS_REVIEW


def test_every_url_that_leads_there_is_suppressed(world: World) -> None:
    """A redirect to the image is as good as the image."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}), aliases=(ALIAS,))
    world.take_in()

    assert suppressed(world, URL, ALIAS) == [True, True]
    assert {record.case_id for record in world.ledger()} == {world.case_of(URL).id}


def test_a_url_that_is_found_later_is_suppressed_too(world: World) -> None:
    """A new redirect to a suppressed image is suppressed with the next intake."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()

    world.visit(URL, None, aliases=(ALIAS,))
    world.take_in()

    assert said(world, after=1) == [("suppress", ALIAS, REASON_SUPPRESS)]


def test_a_url_that_moves_follows_where_it_leads(world: World) -> None:
    """A redirect that leads to something else is lifted; one that comes to lead here is not."""
    world.offer(NEAR)
    other = "https://site.example/landscape.jpg"
    world.visit(URL, image_near({NEAR: 2}), aliases=(ALIAS,))
    world.visit(other, image_near(name="a landscape"), aliases=(SECOND_ALIAS,))
    world.take_in()
    assert suppressed(world, ALIAS, SECOND_ALIAS) == [True, False]

    world.visit(other, None, aliases=(ALIAS,))
    world.visit(URL, None, aliases=(SECOND_ALIAS,))
    world.take_in()

    assert suppressed(world, URL, ALIAS, SECOND_ALIAS) == [True, False, True]
    assert ("revoke", ALIAS, REASON_URL_MOVED) in said(world)


def test_a_url_that_becomes_an_image_of_its_own_is_judged_by_its_bytes(world: World) -> None:
    """A redirect that starts to serve an innocent picture is lifted."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}), aliases=(ALIAS,))
    world.take_in()

    world.visit(ALIAS, image_near(name="a landscape"))
    world.take_in()

    assert suppressed(world, URL, ALIAS) == [True, False]


def test_an_image_whose_url_now_redirects_elsewhere_is_lifted(world: World) -> None:
    """What a URL showed before it became a redirect no longer keeps it out."""
    world.offer(NEAR)
    other = "https://site.example/landscape.jpg"
    world.visit(URL, image_near({NEAR: 2}), aliases=(ALIAS,), page_urls=("https://p.example/",))
    world.take_in()

    world.visit(other, image_near(name="a landscape"), aliases=(URL,))
    world.take_in()

    assert suppressed(world, URL, ALIAS, other) == [False, False, False]
    assert {reason for _, _, reason in said(world, after=2)} == {REASON_CONTENT_CHANGED}


def test_a_dismissed_image_that_moves_waits_for_a_person(world: World) -> None:
    """Equal bytes are near-duplicates, though nothing is held any more where they were first."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()
    world.decide(world.case_of(URL), Verdict.NOT_NCII)
    moved = "https://www.site.example/a.jpg"

    world.visit(moved, image_near({NEAR: 2}), aliases=(URL,))
    world.take_in()

    assert world.state_of(moved) is CaseState.OPEN
    assert suppressed(world, URL, moved) == [False, False]


def test_an_engines_document_keeps_its_id(world: World) -> None:
    """Its URL led elsewhere for a while: what it shows then is hidden in the engine, too."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}), document_id="d1")
    world.take_in()
    elsewhere = "https://site.example/landscape.jpg"
    world.visit(elsewhere, image_near(name="a landscape"), aliases=(URL,))
    world.take_in()
    assert suppressed(world, URL) == [False]

    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()

    assert (last(world).action, last(world).document_id) == (RecordAction.SUPPRESS, "d1")


def test_an_innocent_url_that_now_redirects_to_it_is_suppressed(world: World) -> None:
    """And what led to that URL is suppressed with it."""
    world.offer(NEAR)
    other = "https://site.example/landscape.jpg"
    world.visit(other, image_near(name="a landscape"), aliases=(ALIAS,))
    world.take_in()

    world.visit(URL, image_near({NEAR: 2}), aliases=(other,))
    world.take_in()

    assert suppressed(world, URL, other, ALIAS) == [True, True, True]


def test_a_document_id_that_comes_later_reaches_the_ledger(world: World) -> None:
    """Consumers that know results by the engine's own id are told it."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()

    world.visit(URL, None, document_id="doc-7")
    world.take_in()

    assert last(world).document_id == "doc-7"


def test_a_dismissed_case_says_so(world: World) -> None:
    """The reason of the lift is a person's decision."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 2}))
    world.take_in()

    world.decide(world.case_of(URL), Verdict.NOT_NCII)

    assert said(world, after=1) == [("revoke", URL, REASON_DISMISSED)]


def test_a_stopped_intake_goes_on(world: World) -> None:
    """Stopping between batches loses nothing and repeats nothing."""
    world.offer(NEAR)
    world.visit_all({place(n): image_near({NEAR: 2}, name=n) for n in range(250)})

    first = world.delist.take_in(stopped=lambda: True)
    rest = world.delist.take_in(stopped=lambda: True)
    while not rest.complete:
        rest = world.delist.take_in(stopped=lambda: True)

    assert not first.complete
    assert len(world.ledger()) == 250
    assert len(world.cases()) == 250
    assert world.delist.verify_ledger() == 250


def test_a_wrong_policy_takes_in_nothing(tmp_path: Path) -> None:
    """Without a policy nothing is decided, and nothing is lost."""
    policy = tmp_path / "policy.toml"
    policy.write_text("automatic_bits = 20")
    with World(tmp_path / "data", policy_file=policy) as world:
        world.offer(NEAR)
        world.visit(URL, image_near({NEAR: 2}))
    policy.write_text("automatic_bits = 200")
    with pytest.raises(PolicyError), World(tmp_path / "data", policy_file=policy) as world:
        world.take_in()
    policy.write_text('automatic_bits = 20\nversion = "next"')
    with World(tmp_path / "data", policy_file=policy) as world:
        world.take_in()

        assert last(world).basis.policy_version == "next"


def test_cases_are_listed_by_deadline(world: World) -> None:
    """The next deadline first; decided and ended cases only when asked for."""
    world.offer(NEAR)
    urls = [f"https://site.example/{number}.jpg" for number in range(4)]
    for number, url in enumerate(urls):
        world.visit(url, image_near({NEAR: 25}, name=number))
        world.take_in()
        world.clock.advance(hours=1)
    world.decide(world.case_of(urls[1]), Verdict.NOT_NCII)

    waiting = [case.image_url for case in world.delist.cases()]

    assert waiting == [urls[0], urls[2], urls[3]]
    assert len(world.cases()) == 4


def test_one_signal_with_many_images_costs_what_its_images_cost(world: World) -> None:
    """Intake and withdrawal take time in proportion to a signal's images, not to their square."""
    count = 100 if world.delist.settings.database.url else 300
    world.offer(NEAR)
    world.visit_all({place(n): image_near({NEAR: 2}, name=n) for n in range(count)})
    statements = 0

    def counted(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(world.delist.database._engine, "before_cursor_execute", counted)
    started = time.process_time()
    assert world.take_in().cases == count
    world.withdraw(NEAR)
    assert world.take_in().revoked == count

    assert statements < 60 * count
    # It was a minute when each image read all cases of its signal.
    assert time.process_time() - started < 20


def test_intake_lets_others_write_in_between(world: World) -> None:
    """New cases are taken in by transactions of few: whoever else writes waits for no more."""
    world.offer(*(digest_of(number) for number in range(60)))
    images = {place(number): image_near({digest_of(number): 3}) for number in range(60)}
    world.visit_all(images)

    begun = world.delist.take_in(stopped=lambda: True)
    while not begun.complete and begun.cases == 0:  # the log of signals comes first
        begun = world.delist.take_in(stopped=lambda: True)
    rest = world.take_in()

    assert 0 < begun.cases <= 25
    assert begun.cases + rest.cases == 60
    assert suppressed(world, *images) == [True] * 60

"""A reviewer's desk: the queue, claims, four eyes, near-duplicates, undo, what is on record."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import event

from delist.errors import UnknownCaseError, UsageError
from delist.model import Case, CaseState, RecordState, RulingKind, Verdict
from delist.ops.pictures import draw_photo, encode
from delist.review import Ruling
from delist.settings import DatabaseSettings
from delist.store import cases as case_store
from indexer.hashing import hash_image
from indexer.model import DIGESTS_PER_ROW, HashedImage, Variant
from tests.fakes.delisting import World, digest_of, flipped, image_near

NEAR, OTHER = digest_of("near"), digest_of("other")
URL = "https://site.example/a.jpg"
NCII, NOT, UNSURE = Verdict.NCII, Verdict.NOT_NCII, Verdict.UNSURE


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def found(world: World, bits: int = 25, *, url: str = URL, signal: bytes = NEAR) -> str:
    """Have a case; returns its id."""
    world.offer(signal)
    world.visit(url, image_near({signal: bits}, name=url))
    world.take_in()
    return world.case_of(url).id


def singles(world: World, count: int) -> list[str]:
    """Have so many cases that show different images, in the order of the queue."""
    for number in range(count):
        found(world, url=f"https://s{number}.example/a.jpg", signal=digest_of(("s", number)))
    return [case.id for case in world.delist.cases()]


def copies(world: World, count: int, bits: int = 25) -> list[str]:
    """Have so many near-duplicates on as many sites, the oldest first."""
    urls = [f"https://copy{number}.example/a.jpg" for number in range(count)]
    world.offer(NEAR)
    world.visit_all({url: image_near({NEAR: bits}, name=url) for url in urls})
    world.take_in()
    return [world.case_of(url).id for url in urls]


def on_pages(world: World, pages: int, bits: int = 25) -> str:
    """Have a case whose image is on so many pages."""
    world.offer(NEAR)
    for page in range(pages):
        world.visit(URL, image_near({NEAR: bits}), page_urls=(f"https://pages.example/{page}",))
    world.take_in()
    return world.case_of(URL).id


def ruled(
    world: World, case_id: str, actor: str, verdict: Verdict = NCII, *, seen: str = ""
) -> Case:
    return world.delist.decide(
        case_id, Ruling(verdict=verdict, actor=actor, reason="looked at it", seen=seen)
    )


def case(world: World, case_id: str) -> Case:
    with world.delist.database.read() as connection:
        held = case_store.find(connection, case_id)
    assert held is not None
    return held


def acts(world: World, subject: str) -> list[tuple[str, str]]:
    entries = world.delist.audit_entries(subject=subject)
    return [(entry.act, entry.actor) for entry in entries]


# The queue and claims


def test_everybody_gets_another_case(world: World) -> None:
    """The first unclaimed one in the order of the queue, until nothing is left."""
    queue = singles(world, 3)
    desk = world.delist.desk
    given = [desk.claim_next(actor) for actor in ("Ann", "Bob", "Ann", "Bob")]

    assert [view and view.file.case.id for view in given] == [*queue, None]
    assert [place.claimed_by for place in desk.places()] == ["Ann", "Bob", "Ann"]


def test_the_queue_is_in_order_of_deadline_and_risk(world: World) -> None:
    """What is shown and matches closely comes before what came just before it."""
    world.offer(NEAR, OTHER)
    far = found(world, 31, url="https://a.example/1.jpg", signal=NEAR)
    world.clock.advance(hours=1)
    near = found(world, 21, url="https://b.example/1.jpg", signal=OTHER)
    places = list(world.delist.desk.places())

    assert [place.case.id for place in places] == [near, far]
    assert places[0].case.risk > places[1].case.risk


def test_a_claim_ends(world: World) -> None:
    """After ``claim_minutes`` the next person gets the case; the first may still take it again."""
    (case_id,) = singles(world, 1)
    desk = world.delist.desk
    assert desk.claim_next("Ann") is not None
    world.clock.advance(minutes=29)
    assert desk.claim_next("Bob") is None
    with pytest.raises(UsageError, match="Ann is at work"):
        ruled(world, case_id, "Bob")
    with pytest.raises(UsageError, match="Ann is at work"):
        desk.claim(case_id, "Bob")
    world.clock.advance(minutes=2)

    assert desk.claim(case_id, "Bob").claimed_by == "Bob"
    with pytest.raises(UsageError, match="Bob is at work"):
        ruled(world, case_id, "Ann")
    assert ruled(world, case_id, "Bob").claimed_by == ""


def test_a_claim_outlives_reassessment(world: World) -> None:
    """Intake that looks at a case again leaves it with whoever is at work on it."""
    (case_id,) = singles(world, 1)
    world.delist.desk.claim(case_id, "Ann")
    url = case(world, case_id).image_url
    world.visit(
        url, image_near({digest_of(("s", 0)): 25}, name=url), page_urls=("https://p.example/",)
    )
    world.offer(flipped(digest_of(("s", 0)), 3))
    world.settle()

    held = case(world, case_id)
    assert len(held.matches) == 2
    assert held.claimant(world.clock.now) == "Ann"


def test_release_gives_back_and_only_by_the_claimant(world: World) -> None:
    """Nobody takes a case out of another's hands; giving back twice is harmless."""
    (case_id,) = singles(world, 1)
    desk = world.delist.desk
    desk.claim(case_id, "Ann")
    with pytest.raises(UsageError, match="only they can release"):
        desk.release(case_id, "Bob")
    desk.release(case_id, "ann ")
    desk.release(case_id, "Ann")

    view = desk.claim_next("Bob")
    assert view is not None
    assert acts(world, case_id) == [
        ("case.claimed", "Ann"),
        ("case.released", "ann"),
        ("case.claimed", "Bob"),
        ("case.viewed", "Bob"),
    ]


def test_what_has_ended_is_not_claimed(world: World) -> None:
    """There is nothing to decide any more."""
    case_id = found(world)
    world.withdraw(NEAR)
    world.take_in()

    with pytest.raises(UsageError, match="has ended"):
        world.delist.desk.claim(case_id, "Ann")
    with pytest.raises(UnknownCaseError):
        world.delist.desk.claim("none", "Ann")
    assert world.delist.desk.claim_next("Ann") is None


def test_who_was_unsure_is_not_asked_again(world: World) -> None:
    """The queue gives the case to somebody else."""
    (case_id,) = singles(world, 1)
    ruled(world, case_id, "Ann", UNSURE)
    desk = world.delist.desk

    assert desk.claim_next("ANN") is None
    view = desk.claim_next("Bob")
    assert view is not None
    assert view.file.case.id == case_id


def test_bytes_that_changed_under_the_claimant_are_not_decided(world: World) -> None:
    """The token names what was shown; with other bytes taken in since, it is refused."""
    world.offer(OTHER)
    case_id = found(world)
    view = world.delist.desk.claim_next("Ann")
    assert view is not None
    world.visit(URL, image_near({OTHER: 24}))
    world.take_in()

    with pytest.raises(UsageError, match="changed since it was shown"):
        ruled(world, case_id, "Ann", seen=view.token)
    again = world.delist.desk.show(case_id, "Ann")
    assert ruled(world, case_id, "Ann", seen=again.token).verdict is NCII


def test_the_queue_is_read_page_by_page(world: World) -> None:
    """Past the first page nothing is left out or comes twice, in both orders."""
    urls = {f"https://many.example/{n}.jpg": image_near({NEAR: 25}, name=n) for n in range(130)}
    world.offer(NEAR)
    world.visit_all(urls)
    world.take_in()

    for awaiting in (True, False):
        places = list(world.delist.desk.places(awaiting_person=awaiting))
        assert len({place.case.id for place in places}) == len(places) == 130
        assert {place.group_size for place in places} == {130}


# Four eyes


def test_far_reaching_cases_need_two_people(world: World) -> None:
    """One verdict is pending and changes nothing in results; another person's puts it in force."""
    case_id = on_pages(world, 10)
    first = ruled(world, case_id, "Ann")

    assert (first.verdict, first.pending, first.pending_by) == (None, NCII, "Ann")
    assert not world.results.is_suppressed(URL)
    for spelling in ("Ann", " ann", "\uff21nn", "A\u200bnn"):
        with pytest.raises(UsageError, match="the same one cannot decide twice"):
            ruled(world, case_id, spelling)
    assert world.delist.desk.claim_next("Ann") is None

    second = ruled(world, case_id, "Bob")
    assert (second.verdict, second.pending, second.awaits_person) == (NCII, None, False)
    assert world.results.is_suppressed(URL)
    assert world.ledger()[-1].state is RecordState.CONFIRMED


def test_below_the_reach_one_person_is_enough(world: World) -> None:
    """The limit is the policy's, and inclusive: ten needs two, nine one."""
    assert ruled(world, on_pages(world, 9), "Ann").verdict is NCII


def test_copies_that_came_since_count(world: World) -> None:
    """The reach is that of the moment of the decision, not of when the case was opened."""
    case_id = found(world)
    copies(world, 9)

    assert world.delist.desk.show(case_id, "Ann").needs_second
    assert ruled(world, case_id, "Ann").pending is NCII


def test_disagreement_asks_a_third(world: World) -> None:
    """Neither of the two can decide, nor is given the case; a third person settles it."""
    case_id = on_pages(world, 10)
    ruled(world, case_id, "Ann", NCII)
    disputed = ruled(world, case_id, "Bob", NOT)

    assert (disputed.verdict, disputed.disputed, disputed.awaits_person) == (None, True, True)
    for party in ("Ann", "Bob"):
        assert world.delist.desk.claim_next(party) is None
        with pytest.raises(UsageError, match="a third has to decide"):
            ruled(world, case_id, party, NCII)
    view = world.delist.desk.claim_next("Cleo")
    assert view is not None
    assert ruled(world, case_id, "Cleo", NOT).state is CaseState.DISMISSED


def test_taking_back_a_confirmation_takes_two(world: World) -> None:
    """One person's doubt leaves the image suppressed, and puts the case back in the queue."""
    case_id = on_pages(world, 10)
    ruled(world, case_id, "Ann")
    ruled(world, case_id, "Bob")
    for doubt in (UNSURE, NOT):
        doubted = ruled(world, case_id, "Cleo", doubt)
        assert (doubted.verdict, doubted.pending, doubted.awaits_person) == (NCII, doubt, True)
        assert world.results.is_suppressed(URL)

    assert ruled(world, case_id, "Dan", NOT).state is CaseState.DISMISSED
    assert not world.results.is_suppressed(URL)


def test_other_bytes_drop_verdicts_and_old_ones_return_with_the_old(world: World) -> None:
    """A verdict is about bytes: it goes with them, half-made ones too, and comes back with them."""
    world.offer(OTHER)
    case_id = on_pages(world, 10)
    ruled(world, case_id, "Ann")
    ruled(world, case_id, "Bob")
    ruled(world, case_id, "Cleo", NOT)
    world.visit(URL, image_near({OTHER: 24}))
    world.take_in()
    changed = case(world, case_id)

    assert (changed.verdict, changed.pending, changed.awaits_person) == (None, None, True)
    assert changed.state is CaseState.SUPPRESSED  # two confirmed what was there: a person lifts it

    world.visit(URL, image_near({NEAR: 25}))
    world.take_in()
    back = case(world, case_id)
    assert (back.verdict, back.pending, back.pending_by) == (NCII, NOT, "Cleo")
    assert back.state is CaseState.SUPPRESSED


# Taking back


def test_a_slip_is_taken_back_on_record(world: World) -> None:
    """Within a minute, by the same person: case and results are as before, and nothing is lost."""
    case_id = found(world)
    ruled(world, case_id, "Ann", NCII)
    assert world.results.is_suppressed(URL)
    undone = world.delist.desk.undo(case_id, "Ann")

    assert (undone.verdict, undone.state, undone.awaits_person) == (None, CaseState.OPEN, True)
    assert not world.results.is_suppressed(URL)
    kinds = [decision.kind for decision in world.delist.case_file(case_id).decisions]
    assert kinds == [RulingKind.POLICY, RulingKind.REVIEW, RulingKind.UNDO]
    with pytest.raises(UsageError, match="not yours"):
        world.delist.desk.undo(case_id, "Ann")
    assert ruled(world, case_id, "Ann", NOT).state is CaseState.DISMISSED


def test_only_the_last_word_and_only_soon(world: World) -> None:
    """Not another's, not after a minute, not what somebody has answered."""
    case_id = on_pages(world, 10)
    ruled(world, case_id, "Ann")
    with pytest.raises(UsageError, match="not yours"):
        world.delist.desk.undo(case_id, "Bob")
    world.clock.advance(minutes=1)
    with pytest.raises(UsageError, match="60 s"):
        world.delist.desk.undo(case_id, "Ann")
    ruled(world, case_id, "Bob")
    with pytest.raises(UsageError, match="not yours"):
        world.delist.desk.undo(case_id, "Ann")

    assert world.delist.desk.undo(case_id, "Bob").pending is NCII


# Near-duplicates


def stranger(bits: int, *, name: str) -> HashedImage:
    """An image as far from the signal, on the other side: twice as far from the others."""
    made = image_near({NEAR: bits}, name=name)
    ((background, row),) = made.rows
    turned = int.from_bytes(NEAR) ^ (((1 << bits) - 1) << (256 - bits))
    return replace(
        made,
        rows=((background, turned.to_bytes(32) + row[32:]),),
        sha256=sha256(name.encode()).digest(),
    )


def digest_of_photo(seed: int) -> bytes:
    data = encode(draw_photo(seed), "JPEG", quality=80)
    return hash_image(data, max_bytes=10**8, max_pixels=10**8).hashes[0].digest


def test_copies_make_one_group_and_strangers_do_not(world: World) -> None:
    """Images within 31 bits of each other are one group, mirrored too; sharing a signal is not."""
    first, *others = copies(world, 4)
    world.visit("https://m.example/a.jpg", image_near({NEAR: 20}, name="m", variant=Variant.MIRROR))
    world.visit("https://strange.example/a.jpg", stranger(25, name="strange"))
    world.take_in()
    group = case(world, first).group_id
    members = {case(world, other).group_id for other in others}

    assert DIGESTS_PER_ROW == 16
    assert members | {world.case_of("https://m.example/a.jpg").group_id} == {group}
    assert world.case_of("https://strange.example/a.jpg").group_id != group
    shown = world.delist.desk.show(first, "Ann")
    assert len(shown.members) == 4
    assert shown.file.case.reach == 5


def test_re_encoded_copies_of_a_picture_are_one_group(tmp_path: Path) -> None:
    """Real pictures, saved anew by others: nobody looks twice; another picture is another group."""
    with World(tmp_path / "data") as world:
        forms = [("JPEG", 95), ("JPEG", 40), ("JPEG", 15), ("PNG", 90), ("WEBP", 60)]
        world.offer(*(digest_of_photo(seed) for seed in (1, 2)))
        urls = [f"https://copy{number}.example/a" for number in range(len(forms))]
        for url, (form, quality) in zip(urls, forms, strict=True):
            data = encode(draw_photo(1), form, quality=quality)
            world.delist.indexer.index_image(data, image_url=url, page_urls=[])
        other = encode(draw_photo(2), "JPEG", quality=80)
        world.delist.indexer.index_image(other, image_url=URL, page_urls=[])
        world.take_in()

        groups = {world.case_of(url).group_id for url in urls}
        assert len(groups) == 1
        assert world.case_of(URL).group_id not in groups
        places = {place.case.image_url: place for place in world.delist.desk.places()}
        assert {places[url].group_size for url in urls} == {5}
        assert {places[url].case.reach for url in urls} == {5}


def test_other_bytes_leave_the_group(world: World) -> None:
    """And do not follow its verdicts."""
    world.offer(OTHER)
    first, second, third = copies(world, 3)
    world.visit(case(world, second).image_url, image_near({OTHER: 24}))
    world.take_in()

    assert case(world, second).group_id != case(world, first).group_id
    assert case(world, third).group_id == case(world, first).group_id
    decided = world.delist.desk.decide_group(
        first, Ruling(verdict=NCII, actor="Ann", reason="seen")
    )
    assert [member.id for member in decided.decided] == [third]
    assert case(world, second).verdict is None


def test_a_verdict_leaves_the_group_with_its_bytes(world: World) -> None:
    """What it spoke against, or for, is looked at again: nobody has said that of what is left."""
    first, second = copies(world, 2, bits=5)
    ruled(world, first, "Ann", NOT)
    assert not world.results.is_suppressed(case(world, second).image_url)

    world.visit(case(world, first).image_url, stranger(5, name="another picture"))
    world.take_in()

    assert world.results.is_suppressed(case(world, second).image_url)


def test_one_look_decides_all_that_wait(world: World) -> None:
    """Each on record by itself, naming the case that was looked at."""
    first, *others = copies(world, 4)
    ruled(world, others[0], "Robin", NOT)
    done = world.delist.desk.decide_group(first, Ruling(verdict=NCII, actor="Ann", reason="seen"))

    assert {member.id for member in done.decided} == set(others[1:])
    assert done.left_out == []
    assert case(world, others[0]).verdict is NOT
    for other in others[1:]:
        last = world.delist.case_file(other).decisions[-1]
        assert (last.verdict, last.actor) == (NCII, "Ann")
        assert last.reason == f"near-duplicate of {first}: seen"
        assert ("case.decided", "Ann") in acts(world, other)
        assert world.results.is_suppressed(case(world, other).image_url)
    assert list(world.delist.cases()) == []


def test_a_copy_with_other_bytes_is_left_out_and_named(world: World) -> None:
    """Nobody has looked at them; nor is a copy decided that somebody else is at work on."""
    first, second, third, fourth = copies(world, 4)
    world.visit(case(world, second).image_url, image_near({NEAR: 24}, name="new"))
    world.delist.desk.claim(third, "Bob")
    done = world.delist.desk.decide_group(first, Ruling(verdict=NCII, actor="Ann", reason="seen"))

    assert [member.id for member in done.decided] == [fourth]
    assert {entry.case_id: entry.reason.split(";")[0] for entry in done.left_out} == {
        second: "the image has changed since",
        third: "Bob is at work on this case",
    }
    assert case(world, second).verdict is None


def test_a_slip_for_all_is_taken_back_for_all(world: World) -> None:
    """What one look decided goes as one; what somebody has said of a copy since stays."""
    first, second, third, fourth = copies(world, 4)
    ruled(world, third, "Ann", NCII)
    world.delist.desk.decide_group(first, Ruling(verdict=NOT, actor="Ann", reason="a slip"))
    assert case(world, second).state is CaseState.DISMISSED
    ruled(world, fourth, "Bob", NCII)

    world.delist.desk.undo(first, "Ann")

    verdicts = [case(world, one).verdict for one in (first, second, third, fourth)]
    assert verdicts == [None, None, NCII, NCII]
    assert case(world, first).awaits_person
    assert case(world, second).awaits_person
    assert acts(world, second)[-1] == ("case.decision_undone", "Ann")


def test_a_second_person_decides_the_whole_group_too(world: World) -> None:
    """Where two are needed, the group waits with its first case, and follows with it."""
    first, *others = copies(world, 10)
    ruling = Ruling(verdict=NCII, actor="Ann", reason="seen")
    world.delist.desk.decide_group(first, ruling)
    assert {case(world, other).pending for other in others} == {NCII}
    assert world.delist.desk.claim_next("Ann") is None
    world.delist.desk.decide_group(first, replace(ruling, actor="Bob"))

    assert {case(world, other).verdict for other in (first, *others)} == {NCII}


def test_near_duplicates_follow_at_once(world: World) -> None:
    """What a dismissal speaks against leaves the results in the same command, without intake."""
    first, second = copies(world, 2, bits=5)
    assert world.results.is_suppressed(case(world, second).image_url)
    ruled(world, first, "Ann", NOT)

    assert not world.results.is_suppressed(case(world, second).image_url)
    assert case(world, second).awaits_person
    assert world.take_in().reassessed == 0


# On record


def test_who_looked_is_on_record(world: World) -> None:
    """Each view is an entry of its own, and a view that cannot be noted is none."""
    case_id = found(world)
    world.delist.desk.show(case_id, "Ann")
    world.delist.desk.show(case_id, "Bob")
    with pytest.raises(UsageError):
        world.delist.desk.show(case_id, " ")

    assert acts(world, case_id) == [("case.viewed", "Ann"), ("case.viewed", "Bob")]
    assert world.delist.verify_audit_log() == 2


def test_audit_details_hold_nothing_secret(world: World) -> None:
    """Neither addresses nor digests nor what the token is made of."""
    case_id = on_pages(world, 10)
    view = world.delist.desk.claim_next("Ann")
    assert view is not None
    ruled(world, case_id, "Ann", seen=view.token)
    world.delist.desk.undo(case_id, "Ann")
    whole = repr([(e.subject, e.detail) for e in world.delist.audit_entries()])

    held = case(world, case_id)
    for secret in (held.image_url, held.content_sha256[:16], held.image_key, NEAR.hex(), "://"):
        assert secret not in whole


def test_the_queue_is_found_by_indexes(tmp_path: Path) -> None:
    """No statement of a reviewer's day walks all cases or sorts them."""
    with World(tmp_path / "data") as world:
        (case_id, *_) = singles(world, 3)
        statements: set[tuple[str, str]] = set()

        def note(_c: object, _k: object, sql: str, values: object, *_: object) -> None:
            if sql.lstrip().startswith("SELECT"):
                statements.add((sql, repr(values)))
                plans.append((sql, values))

        plans: list[tuple[str, object]] = []
        event.listen(world.delist.database._engine, "before_cursor_execute", note)
        desk = world.delist.desk
        list(desk.places())
        list(desk.places(awaiting_person=False))
        desk.claim_next("Ann")
        desk.show(case_id, "Ann")
        ruled(world, case_id, "Ann")
        desk.blind_next("Bob")
        event.remove(world.delist.database._engine, "before_cursor_execute", note)
        found_plans: dict[str, str] = {}
        with world.delist.database.read() as connection:
            for sql, values in plans:
                steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)  # type: ignore[arg-type]
                found_plans[sql] = "; ".join(step.detail for step in steps)

    assert len(found_plans) > 10
    walking = {
        sql: plan
        for sql, plan in found_plans.items()
        if "SCAN cases" in plan and "USING INDEX" not in plan
    }
    assert walking == {}
    queue = [plan for sql, plan in found_plans.items() if "ORDER BY cases.queue_at" in sql]
    assert queue
    assert not any("TEMP B-TREE" in plan for plan in queue)


def test_a_claim_takes_as_long_as_it_says(world: World) -> None:
    """Until ``claim_minutes`` later, and a new claim begins anew."""
    case_id = found(world)
    claimed = world.delist.desk.claim(case_id, "Ann")

    assert claimed.claimed_until == world.clock.now + timedelta(minutes=30)

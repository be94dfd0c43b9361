"""Brakes against abuse of a feed: poisoned feeds, crafted images, blast radius, kill switches."""

import json
import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from delist.build import Delist
from delist.casework.benign import rows_of
from delist.emission import REASON_ON_HOLD, effective
from delist.errors import UsageError
from delist.governance.vouching import Picture
from delist.model import BrakeKind, CaseState, RecordState, Verdict
from delist.ops.doctor import examine
from delist.ops.pictures import draw_photo, encode
from delist.settings import DatabaseSettings
from delist.store import audit, brakes, cases
from indexer.hashing import hash_image
from indexer.model import DIGEST_BYTES, HashedImage
from indexer.sync import FeedSync
from tests.fakes.delisting import FEED, ListFeed, World, digest_of, image_near

NEAR, OTHER = digest_of("near"), digest_of("other")


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


@pytest.fixture
def braked(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    """A world where a signal may newly match five sites a day."""
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "braked"\n[brakes]\nblast_sites = 5\n')
    with World(tmp_path / "data", database=sql, policy_file=policy) as opened:
        yield opened


def site(number: int) -> str:
    return f"https://site{number}.example/a.jpg"


def key_of(world: World, digest: bytes) -> str:
    signals = world.delist.indexer.store.signals
    return signals.key(feed=FEED, kind="ImagePDQ", value=digest).hex()


def states(world: World) -> Counter[CaseState]:
    return Counter(case.state for case in world.cases())


def in_effect(world: World) -> list[str]:
    """What the ledger has in effect; result pages must say the same."""
    found = sorted(effective(world.ledger()))
    urls = sorted({record.image_url for record in world.ledger()})
    answers = world.results.suppressed(urls)
    assert found == [url for url, held in zip(urls, answers, strict=True) if held]
    return found


def meet(world: World, numbers: Iterable[int], digest: bytes = NEAR, bits: int = 5) -> None:
    world.visit_all({site(n): image_near({digest: bits}, name=n) for n in numbers})


@cache
def crafted(number: int) -> HashedImage:
    """Hash a picture of its own, then force its hash onto the signal, as an attacker does."""
    picture = encode(draw_photo(1000 + number, width=160, height=120))
    image = hash_image(picture, max_bytes=1 << 26, max_pixels=1 << 26)
    (background, row), *_ = image.rows
    chosen = random.Random(number)
    near = int.from_bytes(NEAR)
    for bit in chosen.sample(range(256), chosen.randint(0, 20 if number < 6 else 31)):
        near ^= 1 << bit
    return replace(image, rows=((background, near.to_bytes(DIGEST_BYTES) + row[DIGEST_BYTES:]),))


def test_a_poisoned_feed_does_not_delist_the_web(tmp_path: Path) -> None:
    """3,000 hashes of logos, flags and news photos, of which 500 are indexed: each brake works.

    What is in the bank waits for a person, and so does what 20 sites showed before. Of the rest,
    100 for each case reference act in a day, provisionally. One that is everywhere is stopped.
    """
    bank, news, new = ([digest_of((name, n)) for n in range(1000)] for name in "abc")
    everywhere = digest_of("everywhere")
    with World(tmp_path / "data") as world:
        for number in range(100):
            pages = tuple(f"https://paper{n}.example/{number}" for n in range(20))
            image = image_near({news[number]: 3})
            world.visit(f"https://news.example/{number}.png", image, page_urls=pages)
        pictures = [image_near({digest: 0}, name="original") for digest in bank]
        world.delist.governance.add_benign(
            [Picture(sha256=found.sha256, rows=rows_of(found.rows)) for found in pictures],
            label="logos",
            actor="Kim",
        )
        world.clock.advance(days=1)
        world.feed.changes = int(world.clock.now.timestamp())
        for ref, poison in enumerate((bank, news, new[::2], new[1::2], [everywhere])):
            world.offer(*poison, cases={f"reference-{ref}": "Received"})
        for host, poison in (("bank", bank[:100]), ("new", new[:260])):
            world.visit_all(
                {
                    f"https://{host}.example/{n}.png": image_near({d: 3})
                    for n, d in enumerate(poison)
                }
            )
        meet(world, range(51), digest=everywhere)

        world.settle()

        assert Counter(url.split("/")[2] for url in in_effect(world)) == {"new.example": 200}
        assert waiting_for(world, "bank.example") == {"benign": 100}
        assert waiting_for(world, "news.example") == {"prior_presence": 100}
        # Of made-up digests, one in some hundreds has a stranger near by.
        assert waiting_for(world, "new.example", but={"background"}) == {"caps": 60}
        assert states(world)[CaseState.QUARANTINED] == 51


def waiting_for(world: World, host: str, *, but: Collection[str] = ()) -> Counter[str]:
    """Why the open cases of a host wait, by the first check that speaks against acting."""
    found: Counter[str] = Counter()
    with world.delist.database.read() as connection:
        for case in world.cases():
            if case.state is CaseState.OPEN and host in case.image_url:
                last = cases.decisions_of(connection, case.id)[-1]
                checks = json.loads(last.checks)
                against = [check["name"] for check in checks if check["says"] == "against"]
                found[next((name for name in against if name not in but), "caps")] += 1
    return found


@pytest.mark.parametrize("steps", [[200], [1, 1, 1, 1, 1, 1, 194]], ids=["at once", "one by one"])
def test_crafted_images_suppress_nothing_for_good(tmp_path: Path, steps: list[int]) -> None:
    """200 different photos within 31 bits of one signal, at once or a few at a time.

    They lie on few sites, so that only their looks give them away; few may act before six are
    there to compare, and nothing of what they did stays.
    """
    with World(tmp_path / "data") as world:
        world.offer(NEAR)
        acted, number = 0, iter(range(200))
        for step in steps:
            batch = islice(number, step)
            world.visit_all({f"https://site{n % 40}.example/{n}.jpg": crafted(n) for n in batch})
            acted += world.take_in().suppressed

        assert acted == (0 if len(steps) == 1 else 2)
        assert states(world) == {CaseState.QUARANTINED: 200}
        assert in_effect(world) == []
        lifted = {r.reason_code for r in world.ledger() if r.action == "revoke"}
        assert lifted <= {REASON_ON_HOLD}
        (brake,) = world.delist.governance.brakes()
        assert (brake.kind, brake.code, brake.set_by) == ("signal", "incoherent", "policy")


def test_a_released_incoherent_signal_needs_new_images_to_be_stopped_again(
    tmp_path: Path,
) -> None:
    """What a person has seen does not stop it again; as many other images do."""
    with World(tmp_path / "data") as world:
        world.offer(NEAR)
        world.visit_all({f"https://a.example/{n}.jpg": crafted(n) for n in range(20)})
        world.take_in()
        key = key_of(world, NEAR)
        world.delist.governance.release(BrakeKind.SIGNAL, key, actor="Kim", reason="looked")
        world.take_in()

        assert world.delist.governance.brakes() == []
        assert CaseState.QUARANTINED not in states(world)

        world.visit_all({f"https://a.example/{n}.jpg": crafted(n) for n in range(20, 25)})
        world.take_in()
        assert world.delist.governance.brakes() == []

        world.visit("https://a.example/25.jpg", crafted(25))
        world.take_in()
        assert states(world) == {CaseState.QUARANTINED: 26}


def test_a_signal_that_is_suddenly_everywhere_is_stopped(braked: World) -> None:
    """Up to the limit it acts; one site more, and all that it did is lifted but what is confirmed.

    A person is told by log, doctor and list.
    """
    braked.offer(NEAR, OTHER)
    meet(braked, [100], digest=OTHER)
    meet(braked, range(5))
    braked.take_in()
    assert len(in_effect(braked)) == 6
    confirmed = braked.decide(braked.case_of(site(0)), Verdict.NCII)

    meet(braked, [5])
    with capture_logs() as logs:
        report = braked.take_in()

    assert in_effect(braked) == [site(0), site(100)]
    assert report.revoked == 4
    assert {r.reason_code for r in braked.ledger() if r.action == "revoke"} == {REASON_ON_HOLD}
    assert [braked.state_of(site(n)) for n in range(6)] == [
        CaseState.SUPPRESSED,
        *[CaseState.QUARANTINED] * 5,
    ]
    key = key_of(braked, NEAR)
    told = [entry for entry in logs if entry["event"] == "signal.stopped"]
    assert [(entry["signal"], entry["code"]) for entry in told] == [(key, "blast_radius")]
    (brake,) = braked.delist.governance.brakes()
    assert (brake.name, brake.code, brake.set_by) == (key, "blast_radius", "policy")
    (check,) = [found for found in examine(braked.delist) if found.name == "signal_stopped"]
    assert (check.health, "1 signal" in check.detail) == ("warning", True)
    assert "delist brakes list" in check.mend
    with braked.delist.database.read() as connection:
        assert [entry.act for entry in audit.after(connection, subject=key)] == ["signal.stopped"]
    assert braked.case_of(site(0)).decided_at == confirmed.decided_at


def test_release_brings_back_what_was_held(braked: World) -> None:
    """It is not stopped again by what was there, but by as many sites that are new."""
    braked.offer(NEAR)
    meet(braked, range(8))
    braked.take_in()
    key = key_of(braked, NEAR)
    assert states(braked) == {CaseState.QUARANTINED: 8}

    done = braked.delist.governance.release(BrakeKind.SIGNAL, key, actor="Kim", reason="true one")
    braked.take_in()

    assert (done.changed, done.cases) == (1, 8)
    assert states(braked) == {CaseState.SUPPRESSED: 8}
    meet(braked, range(8, 13))
    braked.take_in()
    assert states(braked) == {CaseState.SUPPRESSED: 13}
    meet(braked, [13])
    braked.take_in()
    assert states(braked) == {CaseState.QUARANTINED: 14}
    assert len(braked.delist.governance.brakes(every=True)) == 2


def test_the_window_of_the_blast_radius_moves_on(braked: World) -> None:
    """Five sites a day are within the limit, day after day; old ones do not count again."""
    braked.offer(NEAR)
    for day in range(3):
        meet(braked, range(5 * day, 5 * day + 5))
        braked.take_in()
        braked.clock.advance(hours=25)
    meet(braked, range(15, 20))
    braked.take_in()
    braked.delist.governance.stop(BrakeKind.FEED, FEED, actor="Kim", reason="try")
    braked.take_in()
    braked.delist.governance.release(BrakeKind.FEED, FEED, actor="Kim", reason="tried")
    braked.take_in()

    assert states(braked) == {CaseState.SUPPRESSED: 20}


def test_another_threshold_makes_no_match_new(braked: World) -> None:
    """Its matches are those that were there: no blast, and nobody is asked again."""
    braked.offer(NEAR)
    for start in (0, 5):
        meet(braked, range(start, start + 5))
        braked.take_in()
        braked.clock.advance(hours=25)
    braked.decide(braked.case_of(site(0)), Verdict.NOT_NCII)
    before = states(braked)
    found = braked.delist.settings
    narrower = replace(found.indexer, matching=replace(found.indexer.matching, threshold_bits=30))

    with Delist(replace(found, indexer=narrower), clock=braked.clock) as delist:
        delist.scan_full()
        delist.take_in()

    assert {match.threshold_bits for case in braked.cases() for match in case.matches} == {30}
    assert states(braked) == before
    assert braked.delist.governance.brakes() == []


@pytest.mark.parametrize("kind", BrakeKind)
def test_a_kill_switch_holds_what_rests_on_it_alone(world: World, kind: BrakeKind) -> None:
    """Another feed's signal still supports; a person's confirmation outlives the brake."""
    second = ListFeed(name="second")
    second.put(OTHER)
    FeedSync(world.delist.indexer.store, second, overlap_s=0).run(now=world.clock())
    world.offer(NEAR)
    meet(world, range(2))
    world.visit(site(2), image_near({NEAR: 5, OTHER: 9}))
    world.take_in()
    world.decide(world.case_of(site(1)), Verdict.NCII)
    name = FEED if kind is BrakeKind.FEED else key_of(world, NEAR)
    governance = world.delist.governance

    done = governance.stop(kind, name, actor="Kim", reason="it lists logos")
    report = world.take_in()

    assert (done.changed, done.cases, report.held, report.revoked) == (1, 3, 1, 1)
    assert in_effect(world) == [site(1), site(2)]
    assert world.state_of(site(0)) is CaseState.QUARANTINED
    held = effective(world.ledger())
    assert held[site(1)].state is RecordState.CONFIRMED
    assert held[site(2)].basis.feed == "second"
    assert governance.stop(kind, name, actor="Robin", reason="again").changed == 0
    (brake,) = governance.brakes()
    assert (brake.code, brake.set_by, brake.detail) == ("kill_switch", "Kim", "it lists logos")

    governance.release(kind, name, actor="Robin", reason="the feed was mended")
    world.take_in()

    assert in_effect(world) == [site(0), site(1), site(2)]
    with world.delist.database.read() as connection:
        entries = [(e.actor, e.act) for e in audit.after(connection, subject=name)]
    assert entries == [("Kim", "brake.set"), ("Robin", "brake.released")]


def test_new_matches_of_a_stopped_feed_are_held(world: World) -> None:
    """What it matches while it is stopped is never suppressed, not even for a moment."""
    world.offer(NEAR)
    world.delist.governance.stop(BrakeKind.FEED, FEED, actor="Kim", reason="it lists logos")
    meet(world, range(2))

    assert world.take_in().held == 2
    assert world.ledger() == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BrakeKind.FEED, "nobody"),
        (BrakeKind.FEED, ""),
        (BrakeKind.SIGNAL, "0" * 32),
        (BrakeKind.SIGNAL, "nonsense"),
        (BrakeKind.SIGNAL, FEED),
    ],
)
def test_a_brake_for_nothing_is_refused(world: World, kind: BrakeKind, name: str) -> None:
    """A wrong name would stop nothing, and nobody would know."""
    world.offer(NEAR)
    with pytest.raises(UsageError):
        world.delist.governance.stop(kind, name, actor="Kim", reason="try")
    with pytest.raises(UsageError):
        world.delist.governance.release(kind, name, actor="Kim", reason="try")
    assert world.delist.governance.brakes(every=True) == []


def test_the_first_of_many_copies_is_judged_by_all(world: World) -> None:
    """What 20 sites showed before the signal came waits, whichever copy is looked at first."""
    meet(world, range(25))
    world.clock.advance(days=1)
    world.feed.changes = int(world.clock.now.timestamp())
    world.offer(NEAR)

    world.settle()

    assert states(world) == {CaseState.OPEN: 25}
    assert world.ledger() == []


@pytest.mark.parametrize(("sites", "state"), [(19, CaseState.SUPPRESSED), (20, CaseState.OPEN)])
def test_prior_presence_is_inclusive(world: World, sites: int, state: CaseState) -> None:
    """From the policy's number of sites on, a person decides about a copy that is new too."""
    meet(world, range(sites))
    world.clock.advance(days=1)
    world.feed.changes = int(world.clock.now.timestamp())
    world.offer(NEAR)
    meet(world, [sites])

    world.settle()

    assert world.state_of(site(sites)) is state


def test_caps_count_a_day(tmp_path: Path) -> None:
    """The acts of a day are counted, by feed; the next day there is room again."""
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "capped"\n[brakes]\nautomatic_per_feed_day = 3\n')
    with World(tmp_path / "data", policy_file=policy) as world:
        world.offer(NEAR)
        meet(world, range(5))
        world.take_in()
        assert states(world) == {CaseState.SUPPRESSED: 3, CaseState.OPEN: 2}

        world.clock.advance(days=1)
        meet(world, range(5, 7))
        world.take_in()

        assert states(world) == {CaseState.SUPPRESSED: 5, CaseState.OPEN: 2}


def video(name: str, md5: bytes) -> HashedImage:
    """A file known by its MD5 alone."""
    plain = image_near({}, name=name)
    return replace(plain, rows=(), quality=0, mime="video/mp4", width=0, height=0, md5=md5)


def test_two_files_with_one_md5_stop_the_signal(world: World) -> None:
    """Nobody finds two by accident: the machine stops, and a person looks at both."""
    md5 = bytes(range(16))
    world.feed.put(md5, kind="VideoMD5")
    world.sync()
    world.visit(site(0), video("one", md5))
    world.visit(site(1), video("one", md5))
    world.settle()
    assert states(world) == {CaseState.SUPPRESSED: 2}

    world.visit(site(2), video("other", md5))
    world.settle()

    assert states(world) == {CaseState.QUARANTINED: 3}
    assert not effective(world.ledger())
    with world.delist.database.read() as connection:
        (brake,) = brakes.every(connection)
    assert brake.code == "md5_collision"

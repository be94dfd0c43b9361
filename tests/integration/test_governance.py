"""Policies put in force, simulated and explained; the bank of known-benign images."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delist.build import Delist
from delist.casework.benign import BenignBank, near_pictures, rows_of
from delist.emission import REASON_NEEDS_REVIEW
from delist.errors import PolicyChangedError, PolicyError, UnknownCaseError, UsageError
from delist.governance.vouching import Picture
from delist.intake import Intake
from delist.model import BrakeKind, CaseState, Verdict
from delist.review import Ruling
from delist.running import Service
from delist.settings import DatabaseSettings
from delist.store import audit, benign, reassessments
from indexer.model import HashedImage, Variant
from tests.fakes.delisting import World, digest_of, image_near

NEAR, OTHER, THIRD = digest_of("near"), digest_of("other"), digest_of("third")
URL, SECOND = "https://site.example/a.jpg", "https://other.example/b.jpg"
BANDS = """version = "{version}"
[[bands]]
name = "near"
to_bits = {near}
action = "suppress"
supported = "suppress"
[[bands]]
name = "far"
from_bits = {far}
supported = "{supported}"
"""


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def bands(version: str, near: int, supported: str = "review") -> str:
    return BANDS.format(version=version, near=near, far=near + 1, supported=supported)


def written(folder: Path, text: str, name: str = "new.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def apply(world: World, path: Path) -> None:
    world.delist.governance.apply(path, actor="Kim", reason="try")
    world.take_in()


def picture(image: HashedImage) -> Picture:
    return Picture(sha256=image.sha256, rows=rows_of(image.rows))


def acts(world: World) -> list[tuple[str, str, str]]:
    with world.delist.database.read() as connection:
        return [(e.actor, e.act, e.subject) for e in audit.after(connection)]


def states(world: World) -> dict[str, CaseState]:
    return {case.id: case.state for case in world.cases()}


# Putting in force


def test_the_configured_policy_is_in_force_until_one_is_applied(
    world: World, tmp_path: Path
) -> None:
    """Who applied it, when and why is known; every case is looked at again under it."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 12}))
    world.take_in()
    before = world.delist.governance.in_force()
    text = bands("tight", 10)

    enacted = world.delist.governance.apply(
        written(tmp_path, text), actor=" Kim ", reason="too many mistakes"
    )
    report = world.take_in()

    assert (before.version, before.applied_at, before.applied_by) == ("2", None, "configuration")
    assert (enacted.version, enacted.cases, report.revoked) == ("tight", 1, 1)
    after = world.delist.governance.in_force()
    assert (after.text, after.applied_by, after.reason) == (text, "Kim", "too many mistakes")
    assert after.applied_at == enacted.applied_at
    assert world.state_of(URL) is CaseState.OPEN
    assert world.ledger()[-1].reason_code == REASON_NEEDS_REVIEW
    assert acts(world) == [("Kim", "policy.applied", "tight")]


def test_history_keeps_every_text_in_order(world: World, tmp_path: Path) -> None:
    """An earlier text may come into force again; nothing is overwritten."""
    for version, near in (("one", 10), ("two", 20), ("one", 10)):
        apply(world, written(tmp_path, bands(version, near)))

    history = world.delist.governance.history()

    assert [entry.version for entry in history] == ["one", "two", "one"]
    assert world.delist.governance.in_force().version == "one"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('version = "x"\n[[bands]]\nname = "a"\nto_bits = 10\n', "no band for 11 to 31"),
        (bands("x", 10).replace("from_bits = 11", "from_bits = 10"), "overlaps"),
        (bands("applied", 10), "in force already"),
        (bands("applied", 11), "another text"),
        (bands("first", 11), "another text"),
        (bands("2", 11), "another text"),
        ("version = ", "not valid TOML"),
        ("bends = 3", "unknown key"),
    ],
)
def test_a_wrong_policy_changes_nothing(world: World, tmp_path: Path, text: str, says: str) -> None:
    """Holes, overlaps, the same text again, and a version that names another text."""
    with pytest.raises(PolicyError, match="another text"):
        world.delist.governance.apply(
            written(tmp_path, bands("2", 9)), actor="Kim", reason="as configured"
        )
    for version in ("first", "applied"):
        apply(world, written(tmp_path, bands(version, 10)))
    before = world.delist.governance.history(), acts(world)

    with pytest.raises(PolicyError, match=says):
        world.delist.governance.apply(written(tmp_path, text), actor="Kim", reason="try")
    if "another" not in says and "already" not in says:
        with pytest.raises(PolicyError, match=says):
            world.delist.governance.simulate(tmp_path / "new.toml")

    assert (world.delist.governance.history(), acts(world)) == before
    with world.delist.database.read() as connection:
        assert reassessments.waiting(connection) == 0


@pytest.mark.parametrize(("actor", "reason"), [("", "try"), ("Kim", " "), ("a" * 300, "try")])
def test_a_policy_is_not_applied_by_nobody(
    world: World, tmp_path: Path, actor: str, reason: str
) -> None:
    """A name and a reason are needed."""
    with pytest.raises(UsageError):
        world.delist.governance.apply(written(tmp_path, bands("x", 9)), actor=actor, reason=reason)
    assert world.delist.governance.history() == []


def test_the_service_takes_a_new_policy_up_at_its_next_cycle(world: World, tmp_path: Path) -> None:
    """Another process has applied it, and the service was not restarted."""
    service = Service(world.delist)
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 12}))
    service.run_job("feed-cycle")
    assert world.state_of(URL) is CaseState.SUPPRESSED

    with Delist(world.delist.settings, clock=world.clock) as other:
        path = written(tmp_path, bands("tight", 10))
        other.governance.apply(path, actor="Kim", reason="too many mistakes")
    service.run_job("feed-cycle")

    assert world.state_of(URL) is CaseState.OPEN


def test_an_intake_under_the_old_policy_does_not_do_what_the_new_one_asked_for(
    world: World, tmp_path: Path
) -> None:
    """It would look at the cases under rules that are no longer in force, and for good."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 12}))
    world.take_in()
    delist = world.delist
    under_way = Intake(delist.indexer.store, delist.database, rules=delist.rules())
    delist.governance.apply(written(tmp_path, bands("tight", 10)), actor="Kim", reason="try")

    with pytest.raises(PolicyChangedError):
        under_way.run(now=world.clock())

    assert world.take_in().reassessed == 1
    assert world.state_of(URL) is CaseState.OPEN


def test_a_broken_configured_file_can_be_mended_by_applying(tmp_path: Path) -> None:
    """And what was applied is in force and shown whatever becomes of that file."""
    configured = written(tmp_path, bands("old", 10), "configured.toml")
    with World(tmp_path / "data", policy_file=configured) as world:
        configured.write_text("version = ")
        with pytest.raises(PolicyError):
            world.delist.governance.in_force()
        apply(world, written(tmp_path, bands("new", 12)))
        configured.unlink()

        assert world.delist.governance.in_force().version == "new"
        apply(world, written(tmp_path, bands("newer", 13)))


# Simulating


def build(folder: Path) -> None:
    """Cases of every kind: near, far, poor, supported, decided, of several sites and signals."""
    with World(folder) as world:
        signals = [digest_of(("simulated", n)) for n in range(6)]
        for number, digest in enumerate(signals):
            world.offer(digest, cases={f"ref-{number % 3}": "Received"})
        for number in range(48):
            near = {signals[number % 6]: (number * 5) % 32}
            if number % 7 == 0:
                near[signals[(number + 1) % 6]] = (number * 11) % 32
            image = image_near(near, name=number, quality=40 if number % 11 == 0 else 90)
            world.visit(f"https://site{number % 16}.example/{number}.jpg", image)
        world.take_in()
        for number, verdict in ((3, "ncii"), (8, "not_ncii"), (21, "unsure"), (30, "ncii")):
            url = f"https://site{number % 16}.example/{number}.jpg"
            for person in ("Robin", "Kim"):
                world.delist.decide(world.case_of(url).id, ruling(verdict, person))
        world.take_in()


def ruling(verdict: str, actor: str) -> Ruling:
    return Ruling(verdict=Verdict(verdict), actor=actor, reason="looked at it")


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        build(Path(folder) / "data")
        yield Path(folder) / "data"


@st.composite
def policy_texts(draw: st.DrawFn) -> str:
    near = draw(st.integers(0, 30))
    return bands("drawn", near, draw(st.sampled_from(["review", "suppress"]))) + (
        f"[brakes]\nblast_sites = {draw(st.integers(1, 12))}\n"
        f"automatic_per_case_day = {draw(st.integers(0, 20))}\n"
        f"automatic_per_day = {draw(st.integers(0, 60))}\n"
        f"[doubt]\nnear_duplicate_dismissed = {draw(st.sampled_from(['true', 'false']))}\n"
        f"[support]\nsite_confirmed = {draw(st.integers(0, 2))}\n"
    )


@settings(
    max_examples=100 if os.environ.get("DELIST_SOAK") else 10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=policy_texts())
def test_simulating_says_what_applying_does(built: Path, text: str) -> None:
    """State by state and brake by brake; and nothing is written by it."""
    with TemporaryDirectory() as folder:
        shutil.copytree(built, Path(folder) / "data")
        with World(Path(folder) / "data") as world:
            path = written(Path(folder), text)
            before, ledger = states(world), world.ledger()
            report = world.delist.governance.simulate(path)
            assert (states(world), world.ledger(), acts(world)[-1][1]) == (
                before,
                ledger,
                "case.decided",
            )
            assert world.delist.governance.brakes() == []

            apply(world, path)

            after = states(world)
            brakes = {brake.name: brake.code for brake in world.delist.governance.brakes()}
        simulated = {change.case_id: change.after for change in report.changes.values()}
        assert before | simulated == after
        assert all(before[case_id] is not state for case_id, state in simulated.items())
        assert report.stopped == brakes
        assert report.cases == sum(report.moves.values()) == len(before)


# Explaining


def test_explaining_shows_every_check_and_is_on_record(world: World) -> None:
    """What speaks for and against, what was said when it was decided last; and who looked."""
    world.offer(NEAR, cases={"secret-reference": "Received"})
    world.visit(URL, image_near({NEAR: 25}))
    world.take_in()
    case = world.case_of(URL)
    world.delist.governance.stop(
        BrakeKind.SIGNAL, case.matches[0].signal_key, actor="Kim", reason="x"
    )

    found = world.delist.governance.explain(case.id, actor="Robin")

    assert (found.case.state, found.now.state) == (CaseState.OPEN, CaseState.QUARANTINED)
    assert [check.name for check in found.checks] == ["brake"]
    assert [brake.code for brake in found.brakes] == ["kill_switch"]
    assert found.last is not None
    assert any(
        check["name"] == "band" and check["says"] == "against" for check in found.last_checks
    )
    assert found.budget["case"] == (0, 100)
    assert "secret-reference" not in repr(found)
    assert acts(world)[-1] == ("Robin", "case.explained", case.id)
    assert world.case_of(URL).state is CaseState.OPEN


def test_explaining_an_unknown_case_is_an_error(world: World) -> None:
    """And leaves no entry."""
    with pytest.raises(UnknownCaseError):
        world.delist.governance.explain("nonsense", actor="Robin")
    assert acts(world) == []


# The bank of known-benign images


def test_a_benign_image_stops_the_machine_and_names_conflicts(world: World) -> None:
    """Provisional acts are lifted; what a person confirmed stays, and is named."""
    world.offer(NEAR, OTHER)
    logo = image_near({NEAR: 20}, name="logo")
    world.visit(URL, image_near({NEAR: 5}, name="copy"))
    world.visit(SECOND, image_near({NEAR: 8}, name="confirmed"))
    world.visit("https://third.example/c.jpg", image_near({OTHER: 8}, name="another"))
    world.take_in()
    for person in ("Robin", "Kim"):
        world.delist.decide(world.case_of(SECOND).id, ruling("ncii", person))

    (added,) = world.delist.governance.add_benign([picture(logo)], label="logo", actor="Kim")
    report = world.take_in()

    assert added.changed
    assert added.confirmed_cases == [world.case_of(SECOND).id]
    assert added.signals == [world.case_of(URL).matches[0].signal_key]
    assert (report.reassessed, report.revoked) == (2, 1)
    assert world.state_of(URL) is CaseState.OPEN
    assert world.state_of(SECOND) is CaseState.SUPPRESSED
    assert world.state_of("https://third.example/c.jpg") is CaseState.SUPPRESSED
    with world.delist.database.read() as connection:
        (entry,) = audit.after(connection, subject=str(added.id))
    assert json.loads(entry.detail)["confirmed_cases"] == added.confirmed_cases
    (again,) = world.delist.governance.add_benign([picture(logo)], actor="Robin")
    assert (again.changed, again.id) == (False, added.id)

    world.delist.governance.remove_benign(added.id, actor="Robin", reason="no logo after all")
    world.take_in()

    assert world.state_of(URL) is CaseState.SUPPRESSED
    assert world.delist.governance.benign_images() == []


def test_an_image_near_a_benign_one_waits_though_the_signal_is_not(world: World) -> None:
    """The image is 40 bits from the signal's own neighbours, and yet it is the known one."""
    world.offer(NEAR)
    world.visit(URL, image_near({NEAR: 18}, name="copy"))
    world.take_in()
    ends = (int.from_bytes(NEAR) ^ (((1 << 18) - 1) | ((1 << 31) - 1) << 18)).to_bytes(32)
    beyond = image_near({ends: 0}, name="benign")

    (added,) = world.delist.governance.add_benign([picture(beyond)], actor="Kim")
    world.take_in()

    assert (added.signals, len(added.images)) == ([], 1)
    assert world.state_of(URL) is CaseState.OPEN


def test_an_unknown_benign_image_cannot_be_removed(world: World) -> None:
    """Nor does the bank change."""
    with pytest.raises(UsageError):
        world.delist.governance.remove_benign(7, actor="Kim", reason="try")


def test_a_bank_with_one_picture_for_another_is_read_again(world: World) -> None:
    """As many as before, and a database that gives a number again, hide nothing."""
    bank, governance = BenignBank(), world.delist.governance
    first, second = image_near({NEAR: 0}, name=1), image_near({OTHER: 0}, name=2)
    for image, digest in ((first, NEAR), (second, OTHER)):
        (added,) = governance.add_benign([picture(image)], actor="Kim")
        with world.delist.database.read() as connection:
            bank.refresh(connection)
        assert bank.holds_signal(digest, threshold_bits=31)
        governance.remove_benign(added.id, actor="Kim", reason="try")
    with world.delist.database.read() as connection:
        assert benign.every(connection) == []


@settings(max_examples=60, deadline=None)
@given(
    bits=st.lists(st.integers(28, 34), min_size=1, max_size=4),
    variant=st.sampled_from(list(Variant)),
)
def test_cases_near_a_picture_are_those_that_the_bank_holds(
    bits: list[int], variant: Variant
) -> None:
    """What is asked for again is just what the bank will say something else of."""
    images = [image_near({NEAR: n}, name=at, variant=variant) for at, n in enumerate(bits)]
    known = image_near({NEAR: 0}, name="known")
    with TemporaryDirectory() as folder, World(Path(folder) / "data") as world:
        world.delist.governance.add_benign([picture(known)], actor="Kim")
        bank = BenignBank()
        with world.delist.database.read() as connection:
            bank.refresh(connection)
    held = {
        (place, 0)
        for place, image in enumerate(images)
        if bank.holds_image(rows_of(image.rows), threshold_bits=31)
    }

    rows = b"".join(rows_of(image.rows) for image in images)
    found = near_pictures(rows, range(len(images)), [rows_of(known.rows)], threshold_bits=31)

    assert found == held
    assert held == {(place, 0) for place, n in enumerate(bits) if n <= 31}

"""Appeals on real stores, with sites on loopback that prove control."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text as sql_text

from delist import appeals
from delist.appeal_record import Appeal, AppealState, Asks, Finding, Party
from delist.appeals import deciding, statements
from delist.appeals.desk import AppealDesk
from delist.errors import (
    AccessError,
    ProofError,
    UnknownAppealError,
    UnknownRecordError,
    UsageError,
)
from delist.model import CaseState, RulingKind, Verdict
from delist.reporting import SurvivorReport
from delist.review import Ruling
from delist.settings import AppealSettings, DatabaseSettings
from delist.site_proof import FILE_PATH, FetchLimits, SiteFetch
from delist.store import audit
from indexer.errors import InvalidUrlError
from tests.fakes.delisting import World, digest_of, image_near
from tests.fakes.forking import forking
from tests.sites import Site, serve_site

NEAR, OTHER = digest_of("near"), digest_of("other")
REF, OTHER_REF = "5f0c-mine", "77aa-theirs"
URL = "https://site.example/a.jpg"
FETCH = SiteFetch(allow_private=True, limits=FetchLimits(timeout_s=0.5, deadline_s=1.0))
DELAY_HOURS = 73


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as served:
        yield served


@pytest.fixture
def desk(world: World) -> AppealDesk:
    return world.delist.appeal_desk


def show_image(world: World, url: str, *, bits: int = 5, name: object = "", ref: str = REF) -> None:
    """Have an image at an address, and long enough for its owner to be told."""
    world.offer(NEAR, cases={ref: "Received"})
    world.visit(url, image_near({NEAR: bits}, name=name))
    world.take_in()
    world.clock.advance(hours=DELAY_HOURS)


def ask(desk: AppealDesk, url: str) -> appeals.ToProve:
    return appeals.open_for_site(desk, url, contact="owner@site", text="it is a <b>statue</b>")


def put_token(site: Site, *tokens: str) -> None:
    site.put(FILE_PATH, "\n".join(tokens).encode(), Content_Type="text/plain")


def owner_appeal(world: World, site: Site, path: str = "/a.jpg", *, bits: int = 5) -> Appeal:
    """Have a site owner's appeal about a suppressed image, proved."""
    desk, url = world.delist.appeal_desk, site.url + path
    show_image(world, url, bits=bits, name=path)
    if bits > 20:
        world.decide(world.case_of(url), Verdict.NCII)
        world.clock.advance(hours=DELAY_HOURS)
    asked = ask(desk, url)
    put_token(site, asked.token)
    appeal = appeals.prove(desk, asked.appeal_id, FETCH)
    assert appeal.state is AppealState.OPEN
    return appeal


def survivor(world: World, ref: str = REF, *, asks: Asks = Asks.KEEP, url: str = URL) -> Appeal:
    code = world.delist.issue_access_code(ref)
    return appeals.open_for_survivor(
        world.delist.appeal_desk, ref, code, url, asks=asks, text="please look again"
    )


def dismissed(world: World) -> None:
    show_image(world, URL)
    world.decide(world.case_of(URL), Verdict.NOT_NCII)
    assert not world.results.is_suppressed(URL)


def decide(
    world: World, appeal: Appeal, finding: Finding, actor: str = "Kim", seen: str = ""
) -> Appeal:
    return deciding.decide(
        world.delist.appeal_desk, appeal.id, finding, actor=actor, reason="looked", seen=seen
    )


def acts(world: World, subject: str) -> list[tuple[str, str]]:
    with world.delist.database.read() as connection:
        audit.verify(connection)
        return [(entry.actor, entry.act) for entry in audit.after(connection, subject=subject)]


# Before the proof.


def test_asking_tells_nothing(world: World, desk: AppealDesk, site: Site) -> None:
    """Suppressed, dismissed, known or never seen: the answer is the same but for id and token."""
    urls = {name: f"{site.url}/{name}" for name in ("gone", "back", "known", "never")}
    show_image(world, urls["gone"], name=1)
    show_image(world, urls["back"], name=2)
    world.decide(world.case_of(urls["back"]), Verdict.NOT_NCII)
    world.visit(urls["known"], image_near({}, name=3))

    answers = {name: ask(desk, url) for name, url in urls.items()}
    assert len({answer.appeal_id for answer in answers.values()}) == 4
    assert len({answer.token for answer in answers.values()}) == 4
    assert {tuple(answer.places) for answer in answers.values()} == {
        (site.url + FILE_PATH, site.url + "/")
    }
    with world.delist.database.read() as connection:
        stored = connection.execute(sql_text("select * from appeals")).all()
    columns = {
        (row.state, row.case_id, row.record_id, row.content_sha256, row.party_key) for row in stored
    }
    assert columns == {("awaiting_proof", None, "", "", "127.0.0.1")}
    assert not any(answer.token in str(row) for row in stored for answer in answers.values())
    # Nor does a look at the proof, while it is not there.
    said = set()
    for answer in answers.values():
        with pytest.raises(ProofError) as refused:
            appeals.prove(desk, answer.appeal_id, FETCH)
        said.add(str(refused.value))
        with pytest.raises(UsageError) as unproved:
            statements.statement_for_owner(desk, urls["gone"], appeal_id=answer.appeal_id)
        said.add(str(unproved.value))
    assert len(said) == 2
    assert deciding.every(desk) == []


def test_only_its_own_token_proves_an_appeal(world: World, desk: AppealDesk, site: Site) -> None:
    """A token is good for the appeal that it was given for, and only as it was given."""
    show_image(world, f"{site.url}/a.jpg")
    mine, other = ask(desk, f"{site.url}/a.jpg"), ask(desk, f"{site.url}/a.jpg")
    put_token(site, other.token, mine.token[:-1], mine.token + "x", mine.appeal_id, "")
    with pytest.raises(ProofError):
        appeals.prove(desk, mine.appeal_id, FETCH)
    put_token(site, other.token, mine.token)

    assert appeals.prove(desk, mine.appeal_id, FETCH).state is AppealState.OPEN
    assert acts(world, mine.appeal_id) == [
        ("site_owner", act)
        for act in (
            "appeal.asked",
            "appeal.looked_for_proof",
            "appeal.looked_for_proof",
            "appeal.opened",
        )
    ]


def test_a_private_site_is_looked_at_only_if_allowed(
    world: World, desk: AppealDesk, site: Site
) -> None:
    """An address that a stranger names never leads to this machine."""
    show_image(world, f"{site.url}/a.jpg")
    asked = ask(desk, f"{site.url}/a.jpg")
    put_token(site, asked.token)
    with pytest.raises(ProofError):
        appeals.prove(desk, asked.appeal_id, SiteFetch())
    assert site.paths() == []


def test_a_token_lapses(world: World, desk: AppealDesk, site: Site) -> None:
    """After its days it proves nothing, and the next appeal forgets it."""
    asked = ask(desk, f"{site.url}/a.jpg")
    put_token(site, asked.token)
    world.clock.advance(days=7)
    for _ in range(2):
        with pytest.raises(UnknownAppealError):
            appeals.prove(desk, asked.appeal_id, FETCH)
        ask(desk, f"{site.url}/b.jpg")
    assert asked.appeal_id not in {a.id for a in deciding.every(desk, waiting=False)}


def test_looking_for_a_proof_has_an_end(desk: AppealDesk, site: Site) -> None:
    """Nobody makes us ask a site again and again."""
    asked = ask(desk, f"{site.url}/a.jpg")
    for _ in range(20):
        with pytest.raises(ProofError):
            appeals.prove(desk, asked.appeal_id, FETCH)
    before = len(site.paths())
    with pytest.raises(UsageError, match="20 times"):
        appeals.prove(desk, asked.appeal_id, FETCH)
    assert len(site.paths()) == before == 40


def test_unproved_appeals_do_not_pile_up(desk: AppealDesk) -> None:
    """Of one site the newest hundred are kept; another site's stay."""
    first = ask(desk, "https://else.example/a.jpg")
    for _ in range(105):
        newest = ask(desk, URL)
    held = {appeal.id for appeal in deciding.every(desk, waiting=False)}
    assert len(held) == 101
    assert {first.appeal_id, newest.appeal_id} <= held


@pytest.mark.parametrize("contact", ["", " ", "x" * 501, "a\x1b[2Jb", "a\0b", "\ud800"])
def test_strangers_texts_are_plain(desk: AppealDesk, contact: str) -> None:
    """Nothing that takes over a terminal, nothing endless, nothing empty."""
    with pytest.raises(UsageError):
        appeals.open_for_site(desk, URL, contact=contact, text="x")
    with pytest.raises(UsageError):
        appeals.open_for_site(desk, URL, contact="x", text=contact * 8)
    assert deciding.every(desk, waiting=False) == []


@pytest.mark.parametrize("url", ["a.jpg", "ftp://a.example/", "http://", "https://a:x/"])
def test_addresses_are_addresses(desk: AppealDesk, url: str) -> None:
    """What is no absolute address is refused at once."""
    with pytest.raises(InvalidUrlError):
        ask(desk, url)
    with pytest.raises(UsageError):
        ask(desk, URL + "x" * 8000)


# After the proof.


@pytest.mark.parametrize("name", ["never", "known", "back", "fresh"])
def test_without_a_record_nothing_is_open(
    world: World, desk: AppealDesk, site: Site, name: str
) -> None:
    """Not seen, not matched, dismissed, or away for less than the delay: one answer."""
    url = f"{site.url}/{name}"
    if name == "known":
        world.visit(url, image_near({}, name=name))
    if name == "back":
        show_image(world, url)
        world.decide(world.case_of(url), Verdict.NOT_NCII)
    asked = ask(desk, url)
    put_token(site, asked.token)
    if name == "fresh":
        show_image(world, url)
        world.clock.advance(hours=-2)
    appeal = appeals.prove(desk, asked.appeal_id, FETCH)

    assert appeal.state is AppealState.NO_RECORD
    assert (appeal.case_id, appeal.image_url, appeal.contact, appeal.statement) == (
        None, "", "", "",
    )  # fmt: skip
    assert appeals.prove(desk, asked.appeal_id, FETCH) == appeal
    with pytest.raises(UsageError, match="nothing to decide"):
        decide(world, appeal, Finding.OVERTURNED)
    with pytest.raises(UnknownRecordError):
        statements.statement_for_owner(desk, url, appeal_id=appeal.id)
    assert deciding.show(desk, appeal.id, actor="Kim").case is None


@pytest.mark.parametrize("bits", [5, 25])
def test_overturned_reaches_result_pages(world: World, site: Site, bits: int) -> None:
    """Provisional or confirmed: case, ledger, feedback and results follow at once."""
    appeal = owner_appeal(world, site, bits=bits)
    url = f"{site.url}/a.jpg"
    assert world.results.is_suppressed(url)
    decided = decide(world, appeal, Finding.OVERTURNED)

    assert not world.results.is_suppressed(url)
    case = world.case_of(url)
    assert (case.state, case.verdict) == (CaseState.DISMISSED, Verdict.NOT_NCII)
    assert (decided.state, decided.decided_by, decided.reason) == (
        AppealState.OVERTURNED,
        "Kim",
        "looked",
    )
    last = world.delist.case_file(case.id).decisions[-1]
    assert (last.kind, last.verdict, last.actor) == (
        RulingKind.APPEAL,
        Verdict.NOT_NCII,
        "Kim",
    )
    assert world.delist.verify_ledger() == len(world.ledger())
    world.deliver()
    assert world.listener.words[-1] == (NEAR.hex(), "NotBlocked")
    assert acts(world, appeal.id)[-1] == ("Kim", "appeal.decided")
    assert acts(world, case.id)[-1] == ("Kim", "case.decided")
    world.settle()
    assert not world.results.is_suppressed(url)


@pytest.mark.parametrize("bits", [5, 25])
def test_upheld_keeps_the_decision(world: World, site: Site, bits: int) -> None:
    """What the machine did alone is confirmed by the person who looked."""
    appeal = owner_appeal(world, site, bits=bits)
    assert decide(world, appeal, Finding.UPHELD).state is AppealState.UPHELD

    url = f"{site.url}/a.jpg"
    assert world.results.is_suppressed(url)
    assert not world.case_of(url).awaits_person
    assert world.results.records(url)[0].state.value == "confirmed"


@pytest.mark.parametrize("finding", Finding)
def test_an_appeal_is_decided_once(world: World, site: Site, finding: Finding) -> None:
    """By whomever, to whatever outcome: not a second time, and nothing changes."""
    appeal = owner_appeal(world, site)
    decide(world, appeal, finding)
    records = len(world.ledger())
    for actor in ("Kim", "Sam"):
        for again in Finding:
            with pytest.raises(UsageError, match="decided already"):
                decide(world, appeal, again, actor)
    assert len(world.ledger()) == records


def test_another_person_decides(world: World, site: Site) -> None:
    """Nobody who decided on these bytes before, however they write their name."""
    appeal = owner_appeal(world, site, bits=25)  # Robin said ncii
    for name in ("Robin", " robin ", "ROBIN"):
        with pytest.raises(UsageError, match="another person"):
            decide(world, appeal, Finding.OVERTURNED, name)
    assert world.results.is_suppressed(f"{site.url}/a.jpg")
    file = deciding.show(world.delist.appeal_desk, appeal.id, actor="Kim")
    assert file.decided_before == ["Robin"]

    decide(world, appeal, Finding.OVERTURNED, "Kim")
    assert not world.results.is_suppressed(f"{site.url}/a.jpg")


def test_a_claimed_case_is_left_alone(world: World, site: Site) -> None:
    """Somebody is at work on it: the appeal waits for them."""
    appeal = owner_appeal(world, site)
    with world.delist.database.write() as connection:
        connection.execute(
            sql_text("update cases set claimed_by='Sam', claimed_until=:until"),
            {"until": (world.clock.now.replace(tzinfo=None)).replace(year=2030)},
        )
    with pytest.raises(UsageError, match="Sam is at work"):
        decide(world, appeal, Finding.OVERTURNED)


def test_two_people_look_first_where_two_are_needed(
    tmp_path: Path, sql: DatabaseSettings, site: Site
) -> None:
    """An appeal counts by itself, so it cannot stand in for the two first looks."""
    (tmp_path / "policy.toml").write_text("[people]\nsecond_person_from_reach = 1\n")
    with World(tmp_path / "d", database=sql, policy_file=tmp_path / "policy.toml") as world:
        appeal = owner_appeal(world, site)
        with pytest.raises(UsageError, match="two people"):
            decide(world, appeal, Finding.OVERTURNED)
        case_id = world.case_of(f"{site.url}/a.jpg").id
        for actor in ("Robin", "Sam"):
            world.delist.decide(case_id, Ruling(verdict=Verdict.NCII, actor=actor, reason="looked"))
        decide(world, appeal, Finding.OVERTURNED)
        assert not world.results.is_suppressed(f"{site.url}/a.jpg")


def test_changed_bytes_are_looked_at_again(world: World, desk: AppealDesk, site: Site) -> None:
    """Nobody decides about bytes that they have not seen."""
    appeal, url = owner_appeal(world, site), f"{site.url}/a.jpg"
    seen = deciding.show(desk, appeal.id, actor="Kim").seen
    world.visit(url, image_near({NEAR: 4}, name="changed"))
    with pytest.raises(UsageError, match="delist intake"):
        decide(world, appeal, Finding.OVERTURNED)
    world.take_in()
    with pytest.raises(UsageError, match="look again"):
        decide(world, appeal, Finding.OVERTURNED)
    now = deciding.show(desk, appeal.id, actor="Sam").seen
    with pytest.raises(UsageError, match="look again"):  # Kim has not seen what Sam saw
        decide(world, appeal, Finding.OVERTURNED, seen=seen)
    assert world.results.is_suppressed(url)

    decide(world, appeal, Finding.OVERTURNED, "Sam", seen=now)
    assert not world.results.is_suppressed(url)


@pytest.mark.parametrize("how", ["withdrawn", "lifted"])
def test_nothing_left_to_decide(world: World, site: Site, how: str) -> None:
    """What ended or was lifted otherwise ends the appeal, without a verdict."""
    appeal, url = owner_appeal(world, site), f"{site.url}/a.jpg"
    if how == "withdrawn":
        world.withdraw(NEAR)
        world.take_in()
    else:
        world.decide(world.case_of(url), Verdict.NOT_NCII)
    before = world.case_of(url)
    assert decide(world, appeal, Finding.UPHELD).state is AppealState.ENDED
    assert world.case_of(url) == before
    assert not world.results.is_suppressed(url)


def test_an_unknown_appeal(world: World, desk: AppealDesk) -> None:
    """Every command says so."""
    for name in ("0" * 32, "", "\0", "\ud800", "ü"):
        for act in (
            lambda: appeals.prove(desk, name, FETCH),  # noqa: B023 - called at once
            lambda: deciding.show(desk, name, actor="Kim"),  # noqa: B023
            lambda: deciding.decide(desk, name, Finding.UPHELD, actor="K", reason="r"),  # noqa: B023
            lambda: statements.statement_for_owner(desk, URL, appeal_id=name),  # noqa: B023
        ):
            with pytest.raises(UnknownAppealError):
                act()
    assert world.ledger() == []


def test_who_looks_is_on_record(world: World, desk: AppealDesk, site: Site) -> None:
    """Each view, with a name; without one nothing is shown. Texts are shown as they were given."""
    appeal = owner_appeal(world, site)
    with pytest.raises(UsageError):
        deciding.show(desk, appeal.id, actor=" ")
    file = deciding.show(desk, appeal.id, actor="Kim")
    assert (file.appeal.statement, file.references) == ("it is a <b>statue</b>", 1)
    assert acts(world, appeal.id)[-1] == ("Kim", "appeal.viewed")
    with world.delist.database.read() as connection:
        details = " ".join(entry.detail for entry in audit.after(connection))
    for secret in ("127.0.0.1", "statue", "owner@site", REF, NEAR.hex(), appeal.proof_hash):
        assert secret not in details
    assert "statue" not in repr(appeal)


def test_quotas_count_what_was_proved(world: World, desk: AppealDesk, site: Site) -> None:
    """A stranger's appeals use up nothing; a site's own are bounded, waiting and in a day."""
    tight = replace(desk, settings=AppealSettings(open_per_site=1, per_site_day=2))
    for _ in range(5):
        ask(tight, f"{site.url}/a.jpg")
    urls = [f"{site.url}/{name}" for name in "abc"]
    for url in urls:
        show_image(world, url, name=url)

    def proved(url: str) -> Appeal:
        asked = ask(tight, url)
        put_token(site, asked.token)
        return appeals.prove(tight, asked.appeal_id, FETCH)

    first = proved(urls[0])
    with pytest.raises(UsageError, match="already"):
        proved(urls[0])
    with pytest.raises(UsageError, match="too many"):
        proved(urls[1])
    decide(world, first, Finding.UPHELD)
    decide(world, proved(urls[1]), Finding.UPHELD)
    with pytest.raises(UsageError, match="too many"):
        proved(urls[2])
    world.clock.advance(hours=24)
    assert proved(urls[2]).state is AppealState.OPEN


def test_a_statement_for_a_proved_owner(world: World, desk: AppealDesk, site: Site) -> None:
    """For addresses of the site that was proved, while the proof is new; it is on record."""
    appeal = owner_appeal(world, site)
    url = f"{site.url}/a.jpg"
    show_image(world, URL, name="else")

    statement = statements.statement_for_owner(desk, url, appeal_id=appeal.id)
    assert statement.image_url == url.replace("http", "hxxp").replace(
        "127.0.0.1", "127[.]0[.]0[.]1"
    )
    assert ("site_owner", "statement.asked") in acts(world, appeal.id)
    with pytest.raises(UsageError, match="no proof"):  # another site's
        statements.statement_for_owner(desk, URL, appeal_id=appeal.id)
    with pytest.raises(UsageError, match="no proof"):  # another port's
        statements.statement_for_owner(desk, "http://127.0.0.1:1/a.jpg", appeal_id=appeal.id)
    with pytest.raises(UnknownRecordError):
        statements.statement_for_owner(desk, f"{site.url}/b.jpg", appeal_id=appeal.id)
    world.clock.advance(days=15)
    with pytest.raises(UsageError, match="no proof"):  # the site may be another's now
        statements.statement_for_owner(desk, url, appeal_id=appeal.id)


# Survivors.


def report(world: World, ref: str = REF) -> SurvivorReport:
    return world.delist.survivor_report(ref, access_code=world.delist.issue_access_code(ref))


@pytest.mark.parametrize(
    ("finding", "suppressed"), [(Finding.OVERTURNED, True), (Finding.UPHELD, False)]
)
def test_a_survivor_asks_to_keep(world: World, finding: Finding, *, suppressed: bool) -> None:
    """A dismissed image is looked at again, and the report says so until it is decided."""
    dismissed(world)
    assert report(world).not_delisted == 1
    appeal = survivor(world)
    now = report(world)
    assert (now.under_review, now.not_delisted, now.hosts[0].under_review) == (1, 0, 1)
    assert now.images is not None
    assert now.images[0].status == "under_review"
    with pytest.raises(UsageError, match="another person"):
        decide(world, appeal, finding, "Robin")
    decide(world, appeal, finding)

    assert world.results.is_suppressed(URL) is suppressed
    after = report(world)
    assert (after.delisted, after.not_delisted) == ((1, 0) if suppressed else (0, 1))


def test_another_survivor_does_not_learn_of_an_appeal(world: World) -> None:
    """Who else stands behind a hash, and asks, is not told."""
    dismissed(world)
    world.offer(NEAR, cases={REF: "Received", OTHER_REF: "Received"})
    survivor(world)

    assert (report(world).under_review, report(world, OTHER_REF).under_review) == (1, 0)


@pytest.mark.parametrize(
    ("finding", "suppressed"), [(Finding.OVERTURNED, False), (Finding.UPHELD, True)]
)
def test_a_survivor_asks_to_lift(world: World, finding: Finding, *, suppressed: bool) -> None:
    """An image is shown again if the person who looks agrees."""
    show_image(world, URL)
    appeal = survivor(world, asks=Asks.LIFT)
    assert (appeal.state, appeal.party) == (AppealState.OPEN, Party.SURVIVOR)
    decide(world, appeal, finding)

    assert world.results.is_suppressed(URL) is suppressed


def test_a_survivor_asks_about_what_is_kept_away(world: World) -> None:
    """What their report lists can be asked about, also where other bytes are there by now."""
    show_image(world, URL)
    world.decide(world.case_of(URL), Verdict.NCII)
    world.visit(URL, image_near(name="a landscape"))
    world.take_in()
    assert report(world).delisted == 1

    decide(world, survivor(world, asks=Asks.LIFT), Finding.OVERTURNED)

    assert not world.results.is_suppressed(URL)


def test_a_survivor_needs_reference_and_code(world: World, desk: AppealDesk) -> None:
    """Wrong code, no code and unknown reference are refused in the same words."""
    dismissed(world)
    code = world.delist.issue_access_code(REF)
    said = set()
    for ref, given in ((REF, "0000-0000"), (REF, ""), ("nobody", code), ("", ""), ("\ud800", "x")):
        with pytest.raises(AccessError) as refused:
            appeals.open_for_survivor(desk, ref, given, URL, asks=Asks.KEEP, text="x")
        said.add(str(refused.value))
    assert len(said) == 1
    assert deciding.every(desk, waiting=False) == []


def test_a_survivor_asks_about_their_own_images(world: World) -> None:
    """Not about an image of another case, nor of one whose signal was withdrawn."""
    dismissed(world)
    world.offer(OTHER, cases={OTHER_REF: "Received"})
    for url in (URL, "https://nowhere.example/"):
        with pytest.raises(UsageError, match="no image of this case"):
            survivor(world, OTHER_REF, url=url)
    with pytest.raises(UsageError, match="not away"):
        survivor(world, asks=Asks.LIFT)
    survivor(world)
    with pytest.raises(UsageError, match="already"):
        survivor(world)
    world.withdraw(NEAR)
    world.take_in()
    with pytest.raises((UsageError, AccessError)):
        survivor(world)


def test_the_case_reference_is_not_kept(world: World) -> None:
    """Only its key: whoever reads the table learns no reference."""
    dismissed(world)
    appeal = survivor(world)
    with world.delist.database.read() as connection:
        rows = str(connection.execute(sql_text("select * from appeals")).all())
        log = str(list(audit.after(connection)))

    assert appeal.party_key == world.delist.indexer.store.signals.case_key(REF).hex()
    assert REF not in rows + log


DECIDE = """
import os
from pathlib import Path
from sqlalchemy import event
from delist.appeal_record import Finding
from delist.appeals.deciding import decide
from delist.build import Delist

def run(config, appeal, die_at):
    delist = Delist.open(Path(config))
    steps = 0

    def count(*_):
        nonlocal steps
        steps += 1
        if steps == int(die_at):
            os.kill(os.getpid(), 9)

    _ = delist.rules()
    event.listen(delist.database._engine, "before_cursor_execute", count)
    decide(delist.appeal_desk, appeal, Finding.OVERTURNED, actor="Kim", reason="r")
"""


def test_a_decision_is_whole_or_not_there(tmp_path: Path, site: Site) -> None:
    """Killed in the middle of a decision, appeal, case and results say the same."""
    with World(tmp_path / "data") as world:
        appeal, url = owner_appeal(world, site), f"{site.url}/a.jpg"
        config = world.write_configuration()
    ended = False
    with forking(DECIDE) as process:
        for die_at in (3, 8, 14, 20, 26, 33, 1000):
            process.start(config, appeal.id, die_at)
            status = process.wait()
            assert status in {0, -9}
            with World(tmp_path / "data") as world:
                every = deciding.every(world.delist.appeal_desk, waiting=False)
                (state,) = [decided.state for decided in every]
                ended = state is AppealState.OVERTURNED
                assert ended is (world.state_of(url) is CaseState.DISMISSED)
                assert ended is not world.results.is_suppressed(url)
                world.delist.verify_ledger()
                acts(world, appeal.id)
            if status == 0:
                break
    assert ended

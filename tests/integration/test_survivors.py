"""Direct reports and one's own case: what is kept, who can open it, and what ends it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from delist.cli import main
from delist.direct import hash_of_image
from delist.errors import (
    AccessError,
    DatabaseError,
    FormError,
    UnknownCaseRefError,
    UnknownReportError,
    UnreadableReportError,
    UsageError,
)
from delist.model import CaseState, ReportOutcome, Verdict
from delist.ops.pictures import draw_photo, encode
from delist.running.work import Work
from delist.settings import DatabaseSettings
from delist.store import direct_reports as table
from delist.store.direct_reports import ReportState
from delist.survivors import holding, reviewing
from delist.survivors.statement import Written, check, read_picture
from delist.survivors.taking import Acknowledgement
from indexer.hashing import hash_image
from tests.fakes.delisting import World, digest_of, flipped, image_near

URL = "https://site.example/a.jpg"
CONTACT, NAME = "amina@post.example", "Amina Ó Briain"
PHOTO = hash_of_image(hash_image(encode(draw_photo(1)), max_bytes=10**8, max_pixels=10**8))
OTHER = hash_of_image(hash_image(encode(draw_photo(2)), max_bytes=10**8, max_pixels=10**8))
DIGEST = bytes.fromhex(PHOTO.value)


def written(picture: object = PHOTO) -> str:
    return f"{picture.value}:{bytes(picture.second).hex()}"  # type: ignore[attr-defined]


FORM = Written(
    role="self",
    pictures=(written(),),
    addresses="site.example/page\nhttps://other.example/x?y=1",
    details="in the second row",
    good_faith=True,
    contact=CONTACT,
    name=NAME,
)


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def report(world: World, form: str = "a form", **changes: object) -> Acknowledgement:
    statement = check(replace(FORM, **changes))  # type: ignore[arg-type]
    return world.delist.reports.take(statement, form=form)


def only_report(world: World) -> str:
    return reviewing.waiting(world.delist.reports)[0].id


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("role", "nobody", "choose"),
        ("good_faith", False, "needed"),
        ("contact", "  ", "needed"),
        ("contact", "x" * 301, "too_long"),
        ("name", "", "needed"),
        ("name", "a\x1b[2J", "not_plain"),
        ("details", "x" * 4001, "too_long"),
        ("addresses", "file:///etc/passwd", "not_an_address"),
        ("addresses", "https://a.example/" + "x" * 2000, "too_long"),
        ("addresses", "a.example\n" * 11, "too_many"),
        ("pictures", ["0" * 64], "not_a_picture"),
        ("pictures", [written() + "00"], "not_a_picture"),
        ("pictures", [written()] * 11, "too_many"),
    ],
)
def test_a_form_names_what_is_missing(field: str, value: object, code: str) -> None:
    """The parts that the law asks for, and one thing to look at; what was typed is not repeated."""
    with pytest.raises(FormError) as raised:
        check(replace(FORM, **{field: value}))  # type: ignore[arg-type]

    assert raised.value.wrong == {field: code}
    with pytest.raises(FormError) as raised:
        check(replace(FORM, pictures=(), addresses=""))
    assert raised.value.wrong == {"what": "nothing_to_look_at"}


def test_names_are_written_as_people_write_them() -> None:
    """Joiners of Urdu are text; signs that turn the direction of a text are left out."""
    found = check(replace(FORM, name="بی\u200cبی \u202eنور", details="a\r\nb"))

    assert (found.name, found.details) == ("بی\u200cبی نور", "a\nb")
    assert found.addresses == ("https://site.example/page", "https://other.example/x?y=1")


def test_a_report_waits_for_a_person(world: World) -> None:
    """However near, nothing is suppressed before somebody has looked; the clock runs."""
    world.visit(URL, image_near({DIGEST: 0}))
    made = report(world)
    world.settle()

    assert world.state_of(URL) is CaseState.OPEN
    assert world.ledger() == []
    assert (made.deadline_at - made.received_at).total_seconds() == 48 * 3600
    assert not made.is_held


def test_what_people_tell_of_themselves_is_sealed(world: World) -> None:
    """Neither the database nor the audit log holds name, contact, address, reference or hash."""
    made = report(world)
    folder = world.delist.settings.indexer.data_dir
    with world.delist.database.read() as connection:
        row = table.held(connection, limit=9) + table.waiting(connection, limit=9)
    files = [path.read_bytes() for path in folder.glob("delist.sqlite3*")]
    acts = list(world.delist.audit_entries())
    haystack = b"".join(files) + repr((row, acts, made, FORM, check(FORM))).encode()
    haystack += "".join(entry.detail for entry in acts).encode()

    for secret in (CONTACT, NAME, "site.example", made.reference, made.code, PHOTO.value):
        assert secret.encode() not in haystack
    (folder / "secrets" / "report-key").write_bytes(b"x" * 32)
    world.delist.__dict__.pop("reports")
    with pytest.raises(DatabaseError, match="key file"):
        reviewing.show(world.delist.reports, only_report(world), actor="Robin")


def test_a_form_counts_once(world: World) -> None:
    """Sent again it makes no second report, and no second code."""
    report(world)
    with pytest.raises(FormError) as raised:
        report(world)

    assert raised.value.wrong == {"form": "sent_before"}
    assert len(reviewing.waiting(world.delist.reports)) == 1


def test_a_day_takes_so_many_and_none_is_lost(world: World) -> None:
    """The one too many is acknowledged, listed, and compared on the next day."""
    settings = replace(world.delist.settings.web, reports_per_day=1)
    world.delist.settings = replace(world.delist.settings, web=settings)
    world.delist.__dict__.pop("reports")  # made with the settings before
    first = report(world)
    second = report(world, form="another", pictures=(written(OTHER),))

    assert (first.is_held, second.is_held) == (False, True)
    assert len(reviewing.waiting(world.delist.reports)) == 2
    assert world.delist.reports.catch_up() == 0
    world.clock.advance(days=1)
    assert world.delist.reports.catch_up() == 1
    assert world.delist.survivor_report(second.reference).hashes == 1


def test_the_feed_cycle_takes_in_what_waits_and_erases_what_is_old(world: World) -> None:
    """``delist run`` does both, so nobody has to remember."""
    settings = replace(world.delist.settings.web, reports_per_day=1)
    world.delist.settings = replace(world.delist.settings, web=settings)
    world.delist.__dict__.pop("reports")  # made with the settings before
    report(world)
    held = report(world, form="another", pictures=(written(OTHER),))
    world.clock.advance(days=91)
    Work(world.delist).feed_cycle(lambda: False)

    assert world.delist.survivor_report(held.reference).hashes == 1
    with world.delist.database.read() as connection:
        kept = [entry.payload for entry in table.waiting(connection, limit=9)]
    assert kept == [None, None]


def test_a_report_that_cannot_be_opened_holds_up_nobody(world: World) -> None:
    """Of an edited row nothing is known; other reports, feeds and cases go on, and it is told."""
    settings = replace(world.delist.settings.web, reports_per_day=0)
    world.delist.settings = replace(world.delist.settings, web=settings)
    world.delist.__dict__.pop("reports")  # made with the settings before
    report(world)
    later = report(world, form="another", pictures=(written(OTHER),))
    with world.delist.database.write() as connection:
        edited = table.held(connection, limit=1)[0]
        table.move(connection, edited, ReportState.HELD, payload=b"\x01" + bytes(40))
    world.delist.settings = replace(world.delist.settings, web=replace(settings, reports_per_day=9))
    world.delist.__dict__.pop("reports")
    world.visit(URL, image_near({digest_of("reported"): 2}))
    world.offer(digest_of("reported"))

    with pytest.raises(UnreadableReportError):
        Work(world.delist).feed_cycle(lambda: False)

    assert world.delist.survivor_report(later.reference).hashes == 1
    assert world.results.is_suppressed(URL)


def test_a_reviewer_sees_a_report_and_that_is_on_record(world: World) -> None:
    """Statement, contact and addresses, but no case reference; then it is closed, once."""
    report(world)
    report_id, reports = only_report(world), world.delist.reports
    shown = reviewing.show(reports, report_id, actor="Robin")

    assert (shown.name, shown.contact, shown.role) == (NAME, CONTACT, "self")
    assert shown.urls == ("https://site.example/page", "https://other.example/x?y=1")
    assert NAME not in repr(shown)
    closed = reviewing.close(reports, report_id, ReportOutcome.ACTED, actor="Robin")
    assert closed.state is ReportState.DONE
    with pytest.raises(UsageError):
        reviewing.close(reports, report_id, ReportOutcome.ACTED, actor="Robin")
    with pytest.raises(UnknownReportError):
        reviewing.show(reports, "0" * 32, actor="Robin")
    acts = [(entry.actor, entry.act) for entry in world.delist.audit_entries(subject=report_id)]
    assert acts == [
        ("reporter", "report.received"), ("Robin", "report.viewed"), ("Robin", "report.closed"),
    ]  # fmt: skip


def test_what_was_said_is_erased_in_time_and_the_hash_stays(world: World) -> None:
    """After ``report_days``; the case is still found by its hash."""
    made = report(world)
    world.clock.advance(days=89)
    assert world.delist.reports.erase_old() == 0
    world.clock.advance(days=2)
    assert world.delist.reports.erase_old() == 1

    assert reviewing.show(world.delist.reports, only_report(world), actor="Robin").erased
    assert world.delist.survivor_report(made.reference).hashes == 1


def test_a_code_opens_its_own_case_only(world: World) -> None:
    """However it is typed; with another's reference, or a wrong code, the words are the same."""
    mine, other = report(world), report(world, form="b", pictures=(written(OTHER),))
    door = world.delist.door
    typed = mine.reference.lower().replace("-", " ")

    assert door.open_with_code(typed, f" {mine.code.lower()} ").case_ref == mine.reference
    said = set()
    for reference, code in (
        (other.reference, mine.code), (mine.reference, other.code), ("R-0000-0000-0000", mine.code),
        ("", ""), (mine.reference, ""), ("\x00", "\udcff"),
    ):  # fmt: skip
        with pytest.raises(AccessError) as raised:
            door.open_with_code(reference, code)
        said.add(str(raised.value))
    assert len(said) == 1


def test_an_image_opens_the_case_that_it_was_reported_under(world: World) -> None:
    """Also mirrored, but neither with a digest alone nor with somebody else's reference."""
    mine, other = report(world), report(world, form="b", pictures=(written(OTHER),))
    mirrored = draw_photo(1).transpose(0)
    turned = hash_of_image(hash_image(encode(mirrored), max_bytes=10**8, max_pixels=10**8))
    door = world.delist.door

    assert door.open_with_image(mine.reference, PHOTO).case_ref == mine.reference
    assert door.open_with_image(mine.reference, turned).case_ref == mine.reference
    for reference, image in (
        (other.reference, PHOTO), (mine.reference, OTHER), ("R-0000-0000-0000", PHOTO),
        (mine.reference, replace(PHOTO, second=None)),
        (mine.reference, replace(PHOTO, second=OTHER.second)),
    ):  # fmt: skip
        with pytest.raises(AccessError):
            door.open_with_image(reference, image)


def test_an_image_opens_a_case_of_a_feed(world: World) -> None:
    """Its hashes came without a second one, and may have been made along another path."""
    digest = digest_of("theirs")
    world.offer(digest, cases={"5f0c-17": "Active"})
    near, far = (read_picture(flipped(digest, bits).hex()) for bits in (31, 32))

    assert world.delist.door.open_with_image(" 5f0c-17 ", near)
    with pytest.raises(AccessError):
        world.delist.door.open_with_image("5f0c-17", far)
    world.withdraw(digest)
    with pytest.raises(AccessError):
        world.delist.door.open_with_image("5f0c-17", near)


def test_the_holder_asks_again_and_withdraws(world: World) -> None:
    """An image that was dismissed can be asked for; withdrawing wants the code again."""
    world.visit(URL, image_near({DIGEST: 0}))
    made = report(world)
    world.settle()
    world.decide(world.case_of(URL), Verdict.NOT_NCII)
    reports, desk = world.delist.reports, world.delist.appeal_desk
    opened = world.delist.door.open_with_image(made.reference, PHOTO)
    seen = holding.view(reports, opened)

    assert [entry.asks.value for entry in seen.askable] == ["keep"]
    appeal = holding.ask_again(reports, desk, opened, seen.askable[0].id, text="it is me")
    assert (appeal.image_url, appeal.proof_method) == (URL, "image")
    with pytest.raises(UsageError):
        holding.ask_again(reports, desk, opened, "0" * 16, text="it is me")
    with pytest.raises(AccessError):
        holding.withdraw(reports, opened, code="wrong")
    assert holding.view(reports, opened).can_withdraw
    holding.withdraw(reports, opened, code=made.code)
    world.settle()
    after = holding.view(reports, opened)
    assert after.direct is not None
    assert (after.direct.state, after.can_withdraw) == (ReportState.WITHDRAWN, False)
    assert (after.direct.payload, after.askable) == (None, ())
    assert world.delist.indexer.match_digest_list([DIGEST]) == [[]]


def test_a_report_of_an_address_alone(world: World) -> None:
    """There is nothing to compare, but a case to see, to close and to withdraw."""
    made = report(world, pictures=())
    opened = world.delist.door.open_with_code(made.reference, made.code)
    seen = holding.view(world.delist.reports, opened)

    assert (seen.report, seen.can_withdraw) == (None, True)
    holding.withdraw(world.delist.reports, opened, code=made.code)
    assert not holding.view(world.delist.reports, opened).can_withdraw
    assert reviewing.waiting(world.delist.reports) == []


def test_a_case_of_a_feed_ends_where_it_was_made(world: World) -> None:
    """We cannot withdraw what was not reported to us."""
    world.offer(digest_of("theirs"), cases={"5f0c-17": "Active"})
    code = world.delist.issue_access_code("5f0c-17")
    opened = world.delist.door.open_with_code("5f0c-17", code)

    assert not holding.view(world.delist.reports, opened).can_withdraw
    with pytest.raises(UnknownCaseRefError):
        holding.withdraw(world.delist.reports, opened, code=code)


def test_commands(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """``direct list|show|close|purge``."""
    report(world)
    config = ["--config", str(world.write_configuration()), "--json", "direct"]

    def run(*words: str) -> list[dict[str, object]]:
        assert main([*config, *words]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    listed = run("list")
    assert CONTACT not in str(listed)
    report_id = str(listed[0]["id"])
    assert run("show", report_id, "--actor", "Robin")[0]["contact"] == CONTACT
    closed = run("close", report_id, "--outcome", "acted", "--actor", "Robin")
    assert closed[0]["state"] == "done"
    # The test's clock made the report; the command's own finds it months old.
    assert run("purge") == [{"erased": 1, "taken_in": 0}]

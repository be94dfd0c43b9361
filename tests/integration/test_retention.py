"""What is kept how long: a test for each row of docs/retention.md that something enforces."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from delist.appeal_record import Asks
from delist.cli import main
from delist.errors import LedgerError
from delist.model import CaseState, ErasedRecord, Verdict
from delist.recrawl.following import follow
from delist.settings import DatabaseSettings, RecrawlSettings
from delist.store import audit, cases, consumers, recrawls
from delist.store.tables import access_codes, appeals, decisions, feedback_outbox, metadata
from indexer.url import url_key
from tests.fakes.delisting import World, digest_of, image_near

OURS, OTHER = digest_of("withdrawn one"), digest_of("other")
URL, SECOND = "https://site.example/a.jpg", "https://site.example/b.jpg"
REF = "C-2026-0815"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def on_both(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def found_and_withdrawn(world: World) -> str:
    """A confirmed case whose signal was withdrawn; another one stays. Returns the case's id."""
    world.offer(OURS, cases={REF: "Received"})
    world.offer(OTHER)
    world.visit(URL, image_near({OURS: 3}))
    world.visit(SECOND, image_near({OTHER: 3}, name="b"))
    world.settle()
    world.decide(world.case_of(URL), Verdict.NCII)
    case_id = world.case_of(URL).id
    world.withdraw(OURS)
    world.settle()
    assert world.state_of(URL) is CaseState.WITHDRAWN
    return case_id


def rows_with(world: World, *words: str) -> list[str]:
    """Name the tables that hold one of some words anywhere."""
    holding = []
    with world.delist.database.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                text = " ".join(map(str, row))
                if any(word in text for word in words):
                    holding.append(table.name)
    return sorted(set(holding))


def test_of_a_withdrawn_case_only_tombstones_stay(on_both: World) -> None:
    """Addresses, matches, verdicts and reasons go; the ledger and the audit log still verify."""
    world = on_both
    case_id = found_and_withdrawn(world)
    world.delist.ledger_log.checkpoint()
    image_key = world.case_of(URL).image_key
    world.clock.advance(days=29)
    assert world.delist.retain().cases == 0
    world.clock.advance(days=2)

    report = world.delist.retain()

    assert (report.cases, report.cases_waiting) == (1, 0)
    assert report.records == 3  # provisional, confirmed, revoked
    assert rows_with(world, URL, image_key) == []
    assert rows_with(world, case_id) == ["audit_log"]
    assert rows_with(world, REF) == []
    assert world.delist.verify_ledger() == 4
    assert world.delist.verify_audit_log() > 0
    assert sum(isinstance(e, ErasedRecord) for e in world.delist.entries_after(0)) == 3
    assert not world.results.is_suppressed(URL)
    assert world.results.is_suppressed(SECOND)  # what is in force is not touched
    store = world.delist.indexer.store
    with store.read() as txn:  # the tombstone, without a digest
        (key,) = store.signals.signals_of_case(txn, REF)
        assert store.signals.find(txn, key) is None
        assert store.signals.find_tombstone(txn, key) is not None
    assert world.delist.retain().cases == 0


def test_an_erased_address_is_not_looked_at_again(on_both: World) -> None:
    """Also where the schedule of looks had not followed the withdrawal when it was erased.

    An address that another case hides too stays on it, for that case.
    """
    world, settings = on_both, RecrawlSettings()
    case_id = found_and_withdrawn_behind(world, settings)
    world.clock.advance(days=31)

    assert world.delist.retain().cases == 1

    assert rows_with(world, URL) == []
    assert rows_with(world, case_id) == ["audit_log"]
    follow(world.delist.database, settings)
    with world.delist.database.read() as connection:
        assert recrawls.find(connection, url_key(URL).hex()) is None
        left = recrawls.find(connection, url_key(SECOND).hex())
    assert left is not None
    assert left.case_id == world.case_of(SECOND).id


def found_and_withdrawn_behind(world: World, settings: RecrawlSettings) -> str:
    """The same, with a schedule that has followed nothing since before the withdrawal."""
    world.offer(OURS, cases={REF: "Received"})
    world.offer(OTHER)
    world.visit(URL, image_near({OURS: 3}))
    world.visit(SECOND, image_near({OTHER: 3}, name="b"))
    world.settle()
    follow(world.delist.database, settings)
    world.withdraw(OURS)
    world.settle()
    return world.case_of(URL).id


def test_it_is_not_revived(world: World) -> None:
    """An older word, or a re-scan, brings nothing back; the report says that it has ended."""
    found_and_withdrawn(world)
    world.clock.advance(days=31)
    world.delist.retain()

    world.delist.scan_full()
    world.take_in()

    assert len(world.cases()) == 1
    assert world.delist.survivor_report(REF).case_status == "ended"


def test_images_that_only_went_for_a_while_are_not_forgotten(world: World) -> None:
    """Nothing supports the case while the bytes are gone, but its signal is live."""
    world.offer(OURS)
    world.visit(URL, image_near({OURS: 3}))
    world.settle()
    world.visit(URL, image_near(name="something else"))
    world.settle()
    assert world.state_of(URL) is CaseState.WITHDRAWN
    world.clock.advance(days=400)

    report = world.delist.retain()

    assert (report.cases, report.cases_waiting) == (0, 1)
    world.visit(URL, image_near({OURS: 3}))
    world.settle()
    assert world.state_of(URL) is CaseState.SUPPRESSED


def test_a_consumer_that_is_behind_is_waited_for(world: World) -> None:
    """It could not obey a record that says nothing any more."""
    found_and_withdrawn(world)
    with world.delist.database.write() as connection:
        consumers.add(connection, "engine", kind="pull", position=1, now=world.clock())
    world.clock.advance(days=31)

    assert world.delist.retain().cases_waiting == 1
    assert world.state_of(URL) is CaseState.WITHDRAWN


def test_a_dry_run_says_the_same_and_does_nothing(on_both: World) -> None:
    """The counts are those of the run that follows."""
    world = on_both
    found_and_withdrawn(world)
    world.deliver()
    world.clock.advance(days=1000)
    before = [(table.name, rows) for table, rows in snapshot(world)]

    told = world.delist.retain(dry_run=True)

    assert told.dry_run
    assert [(table.name, rows) for table, rows in snapshot(world)] == before
    done = world.delist.retain()
    names = ("cases", "records", "match_log", "signal_log", "access_codes")
    assert [getattr(told, name) for name in names] == [getattr(done, name) for name in names]
    entry = list(world.delist.audit_entries(subject="store"))[-1]
    assert entry.act == "retention.run"


def snapshot(world: World) -> list[tuple[object, list[tuple[object, ...]]]]:
    with world.delist.database.read() as connection:
        return [
            (table, [tuple(row) for row in connection.execute(select(table))])
            for table in metadata.sorted_tables
        ]


def test_contacts_of_appeals_go_after_their_days(world: World) -> None:
    """Contact and text; what was asked and what came of it stay with the case.

    Of what nobody proved in time nothing stays, whether or not anybody appeals again.
    """
    world.offer(OURS, cases={REF: "Received"})
    world.visit(URL, image_near({OURS: 3}))
    world.settle()
    world.decide(world.case_of(URL), Verdict.NOT_NCII)
    case = world.case_of(URL)
    with world.delist.database.write() as connection:
        for number, state in enumerate(("upheld", "open", "no_record", "awaiting_proof")):
            decided_at = world.clock() if state == "upheld" else None
            values = {
                "id": f"{number:032x}", "party": "survivor", "asks": Asks.KEEP.value,
                "image_url": URL, "case_id": case.id, "record_id": "", "content_sha256": "",
                "party_key": "p", "contact": "someone@mail.example", "statement": "it is me",
                "state": state, "proof_hash": "", "proof_method": "access_code",
                "proved_for": "", "opened_at": world.clock(), "deadline_at": world.clock(),
                "decided_at": decided_at,
            }  # fmt: skip
            connection.execute(appeals.insert().values(values))
    world.clock.advance(days=179)
    assert world.delist.retain(dry_run=True).unproved == 1
    report = world.delist.retain()
    assert (report.appeals, report.unproved) == (0, 1)
    world.clock.advance(days=2)

    assert world.delist.retain().appeals == 2

    with world.delist.database.read() as connection:
        left = connection.execute(
            select(appeals.c.state, appeals.c.contact, appeals.c.statement).order_by(appeals.c.id)
        ).all()
    assert [tuple(row) for row in left] == [
        ("upheld", "", ""),
        ("open", "someone@mail.example", "it is me"),
        ("no_record", "", ""),
    ]


def test_what_was_counted_of_a_case_goes_in_days(world: World) -> None:
    """Caps look at today alone; of a survivor's case no calendar of acts stays."""
    world.offer(OURS, cases={REF: "Received"})
    world.visit(URL, image_near({OURS: 3}))
    world.settle()
    case_key = world.delist.indexer.store.signals.case_key(REF).hex()
    assert "automatic_acts" in rows_with(world, case_key)
    world.clock.advance(days=6)
    assert world.delist.retain().counts == 0
    world.clock.advance(days=2)

    assert world.delist.retain().counts == 3  # all, feed, case

    assert "automatic_acts" not in rows_with(world, case_key)


def test_codes_of_ended_references_go(world: World) -> None:
    """Ninety days after the end, and never while something live is behind the reference."""
    world.offer(OURS, cases={REF: "Received"})
    world.offer(OTHER, cases={"C-2": "Received"})
    for reference in (REF, "C-2"):
        world.delist.issue_access_code(reference)
    world.clock.advance(days=100)
    world.withdraw(OURS)
    assert world.delist.retain().access_codes == 0  # it ended today
    world.clock.advance(days=91)

    assert world.delist.retain().access_codes == 1

    with world.delist.database.read() as connection:
        assert len(connection.execute(select(access_codes)).all()) == 1


def test_words_to_feeds_go_but_for_the_newest(world: World) -> None:
    """Without the newest word about a live signal its feed would be told again."""
    found_and_withdrawn(world)
    world.deliver()
    world.clock.advance(days=401)

    world.delist.retain()

    with world.delist.database.read() as connection:
        left = connection.execute(select(feedback_outbox.c.value)).all()
    assert len(left) == 1  # of the signal that is live
    world.settle()
    assert world.deliver().sent == 0


def test_logs_go_behind_everybody(world: World) -> None:
    """Old entries that were taken in; numbers go on, and nothing is taken in twice or missed."""
    found_and_withdrawn(world)
    world.clock.advance(days=91)
    before = [case.state for case in world.cases()]
    first = world.delist.retain()
    assert (first.match_log > 0, first.signal_log) == (True, 0)
    world.clock.advance(days=800)
    world.delist.indexer.publish_index()

    assert world.delist.retain().signal_log > 0

    store = world.delist.indexer.store
    with store.read() as txn:
        assert len(list(store.images.log.after(txn, 0, limit=9))) == 1
        assert len(list(store.signals.log.after(txn, 0, limit=9))) == 1
    third = digest_of("third")
    world.offer(third)
    world.visit("https://site.example/c.jpg", image_near({third: 1}, name="c"))
    assert world.settle().matches == 1
    assert len(world.cases()) <= len(before) + 1
    assert world.state_of("https://site.example/c.jpg") is CaseState.SUPPRESSED


def test_a_run_that_is_stopped_goes_on_at_the_next(world: World) -> None:
    """What it had not come to is there still, and goes then."""
    found_and_withdrawn(world)
    world.clock.advance(days=5000)
    world.delist.indexer.publish_index()
    stopped = world.delist.retain(stopped=lambda: True)
    assert (stopped.cases, stopped.match_log, stopped.signal_log, stopped.feedback) == (0, 0, 0, 0)

    whole = world.delist.retain()
    assert (whole.cases, whole.match_log > 0, whole.signal_log > 0) == (1, True, True)


def test_entries_that_were_not_taken_in_stay(world: World) -> None:
    """However old they are: no match is lost to a retention that ran before intake."""
    world.offer(OURS)
    for number in range(3):
        world.visit(f"https://site.example/{number}.jpg", image_near({OURS: 3}, name=number))
    world.clock.advance(days=2000)

    report = world.delist.retain()

    assert (report.match_log, report.signal_log) == (0, 0)
    assert world.settle().matches == 3


def test_decisions_and_the_audit_log_stay(world: World) -> None:
    """As long as their case does; the audit log always, which an edit would break."""
    world.offer(OURS)
    world.visit(URL, image_near({OURS: 3}))
    world.settle()
    world.decide(world.case_of(URL), Verdict.NOT_NCII)
    world.clock.advance(days=5000)
    entries = len(list(world.delist.audit_entries()))

    world.delist.retain()

    with world.delist.database.read() as connection:
        assert connection.execute(select(decisions)).all()
        assert cases.total(connection) == 1
        assert audit.verify(connection) >= entries
    assert world.state_of(URL) is CaseState.DISMISSED


def test_an_erasure_that_was_edited_still_shows(world: World) -> None:
    """What retention erased is held to the audit log as any other erasure."""
    found_and_withdrawn(world)
    world.clock.advance(days=31)
    world.delist.retain()
    with world.delist.database.write() as connection:
        connection.exec_driver_sql(
            "update suppression_records set image_url = 'x' where sequence = 1"
        )

    with pytest.raises(LedgerError):
        world.delist.verify_ledger()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what went, and with --dry-run what would."""
    data = str(tmp_path / "data")

    assert main(["--data-dir", data, "retention", "run", "--dry-run", "--json"]) == 0
    assert '"dry_run": true' in capsys.readouterr().out

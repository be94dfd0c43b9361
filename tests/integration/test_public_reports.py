"""The transparency report and the exports to databases that others read, on both databases."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from delist.model import RecordAction, Verdict
from delist.reporting import dsa, lumen
from delist.reporting import transparency as page
from delist.review import Ruling
from delist.settings import DatabaseSettings
from tests.fakes.delisting import World, digest_of, image_near
from tests.fakes.postgres import PostgresServer

MINE, FAR = digest_of("mine"), digest_of("far")
DAY = {"type": "string", "pattern": r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$"}

STATEMENT: Mapping[str, Any] = {
    "type": "object",
    "required": [
        "decision_ground", "content_type", "category", "content_date", "application_date",
        "decision_facts", "source_type", "automated_detection", "automated_decision", "puid",
        "decision_visibility", "incompatible_content_ground", "incompatible_content_explanation",
    ],
    "additionalProperties": False,
    "properties": {
        "decision_visibility": {"const": ["DECISION_VISIBILITY_OTHER"]},
        "decision_visibility_other": {"type": "string", "maxLength": 500},
        "decision_ground": {"const": "DECISION_GROUND_INCOMPATIBLE_CONTENT"},
        "incompatible_content_ground": {"type": "string", "minLength": 1, "maxLength": 500},
        "incompatible_content_explanation": {"type": "string", "minLength": 1, "maxLength": 2000},
        "content_type": {"const": ["CONTENT_TYPE_IMAGE"]},
        "category": {"const": "STATEMENT_CATEGORY_CYBER_VIOLENCE"},
        "category_specification": {"const": ["KEYWORD_NON_CONSENSUAL_IMAGE_SHARING"]},
        "content_date": DAY,
        "application_date": DAY,
        "end_date_visibility_restriction": DAY,
        "decision_facts": {"type": "string", "minLength": 1, "maxLength": 5000},
        "source_type": {"const": "SOURCE_TYPE_OTHER_NOTIFICATION"},
        "automated_detection": {"enum": ["Yes", "No"]},
        "automated_decision": {
            "enum": ["AUTOMATED_DECISION_FULLY", "AUTOMATED_DECISION_NOT_AUTOMATED"]
        },
        "puid": {"type": "string", "pattern": "^[a-zA-Z0-9-_]+$", "maxLength": 500},
    },
}  # fmt: skip
"""What PROTOCOLS.md documents of ``POST /api/v1/statements``, as far as we send it."""
REQUEST = {
    "type": "object",
    "required": ["statements"],
    "additionalProperties": False,
    "properties": {
        "statements": {"type": "array", "minItems": 1, "maxItems": 100, "items": STATEMENT}
    },
}
NOTICE: Mapping[str, Any] = {
    "type": "object",
    "required": ["notice"],
    "additionalProperties": False,
    "properties": {
        "notice": {
            "type": "object",
            "required": ["title", "works_attributes", "entity_notice_roles_attributes"],
            "additionalProperties": False,
            "properties": {
                "title": {"type": "string", "minLength": 1},
                "type": {"enum": ["PrivateInformation", "Other"]},
                "subject": {"type": "string"},
                "body": {"type": "string"},
                "language": {"const": "en"},
                "action_taken": {"enum": ["Yes", "No", "Partial", "Unspecified"]},
                "date_sent": DAY,
                "url_count": {"type": "integer", "minimum": 10, "multipleOf": 10},
                "works_attributes": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["description"],
                        "additionalProperties": False,
                        "properties": {"description": {"type": "string"}},
                    },
                },
                "entity_notice_roles_attributes": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["name", "entity_attributes"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"const": "recipient"},
                            "entity_attributes": {
                                "type": "object",
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {"name": {"type": "string"}},
                            },
                        },
                    },
                },
            },
        }
    },
}


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A world that was filled, to be read."""
    folder, database = tmp_path_factory.mktemp("filled"), DatabaseSettings()
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        database = DatabaseSettings(url=server.url(server.create_store()))
    with World(folder / "data", database=database) as world:
        fill(world)
        yield world


def decide(world: World, url: str, verdict: Verdict, actor: str) -> None:
    ruling = Ruling(verdict=verdict, actor=actor, reason="looked at it")
    world.delist.decide(world.case_of(url).id, ruling)


def fill(world: World) -> None:
    """22 copies that go at once, 3 that wait; some are decided; months go by."""
    world.offer(*(digest_of(number) for number in range(11)), MINE)
    for number in range(22):
        host = "many.example" if number < 12 else f"host-{number}.example"
        world.visit(f"https://{host}/{number}.jpg", image_near({MINE: 3}, name=number))
    for number in range(3):
        world.visit(f"https://wait.example/{number}.jpg", image_near({MINE: 25}, name=number))
    world.take_in()
    world.clock.advance(hours=5)
    for actor in ("Robin", "Kim"):  # a signal that reaches far needs two
        for number in range(12):
            decide(world, f"https://many.example/{number}.jpg", Verdict.NCII, actor)
        decide(world, "https://host-12.example/12.jpg", Verdict.NOT_NCII, actor)
        decide(world, "https://wait.example/0.jpg", Verdict.NCII, actor)
    world.clock.advance(days=40)


def report_of(world: World, **asked: date) -> page.TransparencyReport:
    delist = world.delist
    return page.transparency_report(
        delist.indexer.store, delist.database, now=delist.clock(), **asked
    )


def counts(report: page.TransparencyReport) -> dict[str, dict[str, int | None]]:
    return {
        group.key: {figure.key: figure.count for figure in group.figures} for group in report.groups
    }


def test_figures_of_a_month(filled: World) -> None:
    """Each figure counts what it says, rounded; times follow the clock."""
    report = report_of(filled)
    found = counts(report)

    assert found["received"] == {"signals": 10, "signals_withdrawn": None, "images_matched": 20}
    assert found["suppressed"] == {"automatic": 20, "by_person": None, "confirmed": 10}
    assert found["reviewed"] == {"ncii": 20, "not_ncii": None, "unsure": None}
    assert set(found["appealed"].values()) == set(found["appeals_decided"].values()) == {None}
    # Copies of a signal that a person said "something else" of wait for a person.
    assert found["lifted"] == {
        "withdrawal": None, "review": None, "needs_review": 10,
        "content": None, "other": None,
    }  # fmt: skip
    feed, decision = report.times
    assert feed.median_s is not None
    assert feed.median_s < 3600
    assert (feed.p90_s, decision.median_s, decision.p90_s) == (None, None, None)


def test_a_withdrawal_is_counted_as_such(world: World) -> None:
    """What came back by a withdrawal is not what came back by a decision."""
    fill(world)
    world.withdraw(MINE)
    world.take_in()
    world.clock.advance(days=40)
    found = counts(report_of(world))

    assert (found["lifted"]["withdrawal"], found["lifted"]["review"]) == (10, None)


def test_the_month_under_way_is_left_out(world: World) -> None:
    """Also where it is asked for."""
    fill(world)
    world.offer(*(digest_of(("new", number)) for number in range(30)))
    today = world.clock().date()

    assert counts(report_of(world))["received"]["signals"] == 10
    empty = report_of(world, since=today, until=today + timedelta(days=90))
    assert empty.since == empty.before
    assert {count for group in counts(empty).values() for count in group.values()} == {None}


def test_every_form_says_the_same_and_nothing_finer(filled: World) -> None:
    """JSON, CSV and the page hold no host, no feed, no person and no exact count."""
    report = report_of(filled)
    document, table, html = page.as_json(report), page.as_csv(report), page.as_html(report)

    rows = {(row["group"], row["figure"]): row for row in csv.DictReader(io.StringIO(table))}
    for group, figures in document["figures"].items():
        for key, figure in figures.items():
            assert rows[group, key]["value"] == figure["shown"].replace(",", "")
            assert figure["shown"] == ("<10" if figure["count"] is None else str(figure["count"]))
    assert document["at_least"] == {"reviewed": 20, "lifted": 10}
    assert html.count("<svg") == len(report.groups)
    assert "<script" not in html
    assert "style=" not in html
    assert not re.search(r"""(src|href)=|url\(""", html)
    for text in (json.dumps(document), table, html):
        for secret in ("example", "exchange", "Robin", "Kim", MINE.hex()):
            assert secret not in text


def test_dsa_statements_hold_what_the_api_documents(filled: World) -> None:
    """One for each address that went, by its record's id; none for a confirmation."""
    with filled.delist.database.read() as connection:
        made = list(dsa.requests(connection, after=0, until=filled.clock()))
        again = list(dsa.requests(connection, after=made[-1][0], until=filled.clock()))
    for _, body in made:
        Draft202012Validator(REQUEST).validate(body)
    statements = [found for _, body in made for found in body["statements"]]
    first = [record for record in filled.ledger() if not record.supersedes]
    assert {record.action for record in first} == {RecordAction.SUPPRESS}

    assert [found["puid"] for found in statements] == [record.id for record in first]
    assert again == []
    decisions = [found["automated_decision"] for found in statements]
    assert decisions.count("AUTOMATED_DECISION_NOT_AUTOMATED") == 1
    ended = [found for found in statements if "end_date_visibility_restriction" in found]
    revoked = [record for record in filled.ledger() if record.action is RecordAction.REVOKE]
    assert len(ended) == len(revoked) > 1
    text = json.dumps(made)
    for secret in ("example", "exchange", "Robin", "Kim", MINE.hex(), first[0].content_sha256):
        assert secret not in text


def test_statements_go_in_batches_and_not_before_their_time(filled: World) -> None:
    """A record that is too new ends the export; the next one goes on there."""
    with filled.delist.database.read() as connection:
        everything = list(dsa.requests(connection, after=0, until=filled.clock(), most=10))
        early = filled.ledger()[4]
        made = list(dsa.requests(connection, after=0, until=early.effective_at))
        rest = list(dsa.requests(connection, after=made[-1][0], until=filled.clock()))

    assert [len(body["statements"]) for _, body in everything][:-1] == [10, 10]

    def puids(bodies: list[tuple[int, dict[str, Any]]]) -> list[str]:
        return [found["puid"] for _, body in bodies for found in body["statements"]]

    assert puids(made) + puids(rest) == puids(everything)


def test_a_lumen_notice_names_large_hosts_only(filled: World) -> None:
    """Hosts of ten addresses or more, by rounded counts; no address, no sender."""
    with filled.delist.database.read() as connection:
        last, body = lumen.notice(
            connection, after=0, until=filled.clock(), recipient="Example", now=filled.clock()
        )
        rest = lumen.notice(
            connection, after=last, until=filled.clock(), recipient="Example", now=filled.clock()
        )
    assert body is not None
    Draft202012Validator(NOTICE).validate(body)
    works = [work["description"] for work in body["notice"]["works_attributes"]]

    assert works == ["many.example: 10 addresses or more", "other hosts: 10 addresses or more"]
    assert body["notice"]["url_count"] == 20
    assert rest == (last, None)
    for secret in ("://", ".jpg", "host-1", "wait.", "exchange", "Robin", "Kim"):
        assert secret not in json.dumps(body)


def test_too_few_records_make_no_notice(world: World) -> None:
    """And they are not used up: they go into the next one."""
    world.offer(MINE)
    world.visit("https://one.example/", image_near({MINE: 3}))
    world.take_in()
    with world.delist.database.read() as connection:
        found = lumen.notice(
            connection, after=0, until=world.clock(), recipient="x", now=world.clock()
        )

    assert found == (0, None)

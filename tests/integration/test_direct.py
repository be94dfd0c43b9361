"""What people report to us directly: a feed of its own that never acts without a person."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from delist.cli import main
from delist.direct import DirectReports, ReportedHash, hash_of_image, parse_hash
from delist.errors import UnknownCaseRefError, UsageError
from delist.model import CaseState, Verdict
from delist.ops.pictures import draw_photo, encode
from delist.policy import DIRECT_FEED
from delist.settings import DatabaseSettings, load_settings
from delist.store import audit
from indexer.errors import InvalidDigestError, SettingsError
from indexer.hashing import hash_image
from indexer.match import FEED_KIND_PDQ
from indexer.settings import RESERVED_FEED
from tests.fakes.delisting import START, World, digest_of, image_near

OURS, OTHER = digest_of("reported to us"), digest_of("other")
URL = "https://site.example/a.jpg"
REF, SECOND = "D-2026-17", "D-2026-18"


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def reported(digest: bytes = OURS) -> ReportedHash:
    return ReportedHash(kind=FEED_KIND_PDQ, value=digest.hex())


def add(world: World, reference: str = REF, *digests: bytes) -> None:
    hashes = [reported(digest) for digest in digests or (OURS,)]
    world.delist.direct.add(hashes, reference=reference, actor="Robin")
    world.settle()


def test_it_waits_for_a_person(world: World) -> None:
    """Not one bit away, and nothing is suppressed until somebody has looked."""
    world.visit(URL, image_near({OURS: 0}))
    add(world)

    assert world.state_of(URL) is CaseState.OPEN
    assert world.ledger() == []
    world.decide(world.case_of(URL), Verdict.NCII)
    assert world.results.is_suppressed(URL)


def test_a_withdrawal_lifts_it(world: World) -> None:
    """And the hash leaves the store."""
    world.visit(URL, image_near({OURS: 0}))
    add(world)
    world.decide(world.case_of(URL), Verdict.NCII)

    report = world.delist.direct.withdraw(REF, actor="Robin")
    world.settle()

    assert report.withdrawn == 1
    assert not world.results.is_suppressed(URL)
    assert world.delist.indexer.match_digest_list([OURS]) == [[]]
    assert world.delist.survivor_report(REF).case_status == "ended"


def test_one_of_two_people_withdraws(world: World) -> None:
    """The other one's report stays, whichever came first."""
    world.visit(URL, image_near({OURS: 0}))
    add(world, REF)
    add(world, SECOND)
    assert world.delist.survivor_report(REF).found == 1

    assert world.delist.direct.withdraw(REF, actor="Robin").withdrawn == 0
    world.settle()

    assert world.state_of(URL) is CaseState.OPEN
    assert world.delist.survivor_report(SECOND).found == 1
    assert world.delist.survivor_report(REF).case_status == "ended"
    assert world.delist.direct.withdraw(SECOND, actor="Robin").withdrawn == 1


def test_it_comes_back_in_the_same_second(world: World) -> None:
    """Withdrawn by mistake and added again: a word of ours is never too old."""
    stores = world.delist.indexer.store, world.delist.database
    reports = DirectReports(*stores, clock=lambda: START)
    reports.add([reported()], reference=REF, actor="Robin")
    reports.withdraw(REF, actor="Robin")
    report = reports.add([reported()], reference=REF, actor="Robin")

    assert (report.added, report.stale, report.active) == (1, 0, 1)


def test_the_report_and_its_code_work_as_for_other_feeds(world: World) -> None:
    """Found, under review, and addresses only with the code."""
    world.visit(URL, image_near({OURS: 3}))
    add(world)
    code = world.delist.issue_access_code(REF)

    summary = world.delist.survivor_report(REF)
    full = world.delist.survivor_report(REF, access_code=code)

    assert (summary.found, summary.under_review, summary.images) == (1, 1, None)
    assert full.images is not None
    assert full.images[0].image_urls == ("hxxps://site[.]example/a.jpg",)


def test_other_feeds_leave_it_alone(world: World) -> None:
    """Not even a full listing of another feed withdraws it."""
    add(world)
    world.feed.lists_everything = True
    world.offer(OTHER)

    found = world.delist.indexer.match_digest_list([OURS])[0]

    assert [match.feed for match in found] == [DIRECT_FEED]


def test_a_reference_of_another_feed_is_not_ours_to_end(world: World) -> None:
    """A case number of StopNCII is withdrawn there."""
    world.offer(OTHER, cases={"theirs": "Received"})

    for reference in ("theirs", "nobody's"):
        with pytest.raises(UnknownCaseRefError):
            world.delist.direct.withdraw(reference, actor="Robin")
    assert world.delist.indexer.match_digest_list([OTHER])[0]


def test_a_reference_in_two_feeds_ends_in_ours(world: World) -> None:
    """What the other feed says of it is that feed's business."""
    add(world)
    world.offer(OTHER, cases={REF: "Received"})

    report = world.delist.direct.withdraw(REF, actor="Robin")

    assert (report.records, report.withdrawn) == (1, 1)
    assert world.delist.survivor_report(REF).case_status == "active"


def test_who_did_it_is_on_record(world: World) -> None:
    """With counts; no digest and no case reference."""
    add(world, REF, OURS, OTHER)
    world.delist.direct.withdraw(REF, actor="Kim")
    with world.delist.database.read() as connection:
        entries = list(audit.after(connection, subject=DIRECT_FEED))

    assert [(e.actor, e.act, json.loads(e.detail)) for e in entries] == [
        ("Robin", "direct.added", {"hashes": 2}),
        ("Kim", "direct.withdrawn", {"hashes": 2}),
    ]


@pytest.mark.parametrize(
    ("hashes", "reference", "actor"),
    [
        ([], REF, "Robin"),
        ([reported()], " ", "Robin"),
        ([reported()], "a\nb", "Robin"),
        ([reported()], "x" * 201, "Robin"),
        ([reported()], REF, " "),
    ],
)
def test_bad_reports_are_refused(
    world: World, hashes: list[ReportedHash], reference: str, actor: str
) -> None:
    """Nothing is stored, and nothing is on record."""
    with pytest.raises(UsageError):
        world.delist.direct.add(hashes, reference=reference, actor=actor)

    assert world.delist.indexer.match_digest_list([OURS]) == [[]]


@pytest.mark.parametrize("text", ["00" * 32, "ff" * 32, "d41d8cd98f00b204e9800998ecf8427e"])
def test_hashes_of_nothing_are_refused(text: str) -> None:
    """They would match plain pictures, and every empty file."""
    with pytest.raises(UsageError):
        parse_hash(text)


@pytest.mark.parametrize("text", ["", "ab" * 31, "xy" * 32, OURS.hex() + "0"])
def test_what_is_no_digest_is_refused(text: str) -> None:
    """By its length or its signs; the message does not repeat it."""
    with pytest.raises(InvalidDigestError) as refused:
        parse_hash(text)
    assert not text or text not in str(refused.value)


def test_a_plain_picture_is_refused() -> None:
    """Its hash would match other plain pictures."""
    plain = hash_image(
        encode(draw_photo(1).resize((1, 1)).resize((64, 64)), "PNG"),
        max_bytes=10**6,
        max_pixels=10**6,
    )
    with pytest.raises(UsageError, match="too little"):
        hash_of_image(plain)


def test_the_name_is_reserved(tmp_path: Path) -> None:
    """A feed that syncs under this name could end what people reported, or be taken for it."""
    path = tmp_path / "delist.toml"
    path.write_text('[feeds.direct]\ntype = "file"\npath = "bank.txt"\n')

    with pytest.raises(SettingsError, match=r"feeds\.direct"):
        load_settings(path)
    assert RESERVED_FEED == DIRECT_FEED


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a photo to a case that waits, and back; a bad digest is named, the rest is done."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encode(draw_photo(7), "JPEG", quality=90))
    base = ["--data-dir", str(tmp_path / "data"), "--json"]
    given = ["--reference", REF, "--actor", "Robin"]

    assert main([*base, "direct", "add", "--image", str(photo), *given]) == 0
    (added,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (added["feed"], added["added"], added["active"]) == (DIRECT_FEED, 1, 1)

    assert main([*base, "check", str(photo)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["matches"][0]["feed"] == DIRECT_FEED

    bad = ["--digest", "ab", "--digest", OTHER.hex()]
    assert main([*base, "direct", "add", *bad, *given]) == 3
    refused, added = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (refused["error"]["code"], added["active"]) == ("invalid_digest", 2)

    assert main([*base, "direct", "withdraw", REF, "--actor", "Robin"]) == 0
    (gone,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (gone["withdrawn"], gone["active"]) == (2, 0)
    assert main([*base, "direct", "withdraw", "D-0", "--actor", "Robin"]) == 1
    assert main([*base, "direct", "add", *given]) == 2
    assert main([*base, "direct", "add", "--digest", "ab", *given]) == 3

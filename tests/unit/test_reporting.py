"""The survivor report and the codes that open it."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist import access
from delist.errors import UnknownCaseRefError
from delist.model import Verdict
from delist.reporting import SurvivorReport, as_html, as_json, defang
from delist.settings import DatabaseSettings
from tests.fakes.delisting import START, World, digest_of, image_near

MINE, THEIRS, VIDEO = digest_of("mine"), digest_of("theirs"), digest_of("video")
REF, OTHER_REF = "5f0c-mine", "77aa-theirs"
URL = "https://www.site.example:8443/a.b/c.jpg?u=http://x.example/"
PAGE = "https://forum.example/thread.html"
ALIAS = "https://cdn.example/1"


@pytest.fixture
def world(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as opened:
        yield opened


def find(world: World, *, bits: int = 5, url: str = URL, ref: str = REF) -> None:
    world.offer(MINE, cases={ref: "Received"})
    world.visit(url, image_near({MINE: bits}), page_urls=(PAGE,), aliases=(ALIAS,))
    world.settle()


def summary(world: World, ref: str = REF) -> SurvivorReport:
    return world.delist.survivor_report(ref)


def full(world: World, ref: str = REF) -> SurvivorReport:
    code = world.delist.issue_access_code(ref)
    return world.delist.survivor_report(ref, access_code=code)


@pytest.mark.parametrize(
    ("url", "defanged"),
    [
        ("http://a.example/", "hxxp://a[.]example/"),
        ("https://www.a.example/b.c?d=e.f", "hxxps://www[.]a[.]example/b.c?d=e.f"),
        ("https://a.example:8443/x.jpg", "hxxps://a[.]example:8443/x.jpg"),
        ("https://us.er:p.w@a.example/", "hxxps://us.er:p.w@a[.]example/"),
        ("https://a.example/http://b.example/", "hxxps://a[.]example/http://b.example/"),
        ("https://[2001:db8::1]:80/x.y", "hxxps://[2001:db8::1]:80/x.y"),
        ("http://127.0.0.1:80/x.y", "hxxp://127[.]0[.]0[.]1:80/x.y"),
        ("http://localhost/", "hxxp://localhost/"),
        ("https://a.example/x#data-sha256=00", "hxxps://a[.]example/x#data-sha256=00"),
    ],
)
def test_defanged_urls_do_not_open(url: str, defanged: str) -> None:
    """Hxxp in the scheme, [.] in the host, and nothing else is changed."""
    assert defang(url) == defanged


@given(
    scheme=st.sampled_from(["http", "https"]),
    host=st.from_regex(r"[a-z0-9-]{1,5}(\.[a-z0-9]{1,4}){0,3}", fullmatch=True),
    path=st.text(alphabet="abhtps:/.@[]%20-", max_size=20),
)
def test_defanging_loses_nothing(scheme: str, host: str, path: str) -> None:
    """Whoever has to write to a website can bring the address back."""
    url = f"{scheme}://{host}/{path}"
    written = defang(url)
    begin, _, rest = written.partition("://")
    place, _, end = rest.partition("/")

    assert f"{begin.replace('hxxp', 'http')}://{place.replace('[.]', '.')}/{end}" == url
    assert begin.startswith("hxxp")
    assert "." not in place.replace("[.]", "")


def test_without_a_code_hosts_and_counts_only(world: World) -> None:
    """The summary holds no path, page, alias or address, in either form."""
    find(world)
    report = summary(world)

    assert (report.access, report.case_status, report.images) == ("summary", "active", None)
    assert (report.hashes, report.found, report.delisted, report.under_review) == (1, 1, 1, 0)
    document = as_json(report)
    assert "images" not in document
    assert list(document["hosts"]) == [
        {"host": "www.site.example", "found": 1, "delisted": 1, "under_review": 0}
    ]
    for text in (json.dumps(document, default=str), as_html(report)):
        for secret in ("c.jpg", "thread", "forum", "cdn", "/a.b", MINE.hex()):
            assert secret not in text


def test_with_the_code_every_address(world: World) -> None:
    """Every URL that leads to the image and every page, defanged; no digest."""
    find(world)
    report = full(world)

    assert report.access == "full"
    assert report.images is not None
    (image,) = report.images
    assert image.image_urls == (defang(URL), defang(ALIAS))
    assert image.page_urls == (defang(PAGE),)
    assert (image.status, image.since) == ("delisted", "2026-03-01T12:00:04+00:00")
    text = json.dumps(as_json(report), default=str)
    assert "https://" not in text.replace("?u=http://", "")
    assert MINE.hex() not in text
    assert world.case_of(URL).content_sha256 not in text


@pytest.mark.parametrize(
    ("bits", "verdict", "status"),
    [
        (5, None, "delisted"),
        (5, Verdict.NCII, "delisted"),
        (25, None, "under_review"),
        (25, Verdict.NCII, "delisted"),
        (5, Verdict.NOT_NCII, "not_delisted"),
    ],
)
def test_each_image_has_its_status(
    world: World, bits: int, verdict: Verdict | None, status: str
) -> None:
    """What a copy stands at, in the holder's words; ``since`` only while it is delisted."""
    find(world, bits=bits)
    if verdict is not None:
        world.decide(world.case_of(URL), verdict)
    report = full(world)

    assert report.images is not None
    assert report.images[0].status == status
    assert (report.images[0].since is not None) is (status == "delisted")
    counts = (report.delisted, report.under_review, report.not_delisted)
    assert counts == tuple(
        int(status == word) for word in ("delisted", "under_review", "not_delisted")
    )
    assert "2026" in as_html(report)


def test_since_is_never_before_the_own_report(world: World) -> None:
    """Who reports an image that was delisted before does not learn that somebody had."""
    find(world, ref="somebody-else")
    world.clock.advance(days=30)
    world.offer(MINE, cases={"somebody-else": "Received", REF: "Received"})
    reported_at = world.clock.now.replace(microsecond=0)
    (image,) = full(world).images or ()

    assert image.status == "delisted"
    assert image.since is not None
    assert abs(datetime.fromisoformat(image.since) - reported_at) < timedelta(minutes=1)


def test_since_is_when_it_went(world: World) -> None:
    """Not when a person looked: that a record takes the place of another is no news to anybody."""
    find(world)
    (before,) = full(world).images or ()
    world.clock.advance(hours=30)
    world.decide(world.case_of(URL), Verdict.NCII)

    (after,) = full(world).images or ()
    assert (after.status, after.since) == ("delisted", before.since)


def test_nothing_found_yet(world: World) -> None:
    """A case without copies is told so, not that it is unknown."""
    world.offer(MINE, cases={REF: "Received"})
    report = full(world)

    assert (report.case_status, report.found, report.images) == ("active", 0, ())
    assert "have not found any" in as_html(report)


@pytest.mark.parametrize("ref", ["", "nobody", REF.upper(), "%", "*", "é\udcff", "x" * 10_000])
def test_an_unknown_reference_is_an_error(world: World, ref: str) -> None:
    """Neither a report nor a code, and the reference is not repeated."""
    find(world)

    for ask in (summary, full):
        with pytest.raises(UnknownCaseRefError) as caught:
            ask(world, ref)
        assert not ref or ref not in str(caught.value)


def test_an_ended_case_learns_nothing_of_others(world: World) -> None:
    """Two people reported the same image; the one who withdrew is told that their case ended."""
    find(world)
    world.offer(MINE, cases={REF: "Withdrawn", OTHER_REF: "Received"})
    world.settle()
    assert world.results.is_suppressed(URL)

    report = full(world)

    assert (report.case_status, report.images) == ("ended", None)
    assert (report.hashes, report.found, report.delisted, report.hosts) == (0, 0, 0, ())
    assert "has ended" in as_html(report)
    for text in (json.dumps(as_json(report), default=str), as_html(report)):
        assert "site.example" not in text
        assert OTHER_REF not in text
    assert summary(world, OTHER_REF).found == 1


def test_a_case_that_the_feed_no_longer_names_has_ended(world: World) -> None:
    """A record is a snapshot: what it does not name any more is over."""
    find(world)
    world.offer(MINE, cases={OTHER_REF: "Received"})
    world.settle()

    assert summary(world).case_status == "ended"


def test_only_copies_of_the_own_hash_are_reported(world: World) -> None:
    """Images that match other people's signals alone are none of this case's business."""
    find(world)
    world.offer(THEIRS, cases={OTHER_REF: "Received"})
    world.visit("https://else.example/x.jpg", image_near({THEIRS: 3}))
    world.settle()

    assert [host.host for host in summary(world).hosts] == ["www.site.example"]
    assert [host.host for host in summary(world, OTHER_REF).hosts] == ["else.example"]


def test_a_partly_ended_case_counts_what_is_left(world: World) -> None:
    """Of two hashes one was withdrawn: its copies are no longer reported."""
    find(world)
    world.offer(THEIRS, cases={REF: "Received"})
    world.visit("https://else.example/x.jpg", image_near({THEIRS: 3}))
    world.settle()
    assert (summary(world).hashes, summary(world).found) == (2, 2)

    world.offer(MINE, cases={REF: "Withdrawn"})
    world.settle()

    assert (summary(world).hashes, summary(world).found) == (1, 1)


def test_a_copy_that_is_gone_is_not_reported(world: World) -> None:
    """Other bytes at the URL: the copy is gone, and so is its line."""
    find(world)
    world.visit(URL, image_near(name="a landscape"))
    world.take_in()

    assert summary(world).found == 0


def test_a_confirmed_copy_is_reported_until_a_person_has_looked(world: World) -> None:
    """A host that shows us something else does not make it look as if the copy were gone."""
    find(world)
    world.decide(world.case_of(URL), Verdict.NCII)
    world.visit(URL, image_near(name="a landscape"))
    world.take_in()

    (image,) = full(world).images or ()
    assert (image.status, image.since is None) == ("delisted", False)
    world.decide(world.case_of(URL), Verdict.NOT_NCII)
    assert summary(world).found == 0


def test_every_address_that_is_kept_away_is_reported(world: World) -> None:
    """A redirect elsewhere lifts none of those of a confirmed copy, so none leaves the report."""
    find(world)
    world.decide(world.case_of(URL), Verdict.NCII)
    elsewhere = "https://www.site.example/new.jpg"
    world.visit(elsewhere, image_near(name="a landscape"), aliases=(URL, ALIAS))
    world.take_in()
    assert all(world.results.suppressed([URL, ALIAS]))

    (image,) = full(world).images or ()
    assert image.image_urls == (defang(URL), defang(ALIAS))


def test_hosts_are_counted_one_by_one(world: World) -> None:
    """Counts add up to the totals, hosts in order, without ports."""
    world.offer(MINE, cases={REF: "Received"})
    places = ["https://b.example/1", "https://b.example:99/2", "https://a.example/1"]
    for number, url in enumerate(places):
        world.visit(url, image_near({MINE: 5 if number else 25}, name=number))
    world.take_in()
    report = summary(world)

    assert [(h.host, h.found, h.delisted, h.under_review) for h in report.hosts] == [
        ("a.example", 1, 1, 0),
        ("b.example", 2, 1, 1),
    ]
    assert (report.found, report.delisted, report.under_review) == (3, 2, 1)


class Resources(HTMLParser):
    """Collects what a page loads or runs, and where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.tags: set[str] = set()
        self.policy = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._inside = tag
        values = dict(attrs)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
                assert values["rel"] == "noreferrer noopener"
            elif name in {"src", "srcset", "href", "data", "action", "poster", "background"}:
                self.loads.append(value or "")
            elif name.startswith("on") or name == "style":
                self.loads.append(name)

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"}:
            self.scripts.append(data)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the base's signature
        self._inside = ""


def source_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


HOSTILE = (
    'https://evil.example/"><script>alert(1)</script>',
    "https://evil.example/<img src=x onerror=alert(1)>",
    "https://evil.example/{{ 7*7 }}{% raw %}",
    "https://evil.example/'onmouseover='x",
    "https://evil.example/\u202egpj.exe",
)


def test_the_page_loads_nothing_and_escapes_everything(world: World) -> None:
    """Whatever an address or a case reference holds, it is text; nothing comes from elsewhere."""
    ref = '<b onload="x">{{ 1 }}</b>'
    world.offer(MINE, cases={ref: "Received"})
    for number, url in enumerate(HOSTILE):
        world.visit(url, image_near({MINE: 5}, name=number), page_urls=(f"{url}#page",))
    world.take_in()

    for report in (summary(world, ref), full(world, ref)):
        page = as_html(report)
        found = Resources()
        found.feed(page)

        assert not found.loads
        assert found.links == ["https://www.wikipedia.org/"]
        assert not found.tags & {"img", "iframe", "link", "form", "object", "b", "base"}
        style, script = found.scripts
        assert found.policy.startswith("default-src 'none'; ")
        assert f"style-src {source_of(style)}; script-src {source_of(script)};" in found.policy
        assert "fetch" not in script
        assert not re.search(r"@import|url\(", page)
        assert 'content="noindex' in page
        assert 'content="no-referrer"' in page
        assert "{{ 1 }}" in page
        assert "https://evil" not in page


def test_defaults_say_what_is_not_seen_and_where_help_is(world: World) -> None:
    """Every report, an ended one too, names limits and help."""
    world.offer(MINE, cases={REF: "Withdrawn"})
    world.offer(MINE, cases={REF: "Received"})
    for status in ("Received", "Withdrawn"):
        world.offer(MINE, cases={REF: status})
        document = as_json(summary(world))
        assert document["cannot_see"]
        assert document["next_steps"]
        assert {"name", "contact", "phone", "website", "checked"} <= set(document["help"][0])
        assert "cropped" in as_html(summary(world))


def test_a_report_shows_no_addresses_when_logged(world: World) -> None:
    """Its repr holds neither the case reference nor an address."""
    find(world)

    assert REF not in repr(full(world))
    assert "site[.]example" not in repr(full(world).images)


def test_kinds_that_are_not_matched_are_not_said_to_be_compared(world: World) -> None:
    """A hash of a kind that is not matched is no hash that was compared with the index."""
    world.offer(MINE, cases={REF: "Received"})
    world.offer(VIDEO, cases={REF: "Received"}, kind="VideoTMK")

    assert summary(world).hashes == 1


# Access codes


def test_a_code_opens_its_case_alone(world: World) -> None:
    """The right code of another case is a wrong code."""
    find(world)
    world.offer(THEIRS, cases={OTHER_REF: "Received"})
    mine, theirs = (world.delist.issue_access_code(ref) for ref in (REF, OTHER_REF))

    assert world.delist.survivor_report(REF, access_code=mine).access == "full"
    assert world.delist.survivor_report(REF, access_code=theirs).access == "summary"
    assert world.delist.survivor_report(OTHER_REF, access_code=mine).access == "summary"


def test_a_new_code_replaces_the_old(world: World) -> None:
    """Whoever had the old one is locked out."""
    find(world)
    old, new = (world.delist.issue_access_code(REF) for _ in range(2))

    assert old != new
    assert world.delist.survivor_report(REF, access_code=old).access == "summary"
    assert world.delist.survivor_report(REF, access_code=new).access == "full"


@pytest.mark.parametrize(
    "code",
    ["", "-", "0" * 20, "-" * 64, "é", "\udcff", "\0", "x" * 100_000, "AAAA-AAAA-AAAA-AAAA-AAAA"],
)
def test_a_wrong_code_gives_the_summary(world: World, code: str) -> None:
    """Also before any code was issued; whatever is offered is no error."""
    find(world)
    assert world.delist.survivor_report(REF, access_code=code).access == "summary"
    world.delist.issue_access_code(REF)
    assert world.delist.survivor_report(REF, access_code=code).access == "summary"


def test_a_code_can_be_read_out(world: World) -> None:
    """Case, blanks, dashes and characters that look alike do not matter."""
    find(world)
    code = world.delist.issue_access_code(REF)

    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}", code)
    misread = code.replace("1", "l").replace("0", "o")
    for written in (code.lower(), code.replace("-", ""), f" {code.replace('-', ' ')} ", misread):
        assert world.delist.survivor_report(REF, access_code=written).access == "full"
    last = "Z" if code[-1] != "Z" else "Y"
    assert world.delist.survivor_report(REF, access_code=code[:-1] + last).access == "summary"
    assert world.delist.survivor_report(REF, access_code=code[:-1]).access == "summary"


def test_only_keyed_hashes_are_stored(world: World) -> None:
    """Neither code nor case reference stands in the store, nor a hash that can be guessed."""
    find(world)
    code = world.delist.issue_access_code(REF)
    with world.delist.database.read() as connection:
        (row,) = connection.exec_driver_sql("select * from access_codes").all()

    flat = code.replace("-", "")
    stored = " ".join(map(str, row))
    assert flat not in stored
    assert REF not in stored
    other = access._hash(bytes(32), row.case_key, flat)
    assert other != row.code_hash
    assert str(row.issued_at).startswith(f"{START:%Y-%m-%d}")


def test_blanks_around_a_reference_do_not_matter(world: World) -> None:
    """Copied from a letter, a reference may bring blanks."""
    find(world)
    code = world.delist.issue_access_code(f" {REF}\n")

    assert world.delist.survivor_report(f"{REF} ", access_code=code).access == "full"

"""Suppressed URLs are looked at again: real crawls of loopback sites, a clock that tests set."""

import os
import signal
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from crawler.errors import CrawlFailedError
from delist.emission import REASON_CONTENT_CHANGED
from delist.model import Verdict
from delist.recrawl import RecrawlReport
from delist.recrawl.following import claim, follow
from delist.recrawl.outcomes import LookOutcome, counts_as, looked
from delist.settings import DatabaseSettings, RecrawlSettings
from delist.store import recrawls
from delist.store.recrawls import Recrawl
from indexer.url import url_key
from tests.fakes.crawls import crawl_pids
from tests.fakes.delisting import START, World, digest_of, image_near
from tests.sites import Site, draw_image, hostile, serve_site

NEAR, FAR = digest_of("near"), digest_of("far")
KNOWN, OTHER = draw_image(1), draw_image(2)
ROBOTS = "User-agent: *\nDisallow: /\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as made:
        yield made


@pytest.fixture
def stores(tmp_path: Path, sql: DatabaseSettings) -> Iterator[World]:
    with World(tmp_path / "data", database=sql) as made:
        yield made


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as made:
        yield made


def suppress(world: World, urls: list[str], **seen: str) -> None:
    """Have a signal of the known picture, and these URLs suppressed by the machine."""
    hashed = world.delist.indexer.hash_image(KNOWN)
    world.offer(hashed.hashes[0].digest)
    for url in urls:
        world.visit(url, hashed, **seen)
    world.settle()
    assert all(world.results.suppressed(urls))


def recrawl(world: World, **by: float) -> RecrawlReport:
    world.clock.advance(**by)
    return world.delist.recrawl(allow_private_addresses=True)


def counts(report: RecrawlReport) -> dict[str, int]:
    return {
        name: getattr(report, name)
        for name in ("looked", "unchanged", "gone", "changed", "moved")
        if getattr(report, name)
    }


def test_each_url_counts_as_what_it_came_to_and_what_comes_back_is_hidden_again(
    world: World, site: Site
) -> None:
    """Other bytes lift what the machine did, everything else leaves it; no link is followed.

    Then the picture comes back everywhere: it is hidden again at once.
    """
    names = ("same", "gone", "changed", "moved", "forbidden", "page")
    same, gone, changed, moved, forbidden, page = urls = [f"{site.url}/{n}.jpg" for n in names]
    suppress(world, urls, etag='"1"')
    assert recrawl(world).looked == 0  # nothing is due yet
    site.put("/same.jpg", KNOWN, ETag='"1"')
    site.put("/gone.jpg", b"", status=410)
    site.put("/changed.jpg", OTHER)
    site.put("/moved.jpg", b"", status=301, Location="/new.jpg")
    new = site.put("/new.jpg", KNOWN)
    site.put("/forbidden.jpg", b"", status=403)
    site.put("/page.jpg", "<img src=/linked.jpg><a href=/more>more</a>")

    report = recrawl(world, hours=7)

    assert counts(report) == {"looked": 6, "unchanged": 1, "gone": 1, "changed": 1, "moved": 1}
    assert report.refused == {"http_403": 1, "not_an_image": 1}
    assert ("/same.jpg", '"1"') in [(p, h.get("If-None-Match")) for p, h in site.requests]
    assert not {"/linked.jpg", "/more"} & set(site.paths())
    hidden = [same, gone, moved, new, forbidden, page]
    assert all(world.results.suppressed(hidden))
    assert not world.results.is_suppressed(changed)
    assert REASON_CONTENT_CHANGED in {record.reason_code for record in world.ledger()}
    assert report.due == 0

    for url in urls:
        site.put(url.removeprefix(site.url), KNOWN)
    back = recrawl(world, hours=7)

    assert counts(back) == {"looked": 7, "unchanged": 5, "changed": 1, "moved": 1}
    assert all(world.results.suppressed([*urls, new]))


def test_robots_txt_is_obeyed_and_changes_nothing(world: World, site: Site) -> None:
    """A site that comes to forbid it is not fetched from; what it showed stays suppressed."""
    url = site.put("/a.jpg", OTHER)
    suppress(world, [url])
    site.put("/robots.txt", ROBOTS)

    report = recrawl(world, hours=7)

    assert report.refused == {"forbidden_by_robots": 1}
    assert site.paths() == ["/robots.txt"]
    assert world.results.is_suppressed(url)


def test_other_bytes_do_not_lift_what_a_person_confirmed(world: World, site: Site) -> None:
    """A host may show us something else than people see: a person looks, and then it is lifted."""
    url = site.put("/a.jpg", OTHER)
    suppress(world, [url])
    world.decide(world.case_of(url), Verdict.NCII)

    report = recrawl(world, hours=7)

    assert counts(report) == {"looked": 1, "changed": 1}
    assert world.results.is_suppressed(url)
    assert world.case_of(url).awaits_person
    world.decide(world.case_of(url), Verdict.NOT_NCII)
    assert not world.results.is_suppressed(url)


def test_a_change_that_was_met_before_asks_a_person_too(world: World, site: Site) -> None:
    """Bytes that match nothing are in no log: who looks again sees what the case is not about."""
    url = site.put("/a.jpg", third := draw_image(3))
    suppress(world, [url])
    world.decide(world.case_of(url), Verdict.NCII)
    for met in (OTHER, third):
        world.visit(url, world.delist.indexer.hash_image(met))
        world.take_in()
        if met is OTHER:
            world.decide(world.case_of(url), Verdict.NCII)

    assert counts(recrawl(world, hours=7)) == {"looked": 1, "unchanged": 1}
    assert world.case_of(url).awaits_person
    assert world.results.is_suppressed(url)


def test_a_killed_crawl_is_made_up_for(world: World) -> None:
    """A child that dies leaves its URLs for later; those of others are not held up meanwhile."""
    killed = False

    def answer(connection: socket.socket, _path: str) -> None:
        nonlocal killed
        if not killed:
            killed = True
            for pid in crawl_pids():
                os.kill(pid, signal.SIGKILL)
            return
        connection.sendall(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with hostile(answer) as server:
        url = f"{server}/a.jpg"
        suppress(world, [url])
        with pytest.raises(CrawlFailedError, match="killed by signal 9"):
            recrawl(world, hours=7)
        assert recrawl(world).looked == 0  # whoever was killed is not met again at once

        assert counts(recrawl(world, hours=2)) == {"looked": 1, "gone": 1}

    assert world.results.is_suppressed(url)
    assert len(world.ledger()) == 1


def entry(outcome: str = "", **values: object) -> Recrawl:
    return Recrawl(
        url_key="00", image_url="https://a.example/", site="a.example", case_id="c", sequence=1,
        next_at=START, outcome=outcome, **values,  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_schedule_decays_while_nothing_changes() -> None:
    """Six hours, doubling up to thirty days; a change starts it anew, every time."""
    settings, now, held, waits = RecrawlSettings(), START, entry(), []
    for _ in range(9):
        held = looked(held, LookOutcome.UNCHANGED, settings, now=now)
        waits.append((held.next_at - now) / timedelta(hours=1))
        now = held.next_at

    assert waits == [6, 12, 24, 48, 96, 192, 384, 720, 720]
    for _ in range(2):
        held = looked(held, LookOutcome.CHANGED, settings, now=now)
        assert held.next_at - now == timedelta(hours=6)


def test_a_name_that_has_not_resolved_for_long_counts_as_gone() -> None:
    """A fault of a name server is no proof; two weeks of it are."""
    settings = RecrawlSettings()
    first = looked(entry(), "host_not_found", settings, now=START)
    later = looked(first, "host_not_found", settings, now=START + timedelta(days=14))

    assert counts_as(first, settings, now=START) == "host_not_found"
    assert counts_as(later, settings, now=START + timedelta(days=14)) == LookOutcome.GONE


def plan(world: World, settings: RecrawlSettings, *, limit: int = 10) -> list[str]:
    """List what would be looked at now, and claim it."""
    delist, now = world.delist, world.clock()
    follow(delist.database, settings)
    found = claim(delist.database, delist.indexer.store, settings, limit=limit, now=now)
    return [each.image_url for each in found]


def show(world: World, digest: bytes, *urls: str) -> None:
    world.offer(digest)
    for url in urls:
        world.visit(url, image_near({digest: 2}))
    world.settle()


def test_a_site_is_asked_so_often_a_day(stores: World) -> None:
    """What is over a site's share waits for the next day, and holds nobody else up."""
    world = stores
    busy = [f"https://img{n}.busy.com/{n}.jpg" for n in range(3)]
    show(world, NEAR, *busy, "https://other.example/a.jpg")
    settings = RecrawlSettings(per_site_day=2)
    world.clock.advance(hours=7)

    first = plan(world, settings)
    world.clock.advance(minutes=30)
    again = plan(world, settings)
    world.clock.advance(hours=24)

    assert len([url for url in first if url in busy]) == 2
    assert "https://other.example/a.jpg" in first
    assert again == []
    assert len([url for url in plan(world, settings) if url in busy]) == 2


def test_the_schedule_follows_what_is_in_effect(stores: World) -> None:
    """What was dismissed or withdrawn leaves it; what changed stays until its signal ends."""
    world = stores
    settings = RecrawlSettings()
    dismissed, changed, kept = (f"https://{n}.example/a.jpg" for n in ("a", "b", "c"))
    show(world, NEAR, changed, kept)
    show(world, FAR, dismissed)
    plan(world, settings)
    world.decide(world.case_of(dismissed), Verdict.NOT_NCII)
    world.visit(changed, image_near(name="a landscape"))
    world.take_in()
    assert not any(world.results.suppressed([dismissed, changed]))
    world.clock.advance(hours=7)

    assert sorted(plan(world, settings)) == [changed, kept]

    world.withdraw(NEAR)
    world.take_in()
    world.clock.advance(hours=2)

    assert plan(world, settings) == []
    with world.delist.database.read() as connection:
        for url in (dismissed, changed, kept):
            assert recrawls.find(connection, url_key(url).hex()) is None


def test_what_nothing_could_hide_again_costs_its_turn_alone(stores: World) -> None:
    """Cases are looked at of what is claimed, not of all that is due: others want to write.

    What is not worth a look makes room at once for what is.
    """
    world, settings = stores, RecrawlSettings()
    ended, kept = ([f"https://{name}.example/{n}.jpg" for n in range(6)] for name in ("a", "b"))
    show(world, FAR, *ended)
    show(world, NEAR, *kept)
    for url in (*ended, *kept):
        world.visit(url, image_near(name="a landscape"))
    world.take_in()
    world.withdraw(FAR)
    world.take_in()
    plan(world, settings)
    world.clock.advance(hours=7)
    looks: list[str] = []

    def look(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
        looks.extend(["case"] * ("FROM cases" in statement))

    event.listen(Engine, "before_cursor_execute", look)
    try:
        first = plan(world, settings, limit=2)
    finally:
        event.remove(Engine, "before_cursor_execute", look)

    assert first
    assert len(looks) <= len(ended) + len(first)
    assert sorted([*first, *plan(world, settings)]) == kept
    assert plan(world, settings) == []

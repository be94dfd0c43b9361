"""What pages say of an image reaches its case, changes with them, and ends with them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.runner import run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from delist.build import Delist
from delist.cli import main
from delist.model import Case, CaseState, Verdict
from indexer import Indexer
from indexer.model import MatchEventKind, PageMark
from tests.fakes.delisting import World, digest_of, image_near
from tests.sites import draw_image, serve_site

NEAR, ANOTHER = digest_of("near"), digest_of("another")
URL, PAGE = "https://site.example/a.jpg", "https://site.example/view"
OTHER = "https://another.example/view"
WORDS = frozenset({PageMark.ABUSE_WORDS})
NEWS = frozenset({PageMark.NEWS, PageMark.NEWS_IMAGE})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as opened:
        opened.offer(NEAR)
        yield opened


def show(
    world: World,
    marks: frozenset[PageMark] | None,
    *,
    page: str = PAGE,
    url: str = URL,
    bits: int = 2,
    signal: bytes = NEAR,
) -> Case:
    """Meet an image on a page that says something of it, and take that in."""
    hashed = image_near({signal: bits}, name=url)
    world.visit(url, hashed, page_urls=(page,), page_marks=marks)
    world.take_in()
    return world.case_of(url)


def said(delist: Delist, case: Case) -> list[tuple[str, str]]:
    """What the policy says now of pages, as whoever asks sees it."""
    explained = delist.governance.explain(case.id, actor="Robin")
    return [(c.name, c.says.value) for c in explained.checks if c.name.startswith("page")]


def test_a_crawl_brings_marks_to_the_case_and_they_end_with_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They follow what the page says at the next crawl, and whether it names the image at all.

    They end with a page that is gone, too. No word of a page is in any file.
    """
    config, bank = tmp_path / "delist.toml", tmp_path / "bank.jsonl"
    config.write_text(f'data_dir = "data"\n[feeds.bank]\ntype = "file"\npath = "{bank}"\n')

    def run(*arguments: str) -> str:
        assert main(["--config", str(config), "--json", *arguments]) == 0
        return capsys.readouterr().out

    def crawl(*pages: str) -> None:
        job = CrawlJob(urls=pages, allow_private_addresses=True)
        run_crawl(job, config=config, crawl_settings=CrawlSettings(timeout_s=10))
        run("intake")

    def page_checks(case: str) -> list[str]:
        checks = json.loads(run("policy", "explain", case, "--actor", "Robin"))["checks"]
        return [check["text"] for check in checks if check["name"] == "page"]

    with serve_site() as site:
        site.put("/a.jpg", draw_image(1), Content_Type="image/jpeg")
        photo = tmp_path / "a.jpg"
        photo.write_bytes(draw_image(1))
        hashes = json.loads(run("hash", str(photo)))["hashes"]
        bank.write_text(hashes[0]["digest"] + "\n")
        run("feed", "sync")
        words, adult = "<title>Xylo leaked nudes</title>", "<meta name=rating content=mature>"
        page = site.put("/p", f"{words}{adult}<img src=a.jpg>")
        other, third = (site.put(path, f"{words}<img src=a.jpg>") for path in ("/q", "/r"))
        crawl(page, other, third)
        (case,) = map(json.loads, run("cases", "list").splitlines())
        first = page_checks(case["id"])
        site.put("/p", f"{adult}<img src=a.jpg>")
        site.put("/q", words)
        del site.pages["/r"]
        crawl(page, other, third)
        changed = page_checks(case["id"])

    labels = "1 of 3 pages that show it label themselves as for adults"
    names = "3 of 3 pages that show it name the abuse in their title or address"
    assert first == [labels, f"{names}; a person sees it sooner"]
    assert changed == [labels]
    assert not any(b"Xylo" in file.read_bytes() for file in tmp_path.rglob("*.mdb"))


def test_no_mark_makes_the_machine_act(world: World) -> None:
    """Beyond the band that acts, every mark together leaves the match to a person."""
    assert show(world, frozenset(PageMark), bits=25).state is CaseState.OPEN


def test_words_bring_a_person_sooner_and_change_nothing_else(world: World) -> None:
    """More risk, so an earlier place in the queue; the same clock; less again when they go."""
    plain = show(world, frozenset(), bits=25)
    named = show(world, WORDS, bits=25)
    ended = show(world, frozenset(), bits=25)

    assert (named.risk, ended.risk) == (plain.risk + 10, plain.risk)
    assert named.queue_at < plain.queue_at
    assert (named.state, named.deadline_at) == (plain.state, plain.deadline_at)


def test_a_news_picture_waits_for_a_person_who_sees_it_sooner(world: World) -> None:
    """The decision that is kept says why; the wait is not longer than any other."""
    case = show(world, NEWS)

    assert case.state is CaseState.OPEN
    assert case.risk == 45 + 28 + 10
    last = world.delist.governance.explain(case.id, actor="Robin").last_checks
    assert [c["says"] for c in last if c["name"] == "page_doubt"] == ["against"]


def test_marks_that_come_later_lift_nothing(world: World) -> None:
    """A page cannot free by its own words what the machine has hidden; a person looks sooner."""
    before = show(world, frozenset())
    after = show(world, NEWS)

    assert (before.state, after.state) == (CaseState.SUPPRESSED, CaseState.SUPPRESSED)
    assert after.risk == before.risk + 10
    assert said(world.delist, after) == [("page", "note"), ("page", "note"), ("page_doubt", "note")]
    assert len(world.ledger()) == 1


@pytest.mark.parametrize("contrary", [PageMark.ADULT, PageMark.IMAGE_WORDS])
def test_a_page_that_says_otherwise_outweighs(world: World, contrary: PageMark) -> None:
    """News on one page does not count where another names the abuse or is for adults."""
    world.visit(
        URL,
        image_near({NEAR: 2}, name=URL),
        page_urls=(OTHER,),
        page_marks=frozenset({contrary}),
    )

    assert show(world, NEWS).state is CaseState.SUPPRESSED


def test_one_site_among_two_cannot_plant_a_doubt(world: World) -> None:
    """More than half of the sites that show an image must say so, whatever number of pages."""
    world.visit(URL, image_near({NEAR: 2}, name=URL), page_urls=(OTHER,))
    for number in range(3):
        world.visit(URL, None, page_urls=(f"{PAGE}{number}",), page_marks=NEWS)

    assert show(world, NEWS).state is CaseState.SUPPRESSED


def test_a_site_with_confirmed_images_is_not_believed(world: World) -> None:
    """Whoever marks their site as news escapes until a person has confirmed one image."""
    first = show(world, NEWS)
    world.offer(ANOTHER)
    waiting = show(world, NEWS, url="https://site.example/c.jpg", signal=ANOTHER)
    world.decide(first, Verdict.NCII)

    later = show(world, NEWS, url="https://site.example/b.jpg")

    assert (first.state, waiting.state) == (CaseState.OPEN, CaseState.OPEN)
    assert later.state is CaseState.SUPPRESSED
    assert world.state_of("https://site.example/c.jpg") is CaseState.SUPPRESSED


def test_only_a_change_is_told(world: World) -> None:
    """Each change of an image that matches is in the log once; seeing the same again is not.

    It is no match.
    """
    world.visit(URL, image_near({NEAR: 2}, name=URL), page_urls=(PAGE,), page_marks=WORDS)
    taken = world.take_in().matches
    show(world, WORDS)
    show(world, None)
    show(world, frozenset())
    world.visit("https://site.example/far.jpg", image_near(), page_urls=(PAGE,), page_marks=WORDS)
    store = world.delist.indexer.store
    with store.read() as txn:
        kinds = [event.kind for event in store.images.log.after(txn, 0, limit=10)]

    assert kinds == [MatchEventKind.MATCHED, MatchEventKind.PAGES, MatchEventKind.PAGES]
    assert taken == 1


def test_what_a_page_no_longer_names_loses_its_marks_and_other_pages_keep_theirs(
    world: World,
) -> None:
    """Also images that are known under another URL stay named by it."""
    alias = "https://site.example/short"
    world.visit(URL, image_near(), page_urls=(PAGE, OTHER), page_marks=WORDS, aliases=(alias,))
    indexer = world.delist.indexer
    assert (indexer.record_page(PAGE, [alias]), indexer.record_page(PAGE, [])) == (0, 1)

    record = indexer.find_image(URL)
    assert record is not None
    with indexer.store.read() as txn:
        left = indexer.store.images.page_marks.of_image(txn, record.key, most=9)
    assert list(left.values()) == [WORDS]


def test_indexing_jobs_may_bring_marks(tmp_path: Path) -> None:
    """By word; one that does not exist stores nothing."""
    with Indexer.open(data_dir=tmp_path) as indexer:
        with pytest.raises(ValueError, match="nonsense"):
            indexer.index_image(
                draw_image(1), image_url=URL, page_urls=[PAGE], page_context=["nonsense"]
            )
        assert indexer.find_image(URL) is None
        indexer.index_image(draw_image(1), image_url=URL, page_urls=[PAGE], page_context=["adult"])
        assert indexer.record_page(PAGE, []) == 1


def test_a_changed_rule_is_simulated(world: World, tmp_path: Path) -> None:
    """`policy simulate` says what other marks would have changed, before they are in force."""
    show(world, frozenset({PageMark.NEWS_IMAGE}))
    policy = tmp_path / "new.toml"
    policy.write_text('version = "3"\n[pages]\ndoubtful = []\n')

    report = world.delist.governance.simulate(policy)

    assert dict(report.moves) == {(CaseState.OPEN, CaseState.SUPPRESSED): 1}

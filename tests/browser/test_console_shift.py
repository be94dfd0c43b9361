"""A reviewer's whole shift by keyboard, and every page of the console as axe sees it."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from delist.appeal_record import Asks
from delist.appeals import asking
from delist.fetching import GuardedFetch
from delist.model import Verdict
from delist.people import Role
from delist.review.viewing import Viewing
from delist.survivors import reviewing
from delist.survivors.statement import Written, check
from delist.web.people.cookies import SESSION
from indexer.hashing import hash_image
from tests.fakes.console import begin_session, seed
from tests.fakes.delisting import digest_of, image_near
from tests.fakes.web import Web, opened, served
from tests.sites import Site, draw_image, serve_site

BYTES = draw_image(3)
COLOURS = {"type": "rule", "values": ["color-contrast"]}
DECIDED = "**/console/cases/*?undo=*"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serve_site() as serving:
        serving.put("/a.jpg", BYTES, Content_Type="image/jpeg")
        yield serving


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A queue of a working day; every name leads to this machine."""
    with opened(tmp_path_factory.mktemp("console") / "data") as web:
        seed(web.world, cases=6)
        delist = web.world.delist
        fetch = GuardedFetch(
            user_agent="crawler", allow_private=True, resolve=lambda *_: ["127.0.0.1"]
        )
        hashing = delist.settings.indexer.hashing
        delist.viewing = Viewing(
            delist.database, fetch, hashing, rules=delist.rules, clock=delist.clock
        )
        yield web


@pytest.fixture(scope="module")
def url(web: Web) -> Iterator[str]:
    with served(web) as url:
        yield url.replace("127.0.0.1", "localhost")


def sign_on(
    context: BrowserContext, web: Web, name: str, role: Role, **liked: object
) -> tuple[Page, list[str]]:
    """Open a page as somebody; what the browser complains of is collected."""
    token = begin_session(web.world, name, role, **liked)
    context.add_cookies(
        [{"name": SESSION, "value": token, "domain": "localhost",
          "path": "/", "secure": True, "httpOnly": True, "sameSite": "Lax"}]
    )  # fmt: skip
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


def nothing_to_mend(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": RULES})
    assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"


def test_a_shift_by_keyboard(web: Web, site: Site, url: str, context: BrowserContext) -> None:
    """Take, look while held, decide, take back, search, break: no mouse, and no complaint."""
    address = f"http://photos.example:{site.port}/a.jpg"
    case_id = photo_case(web, address)
    web.world.delist.desk.claim(case_id, "Robin")
    page, complaints = sign_on(context, web, "Robin", Role.REVIEWER)
    page.goto(f"{url}/console")

    take(page, case_id)
    look(page, site)
    decide(page, web, address)
    think_again(page, web, address)
    search_and_rest(page, web, case_id)

    assert complaints == []


def photo_case(web: Web, address: str) -> str:
    """Let the image that the site has match; returns the case's id."""
    hashed = hash_image(BYTES, max_bytes=10**8, max_pixels=10**8)
    web.world.offer(hashed.hashes[0].digest)
    web.world.visit(address, hashed)
    web.world.take_in()
    return web.world.case_of(address).id


def take(page: Page, case_id: str) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.wait_for_url(f"**/console/cases/{case_id}")


def look(page: Page, site: Site) -> None:
    """The image shows while a key is held; clearly only after it was shown blurred."""
    picture = page.get_by_alt_text("The image of this case")
    expect(picture).to_be_hidden()
    before = len(site.paths())
    page.keyboard.press("c")
    page.keyboard.down("v")
    expect(picture).to_be_visible()
    page.keyboard.up("v")
    expect(picture).to_be_hidden()
    expect(page.locator("#exposures")).to_have_text("1")
    page.keyboard.down("c")
    expect(picture).to_be_visible()
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    expect(picture).to_be_hidden()
    page.keyboard.up("c")
    assert len(site.paths()) == before + 2


def decide(page: Page, web: Web, address: str) -> None:
    """No key acts while somebody types."""
    page.keyboard.press("1")
    expect(page.get_by_label("Reason")).to_have_value("reported")
    page.keyboard.press("m")
    page.keyboard.type("bqdnux? 123")
    expect(page.get_by_label("More, if needed")).to_have_value("bqdnux? 123")
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    page.wait_for_url(DECIDED)
    assert web.world.case_of(address).verdict is Verdict.NCII


def think_again(page: Page, web: Web, address: str) -> None:
    """A verdict is taken back; one that shows an image again is asked back."""
    page.keyboard.press("u")
    expect(page.get_by_text("Taken back.")).to_be_visible()
    assert web.world.case_of(address).verdict is None
    page.keyboard.press("2")
    page.keyboard.press("d")
    expect(page.get_by_role("dialog", name="Decide this?")).to_contain_text("comes back")
    page.keyboard.press("Escape")
    assert web.world.case_of(address).verdict is None
    page.keyboard.press("d")
    page.keyboard.press("Enter")
    page.wait_for_url(DECIDED)
    assert web.world.case_of(address).verdict is Verdict.NOT_NCII


def search_and_rest(page: Page, web: Web, case_id: str) -> None:
    page.keyboard.press("x")
    page.wait_for_url("**/console")
    page.keyboard.press("/")
    page.wait_for_url("**/console/search")
    page.get_by_label("Case id").focus()
    page.keyboard.type(case_id)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=case_id)).to_be_visible()
    page.keyboard.press("b")
    page.wait_for_url("**/console/break")
    assert web.world.delist.desk.held("Robin") == []


def test_one_press_shows_for_some_seconds(
    web: Web, site: Site, url: str, context: BrowserContext
) -> None:
    """For who cannot hold: by a click of any kind, by key; veiled by the clock or the next press.

    Each is on record. A key that is held long is one press.
    """
    address = f"http://copies.example:{site.port}/a.jpg"
    case_id = photo_case(web, address)
    page, complaints = sign_on(context, web, "Jo", Role.REVIEWER, shown_s=60)
    web.world.delist.desk.claim(case_id, "Jo")
    page.clock.install()
    page.goto(f"{url}/console/cases/{case_id}")
    picture = page.get_by_alt_text("The image of this case")
    blurred = page.get_by_role("button", name="Show blurred, 60 s")
    blurred.dispatch_event("click")  # as a screen reader does: no pointer, no key
    expect(picture).to_be_visible()
    expect(blurred).to_have_attribute("aria-pressed", "true")
    nothing_to_mend(page)
    expect(picture).to_be_visible()
    page.clock.fast_forward(60_000)
    expect(picture).to_be_hidden()
    expect(page.locator("#viewer-status")).to_have_text("Veiled again.")
    blurred.focus()
    page.keyboard.down("Enter")
    page.keyboard.down("Enter")  # it repeats
    page.keyboard.up("Enter")
    expect(picture).to_be_visible()
    page.keyboard.press("Enter")
    expect(picture).to_be_hidden()
    page.keyboard.press("c")
    expect(picture).to_be_visible()
    page.keyboard.press("Escape")
    expect(picture).to_be_hidden()

    looks = [e for e in web.world.delist.audit_entries() if e.actor == "Jo" and "step" in e.detail]
    assert ['"shown_s": 60' in look.detail for look in looks] == [True] * 3
    assert complaints == []


def test_keys_can_be_switched_off(web: Web, url: str, context: BrowserContext) -> None:
    """For who speaks to the computer, or hits keys by accident; in this browser."""
    page, _ = sign_on(context, web, "Sam", Role.REVIEWER)
    page.goto(f"{url}/console/search")
    page.keyboard.press("?")
    page.get_by_label("Keys act in this browser").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Search").click()
    page.keyboard.press("q")
    page.wait_for_timeout(200)  # nothing is to happen, so there is nothing to wait for
    assert page.url == f"{url}/console/search"


def test_no_page_has_anything_to_mend(web: Web, url: str, browser: Browser) -> None:
    """Each page, light and dark, wide and on a phone, where nothing is cut off either."""
    world = web.world
    signal = digest_of("appealed")
    world.offer(signal, cases={"C-1": "Received"})
    world.visit("https://owner.example/a.jpg", image_near({signal: 4}, name="appealed"))
    world.take_in()
    statement = check(
        Written(role="self", addresses="https://board.example/x", details="the second picture",
                good_faith=True, contact="a@post.example", name="A. Person")
    )  # fmt: skip
    world.delist.reports.take(statement, form="a form")
    case_id = world.case_of("https://owner.example/a.jpg").id
    appeal = asking.open_for_holder(
        world.delist.appeal_desk, "C-1", "https://owner.example/a.jpg",
        asks=Asks.LIFT, text="it was mine", proof="image",
    )  # fmt: skip
    report = reviewing.waiting(world.delist.reports)[0]
    pages = {
        Role.REVIEWER: ["", "/appeals", "/reports", "/search", "/shift", "/break",
                        f"/cases/{case_id}",
                        f"/appeals/{appeal.id}", f"/reports/{report.id}"],
        Role.LEAD: ["/brakes", "/sinks", "/figures"],
        Role.AUDITOR: ["/audit"],
    }  # fmt: skip
    for role, paths in pages.items():
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page, complaints = sign_on(context, web, f"one {role}", role)
        if role is Role.REVIEWER:
            world.delist.desk.claim(case_id, f"one {role}")
        for path in paths:
            page.set_viewport_size({"width": 1280, "height": 900})
            page.emulate_media(color_scheme="light", reduced_motion="reduce")
            page.goto(f"{url}/console{path}")
            nothing_to_mend(page)
            page.emulate_media(color_scheme="dark")
            page.set_viewport_size({"width": 400, "height": 800})
            found = page.evaluate("(rules) => axe.run({ runOnly: rules })", COLOURS)
            assert found["violations"] == [], page.url
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, path
        assert complaints == []
        context.close()

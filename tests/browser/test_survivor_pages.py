"""Survivors' pages in a real browser: the image stays there, the way out works, axe is content."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from delist.direct import hash_of_image
from delist.model import Verdict
from delist.ops.pictures import draw_photo, encode
from delist.web.public.words import HASHING
from indexer.hashing import hash_image
from indexer.model import DIGEST_BYTES
from tests.fakes.delisting import image_near
from tests.fakes.web import Web, opened, served

PHOTO = encode(draw_photo(1), "PNG")
_ON_SERVER = hash_image(PHOTO, max_bytes=10**8, max_pixels=10**8)
HASHED = hash_of_image(_ON_SERVER)
WEB_PATH = _ON_SERVER.rows[0][1][8 * DIGEST_BYTES : 9 * DIGEST_BYTES]
FILE = {"name": "private-name.png", "mimeType": "image/png", "buffer": PHOTO}
PHONE = {"width": 390, "height": 844}
FIRST_OF_SCRIPTS = "empty"
AWAY = "https://www.wikipedia.org/"


@dataclass
class Served:
    web: Web
    url: str


@pytest.fixture(scope="module")
def served_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("survivors") / "data"
    with opened(folder, case_answer_s=0.0) as web, served(web) as url:
        digest = bytes.fromhex(HASHED.value)
        for number in range(3):
            url_of = f"https://site{number}.example/a-long-way/to-an-image-{number}.jpg"
            web.world.visit(url_of, image_near({digest: number}, name=number))
        yield Served(web, url)


@pytest.fixture
def phone(browser: Browser) -> Iterator[BrowserContext]:
    """A phone that meets nothing of the outside: the way out leads to a page of this test."""
    context = browser.new_context(viewport=PHONE, has_touch=True)  # type: ignore[arg-type]
    context.route(re.compile(r"^https://"), lambda route: route.fulfill(body="<title>away</title>"))
    yield context
    context.close()


def fill(page: Page, address: str, lang: str = "en") -> None:
    """Fill a report in, with an image."""
    page.goto(f"{address}/report?lang={lang}")
    page.check("input[value=adult]")
    page.set_input_files("#pictures-file", FILE)  # type: ignore[arg-type]
    page.wait_for_selector("input[name=picture]", state="attached")
    page.check("input[value=self]")
    page.check("#good_faith")
    page.fill("#contact", "a@post.example")
    page.fill("#name", "Amina")


def report(page: Page, address: str) -> tuple[str, str]:
    """Report; returns case reference and access code."""
    fill(page, address)
    page.click(".report button.primary")
    return page.inner_text("#shown-reference"), page.inner_text("#shown-code")


def findings(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 AA and its best practices."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {node['html'][:150]}" for v in found for node in v["nodes"]]


def test_the_image_stays_on_the_phone(served_web: Served, phone: BrowserContext) -> None:
    """Reported from choosing it to the code; no request holds any of its bytes or its name."""
    page, sent = phone.new_page(), list[Request]()
    page.on("request", lambda request: sent.append(request))  # noqa: PLW0108 - it must be a function
    reference, code = report(page, served_web.url)

    assert re.fullmatch(r"R(-\w{4}){3}", reference)
    assert re.fullmatch(r"\w{4}(-\w{4}){4}", code)
    assert all(request.url.startswith(served_web.url) for request in sent)
    bodies = b"".join(request.post_data_buffer or b"" for request in sent)
    assert WEB_PATH.hex().encode() in bodies  # of a lossless picture, bit for bit
    assert len(bodies) < 2000
    pieces = [PHOTO[at : at + 24] for at in range(0, len(PHOTO) - 24, 997)]
    assert not any(piece in bodies for piece in pieces)
    assert b"private-name" not in bodies
    assert phone.cookies() == []
    with page.expect_download() as saved:
        page.click("[data-saves]")
    text = Path(saved.value.path()).read_text(encoding="utf-8")
    assert (reference in text, code in text) == (True, True)
    page.reload()
    expect(page.locator("h1")).to_have_text("This report is with us already")


def test_a_case_opens_with_the_image_on_the_phone(
    served_web: Served, phone: BrowserContext
) -> None:
    """And shows what was found, in a language that is chosen there."""
    page = phone.new_page()
    reference, _ = report(page, served_web.url)
    served_web.web.world.settle()
    page.goto(f"{served_web.url}/case?lang=en")
    page.fill("#reference-2", reference)
    page.set_input_files("#pictures-file", FILE)  # type: ignore[arg-type]
    page.wait_for_selector("input[name=picture]", state="attached")
    page.click("form:has(.pictures) button:not([type])")
    expect(page.locator("h1")).to_have_text("What we found and took out of search results")
    page.click("button[lang=ur]")

    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("code").first).to_contain_text("site")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert reference not in page.url


def test_a_file_that_cannot_be_used_is_said_kindly(
    served_web: Served, phone: BrowserContext
) -> None:
    """In the page's language; the form can be used on."""
    page = phone.new_page()
    page.goto(f"{served_web.url}/report?lang=es")
    page.check("input[value=adult]")
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    page.set_input_files(
        "#pictures-file", {"name": "a.heic", "mimeType": "image/heic", "buffer": heic}
    )
    expect(page.locator(".pictures [role=alert]")).to_contain_text("HEIC")
    expect(page.locator(".pictures [role=alert]")).to_contain_text("navegador")
    assert page.locator("input[name=picture]").count() == 0
    page.set_input_files("#pictures-file", FILE)  # type: ignore[arg-type]
    page.wait_for_selector("input[name=picture]", state="attached")
    expect(page.locator(".pictures [role=alert]")).to_be_hidden()


def test_scripts_and_catalogues_say_the_same(served_web: Served, phone: BrowserContext) -> None:
    """Each code of the hashing module has its sentence, word for word."""
    page = phone.new_page()
    page.goto(f"{served_web.url}/report")
    messages = page.evaluate("import('/static/pdq.js').then((module) => ({...module.MESSAGES}))")
    codes = list(HASHING)

    assert {code: HASHING[code] for code in codes[codes.index(FIRST_OF_SCRIPTS) :]} == messages


@pytest.mark.parametrize("leave", ["button", "key"])
def test_the_way_out_leaves_nothing_to_go_back_to(
    served_web: Served, phone: BrowserContext, leave: str
) -> None:
    """The page's place in the history is taken, and pages before it are not shown again."""
    page = phone.new_page()
    page.goto(f"{served_web.url}/")
    page.click("a.button.primary")
    page.wait_for_url("**/report*")
    if leave == "button":
        page.click(".leave")
    else:
        page.keyboard.press("Escape")
    page.wait_for_url(AWAY)
    page.go_back(wait_until="commit")
    page.wait_for_url(AWAY)

    assert page.title() == "away"


def test_the_way_out_stays_in_sight(served_web: Served, phone: BrowserContext) -> None:
    """However far one has scrolled; without JavaScript it is a link."""
    page = phone.new_page()
    page.goto(f"{served_web.url}/report")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".leave")).to_be_in_viewport()
    assert page.get_attribute(".leave", "href") == AWAY


def test_who_was_under_18_sees_help_at_once(served_web: Served, phone: BrowserContext) -> None:
    """Without a request; the form is gone."""
    page, sent = phone.new_page(), list[str]()
    page.goto(f"{served_web.url}/report?lang=en")
    page.on("request", lambda request: sent.append(request.url))
    expect(page.locator(".young")).to_be_hidden()
    page.check(".is-young")

    expect(page.locator(".young")).to_contain_text("Take It Down")
    expect(page.locator(".adult")).to_be_hidden()
    assert [url for url in sent if "/static/" not in url] == []


def test_a_report_without_javascript(served_web: Served, browser: Browser) -> None:
    """An address can be reported; nothing that needs a script pretends to work."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{served_web.url}/report?lang=en")
    expect(page.locator("#pictures-file")).to_be_hidden()
    expect(page.locator(".without")).to_contain_text("This needs JavaScript")
    page.check("input[value=adult]")
    page.fill("#addresses", "site.example/page")
    page.check("input[value=self]")
    page.check("#good_faith")
    page.fill("#contact", "a@post.example")
    page.fill("#name", "Amina")
    page.click(".report button.primary")

    expect(page.locator("h1")).to_have_text("Your report is with us")
    expect(page.locator("[data-copies]")).to_be_hidden()
    context.close()


def test_axe_finds_nothing(served_web: Served, browser: Browser) -> None:
    """On a large light screen in English, and dark on a phone in Urdu: what comes of forms too."""
    found: dict[str, list[str]] = {}
    reference = code = ""
    for scheme, lang, width in (("light", "en", 1280), ("dark", "ur", 390)):
        context = browser.new_context(
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": width, "height": 844},
        )
        page = context.new_page()

        def look(name: str, page: Page = page, way: str = f"{scheme} {lang}") -> None:
            found[f"{way} {name}"] = findings(page)

        for path in ("/", "/case", "/report", "/appeal"):
            page.goto(f"{served_web.url}{path}?lang={lang}")
            look(path)
        if lang == "en":
            context.close()
            continue
        fill(page, served_web.url, lang)
        page.fill("#name", " ")
        page.click(".report button.primary")
        page.wait_for_selector("#summary")
        look("report, wrong")
        page.fill("#name", "Amina")
        page.click(".report button.primary")
        page.wait_for_selector("#shown-code")
        look("received")
        reference, code = page.inner_text("#shown-reference"), page.inner_text("#shown-code")
        served_web.web.world.settle()
        case = served_web.web.world.cases()[0]
        served_web.web.world.decide(case, Verdict.NOT_NCII)
        page.goto(f"{served_web.url}/case?lang={lang}")
        page.fill("#reference", reference)
        page.fill("#code", "wrong")
        page.click("form button.primary")
        page.wait_for_selector("#wrong")
        look("case, wrong")
        page.fill("#reference", reference)
        page.fill("#code", code)
        page.click("form button.primary")
        page.wait_for_selector("#again")
        page.click("summary")
        look("case, open")
        page.goto(f"{served_web.url}/report?lang={lang}")
        page.check(".is-young")
        look("young")
        page.goto(f"{served_web.url}/appeal?lang={lang}")
        page.fill("#url", "https://site.example/a.jpg")
        page.fill("#contact", "c")
        page.fill("#text", "t")
        page.click("form button.primary")
        page.wait_for_selector("#token")
        look("token")
        context.close()

    assert {name: list_ for name, list_ in found.items() if list_} == {}

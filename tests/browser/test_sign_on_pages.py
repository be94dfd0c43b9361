"""Signing on in a real browser: cookies, redirects and the policy as a browser understands them."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import BrowserContext, Page, expect

from delist.people import Role
from tests.fakes.people import PASSWORD, enrol, with_issuer
from tests.fakes.web import Web, opened, served

ANN = User(sub="ann", claims={"email": "ann@org.example", "groups": ["case-review"]})


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("sign-on")
    with opened(folder / "data") as web, run_server_in_thread(user_claims=[ANN]) as server:
        secret = folder / "secret"
        secret.write_text("of the client")
        with_issuer(web, f"http://localhost:{server.server_port}", client_secret_file=secret)
        yield web


@pytest.fixture(scope="module")
def url(web: Web) -> Iterator[str]:
    with served(web) as url:
        yield url.replace("127.0.0.1", "localhost")


def watched(context: BrowserContext) -> tuple[Page, list[str]]:
    """Open a page; what the browser complains of is collected."""
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


def nothing_to_mend(page: Page) -> None:
    """WCAG 2.2 AA, as far as axe can see it."""
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    assert found.violations_count == 0, found.generate_report()


def test_a_person_signs_on_by_keyboard_and_out_again(
    web: Web, url: str, context: BrowserContext
) -> None:
    """Account and one-time code; the way back to the page; settings; a session ended elsewhere."""
    lee = enrol(web, "Lee", Role.LEAD)
    page, complaints = watched(context)
    page.goto(f"{url}/me")
    assert page.url == f"{url}/login?next=%2Fme"
    nothing_to_mend(page)
    page.get_by_label("Name").focus()
    for word in ("Lee", PASSWORD, lee.code()):
        page.keyboard.type(word)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/me")
    expect(page.get_by_role("heading", level=1)).to_have_text("Lee")
    names = {cookie["name"]: cookie for cookie in context.cookies()}
    assert set(names) == {"__Host-delist-session", "__Host-delist-known"}
    assert all(cookie["httpOnly"] and cookie["secure"] for cookie in names.values())

    for theme, ground in (("Dark", "rgb(21, 24, 28)"), ("Light", "rgb(251, 250, 248)")):
        page.get_by_label(theme).check()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_have_text("Saved.")
        expect(page.locator("html")).to_have_css("background-color", ground)
        nothing_to_mend(page)
    assert page.evaluate("htmx.config.allowEval") is False
    assert page.evaluate("htmx.config.selfRequestsOnly") is True

    # Ended elsewhere: the form is not sent, and after signing on one is told so.
    web.world.delist.accounts.set_role("Lee", Role.REVIEWER, actor="operator")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("not sent")
    page.get_by_label("Name").fill("Lee")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("One-time code").fill(lee.code())
    page.get_by_role("button", name="Sign on", exact=True).click()
    page.wait_for_url(f"{url}/me")
    expect(page.get_by_role("status")).to_contain_text("was not sent")

    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url(re.compile("/login"))
    assert "__Host-delist-session" not in {cookie["name"] for cookie in context.cookies()}
    assert complaints == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the provider's own
def test_a_person_signs_on_at_the_organisation(url: str, context: BrowserContext) -> None:
    """There, a click, and back at the page that was asked for."""
    page, complaints = watched(context)
    page.goto(f"{url}/me")
    page.get_by_role("link", name="Sign on at your organisation").click()
    page.get_by_role("button", name="ann").click()
    page.wait_for_url(f"{url}/me")
    expect(page.get_by_role("heading", level=1)).to_have_text("ann@org.example")
    assert {cookie["name"] for cookie in context.cookies(url)} == {"__Host-delist-session"}
    assert [words for words in complaints if "localhost" in words and url in words] == []


def test_a_page_of_somebody_else_can_neither_frame_nor_send(
    url: str, context: BrowserContext
) -> None:
    """A browser obeys: no frame of ours in another page, and a form sent from there is refused."""
    page = context.new_page()
    page.route("https://evil.example/", lambda route: route.fulfill(
        content_type="text/html",
        body=f"<iframe src='{url}/login'></iframe><form method=post action='{url}/login'>"
        "<input name=name value=a><button>x</button></form>",
    ))  # fmt: skip
    page.goto("https://evil.example/")
    frame = page.frames[1]
    frame.wait_for_load_state()
    assert frame.get_by_label("Password").count() == 0
    with page.expect_navigation():
        page.get_by_role("button", name="x").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This form cannot be used any more")

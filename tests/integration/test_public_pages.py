"""Public pages: what they tell strangers, what they keep, and what nobody gets in by."""

import html
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from delist.cli import main
from delist.direct import ReportedHash
from delist.model import CaseState, Verdict
from delist.reporting import language
from delist.reporting.languages import LANGUAGES
from delist.survivors import reviewing
from delist.web.headers import PAGE_POLICY
from delist.web.public.tries import Tries, TriesSpentError
from indexer.hashing.corroboration import CorroboratingHash
from tests.fakes.delisting import digest_of, image_near
from tests.fakes.web import Web, opened

PAGES = ("/", "/case", "/report", "/appeal")
DIGEST = digest_of("theirs")
SECOND = CorroboratingHash(digest_of("its map"))
PICTURE = f"{DIGEST.hex()}:{bytes(SECOND).hex()}"
URL = "https://site.example/marked-path.jpg"
ODD = "<script>alert(1)</script>\"'&"
LARGE = {
    "Content-Length": str(2 * 1024**3),
    "Content-Type": "application/x-www-form-urlencoded",
}
NO_FIT = "These do not fit together"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with opened(tmp_path_factory.mktemp("public") / "data", case_answer_s=0.0) as found:
        yield found


@pytest.fixture
def client(web: Web) -> TestClient:
    """A visitor of an app of their own: limits are of the app."""
    return web.client_of_new_app()


def form_of(client: TestClient) -> str:
    found = re.search(r'name="form" value="([^"]+)"', client.get("/report").text)
    assert found is not None
    return found[1]


def fields(client: TestClient, **changes: object) -> dict[str, object]:
    return {
        "form": form_of(client), "age": "adult", "role": "self", "good_faith": "yes",
        "contact": "a@post.example", "name": "Amina", "picture": PICTURE, "lang": "en",
    } | changes  # fmt: skip


def reported(client: TestClient, **changes: object) -> tuple[str, str]:
    """Report; returns case reference and access code."""
    page = client.post("/report", data=fields(client, **changes))
    assert page.status_code == 200
    found = [re.search(rf'shown-{name}">([^<]+)<', page.text) for name in ("reference", "code")]
    return found[0][1], found[1][1]  # type: ignore[index]


def _miss() -> None:
    raise LookupError


def ticket_in(text: str) -> str:
    found = re.search(r'name="ticket" value="([^"]+)"', text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
def test_pages_set_nothing_and_load_nothing_of_others(
    client: TestClient, path: str, lang: str
) -> None:
    """No cookie, no foreign address but the way out, nothing to be kept, our own policy."""
    page = client.get(path, params={"lang": lang})
    loaded = re.findall(r'(?:src|href|action)="([^"#]+)"', page.text)

    assert page.status_code == 200
    assert "set-cookie" not in page.headers
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["content-security-policy"] == PAGE_POLICY
    assert {link for link in loaded if not link.startswith(("/", "tel:"))} == {
        "https://www.wikipedia.org/"
    }
    assert f'<html lang="{lang}" dir="{"rtl" if lang == "ur" else "ltr"}"' in page.text
    assert "<style" not in page.text
    assert " on" + "click" not in page.text


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        ("ur", "ur"), ("fr, es;q=0.5, en;q=0.4", "es"), ("fr", "en"), ("en-US", "en-US"),
        ("en-ZZ", "en"), ("cy;q=x", "cy"), ("*", "en"), ("x" * 5000, "en"),
    ],
)  # fmt: skip
def test_the_browser_is_asked_for_the_language(client: TestClient, header: str, lang: str) -> None:
    """Until one is chosen; then every link hands it on."""
    page = client.get("/", headers={"Accept-Language": header})
    assert f'<html lang="{lang}"' in page.text

    chosen = client.get("/?lang=cy", headers={"Accept-Language": header})
    assert '<html lang="cy"' in chosen.text
    assert 'href="/report?lang=cy"' in chosen.text


def test_who_was_under_18_is_told_where_to_go_and_nothing_is_kept(
    web: Web, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever else stands in the form: no report, no entry, no use of a limit, no line."""
    before = list(web.world.delist.audit_entries())
    for _ in range(30):
        page = client.post("/report", data=fields(client, age="young"))
        assert page.status_code == 200

    assert "Take It Down (NCMEC)" in page.text
    assert "Report Remove" in page.text
    assert "If you are under 18 now." in page.text
    assert reviewing.waiting(web.world.delist.reports) == []
    assert list(web.world.delist.audit_entries()) == before
    assert caplog.text == ""
    assert "young" not in client.get("/report").text.partition("</form>")[2]
    reported(client)  # the limit of reports is as it was


def test_a_report_leads_to_a_person_and_its_case_can_be_seen(tmp_path: Path) -> None:
    """From the form to the case page, and nobody is told more than is theirs."""
    with opened(tmp_path / "data", case_answer_s=0.0) as web:
        web.world.visit(URL, image_near({DIGEST: 0}))
        reference, code = reported(web.client)
        web.world.settle()
        assert web.world.state_of(URL) is CaseState.OPEN
        assert web.world.ledger() == []
        web.world.decide(web.world.case_of(URL), Verdict.NOT_NCII)

        page = web.client.post("/case", data={"reference": reference, "code": code})
        by_image = web.client.post("/case", data={"reference": reference, "picture": PICTURE})
        for text in (page.text, by_image.text):
            assert "hxxps://site[.]example/marked-path.jpg" in text
            assert URL not in text
            assert code not in text
        assert DIGEST.hex() not in by_image.text
        ticket = ticket_in(page.text)
        again = web.client.post("/case/view", data={"ticket": ticket, "lang": "ur"})
        assert '<html lang="ur" dir="rtl"' in again.text
        image = re.search(r'<option value="(\w+)"', page.text)
        assert image is not None
        data = {"ticket": ticket, "image": image[1], "text": ODD}
        assert web.client.post("/case/again", data=data).status_code == 200
        assert web.client.post("/case/again", data=data).status_code == 422  # it waits already
        ended = {"ticket": ticket, "code": "wrong", "sure": "yes"}
        assert web.client.post("/case/withdraw", data=ended).status_code == 422
        page = web.client.post("/case/withdraw", data=ended | {"code": code.lower()})
        assert "You have ended your case" in page.text
        assert web.world.delist.indexer.match_digest_list([DIGEST]) == [[]]


def test_what_does_not_fit_is_never_said(client: TestClient) -> None:
    """Wrong code, no such case, another's case, no picture at all: the same page, to the byte."""
    reference, code = reported(client)
    other, _ = reported(client, picture=f"{digest_of('other').hex()}:")
    pages = {
        (answer.status_code, answer.text)
        for answer in (
            client.post("/case", data={"reference": given, **way})
            for given, way in (
                (reference, {"code": "0000-0000-0000-0000-0000"}),
                ("R-0000-0000-0000", {"code": code}),
                (other, {"code": code}),
                (other, {"picture": PICTURE}),
                (reference, {"picture": f"{digest_of('other').hex()}:"}),
                (reference, {"picture": PICTURE.split(":", maxsplit=1)[0]}),
                (reference, {"picture": ODD}),
                ("\x00" * 300, {"code": "\x00"}),
                ("", {}),
            )
        )
    }

    assert len(pages) == 1
    status, text = pages.pop()
    assert status == 403
    assert NO_FIT in text


def test_a_wrong_try_takes_as_long_as_a_right_one(tmp_path: Path) -> None:
    """No answer comes before ``case_answer_s``."""
    with opened(tmp_path / "data", case_answer_s=0.3) as web:
        reference, code = reported(web.client)
        for given in ({"reference": reference, "code": code}, {"reference": "x", "code": "y"}):
            started = time.monotonic()
            web.client.post("/case", data=given)
            assert time.monotonic() - started >= 0.3


def test_a_thousand_wrong_codes_find_nothing_and_lock_nobody_out() -> None:
    """One network is stopped after some; many together too, and the holder still gets in."""
    tries, reached = Tries(), 0

    def attempt(network: str, reference: str) -> bool:
        """Try in vain; says whether it was looked at."""
        with suppress(TriesSpentError, LookupError), tries.one(network, reference):
            looked_at.append(network)
            _miss()
        return bool(looked_at) and looked_at.pop() == network

    looked_at: list[str] = []
    assert sum(attempt("one", "R-1") for _ in range(1000)) <= 25
    for number in range(1000):
        for _ in range(6):
            reached += attempt(f"network {number}", "R-2")
    assert reached < 1000 * 4 + 50  # four of each, then what all of them share
    with tries.one("the holder", "R-2"):
        pass


def test_too_many_tries_say_when_to_come_back(client: TestClient) -> None:
    """And that the case is not locked."""
    for _ in range(40):
        page = client.post("/case", data={"reference": "R-1", "code": "x"})
        if page.status_code == 429:
            break

    assert int(page.headers["retry-after"]) > 0
    assert "Your case is not locked" in page.text


def test_a_ticket_ends_and_opens_nothing_else(web: Web, client: TestClient) -> None:
    """After some minutes, edited, of another page: closed, and nothing is told."""
    reference, code = reported(client)
    ticket = ticket_in(client.post("/case", data={"reference": reference, "code": code}).text)

    for path in ("/case/view", "/case/pdf", "/case/again", "/case/withdraw"):
        for wrong in ("", ODD, ticket[:-4] + "AAAA", form_of(client)):
            page = client.post(path, data={"ticket": wrong, "sure": "yes", "code": code})
            assert page.status_code == 403
            assert reference not in page.text
    web.world.clock.advance(minutes=16)
    assert client.post("/case/view", data={"ticket": ticket}).status_code == 403


def test_a_replayed_form_makes_no_second_report(web: Web, client: TestClient) -> None:
    """It is told so, and the code is not shown again."""
    data = fields(client)
    before = len(reviewing.waiting(web.world.delist.reports, limit=999))
    client.post("/report", data=data)
    page = client.post("/report", data=data)

    assert page.status_code == 409
    assert "shown-code" not in page.text
    assert len(reviewing.waiting(web.world.delist.reports, limit=999)) == before + 1


def test_a_form_comes_back_as_it_was_typed(client: TestClient) -> None:
    """With what is wrong beside its field; HTML stays text."""
    page = client.post(
        "/report", data=fields(client, contact="", name=ODD, details=ODD, addresses=ODD, age="")
    )

    assert page.status_code == 422
    for wrong in ("How old", "We need a way to reach you", "This is not an address"):
        assert wrong in page.text
    assert ODD not in page.text
    assert page.text.count("&lt;script&gt;alert(1)") == 3
    assert f'name="picture" value="{PICTURE}"' in page.text


def test_a_form_of_another_website_is_refused(client: TestClient) -> None:
    """For every public form."""
    for path in ("/case", "/case/withdraw", "/report", "/appeal", "/appeal/prove"):
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            assert client.post(path, data={}, headers=headers).status_code == 403


def test_many_reports_of_one_network_wait_and_keep_what_was_typed(client: TestClient) -> None:
    """The form comes back filled in."""
    for _ in range(20):
        page = client.post("/report", data=fields(client))
        if page.status_code == 429:
            break

    assert page.status_code == 429
    assert 'value="a@post.example"' in page.text


def test_no_file_is_taken_however_large(client: TestClient) -> None:
    """2 GB are refused before they are read; a small file too: no page of ours sends one."""
    for path in ("/report", "/case", "/appeal"):
        sent = client.post(path, content=b"x", headers=LARGE)
        assert sent.status_code == 413
        small = client.post(path, files={"file": ("a.jpg", b"bytes", "image/jpeg")})
        assert small.status_code == 400


@pytest.mark.parametrize("lang", LANGUAGES)
def test_errors_are_in_the_language_of_the_page(client: TestClient, lang: str) -> None:
    """As the browser prefers, or as it was chosen; what was asked for is nowhere in the page."""
    say = language(lang).say
    preferred = {"Accept-Language": lang}
    other = {"Accept-Language": "es" if lang == "en" else "en"}
    nothing = "There is nothing here"
    for page, status, heading in (
        (client.get("//marked.example/x", headers=preferred), 404, nothing),
        (client.get("/marked", params={"lang": lang}, headers=other), 404, nothing),
        (client.get("/report/marked", params={"lang": lang}), 404, nothing),
        (client.request("PUT", "/report", headers=preferred), 405, "That cannot be done here"),
        (client.post("/report", content=b"x", headers=LARGE | preferred), 413, "That is too large"),
        (
            client.post("/case", headers={"Sec-Fetch-Site": "cross-site"} | preferred),
            403,
            "This form cannot be used any more",
        ),
    ):
        assert page.status_code == status
        assert f"<h1>{say(heading)}</h1>" in html.unescape(page.text)
        assert f'<html lang="{lang}"' in page.text
        assert page.headers["content-security-policy"] == PAGE_POLICY
        assert "marked" not in page.text


def test_an_error_behind_a_form_is_in_the_language_of_the_form(tmp_path: Path) -> None:
    """Whatever the browser prefers, and also where nobody foresaw it."""
    with opened(tmp_path / "data") as web:
        web.app.state.public = None  # the form cannot be answered
        client = TestClient(
            web.app, base_url="https://delist.example", raise_server_exceptions=False
        )
        data = {"lang": "ur", "reference": "R-1", "code": "c"}
        page = client.post("/case", data=data, headers={"Accept-Language": "en"})
    say = language("ur").say
    assert page.status_code == 500
    assert f"<h1>{say('Something went wrong on our side')}</h1>" in page.text


def test_an_appeal_is_no_oracle(tmp_path: Path) -> None:
    """Asking says the same of an address that is away from results and of any other."""
    with opened(tmp_path / "data") as web:
        web.world.offer(DIGEST)
        web.world.visit(URL, image_near({DIGEST: 0}))
        web.world.take_in()
        web.world.decide(web.world.case_of(URL), Verdict.NCII)
        web.world.clock.advance(days=10)
        texts = set()
        for url in (URL, "https://site.example/marked-pathx.jpg"):
            data = {"url": url, "contact": "c", "text": ODD}
            page = web.client.post("/appeal", data=data)
            assert page.status_code == 200
            assert ODD not in page.text
            token, number = re.findall(r'id="(?:token|number)">([^<]+)<', page.text)
            texts.add(page.text.replace(token, "").replace(number, ""))
        assert len(texts) == 1
        wrong = web.client.post("/appeal/prove", data={"appeal": ODD})
        assert wrong.status_code == 404
        assert ODD not in wrong.text


def test_what_is_typed_reaches_no_log(
    web: Web,
    client: TestClient,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither reference, code, hash, contact nor address; nor the audit log."""
    reference, code = reported(client, addresses=URL)
    client.post("/case", data={"reference": reference, "code": code})
    client.post("/case", data={"reference": reference, "picture": PICTURE})
    client.post("/case", data={"reference": reference, "code": "wrong"})
    out, err = capfd.readouterr()
    told = caplog.text + out + err
    told += "".join(entry.detail + entry.subject for entry in web.world.delist.audit_entries())

    for secret in (reference, code, DIGEST.hex(), "post.example", "marked-path"):
        assert secret not in told


def test_what_a_reviewer_does_is_seen_by_the_holder(
    web: Web, client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """``delist direct close`` and the case page."""
    reference, code = reported(client, picture="", addresses=URL)
    newest = max(
        reviewing.waiting(web.world.delist.reports, limit=999), key=lambda r: r.received_at
    )
    config = ["--config", str(web.world.write_configuration()), "--json"]
    words = ["direct", "close", newest.id, "--outcome", "not_found", "--actor", "Robin"]
    assert main([*config, *words]) == 0
    capsys.readouterr()

    page = client.post("/case", data={"reference": reference, "code": code})
    assert "did not find the image where you said" in page.text


def test_a_case_of_a_feed_opens_with_its_image(web: Web, client: TestClient) -> None:
    """As StopNCII's references are written; it is ended there, not here."""
    digest = digest_of("of a feed")
    web.world.offer(digest, cases={"5f0c7d3e-17": "Active"})
    hashed = ReportedHash(kind="ImagePDQ", value=digest.hex())
    data = {"reference": "5f0c7d3e-17", "picture": f"{hashed.value}:"}
    page = client.post("/case", data=data)

    assert page.status_code == 200
    assert "/case/withdraw" not in page.text
    assert "StopNCII.org at any time" in page.text
    assert replace(hashed).value not in page.text


def test_the_report_as_a_file(client: TestClient) -> None:
    """Made in a process of its own; its name says nothing."""
    reference, code = reported(client)
    ticket = ticket_in(client.post("/case", data={"reference": reference, "code": code}).text)
    answer = client.post("/case/pdf", data={"ticket": ticket, "lang": "ur"})

    assert answer.headers["content-disposition"] == 'attachment; filename="document.pdf"'
    assert answer.content.startswith(b"%PDF-")
    assert answer.headers["cache-control"] == "no-store"

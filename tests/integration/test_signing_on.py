"""Signing on with an account: what opens, what does not, and what is on record."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, Request
from fastapi.responses import Response
from starlette.testclient import TestClient

from delist.errors import BusyError, SignOnRefusedError, UsageError
from delist.people import Person, Role
from delist.people.passwords import check_new
from delist.people.signing_on import Credentials
from delist.web.headers import PAGE_POLICY
from delist.web.pages import asset, render
from delist.web.people import signed_on
from delist.web.people.guards import safe_next
from tests.fakes.people import PASSWORD, SAME, SESSION, Reviewer, acts, browser, enrol, query_of
from tests.fakes.web import Web, opened

WRONG = {"password": "wrong", "code": "000000"}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """An app with two pages of the kind that stands on the frame."""
    with opened(tmp_path / "data") as web:

        @web.app.get("/console/try", include_in_schema=False, tags=["try"])
        def look(
            request: Request, _person: Annotated[Person, Depends(signed_on(Role.REVIEWER))]
        ) -> Response:
            return render(request, "error.html", heading="Looked", words="", number="")

        @web.app.post("/console/try", include_in_schema=False, tags=["try"])
        def act(
            request: Request, _person: Annotated[Person, Depends(signed_on(Role.LEAD))]
        ) -> Response:
            return render(request, "error.html", heading="Done", words="", number="")

        yield web


@pytest.fixture
def ann(web: Web) -> Reviewer:
    return enrol(web)


def test_who_has_signed_on_gets_there_and_out_again(web: Web, ann: Reviewer) -> None:
    """A page leads to /login and back; signing out ends the session on the server too."""
    first = ann.client.get("/console/try?page=2")
    assert (first.status_code, first.headers["location"]) == (
        303, "/login?next=%2Fconsole%2Ftry%3Fpage%3D2",
    )  # fmt: skip
    answer = ann.try_to_sign_on(next=query_of(first.headers["location"])["next"])
    assert answer.headers["location"] == "/console/try?page=2"
    for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert word in answer.headers["set-cookie"]
    assert ann.client.get("/console/try").status_code == 200

    token = ann.client.cookies[SESSION]
    assert ann.post("/logout").status_code == 303
    ann.client.cookies.set(SESSION, token, domain="delist.example")
    assert ann.client.get("/console/try").status_code == 303
    assert acts(web) == ["person.added", "person.signed_on", "person.signed_out"]


def test_name_password_and_code_are_needed_and_none_is_named_as_wrong(
    web: Web, ann: Reviewer
) -> None:
    """One answer for each of them, for nobody's name, and for a disabled account."""
    answers = [
        ann.try_to_sign_on(name="Nobody"),
        ann.try_to_sign_on(**(WRONG | {"code": ann.code()})),
        ann.try_to_sign_on(code="123456"),
    ]
    web.world.delist.accounts.disable("Ann", actor="operator")
    web.world.clock.advance(minutes=1)
    answers.append(ann.try_to_sign_on())

    texts = {answer.text.replace('value="Nobody"', 'value="Ann"') for answer in answers}
    assert [answer.status_code for answer in answers] == [401] * 4
    assert len(texts) == 1
    assert "pass phrase" not in texts.pop()
    refused = [e for e in web.world.delist.audit_entries() if e.act == "person.refused"]
    assert len(refused) == 4
    assert not any("Nobody" in e.detail + e.subject + e.actor for e in refused)


def test_a_code_opens_once(ann: Reviewer) -> None:
    """A one-time code is used up by signing on, and so is a recovery code."""
    code = ann.code()
    assert ann.try_to_sign_on(code=code).status_code == 303
    assert ann.try_to_sign_on(code=code).status_code == 401

    recovery = ann.recovery_codes[0].upper().replace("-", " ")
    assert ann.try_to_sign_on(code=recovery).status_code == 303
    assert ann.try_to_sign_on(code=recovery).status_code == 401


def test_whoever_guesses_waits_longer_and_longer(web: Web, ann: Reviewer) -> None:
    """Even the right password does not help then; a wrong name waits as long as a known one."""
    waits: dict[str, list[int]] = {"Ann": [], "Nobody": []}
    for name, found in waits.items():
        stranger = browser(web, f"198.51.100.{len(name)}")
        for _ in range(12):
            answer = ann.try_to_sign_on(stranger, name=name, **WRONG)
            if answer.status_code == 429:
                found.append(int(answer.headers["retry-after"]))
                web.world.clock.advance(seconds=found[-1])
    assert waits["Ann"] == waits["Nobody"]
    assert len(waits["Ann"]) >= 3
    assert all(later >= 1.5 * wait for wait, later in pairwise(waits["Ann"]))

    code = ann.code()
    ann.try_to_sign_on(browser(web), **WRONG)
    late = ann.try_to_sign_on(browser(web), code=code)
    assert (late.status_code, "Wait" in late.text) == (429, True)


def test_a_stranger_keeps_nobody_out_of_their_own_browser(web: Web, ann: Reviewer) -> None:
    """Where somebody has signed on before, tries from elsewhere do not count; they are told."""
    ann.sign_on()
    stranger = browser(web, "198.51.100.7")
    while ann.try_to_sign_on(stranger, **WRONG).status_code != 429:
        pass
    code = ann.code()
    for _ in range(6):
        ann.try_to_sign_on(stranger, **WRONG)
    assert ann.try_to_sign_on(code=code).status_code == 303
    assert "from another browser" in ann.client.get("/me").text


def test_one_network_cannot_try_name_after_name(tmp_path: Path) -> None:
    """A burst of names from one address is held back; other addresses are not."""
    with opened(tmp_path / "data", sign_ons_per_minute=2) as web:
        ann = enrol(web)
        stranger = browser(web, "198.51.100.8")
        statuses = [
            ann.try_to_sign_on(stranger, name=f"n{number}", **WRONG).status_code
            for number in range(3)
        ]
        assert statuses == [401, 401, 429]
        assert ann.try_to_sign_on().status_code == 303


def test_a_session_that_was_there_before_is_worth_nothing(web: Web, ann: Reviewer) -> None:
    """Fixation: signing on makes a new token, and ends the one that the browser brought."""
    ann.client.cookies.set(SESSION, "A" * 43, domain="delist.example")
    first = ann.sign_on()
    second = ann.sign_on()
    assert len({first, second, "A" * 43}) == 3
    other = browser(web)
    other.cookies.set(SESSION, first)
    assert other.get("/me").status_code == 303


def test_sessions_end_with_what_they_stood_on(web: Web, ann: Reviewer) -> None:
    """A disabled account, another role, new codes, signing out everywhere: at once."""
    accounts = web.world.delist.accounts
    for end in (
        lambda: accounts.set_role("Ann", Role.LEAD, actor="operator"),
        lambda: ann.post("/me/sessions/end"),
        lambda: accounts.disable("Ann", actor="operator"),
    ):
        ann.sign_on()
        assert ann.client.get("/me").status_code == 200
        end()
        assert ann.client.get("/me").status_code == 303
    accounts.disable("Ann", actor="operator", disabled=False)
    ann.sign_on()
    accounts.reset("Ann", password=None, actor="operator")
    assert ann.client.get("/me").status_code == 303
    assert ann.try_to_sign_on().status_code == 401


def test_sessions_end_by_themselves(web: Web, ann: Reviewer) -> None:
    """After half an hour unused, and after ten hours however much they are used."""
    ann.sign_on()
    web.world.clock.advance(minutes=29)
    assert ann.client.get("/me").status_code == 200
    web.world.clock.advance(minutes=30)
    assert ann.client.get("/me").status_code == 303
    ann.sign_on()
    for _ in range(23):
        web.world.clock.advance(minutes=25)
        assert ann.client.get("/me").status_code == 200
    web.world.clock.advance(minutes=25)
    assert ann.client.get("/me").status_code == 303


def test_a_form_of_an_ended_session_brings_the_person_back_and_says_so(
    web: Web, ann: Reviewer
) -> None:
    """Nothing was done; after signing on one is at the page again and told, once."""
    ann.sign_on()
    form = {"csrf": ann.csrf(), "page": "/console/try?page=2"}
    web.world.clock.advance(minutes=31)
    lost = ann.client.post("/console/try", data=form, headers=SAME)
    asked = query_of(lost.headers["location"])
    assert (lost.status_code, asked) == (303, {"next": "/console/try?page=2", "unsent": "1"})
    assert "not sent" in ann.client.get(lost.headers["location"]).text
    answer = ann.try_to_sign_on(**asked)
    back = ann.client.get(answer.headers["location"])
    assert "was not sent" in back.text
    assert "was not sent" not in ann.client.get("/console/try").text
    part = browser(web).post("/console/try", headers=SAME | {"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (
        401, "/login?next=%2Fconsole&unsent=1",
    )  # fmt: skip


def test_roles(web: Web) -> None:
    """A lead may do what a reviewer may; others may not review; the refusal is a page."""
    expected = {Role.REVIEWER: (200, 403), Role.LEAD: (200, 200), Role.AUDITOR: (403, 403)}
    for role, (look, act) in expected.items():
        person = enrol(web, name=f"The {role}", role=role)
        person.sign_on()
        refused = person.client.get("/console/try")
        assert (refused.status_code, person.post("/console/try").status_code) == (look, act)
        assert refused.headers["content-type"].startswith("text/html")


def test_forged_and_replayed_forms_do_nothing(web: Web, ann: Reviewer) -> None:
    """No form without this session's own field, none from another site, none of another session."""
    lead = enrol(web, "Lee", Role.LEAD)
    lead.sign_on()
    ann.sign_on()
    right = {"csrf": lead.csrf()}
    cross = {"Sec-Fetch-Site": "cross-site"}
    sibling = {"Sec-Fetch-Site": "same-site"}
    foreign = {"Origin": "https://delist.example.evil.example"}

    def sent(data: dict[str, str], headers: dict[str, str]) -> int:
        return lead.client.post("/console/try", data=data, headers=headers).status_code

    assert [sent(right, h) for h in (cross, sibling, foreign)] == [403] * 3
    assert [sent(d, SAME) for d in ({}, {"csrf": ""}, {"csrf": ann.csrf()}, {"csrf": "é"})] == [
        403
    ] * 4
    assert [sent(right, h) for h in (SAME, {"Origin": "https://delist.example"}, {})] == [200] * 3
    assert sent({}, SAME | {"X-CSRF-Token": right["csrf"]}) == 200
    before = right
    lead.sign_on()
    assert sent(before, SAME) == 403  # of the session before


def test_nobody_is_signed_on_by_a_page_of_somebody_else(ann: Reviewer) -> None:
    """Signing on itself must be known to come from us, or a stranger signs one on as themselves."""
    form = {"name": "Ann", "password": PASSWORD, "code": ann.code()}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}, {}):
        answer = ann.client.post("/login", data=form, headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_next_leads_nowhere_else(ann: Reviewer) -> None:
    """Only to a path of ours; anything else becomes the console."""
    assert ann.try_to_sign_on(next="//evil.example").headers["location"] == "/console"
    for given in (
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "evil",
        "/console\r\nSet-Cookie: a=b", "javascript:alert(1)", "/\t/evil.example", "/ /evil", "",
        "/" + "a" * 600, "/login?next=/login", "/logout", "/é",
    ):  # fmt: skip
        assert safe_next(given) == "/console", given
    assert safe_next("/me?a=//evil.example") == "/me?a=//evil.example"


def test_every_page_is_framed_by_nobody_and_loads_nothing_of_others(
    web: Web, ann: Reviewer
) -> None:
    """Clickjacking, scripts: the strict policy on pages and errors, and it holds in their text."""
    ann.sign_on()
    public = browser(web)
    pages = [public.get("/login"), public.get("/nothing"), ann.client.get("/me")]
    pages.append(ann.client.post("/me/preferences", headers=SAME))
    assert [page.status_code for page in pages] == [200, 404, 200, 403]
    for page in pages:
        assert page.headers["content-security-policy"] == PAGE_POLICY
        assert "frame-ancestors 'none'" in PAGE_POLICY
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["cache-control"] == "no-store"
        for inline in ("<style", " style=", "onclick=", "javascript:", "<script>"):
            assert inline not in page.text
        assert "//" not in page.text.replace("https://", "")
    assert "set-cookie" not in pages[0].headers
    assert public.get("/v1/nothing").headers["content-type"] == "application/problem+json"
    kept = public.get(asset("site.css")).headers["cache-control"]
    assert "immutable" in kept


def test_a_try_that_found_no_place_is_no_wrong_try(web: Web) -> None:
    """Too many at once: who was sent away unseen has as many tries left as before."""
    signing_on = web.world.delist.signing_on

    def outcome(name: str) -> type[Exception] | None:
        try:
            signing_on.with_account(Credentials(name=name, **WRONG))
        except (BusyError, SignOnRefusedError) as error:
            return type(error)
        return None

    names = [f"Nobody {number}" for number in range(40)]
    together = threading.Barrier(len(names))

    def in_the_crowd(name: str) -> type[Exception] | None:
        together.wait()
        return outcome(name)

    with ThreadPoolExecutor(len(names)) as crowd:
        outcomes = dict(zip(names, crowd.map(in_the_crowd, names), strict=True))
    sent_away = [name for name, found in outcomes.items() if found is BusyError]
    assert set(outcomes.values()) == {BusyError, SignOnRefusedError}
    assert outcome(sent_away[0]) is SignOnRefusedError
    refused = [e for e in web.world.delist.audit_entries() if e.act == "person.refused"]
    assert json.loads(refused[-1].detail) == {"tries": 1}


def test_preferences_follow_the_person(ann: Reviewer) -> None:
    """Grey, blur, breaks, how an image shows, colours; nonsense is refused."""
    ann.sign_on()
    liked = {"blur_px": "9", "break_minutes": "20", "theme": "dark", "mute": "true",
             "by_press": "true", "shown_s": "7"}  # fmt: skip
    assert ann.post("/me/preferences", **liked).status_code == 303
    assert ann.post("/me/preferences", **(liked | {"blur_px": "61"})).status_code == 422
    assert ann.post("/me/preferences", **(liked | {"shown_s": "2"})).status_code == 422
    ann.post("/logout")
    ann.sign_on()
    page = ann.client.get("/me").text
    assert 'data-theme="dark"' in page
    assert 'name="grey" value="true">' in page
    assert 'value="9"' in page
    assert 'value="7"' in page


def test_an_unforeseen_error_is_a_page_for_people(web: Web) -> None:
    """It says nothing of what went wrong, and stands in the frame, with the headers of all."""

    @web.app.get("/console/broken", include_in_schema=False, tags=["try"])
    def broken() -> Response:
        raise ValueError("marked-secret")

    client = TestClient(web.app, raise_server_exceptions=False)
    answer = client.get("/console/broken")
    assert answer.status_code == 500
    assert "marked-secret" not in answer.text
    assert "Something went wrong" in answer.text
    assert answer.headers["x-frame-options"] == "DENY"


def test_weak_passwords_are_refused() -> None:
    """Too short, among the commonest, one sign over and over, the person's own name."""
    for password in (
        "short", "password1234", "a" * 16, "123456789012", "abcdefghijklm", "annbannann",
        "iloveyou2024", "a b" * 100, "Ann Ann Ann Ann",
    ):  # fmt: skip
        with pytest.raises(UsageError):
            check_new(password, name="Ann")
    assert check_new("no such thing", name="Ann") == "no such thing"
    assert check_new("ﬁfteen ﬁshes", name="Ann") == "fifteen fishes"


def test_names_cannot_be_mistaken_for_others(web: Web) -> None:
    """The name stands beside every act: no second one that looks the same."""
    enrol(web, "Ann")
    for name in ("ann", " Ann ", "Ann\u200b", "ANN"):
        with pytest.raises(UsageError):
            web.world.delist.accounts.add(name, Role.LEAD, PASSWORD, actor="operator")


def test_secrets_of_people_are_not_in_the_store(web: Web, ann: Reviewer) -> None:
    """Whoever has a copy of the database can neither sign on nor take a session over."""
    token = ann.sign_on()
    folder = web.world.delist.database.data_dir
    held = b"".join(path.read_bytes() for path in folder.glob("delist.sqlite3*"))
    for secret in (token, ann.secret, ann.recovery_codes[1], PASSWORD):
        assert secret.encode() not in held

"""Signing on at the organisation: what is believed of it, and what is not."""

from collections.abc import Iterator
from pathlib import Path
from time import time

import httpx2
import pytest
from httpx2 import Response
from oidc_provider_mock import User, run_server_in_thread
from starlette.testclient import TestClient

from delist.people import Role
from delist.settings import load_settings
from delist.web.people.cookies import PENDING
from indexer.errors import SettingsError
from tests.fakes import issuer as forging
from tests.fakes.issuer import Issuer, running_issuer
from tests.fakes.people import SESSION, acts, browser, query_of, with_issuer
from tests.fakes.web import Web, opened

ANN = User(sub="ann", claims={"email": "ann@org.example", "groups": ["case-review", "everybody"]})
EVE = User(sub="eve", claims={"email": "eve@org.example", "groups": ["everybody"]})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, Issuer]]:
    data_dir = tmp_path_factory.mktemp("oidc") / "data"
    with opened(data_dir, sign_ons_per_minute=1000) as web, running_issuer() as issuer:
        with_issuer(web, issuer.url, domains=("org.example",))
        yield web, issuer


@pytest.fixture
def web(shared: tuple[Web, Issuer]) -> Web:
    return shared[0]


@pytest.fixture
def issuer(shared: tuple[Web, Issuer]) -> Issuer:
    shared[1].reset()
    return shared[1]


def come_back(client: TestClient, issuer: Issuer, then: str = "/me", **changed: str) -> Response:
    """Go to the issuer, which agrees, and come back with its answer."""
    sent = query_of(client.get("/login/oidc", params={"next": then}).headers["location"])
    issuer.nonce = issuer.nonce or sent["nonce"]
    issuer.challenge = issuer.challenge or sent["code_challenge"]
    answer = {"code": "c", "state": sent["state"]} | changed
    return client.get("/login/oidc/back", params=answer)  # type: ignore[return-value]


# The provider's own use of Authlib is behind.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_reviewer_of_the_organisation_signs_on(tmp_path: Path) -> None:
    """Against a provider that others have written: there and back, and again as the same person."""
    with (
        opened(tmp_path / "data") as web,
        run_server_in_thread(user_claims=[ANN, EVE], require_nonce=True) as server,
    ):
        secret = tmp_path / "secret"
        secret.write_text("of the client\n")
        with_issuer(web, f"http://localhost:{server.server_port}", client_secret_file=secret)

        def sign_on(sub: str) -> tuple[TestClient, Response]:
            client = browser(web)
            link = client.get("/login?next=/me").text
            assert 'href="/login/oidc?next=' in link
            url = client.get("/login/oidc?next=/me").headers["location"]
            assert query_of(url)["code_challenge_method"] == "S256"
            agreed = httpx2.post(url, data={"sub": sub})
            return client, client.get(agreed.headers["location"])  # type: ignore[return-value]

        client, back = sign_on("ann")
        assert back.headers["location"] == "/me"
        page = client.get("/me").text
        assert "ann@org.example" in page
        assert "at your organisation" in page
        sign_on("ann")
        assert [person.role for person in web.world.delist.accounts.every()] == [Role.REVIEWER]
        _, refused = sign_on("eve")
        assert (refused.status_code, "none of your groups" in refused.text) == (403, True)
        assert acts(web) == ["person.added", "person.signed_on", "person.signed_on"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"claims": {"nonce": "another"}}, "cannot be trusted"),
        ({"claims": {"nonce": None}}, "cannot be trusted"),
        ({"claims": {"aud": "another client"}}, "cannot be trusted"),
        ({"claims": {"aud": "another client", "azp": "delist"}}, "cannot be trusted"),
        ({"claims": {"iss": "https://another.example"}}, "cannot be trusted"),
        ({"claims": {"exp": int(time()) - 600}}, "cannot be trusted"),
        ({"forge": forging.sign_with_another_key}, "cannot be trusted"),
        ({"forge": forging.sign_with_the_public_key_as_a_secret}, "cannot be trusted"),
        ({"forge": forging.sign_nothing}, "cannot be trusted"),
        ({"forge": lambda _header, _claims: "no token"}, "cannot be trusted"),
        ({"challenge": "another"}, "cannot be trusted"),
        ({"claims": {"groups": []}}, "none of your groups"),
        ({"claims": {"groups": None}}, "none of your groups"),
        ({"claims": {"email": "ann@org.example.evil.example"}}, "not of a domain"),
        ({"claims": {"email_verified": False}}, "not of a domain"),
    ],
)
def test_what_does_not_hold_opens_nothing(
    web: Web, issuer: Issuer, changes: dict[str, object], words: str
) -> None:
    """A token for somebody else, of another sign-on, late, or not signed by the issuer's key."""
    for name, value in changes.items():
        setattr(issuer, name, value)
    client = browser(web)
    answer = come_back(client, issuer)
    assert (answer.status_code, words in answer.text) == (403, True), answer.text
    assert SESSION not in client.cookies
    assert PENDING not in client.cookies


def test_an_answer_belongs_to_the_browser_that_asked(web: Web, issuer: Issuer) -> None:
    """Another state, another issuer, another browser, twice, a refusal there: nobody signs on."""
    asked = issuer.asked
    assert come_back(browser(web), issuer, state="another").status_code == 403
    assert come_back(browser(web), issuer, iss="https://another.example").status_code == 403
    assert come_back(browser(web), issuer, code="", error="access_denied").status_code == 403
    answer = browser(web).get("/login/oidc/back?code=c&state=s")
    assert "another browser" in answer.text
    assert issuer.asked == asked

    issuer.reset()
    client = browser(web)
    assert come_back(client, issuer).status_code == 303
    again = client.get("/login/oidc/back?code=c&state=s")
    assert again.status_code == 403
    assert come_back(browser(web), issuer, then="//evil.example").status_code in {303, 403}


def test_a_form_lost_on_the_way_is_told_of(web: Web, issuer: Issuer) -> None:
    """As with an account."""
    client = browser(web)
    sent = query_of(client.get("/login/oidc?next=/me&unsent=1").headers["location"])
    issuer.nonce, issuer.challenge = sent["nonce"], sent["code_challenge"]
    client.get("/login/oidc/back", params={"code": "c", "state": sent["state"]})
    assert "was not sent" in client.get("/me").text


def test_groups_say_the_role_each_time(web: Web, issuer: Issuer) -> None:
    """Who was put into another group has another role, and what was open under the old one ends."""
    client = browser(web)
    assert come_back(client, issuer).status_code == 303
    issuer.reset()
    issuer.claims = {"groups": "case-leads"}
    assert come_back(browser(web), issuer).status_code == 303
    assert client.get("/me").status_code == 303
    (ann,) = [p for p in web.world.delist.accounts.every() if p.name == "ann@org.example"]
    assert ann.role is Role.LEAD


def test_nobody_becomes_another_by_a_name(web: Web, issuer: Issuer) -> None:
    """A second subject with a name that somebody has, and a person disabled here, stay out."""
    assert come_back(browser(web), issuer).status_code == 303
    issuer.reset()
    issuer.claims = {"sub": "person-2", "email": "Ann@org.example"}
    assert "has your name already" in come_back(browser(web), issuer).text
    issuer.reset()
    accounts = web.world.delist.accounts
    accounts.disable("ann@org.example", actor="operator")
    assert "disabled" in come_back(browser(web), issuer).text
    accounts.disable("ann@org.example", actor="operator", disabled=False)


def test_an_issuer_that_is_down_or_is_another_is_said_so(tmp_path: Path) -> None:
    """A clear page; local accounts go on. One that failed is left alone for a while."""
    with opened(tmp_path / "data") as web, running_issuer() as issuer:
        with_issuer(web, issuer.url)
        issuer.down = True
        for _ in range(3):
            answer = browser(web).get("/login/oidc")
            assert (answer.status_code, "does not answer" in answer.text) == (503, True)
            assert issuer.looked_up == 1
        issuer.down, issuer.named_issuer = False, "https://another.example"
        with_issuer(web, issuer.url)
        assert "cannot be trusted" in browser(web).get("/login/oidc").text
        assert browser(web).get("/login").status_code == 200


def test_an_issuer_without_encryption_is_refused(tmp_path: Path) -> None:
    """Only https, or this machine; and it must be known as whom we come."""
    path = tmp_path / "delist.toml"
    for table in (
        'issuer = "http://login.example"\nclient_id = "a"',
        'issuer = "https://login.example"',
        'issuer = "ftp://localhost"\nclient_id = "a"',
        'isuer = "https://login.example"',
    ):
        path.write_text(f"[web.oidc]\n{table}\n")
        with pytest.raises(SettingsError, match=r"web\.oidc"):
            load_settings(path)
    path.write_text(
        '[web.oidc]\nissuer = "https://login.example"\nclient_id = "a"\nleads = ["x"]\n'
    )
    assert load_settings(path).oidc.leads == ("x",)


def test_one_state_is_no_ticket_for_any_number_of_codes(tmp_path: Path) -> None:
    """Who guesses codes has the tries of who guesses passwords; the issuer is asked no more."""
    with opened(tmp_path / "data", sign_ons_per_minute=3) as web, running_issuer() as issuer:
        with_issuer(web, issuer.url)
        client = browser(web)
        sent = query_of(client.get("/login/oidc").headers["location"])
        pending = client.cookies[PENDING]

        def guess(code: str) -> int:
            client.cookies[PENDING] = pending
            answer = client.get("/login/oidc/back", params={"code": code, "state": sent["state"]})
            return answer.status_code

        assert [guess(str(number)) for number in range(5)] == [403, 403, 403, 429, 429]
        assert issuer.asked == 3

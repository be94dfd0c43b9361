"""People who sign on to the app, as their browsers do it."""

import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

import pyotp
from httpx import Response
from starlette.testclient import TestClient

from delist.people import Role
from delist.settings import OidcSettings
from delist.web.app import create_app
from tests.fakes.web import Web

PASSWORD = "a long pass phrase"  # noqa: S105 - of a test
SAME = {"Sec-Fetch-Site": "same-origin"}
SESSION = "__Host-delist-session"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


@dataclass
class Reviewer:
    """Somebody with an account, and a browser of theirs."""

    web: Web
    name: str
    secret: str
    recovery_codes: tuple[str, ...]
    client: TestClient

    def code(self) -> str:
        """What their authenticator shows; the clock goes on, so that the next one differs."""
        self.web.world.clock.advance(seconds=31)
        return pyotp.TOTP(self.secret).at(self.web.world.clock())

    def try_to_sign_on(self, client: TestClient | None = None, **fields: str) -> Response:
        """Send the form; what is not given is right."""
        given = {"name": self.name, "password": PASSWORD} | fields
        if "code" not in given:
            given["code"] = self.code()
        return (client or self.client).post("/login", data=given, headers=SAME)

    def sign_on(self) -> str:
        """Sign on; returns the session's token."""
        answer = self.try_to_sign_on()
        assert answer.status_code == 303, answer.text
        return str(self.client.cookies[SESSION])

    def csrf(self) -> str:
        """Read what forms of this session send back."""
        found = _CSRF.search(self.client.get("/me").text)
        assert found is not None
        return found[1]

    def post(self, path: str, **fields: str) -> Response:
        """Send a form of a page."""
        return self.client.post(path, data={"csrf": self.csrf()} | fields, headers=SAME)


def browser(web: Web, address: str = "203.0.113.9") -> TestClient:
    """Open a browser that has been nowhere."""
    return TestClient(
        web.app, base_url="https://delist.example", follow_redirects=False, client=(address, 5000)
    )


def enrol(web: Web, name: str = "Ann", role: Role = Role.REVIEWER) -> Reviewer:
    """Add an account."""
    enrolment = web.world.delist.accounts.add(name, role, PASSWORD, actor="operator")
    return Reviewer(web, name, enrolment.secret, enrolment.recovery_codes, browser(web))


def acts(web: Web) -> list[str]:
    """List what is on record of people."""
    entries = web.world.delist.audit_entries()
    return [entry.act for entry in entries if entry.act.startswith("person.")]


def query_of(location: str) -> dict[str, str]:
    """Read the query of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def with_issuer(web: Web, url: str, **settings: object) -> None:
    """Let people sign on at an issuer from now on; the app is made anew."""
    delist = web.world.delist
    oidc = OidcSettings(
        issuer=url,
        client_id="delist",
        reviewers=("case-review",),
        leads=("case-leads",),
        **settings,
    )  # type: ignore[arg-type]
    delist.settings = replace(delist.settings, oidc=oidc)
    web.app = create_app(delist)
    web.apps.append(web.app)

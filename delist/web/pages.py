"""Pages: one frame for all of them, and what every page needs from its request.

``render`` is the only way from a template to a response. Templates lie in
``delist/web/templates`` and extend ``base.html``; whatever they print is escaped, and a name that
nobody gave is an error. Files lie in ``delist/web/static``; ``asset("site.css")`` names one by
the content of all, so that a browser keeps them for ever and JavaScript modules, which import
each other by relative names, never mix two releases.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context, select_autoescape
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from delist.people import Person, Preferences, Role
from delist.web.headers import PAGE_POLICY

STATIC = "/static"
_KEPT = "public, max-age=31536000, immutable"
_BUILD_DIGITS = 12

PLACES: tuple[tuple[str, str, tuple[Role, ...]], ...] = (
    ("/console", "Queue", (Role.REVIEWER,)),
    ("/console/appeals", "Appeals", (Role.REVIEWER,)),
    ("/console/reports", "Reports", (Role.REVIEWER,)),
    ("/console/brakes", "Brakes", (Role.REVIEWER,)),
    ("/console/search", "Search", (Role.REVIEWER,)),
    ("/console/sinks", "Sinks", (Role.LEAD, Role.AUDITOR, Role.ADMIN)),
    ("/console/figures", "Figures", (Role.REVIEWER, Role.AUDITOR, Role.ADMIN)),
    ("/console/audit", "Audit log", (Role.AUDITOR,)),
)
"""The main navigation of people who have signed on: path, words, and who may go there."""


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> HTMLResponse:
    """Write a page.

    Besides ``values`` a template has ``person`` (None on public pages), ``csrf`` (what forms send
    back; every form begins with ``{{ form_fields() }}``, which writes it), ``places``, ``theme``,
    ``path``, ``query``, ``lang`` and ``dir`` (given by pages in other languages), ``notice``, and
    the functions ``asset`` and ``form_fields``.

    Args:
        template: its name in ``delist/web/templates``.
        status: of the response.
        headers: further ones.
    """
    person: Person | None = getattr(request.state, "person", None)
    preferences = person.preferences if person is not None else Preferences()
    shared: dict[str, object] = {
        "person": person,
        "csrf": getattr(request.state, "csrf", ""),
        "notice": _take_notice(request),
        "places": _places(person),
        "theme": preferences.theme.value,
        "path": request.url.path,
        "query": request.url.query,
        "lang": "en",
        "dir": "ltr",
    }
    text = _environment().get_template(template).render(shared | values)
    policy = {"Content-Security-Policy": PAGE_POLICY}
    return HTMLResponse(text, status, headers=policy | dict(headers or {}))


def asset(name: str) -> str:
    """Return the path of one of our static files."""
    return f"{STATIC}/{build_of_static()}/{name}"


@cache
def build_of_static() -> str:
    """Name the content of all static files."""
    digest = sha256()
    for file in sorted((files("delist.web") / "static").iterdir(), key=lambda entry: entry.name):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:_BUILD_DIGITS]


class _Kept(StaticFiles):
    """Files whose path changes with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        answer: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type] # handed on
        answer.headers["Cache-Control"] = _KEPT
        return answer


def mount_static(app: FastAPI) -> None:
    """Serve ``/static/*``: kept for ever under the name of their content, asked for again else."""
    packages: list[str | tuple[str, str]] = [("delist.web", "static")]
    app.mount(f"{STATIC}/{build_of_static()}", _Kept(packages=packages), name="static-kept")
    app.mount(STATIC, StaticFiles(packages=packages), name="static")


def is_page(scope: Scope) -> bool:
    """Say whether a person looks at what is answered here, and not a program."""
    path = str(scope["path"])
    programs = ("/v1", "/healthz", "/readyz", "/metrics", "/openapi.json", STATIC)
    return not any(path == start or path.startswith(f"{start}/") for start in programs)


def _places(person: Person | None) -> list[tuple[str, str]]:
    """Choose where a person may go."""
    if person is None:
        return []
    return [(path, words) for path, words, roles in PLACES if person.may(*roles)]


@pass_context
def _form_fields(context: Context) -> Markup:
    """Write what every form sends back: who it was made for, and the page it stands on.

    The page is where the person is brought back to if the session has ended meanwhile.
    """
    query = str(context["query"])
    page = f"{context['path']}?{query}" if query else str(context["path"])
    fields = (
        '<input type="hidden" name="csrf" value="{}"><input type="hidden" name="page" value="{}">'
    )
    return Markup(fields).format(context["csrf"], page)  # noqa: S704 - a constant; values are escaped


def _take_notice(request: Request) -> str:
    """Return what the person is to be told once, on a whole page."""
    if "hx-request" in request.headers:
        return ""
    take = getattr(request.state, "take_notice", None)
    return str(take()) if take is not None else ""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("delist.web"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = asset
    environment.globals["form_fields"] = _form_fields
    return environment

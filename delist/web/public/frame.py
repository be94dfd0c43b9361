"""The frame of public pages: language, helplines, the way out; and forms as they come.

The language is the one that was chosen (``lang``, in the address or the form), else the one that
the browser prefers. It is handed on from page to page, since nothing is kept in the browser.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fastapi import Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from delist.build import Delist
from delist.reporting import Language, helplines, language
from delist.reporting.languages import LANGUAGES
from delist.web.limits import network_of
from delist.web.pages import render
from delist.web.public.state import Public

_MOST_FIELDS, _MOST_BYTES = 60, 512 * 1024
_MOST_PREFERRED = 12
_NAMES = {"en": "English", "cy": "Cymraeg", "es": "Español", "ur": "اردو"}
AWAY = "https://www.wikipedia.org/"
"""Where the way out leads: a page that many have open. As in reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Whom a page is for.

    Attributes:
        chosen: whether they chose the language.
    """

    words: Language
    chosen: bool

    def link(self, path: str) -> str:
        """Write a link to a page of ours, in their language."""
        return f"{path}?lang={self.words.code}" if self.chosen else path


class Fields:
    """A form that was sent."""

    def __init__(self, form: FormData) -> None:
        self._form = form

    def text(self, name: str) -> str:
        """Return a field, empty where there is none."""
        value = self._form.get(name)
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """Return every field of a name."""
        return [value for value in self._form.getlist(name) if isinstance(value, str)]


async def fields_of(request: Request) -> Fields:
    """Read a form. Files are refused: no page of ours sends one."""
    form = await request.form(max_files=0, max_fields=_MOST_FIELDS, max_part_size=_MOST_BYTES)
    return Fields(form)


def visitor_of(request: Request, lang: str = "") -> Visitor:
    """Find out in which language to answer.

    ``request.state.lang`` keeps what was chosen, for errors later on.

    Args:
        lang: that was chosen, if any; whatever is none of ours does not count.
    """
    if lang in LANGUAGES:
        request.state.lang = lang
        return Visitor(words=language(lang), chosen=True)
    return Visitor(words=_preferred(request.headers.get("accept-language", "")), chosen=False)


def page(
    request: Request,
    visitor: Visitor,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> Response:
    """Write a public page.

    Args:
        template: its name in ``delist/web/templates/public``. It has ``_``, ``words``, ``link``,
            ``helplines``, ``languages``; ``ways`` says how another language is chosen: ``link``,
            ``form`` (with a ticket) or none, where what stands here is shown once.
    """
    words = visitor.words
    shared: dict[str, object] = {
        "_": words.say,
        "words": words,
        "link": visitor.link,
        "lang": words.tag,
        "dir": words.direction,
        "languages": _NAMES,
        "ways": "link",
        "away": AWAY,
        "helplines": [helplines.as_json(line, words) for line in helplines.choose(words)],
    }
    return render(
        request, f"public/{template}", status=status, headers=headers, **(shared | values)
    )


def message(
    request: Request,
    visitor: Visitor,
    *,
    heading: str,
    sentences: tuple[str, ...],
    status: int,
    back: str,
    wait_s: int = 0,
    **values: object,
) -> Response:
    """Write a page that says one thing; ``values`` as of ``page``."""
    headers = {"Retry-After": str(wait_s)} if wait_s else {}
    return page(
        request,
        visitor,
        "message.html",
        status=status,
        headers=headers,
        heading=heading,
        sentences=sentences,
        back=back,
        **({"ways": "", "back_words": ""} | values),
    )


def delist_of(request: Request) -> Delist:
    """Return the open whole of the app."""
    found: Delist = request.app.state.delist
    return found


def public_of(request: Request) -> Public:
    """Return what public pages share."""
    found: Public = request.app.state.public
    return found


def network(request: Request) -> str:
    """Name who calls."""
    return network_of(request.client.host if request.client else "")


@cache
def _regions() -> frozenset[str]:
    """Regions that have helplines: others change nothing, and are a stranger's choice of words."""
    return frozenset(line.country for line in helplines.every())


def _preferred(header: str) -> Language:
    """Choose from ``Accept-Language`` (RFC 9110, 12.5.4)."""
    ranked = []
    for number, part in enumerate(header.split(",")[:_MOST_PREFERRED]):
        tag, _, weight = part.strip().partition(";")
        code, _, region = tag.strip().replace("_", "-").partition("-")
        if code.lower() in LANGUAGES:
            ranked.append((-_weight(weight), number, code.lower(), region.upper()))
    if not ranked:
        return language("en")
    _, _, code, region = min(ranked)
    return language(f"{code}-{region}" if region in _regions() else code)


def _weight(text: str) -> float:
    try:
        return float(text.strip().removeprefix("q="))
    except ValueError:
        return 1.0

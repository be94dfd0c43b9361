"""Helplines by country: data in ``helplines.toml``, and which of them a report names."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from functools import cache
from importlib.resources import files
from typing import Any

from delist.errors import UsageError
from delist.reporting.languages import Language

EVERYWHERE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Helpline:
    """One helpline.

    Attributes:
        country: ISO 3166 alpha-2, or ``*``.
        default_for: languages of a report that name it when no country is asked for.
        languages: that it answers in.
        about: key of what it is for, see ``ABOUT``.
        open: ``always``, ``daily``, ``weekdays``, or "" where it is not known.
        opens, closes: local time; None with ``always`` and "".
        checked: when somebody last compared this with what it says of itself.
    """

    country: str
    default_for: tuple[str, ...] = ()
    name: str
    about: str
    phone: str = ""
    open: str = ""
    opens: time | None = None
    closes: time | None = None
    url: str
    languages: tuple[str, ...]
    checked: date


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


ABOUT = {
    "case": _("Check your case, or end it."),
    "images": _("Help when private images are shared."),
    "violence": _("Help when somebody hurts, controls or threatens you."),
    "children": _("If you were under 18 in the image."),
    "minors": _("If you are under 18 now."),
    "online": _("Help with harm and threats on the internet."),
}
HOURS = {
    "always": _("Day and night, every day"),
    "daily": _("Every day, %(opens)s to %(closes)s"),
    "weekdays": _("Monday to Friday, %(opens)s to %(closes)s"),
}


@cache
def every() -> tuple[Helpline, ...]:
    """Load all helplines, in the order of the file."""
    text = (files("delist.reporting") / "helplines.toml").read_text(encoding="utf-8")
    return tuple(_helpline(entry) for entry in tomllib.loads(text)["helpline"])


def choose(language: Language, country: str | None = None) -> Sequence[Helpline]:
    """Choose those that a report names: of the country, and those that are there for everybody.

    Without a country, the region of the language tag is taken if there is a helpline in it, or
    else those that the language has by default. A country without any has those for everybody.

    Raises:
        UsageError: this is no country code.
    """
    if country is not None and not re.fullmatch(r"[A-Za-z]{2}", country):
        raise UsageError("--country: two letters are needed, as in GB or PK")
    wanted = (country or language.region).upper()
    local = [line for line in every() if line.country == wanted]
    if not local and country is None:
        local = [line for line in every() if language.code in line.default_for]
    return [*local, *(line for line in every() if line.country == EVERYWHERE)]


def hours(line: Helpline, language: Language) -> str:
    """Say when a helpline answers, or ""."""
    if not line.open:
        return ""
    if line.opens is None or line.closes is None:
        return language.say(HOURS[line.open])
    return language.say(
        HOURS[line.open], opens=f"{line.opens:%H:%M}", closes=f"{line.closes:%H:%M}"
    )


def as_json(line: Helpline, language: Language) -> dict[str, Any]:
    """Turn a helpline into JSON values, in words of the report's language.

    The website is no link: a visit leaves a trace, so it should not come of a slip of the hand.
    """
    website = line.url.removeprefix("https://")
    return {
        "name": line.name,
        "about": language.say(ABOUT[line.about]),
        "contact": line.phone or website,
        "phone": line.phone or None,
        "hours": hours(line, language) or None,
        "website": website,
        "country": None if line.country == EVERYWHERE else line.country,
        "languages": list(line.languages),
        "language_names": language.names(line.languages),
        "checked": line.checked.isoformat(),
    }


def _helpline(entry: dict[str, Any]) -> Helpline:
    opens, closes = (
        None if name not in entry else time.fromisoformat(entry.pop(name))
        for name in ("from", "to")
    )
    for name in ("default_for", "languages"):
        entry[name] = tuple(entry.get(name, ()))
    return Helpline(**entry, opens=opens, closes=closes)

"""The languages that reports are written in: catalogues, dates, numbers, direction.

Messages are the English sentences themselves; ``locale/TAG.po`` has the others. They are read
as they are, without a compile step. No message depends on a number ("Copies found: 5"), since
Welsh alone has six plurals. A message that is missing or fuzzy stays English; a test keeps
any from being so.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from babel.lists import format_list
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from delist.errors import UsageError

LANGUAGES = ("cy", "en", "es", "ur")
_DEFAULT_REGION = {"cy": "GB", "en": "GB", "es": "ES", "ur": "PK"}
_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,8}")
_REGION = re.compile(r"[A-Za-z]{2}|[0-9]{3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language to write in.

    Attributes:
        code: one of ``LANGUAGES``.
        region: that the tag named, in upper case, or "".
        locale: how dates and numbers are written.
    """

    code: str
    region: str
    locale: Locale = field(repr=False)
    messages: Mapping[str, str] = field(repr=False, compare=False)

    @property
    def tag(self) -> str:
        """Its BCP 47 tag."""
        return f"{self.code}-{self.region}" if self.region else self.code

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``."""
        return str(self.locale.text_direction)

    def say(self, message: str, **values: object) -> str:
        """Say a sentence in this language."""
        said = self.messages.get(message, message)
        return said % values if values else said

    def names(self, codes: Iterable[str]) -> str:
        """List languages by their names."""
        named = [str(Locale.parse(code).get_display_name(self.locale) or code) for code in codes]
        return str(format_list(named, locale=self.locale))

    def number(self, value: float) -> str:
        """Write a number."""
        return str(format_decimal(value, locale=self.locale))

    def day(self, day: date) -> str:
        """Write a day in full."""
        return str(format_date(day, "long", locale=self.locale))

    def moment(self, iso: str) -> str:
        """Write a time (ISO 8601, aware) in full, in UTC."""
        moment = datetime.fromisoformat(iso).astimezone(UTC)
        time = format_time(moment, "HH:mm", locale=self.locale)
        return f"{self.day(moment.date())}, {time} UTC"


@cache
def language(tag: str) -> Language:
    """Find the language for a BCP 47 tag; a region or script that we have no words for is dropped.

    Raises:
        UsageError: we have no words in this language; names those that there are.
    """
    code = re.split("[-_]", tag, maxsplit=1)[0].lower()
    if not _TAG.fullmatch(tag) or code not in LANGUAGES:
        raise UsageError(f"--lang: there are reports in {', '.join(LANGUAGES)} only")
    regions = [part.upper() for part in re.split("[-_]", tag)[1:] if _REGION.fullmatch(part)]
    region = regions[0] if regions else ""
    return Language(
        code=code, region=region, locale=_locale(code, region), messages=_messages(code)
    )


def _locale(code: str, region: str) -> Locale:
    try:
        return Locale(code, region or _DEFAULT_REGION[code])
    except UnknownLocaleError:  # a region where nobody writes it
        return Locale(code, _DEFAULT_REGION[code])


@cache
def _messages(code: str) -> Mapping[str, str]:
    if code == "en":
        return {}
    with (files("delist.reporting") / "locale" / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    return {
        str(message.id): str(message.string)
        for message in catalogue
        if message.id and message.string and not message.fuzzy
    }

"""Languages of reports: catalogues without a gap, tags, numbers, helplines."""

import re
from collections.abc import Iterator
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import delist
from delist.errors import UsageError
from delist.reporting import (
    HostCount,
    ReportedImage,
    SurvivorReport,
    as_html,
    as_json,
    helplines,
    language,
)
from delist.reporting.languages import LANGUAGES

ROOT = Path(delist.__file__).parent
PLACEHOLDER = re.compile(r"%\((\w+)\)s|%")


def messages() -> Iterator[str]:
    """Every sentence that is marked for the catalogues, in code and templates."""
    written = [*ROOT.glob("reporting/*.py"), *ROOT.glob("web/public/*.py")]
    for path in [*written, ROOT / "appeals" / "statements.py"]:
        with path.open("rb") as file:
            yield from (str(found[1]) for found in extract("python", file, keywords={"_": None}))
    for path in [*ROOT.glob("templates/*.html"), *ROOT.glob("web/templates/public/*.html")]:
        with path.open("rb") as file:
            yield from (str(found[2]) for found in babel_extract(file, {"_": None}, [], {}))


ALL = set(messages())


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_every_sentence_is_translated(code: str) -> None:
    """None is missing, empty, left over or fuzzy, and placeholders are the same."""
    with (ROOT / "reporting" / "locale" / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    said = {str(message.id): message for message in catalogue if message.id}

    assert said.keys() == ALL
    assert not catalogue.obsolete
    for sentence, message in said.items():
        text = str(message.string)
        assert text.strip(), sentence
        assert not message.fuzzy, sentence
        assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(sentence))
        # Names, and words that are the same in two languages, are short.
        assert text != sentence or len(sentence) < 12, sentence


@pytest.mark.parametrize(
    ("tag", "code", "region", "direction"),
    [
        ("en", "en", "", "ltr"),
        ("en-GB", "en", "GB", "ltr"),
        ("EN_us", "en", "US", "ltr"),
        ("cy", "cy", "", "ltr"),
        ("es-419", "es", "419", "ltr"),
        ("es-ZZ", "es", "ZZ", "ltr"),
        ("ur", "ur", "", "rtl"),
        ("ur-Arab-PK", "ur", "PK", "rtl"),
    ],
)
def test_a_tag_finds_its_language(tag: str, code: str, region: str, direction: str) -> None:
    """A region that we have no words for falls back to the language."""
    found = language(tag)

    assert (found.code, found.region, found.direction) == (code, region, direction)


@pytest.mark.parametrize("tag", ["", "fr", "e", "eng", "en GB", "en/../cy", "-", "é", "x" * 999])
def test_an_unknown_tag_names_those_there_are(tag: str) -> None:
    """Also what is no tag at all."""
    with pytest.raises(UsageError, match="cy, en, es, ur"):
        language(tag)


@pytest.mark.parametrize(
    ("tag", "day", "number"),
    [
        ("en", "1 March 2026", "1,203"),
        ("en-US", "March 1, 2026", "1,203"),
        ("cy", "1 Mawrth 2026", "1,203"),
        ("es", "1 de marzo de 2026", "12.030"),
        ("ur", "1 مارچ، 2026", "1,203"),
    ],
)
def test_days_and_numbers_follow_the_language(tag: str, day: str, number: str) -> None:
    """As people write them; times are in UTC and say so."""
    found = language(tag)

    assert found.day(date(2026, 3, 1)) == day
    assert found.number(12030 if tag == "es" else 1203) == number
    assert found.moment("2026-03-01T23:59:00-02:00").endswith("01:59 UTC")


def test_helplines_are_data_that_holds() -> None:
    """Each has a sentence, a day of checking, a secure address and languages that exist."""
    for line in helplines.every():
        assert line.about in helplines.ABOUT
        assert line.open in {"", *helplines.HOURS}
        assert re.fullmatch(r"https://[a-z0-9.-]+(/[a-z-]+)*", line.url)
        assert re.fullmatch(r"[0-9+ ]*", line.phone)
        assert re.fullmatch(r"[A-Z]{2}|\*", line.country)
        assert date(2026, 1, 1) < line.checked < date(2027, 1, 1)
        assert set(line.default_for) <= set(LANGUAGES)
        for code in LANGUAGES:
            assert language(code).names(line.languages)
    for code in LANGUAGES:
        assert any(line.phone for line in helplines.choose(language(code)))


def countries(tag: str, country: str | None = None) -> set[str]:
    return {line.country for line in helplines.choose(language(tag), country)}


def test_helplines_follow_the_country_then_the_language() -> None:
    """A country that is asked for, else that of the tag, else those of the language."""
    assert countries("en", "pk") == {"PK", "*"}
    assert countries("en-US") == {"US", "*"}
    assert countries("en-IE") == countries("en") == {"GB", "US", "*"}
    assert countries("ur") == {"PK", "*"}
    assert countries("es", "FR") == {"*"}
    for country in ("", "GBR", "G", "*", "..", "é"):
        with pytest.raises(UsageError, match="--country"):
            helplines.choose(language("en"), country)


def report(access: str) -> SurvivorReport:
    image = ReportedImage(
        image_urls=("hxxps://a[.]example/secret-path.jpg",),
        page_urls=("hxxps://forum[.]example/thread",),
        status="delisted",
        since="2026-03-01T12:00:00+00:00",
    )
    return SurvivorReport(
        case_ref="5f0c",
        generated_at="2026-03-02T12:00:00+00:00",
        case_status="active",
        access=access,
        hashes=1,
        found=3,
        delisted=1,
        under_review=1,
        not_delisted=1,
        hosts=(HostCount(host="a.example", found=3, delisted=1, under_review=1),),
        images=(image,) if access == "full" else None,
    )


class Outline(HTMLParser):
    """Collects headings, and which element each closing tag closes."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.open: list[str] = []
        self.root: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "html":
            self.root = dict(attrs)
        if tag in {"h1", "h2", "h3"}:
            self.headings.append(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("access", ["summary", "full"])
def test_pages_of_every_language(code: str, access: str) -> None:
    """Well formed, one first heading, its own language throughout; a summary tells no address."""
    words = language(code)
    page = as_html(report(access), words)
    outline = Outline()
    outline.feed(page)

    assert outline.root == {"lang": code, "dir": words.direction}
    assert outline.headings[0] == "h1"
    assert outline.headings.count("h1") == 1
    assert outline.open == []
    assert ("secret-path" in page) is ("thread" in page) is (access == "full")
    assert ("secret-path" in str(as_json(report(access), words))) is (access == "full")
    assert "a[.]example" in page
    if code != "en":
        visible = re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", "\n", page, flags=re.DOTALL)
        lines = {line.strip() for line in visible.splitlines()}
        assert not {sentence for sentence in ALL if len(sentence) >= 12} & lines
    on_paper = as_html(report(access), words, for_paper=True)
    assert "<script" not in on_paper
    assert "wikipedia" not in on_paper


def test_addresses_are_isolated_from_the_text_around_them() -> None:
    """In a text from right to left, an address keeps its order."""
    page = as_html(report("full"), language("ur"))

    assert re.search(r"code, bdi \{ unicode-bidi: isolate; \}", page)
    assert "<code>hxxps://a[.]example/secret-path.jpg</code>" in page
    assert '<bdi dir="ltr">0800 39393</bdi>' in page

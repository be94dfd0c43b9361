"""Whether a short text names the abuse of intimate images, by ``abuse_words.toml``.

Says yes or no: which word it was is not kept, and no text leaves this module. Somebody who plants
such words makes a person look sooner, and somebody who avoids them has lost nothing.
"""

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

MAX_TEXT_CHARS = 300
"""What of a text is looked at: titles are shorter, and what is longer was made to be."""

_NOT_PLAIN = re.compile(r"[^a-z0-9]+")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_FORMAT, _KEPT = "Cf", "LNM"
"""Unicode's categories: of what does not show (soft hyphens, joiners), and of what makes words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """Terms of one kind, brought into the form in which texts are compared.

    Attributes:
        by_first: terms of whole words, by their first word.
        parts: terms of languages without spaces.
    """

    by_first: dict[str, list[list[str]]]
    parts: tuple[str, ...]

    def are_in(self, words: list[str], joined: str) -> bool:
        """Say whether a text holds one of them."""
        for place, word in enumerate(words):
            for term in self.by_first.get(word, ()):
                if words[place : place + len(term)] == term:
                    return True
        return any(part in joined for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Language:
    phrases: _Terms
    spread: _Terms
    intimate: _Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class AbuseWords:
    """The lists of all languages.

    Attributes:
        version: of the file.
    """

    version: int
    languages: tuple[_Language, ...]

    def name_abuse(self, text: str) -> bool:
        """Say whether the first ``MAX_TEXT_CHARS`` of a text name the abuse in any language."""
        words = _words_of(text[:MAX_TEXT_CHARS])
        if not words:
            return False
        joined = "" if all(map(str.isascii, words)) else "".join(words)
        return any(
            language.phrases.are_in(words, joined)
            or (language.spread.are_in(words, joined) and language.intimate.are_in(words, joined))
            for language in self.languages
        )


@cache
def abuse_words() -> AbuseWords:
    """Return the lists that come with this version."""
    return parse_abuse_words(files("crawler").joinpath("abuse_words.toml").read_text("utf-8"))


def parse_abuse_words(text: str) -> AbuseWords:
    """Read lists of words.

    Raises:
        ValueError: not TOML, or not the keys that ``abuse_words.toml`` has.
    """
    table = tomllib.loads(text)
    try:
        languages = tuple(_language_of(entry) for entry in table["languages"].values())
        return AbuseWords(version=int(table["version"]), languages=languages)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("abuse words: a key is missing or of the wrong kind") from error


def _language_of(entry: Any) -> _Language:  # noqa: ANN401 - unchecked TOML
    whole = bool(entry["boundaries"])
    return _Language(
        phrases=_terms_of(entry["phrases"], whole=whole),
        spread=_terms_of(entry["spread"], whole=whole),
        intimate=_terms_of(entry["intimate"], whole=whole),
    )


def _terms_of(texts: list[str], *, whole: bool) -> _Terms:
    split = [_words_of(text) for text in texts]
    by_first: dict[str, list[list[str]]] = {}
    for words in split if whole else ():
        by_first.setdefault(words[0], []).append(words)
    return _Terms(by_first=by_first, parts=() if whole else tuple(map("".join, split)))


def _words_of(text: str) -> list[str]:
    """Split a text into words without case, compatibility forms, accents and what is invisible."""
    if text.isascii():
        return _NOT_PLAIN.sub(" ", text.lower()).split()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    plain = unicodedata.normalize("NFKC", bare).casefold()
    kept = []
    for character in plain:
        category = unicodedata.category(character)
        if category != _FORMAT:
            kept.append(character if category[0] in _KEPT else " ")
    return "".join(kept).split()

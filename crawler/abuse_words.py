"""Whether a short text names the abuse of intimate images, by ``abuse_words.toml``.

Says yes or no: which word it was is not kept, and no text leaves this module. Somebody who plants
such words makes a person look sooner, and somebody who avoids them has lost nothing.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files

MAX_TEXT_CHARS = 300
"""What of a text is looked at: titles are shorter, and what is longer was made to be."""

_NOT_PLAIN = re.compile(r"[^a-z0-9]+")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_FORMAT, _KEPT = "Cf", "LNM"
"""Unicode's categories: of what does not show (soft hyphens, joiners), and of what makes words."""


class _Kind(Enum):
    PHRASE = "phrases"
    SPREAD = "spread"
    INTIMATE = "intimate"


_Meaning = tuple[str, _Kind]
"""A language, and of which of its lists a term is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbuseWords:
    """The lists of all languages, in the form in which texts are compared.

    Attributes:
        version: of the file.
        languages: their codes.
        whole: terms of whole words with what they mean, by their first word.
        parts: terms of languages without spaces with what they mean.
    """

    version: int
    languages: tuple[str, ...]
    whole: dict[str, list[tuple[list[str], _Meaning]]]
    parts: tuple[tuple[str, _Meaning], ...]

    def name_abuse(self, text: str) -> bool:
        """Say whether the first ``MAX_TEXT_CHARS`` of a text name the abuse in any language."""
        found = set(self._meanings(_words_of(text[:MAX_TEXT_CHARS])))
        return any(
            kind is _Kind.PHRASE or (kind is _Kind.SPREAD and (language, _Kind.INTIMATE) in found)
            for language, kind in found
        )

    def _meanings(self, words: list[str]) -> Iterator[_Meaning]:
        for place, word in enumerate(words):
            for term, meaning in self.whole.get(word, ()):
                if words[place : place + len(term)] == term:
                    yield meaning
        joined = "".join(words)
        if not joined.isascii():
            yield from (meaning for part, meaning in self.parts if part in joined)


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
    whole: dict[str, list[tuple[list[str], _Meaning]]] = {}
    parts: list[tuple[str, _Meaning]] = []
    try:
        for language, entry in table["languages"].items():
            for kind in _Kind:
                for words in map(_words_of, entry[kind.value]):
                    if entry["boundaries"]:
                        whole.setdefault(words[0], []).append((words, (language, kind)))
                    else:
                        parts.append(("".join(words), (language, kind)))
        return AbuseWords(
            version=int(table["version"]),
            languages=tuple(table["languages"]),
            whole=whole,
            parts=tuple(parts),
        )
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError("abuse words: a key is missing or of the wrong kind") from error


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

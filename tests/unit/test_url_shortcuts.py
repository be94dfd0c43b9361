"""The shortcuts of ``canonical_url`` change no answer."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.errors import InvalidUrlError
from indexer.url import canonical_url
from tests.fakes import plain_urls

_MARK = "#data-sha256=" + "0a" * 32
_PIECES = st.sampled_from(
    [
        *("http", "https", "HTTP", "HttpS", "ftp", ":", "//", "/", "?", "#", "@", "[", "]", "%"),
        *("a", "A", "z-1", "site.example", "Site.EXAMPLE", "_", "~", ".", "..", "/./", "/../"),
        *(":80", ":443", ":0443", ":8080", ":65536", ":", ":0", "%41", "%2f", "%2F", "%c3%A9"),
        *("%%34%31", "%zz", "é", "\u202e", "\ud800", " ", "\t", "\n", "\0", "\\", '"', "<", "|"),
        *("\u2100", "\uff0e", "x=1&y=2", "a.jpg", _MARK, "#data-sha256=", "user:pw@", "\u00a0"),
    ]
)
_LIKELY = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["https://", "http://", "HTTPS://", " http://", "https:/", ""]),
    st.sampled_from(["site.example", "SITE.example", "1.2.3.4", "[::1]", "a..b", "", "h%41"]),
    st.sampled_from(["", ":80", ":443", ":00443", ":8080", ":99999", ":"]),
    st.lists(_PIECES, max_size=6).map("".join),
    st.sampled_from(["", "", "\n", "?", "#", "?x=%7e", "/.", _MARK]),
)


def answer(of: object, url: str) -> str:
    try:
        return of(url)  # type: ignore[operator,no-any-return]
    except InvalidUrlError as error:
        return f"refused: {error}"


@settings(max_examples=2_000, deadline=None)
@given(url=st.one_of(_LIKELY, st.lists(_PIECES, max_size=10).map("".join), st.text()))
@example(url="http://a?")
@example(url="http://a/?#")
@example(url="http://a/p?\x1f")
@example(url="http://a/p\u2028")
def test_they_answer_as_the_long_way_does(url: str) -> None:
    """Text of any kind comes to the same canonical form, or the same refusal."""
    assert answer(canonical_url, url) == answer(plain_urls.canonical_url, url)


@given(url=_LIKELY)
def test_what_is_canonical_stays(url: str) -> None:
    """The canonical form of a canonical form is itself."""
    canonical = answer(canonical_url, url)
    if not canonical.startswith("refused"):
        assert canonical_url(canonical) == canonical


@pytest.mark.parametrize("url", ["https://site.example/a.jpg", "http://a/?x=1?2/./"])
def test_the_same_string_comes_back(url: str) -> None:
    """Nothing is copied that is canonical already."""
    assert canonical_url(url) == url

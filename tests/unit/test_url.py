"""URLs in canonical form: RFC 3986 section 6.2.2, and nothing beyond it."""

import re
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from indexer.errors import InvalidUrlError
from indexer.url import KEY_BYTES, canonical_url, host_of, inline_image_url, url_key

BASE = "http://a/b/c/d;p"
odd_text = st.text(
    st.one_of(
        st.sampled_from("%%%%0123456789abcdefABCDEF//..?#@:[]&= \t\n\\~-_"),
        st.sampled_from("éßİK\uff05\uff0e\u3002\uff0f\uff21\u3000\u200b\ud800😀\x00\x7f"),
        st.characters(),
    ),
    max_size=30,
)


def canonical_or_none(text: str) -> str | None:
    try:
        return canonical_url(text)
    except InvalidUrlError:
        return None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://www.EXAMPLE.com/", "http://www.example.com/"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("http://example.com:80", "http://example.com/"),
        ("http://example.com:/", "http://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com/%7Euser/%7euser/~user", "http://example.com/~user/~user/~user"),
        ("http://example.com/%c3%a9", "http://example.com/%C3%A9"),
        ("http://example.com/é", "http://example.com/%C3%A9"),
        ("http://example.com/a b", "http://example.com/a%20b"),
        ("http://example.com/a%2Fb", "http://example.com/a%2Fb"),
        ("http://example.com/#top", "http://example.com/"),
        ("http://ex%41mple.com/", "http://example.com/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
        (" http://example.com/a \n", "http://example.com/a"),
        ("http://user%7e@example.com/", "http://user~@example.com/"),
        ("http://example.com/100%", "http://example.com/100%"),
        ("http://example.com/%zz", "http://example.com/%zz"),
    ],
)
def test_equivalent_urls_have_one_form(url: str, expected: str) -> None:
    """RFC 3986 6.2.2 and 6.2.3: case, escapes, default port, empty path; the fragment goes."""
    assert canonical_url(url) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/b/c/./g", "/b/c/g"),
        ("/b/c/../g", "/b/g"),
        ("/b/c/../../g", "/g"),
        ("/b/c/../../../g", "/g"),
        ("/./g", "/g"),
        ("/../g", "/g"),
        ("/b/c/g.", "/b/c/g."),
        ("/b/c/.g", "/b/c/.g"),
        ("/b/c/g..", "/b/c/g.."),
        ("/b/c/..g", "/b/c/..g"),
        ("/b/c/./../g", "/b/g"),
        ("/b/c/./g/.", "/b/c/g/"),
        ("/b/c/g/./h", "/b/c/g/h"),
        ("/b/c/g/../h", "/b/c/h"),
        ("/b/c/g;x=1/../y", "/b/c/y"),
        ("/b/c/.", "/b/c/"),
        ("/b/c/..", "/b/"),
        ("/a/b/c/./../../g", "/a/g"),
        ("/a//../b", "/a/b"),
        ("//a", "//a"),
        ("/a/%2e%2E/b", "/b"),
        ("/..", "/"),
        ("/.", "/"),
        ("", "/"),
    ],
)
def test_dot_segments_are_removed(path: str, expected: str) -> None:
    """The examples of RFC 3986 5.2.4 and 5.4, also where the dots are escaped."""
    assert canonical_url(f"http://a{path}") == f"http://a{expected}"


def test_the_example_of_section_6_2_2() -> None:
    """RFC 3986 6.2.2's own example of two equivalent identifiers."""
    assert canonical_url("http://a/b/c/%7Bfoo%7D") == canonical_url(
        "hTTp://a/./b/../b/%63/%7bfoo%7d"
    )


@given(st.lists(st.sampled_from(["b=2", "a=1", "a=1", "utm_source=x", "", "=", "a"]), min_size=1))
def test_the_query_stays_as_it_is(parameters: list[str]) -> None:
    """Sorted, stripped or merged parameters could merge different images."""
    query = "&".join(parameters)

    assert urlsplit(canonical_url(f"http://a/p?{query}")).query == query


@given(odd_text)
@example("/%%34%31")
@example("/%4%31")
@example("/%%341")
@example("/%%34%31/../%41")
@example("/%é%34")
def test_canonical_is_idempotent_in_paths(text: str) -> None:
    """The canonical form of a canonical form is itself, whatever stands behind the host."""
    once = canonical_or_none(f"http://example.com/{text}")

    assert once is None or canonical_url(once) == once


@given(odd_text)
@example("\N{FULLWIDTH PERCENT SIGN}41.com")
@example("a\u3000b.é")
@example("%%34%31")
@example("user@A@B:080")
def test_canonical_is_idempotent_in_hosts(text: str) -> None:
    """The canonical form of a canonical form is itself, whatever the host."""
    once = canonical_or_none(f"http://{text}")

    assert once is None or canonical_url(once) == once


@given(odd_text)
def test_any_text_has_a_canonical_form_or_is_refused(text: str) -> None:
    """Text that is no URL is an InvalidUrlError, never another error."""
    canonical_or_none(text)


@given(odd_text)
def test_canonical_urls_are_printable_ascii(text: str) -> None:
    """What is stored and put into reports has no blank, no control character, no quote mark."""
    once = canonical_or_none(f"http://example.com/{text}")

    assert once is None or re.fullmatch(r"[!#-;=?-\[\]_a-z~]+", once), once


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10))
def test_escaping_does_not_change_the_name(text: str) -> None:
    """A segment means the same escaped and not escaped, in upper and in lower case."""
    quoted = quote(text, safe="")
    lower = re.sub("%..", lambda escape: escape.group().lower(), quoted)

    assert canonical_url(f"http://a/x{quoted}") == canonical_url(f"http://a/x{lower}")


@pytest.mark.parametrize(
    "url",
    [
        "", " ", "example.com/a.jpg", "//example.com/a.jpg", "/a.jpg", "http:/a", "http:a", "http://",
        "http:///a", "ftp://example.com/", "data:image/png;base64,AAAA", "javascript:alert(1)",
        "http://example.com:port/", "http://example.com:99999/", "http://[::1/", "file:///etc/passwd",
        "http://" + "é" * 70 + ".com/",
    ],
)  # fmt: skip
def test_what_names_no_web_resource_is_refused(url: str) -> None:
    """Without scheme, host or a readable port it is no URL; the text is not in the message."""
    with pytest.raises(InvalidUrlError) as raised:
        canonical_url(url)

    assert len(url) < 8 or url not in str(raised.value)


def test_an_inline_image_keeps_its_name() -> None:
    """A data: image is named by its page and its content, and that name is canonical."""
    name = inline_image_url("HTTP://Example.com/./page?q=1#top", bytes(range(32)))

    assert name == f"http://example.com/page?q=1#data-sha256={bytes(range(32)).hex()}"
    assert canonical_url(name) == name
    assert host_of(name) == "example.com"


def test_a_fragment_that_only_looks_like_a_mark_is_dropped() -> None:
    """The mark needs a whole SHA-256 behind it."""
    assert canonical_url("http://a/p#data-sha256=00ff") == "http://a/p"


def test_keys_are_of_the_canonical_form() -> None:
    """Equal canonical URLs have equal keys of 16 bytes, different ones different keys."""
    one, two = (url_key(canonical_url(url)) for url in ("http://A/%7e", "http://a:80/~#x"))

    assert one == two
    assert len(one) == KEY_BYTES
    assert one != url_key(canonical_url("https://a/~"))

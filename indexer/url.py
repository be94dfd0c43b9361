"""URLs in canonical form, and the keys made from them.

RFC 3986 section 6.2.2: case, percent-encoding and dot segments are normalised;
the default port and the fragment are dropped. The query stays as it is, since
sorting or stripping parameters could merge different images. Text that is not
ASCII is encoded first (RFC 3987 section 3.1), hosts by IDNA.
"""

import re
from hashlib import blake2b
from urllib.parse import urlsplit

from indexer.errors import InvalidUrlError

KEY_BYTES = 16
_DEFAULT_PORTS = {"http": 80, "https": 443}
# An escape; or a "%" that begins none, with what could complete it once decoded
# ("%%34%31" must not become "%41", which would mean another resource).
_ESCAPE = re.compile(
    r"%(?P<byte>[0-9A-Fa-f]{2})|%(?![0-9A-Fa-f]{2})[0-9A-Fa-f]?(?:%[0-9A-Fa-f]{2})*"
)
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# Everything that may not stand in a URL as it is. "%" stays: a broken escape is
# kept as the server wrote it, since no other server's resource has that name.
_UNSAFE = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]")
_CONTENT_MARK = "#data-sha256="
# Nearly every URL is canonical already, or plain enough to be taken apart by one expression.
# These two are shortcuts: they change no answer, and leave to ``urlsplit`` whatever is rare.
_SAFE = r"A-Za-z0-9\-._~:/@!$&'()*+,;=\[\]"
_CANONICAL = re.compile(rf"https?://[a-z0-9._\-]+/[{_SAFE}]*(?:\?[{_SAFE}?]+)?")
_COMMON = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://(?P<host>[A-Za-z0-9._\-]+)(?::(?P<port>[0-9]{1,4}))?"
    r"(?P<path>/[ -\"$->@-~]*)?(?:\?(?P<query>[ -\"$-~]*))?(?:\#[ -~]*)?"
)


def canonical_url(url: str) -> str:
    """Bring an absolute http(s) URL into the form in which URLs are compared.

    Idempotent. A ``data:`` image's name (see ``inline_image_url``) keeps its mark.

    Raises:
        InvalidUrlError: not an absolute http(s) URL.
    """
    if _CANONICAL.fullmatch(url) and "/." not in url:
        return url
    text = url.strip()
    common = _COMMON.fullmatch(text)
    if common and _CONTENT_MARK not in text:
        return _put_together(*common.groups())
    return _canonical_of_any(text)


def _put_together(
    scheme: str, host: str, port: str | None, path: str | None, query: str | None
) -> str:
    scheme = scheme.lower()
    shown = "" if port is None or int(port) == _DEFAULT_PORTS[scheme] else f":{int(port)}"
    path = _remove_dot_segments(_normalise_escapes(path or "")) or "/"
    asked = f"?{_normalise_escapes(query)}" if query else ""
    return f"{scheme}://{host.lower()}{shown}{path}{asked}"


def _canonical_of_any(text: str) -> str:
    page, mark, content = text.partition(_CONTENT_MARK)
    if mark and re.fullmatch(r"[0-9a-f]{64}", content):
        return f"{canonical_url(page)}{mark}{content}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidUrlError("not a valid URL (host or port cannot be read)") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise InvalidUrlError(
            "not an absolute http or https URL; write it with http:// or https://"
        )
    if not parts.hostname:
        raise InvalidUrlError("the URL names no host")
    authority = _canonical_host(parts.hostname)
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        authority = f"{authority}:{port}"
    userinfo, at, _ = parts.netloc.rpartition("@")
    if at:
        authority = f"{_normalise_escapes(userinfo)}@{authority}"
    path = _remove_dot_segments(_normalise_escapes(parts.path)) or "/"
    query = f"?{_normalise_escapes(parts.query)}" if parts.query else ""
    return f"{scheme}://{authority}{path}{query}"


def url_key(canonical: str) -> bytes:
    """Return the 16-byte BLAKE2b key of a canonical URL."""
    return blake2b(canonical.encode(), digest_size=KEY_BYTES).digest()


def inline_image_url(page_url: str, sha256: bytes) -> str:
    """Name a ``data:`` image: it is keyed by its page's URL and the SHA-256 of its bytes.

    Raises:
        InvalidUrlError: the page URL is not an absolute http(s) URL.
    """
    return f"{canonical_url(page_url)}{_CONTENT_MARK}{sha256.hex()}"


def host_of(url: str) -> str:
    """Return the host of a URL that was accepted before, lower case, without port."""
    return urlsplit(url).hostname or ""


def _canonical_host(host: str) -> str:
    host = host.lower()
    if ":" in host:
        return f"[{host}]"
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise InvalidUrlError("the host cannot be written in ASCII (IDNA)") from None
    # Also what IDNA gives: it maps full-width signs, "%" among them, to ASCII.
    return _normalise_escapes(host).lower()


def _normalise_escapes(text: str) -> str:
    if not _UNSAFE.search(text) and "%" not in text:
        return text
    quoted = _UNSAFE.sub(lambda hit: "".join(f"%{byte:02X}" for byte in _utf8(hit.group())), text)
    return _ESCAPE.sub(_normalise_escape, quoted)


def _utf8(character: str) -> bytes:
    return character.encode("utf-8", "surrogatepass")


def _normalise_escape(escape: re.Match[str]) -> str:
    byte = escape["byte"]
    if byte is None:
        return escape.group()
    character = chr(int(byte, 16))
    return character if character in _UNRESERVED else f"%{byte.upper()}"


def _remove_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4, for an absolute or empty path."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments[1:]:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)

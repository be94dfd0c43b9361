"""``canonical_url`` as it was before its shortcuts: the oracle that these are held to."""

import re
from urllib.parse import urlsplit

from indexer.errors import InvalidUrlError

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


def canonical_url(url: str) -> str:
    """Bring an absolute http(s) URL into the form in which URLs are compared.

    Idempotent. A ``data:`` image's name (see ``inline_image_url``) keeps its mark.

    Raises:
        InvalidUrlError: not an absolute http(s) URL.
    """
    text = url.strip()
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

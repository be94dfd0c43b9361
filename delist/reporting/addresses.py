"""Addresses in reports: written so that nothing opens by accident."""

from urllib.parse import urlsplit


def defang(url: str) -> str:
    """Write a URL so that it does not open: ``hxxp``, and ``[.]`` in the host."""
    parts = urlsplit(url)
    userinfo, at, address = parts.netloc.rpartition("@")
    netloc = f"{userinfo}{at}{address.replace('.', '[.]')}"
    rest = url.split("://", 1)[1][len(parts.netloc) :]
    return f"{parts.scheme.replace('http', 'hxxp')}://{netloc}{rest}"


def refang(defanged: str) -> str:
    """Undo ``defang``."""
    scheme, _, rest = defanged.partition("://")
    authority = rest.partition("/")[0].partition("?")[0]
    netloc = authority.replace("[.]", ".")
    return f"{scheme.replace('hxxp', 'http')}://{netloc}{rest[len(authority) :]}"

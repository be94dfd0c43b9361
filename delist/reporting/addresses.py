"""Addresses in reports: written so that nothing opens by accident."""

from urllib.parse import urlsplit


def defang(url: str) -> str:
    """Write a URL so that it does not open: ``hxxp``, and ``[.]`` in the host."""
    parts = urlsplit(url)
    userinfo, at, address = parts.netloc.rpartition("@")
    netloc = f"{userinfo}{at}{address.replace('.', '[.]')}"
    rest = url.split("://", 1)[1][len(parts.netloc) :]
    return f"{parts.scheme.replace('http', 'hxxp')}://{netloc}{rest}"

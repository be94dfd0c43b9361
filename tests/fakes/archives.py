"""WARC archives of what a site on loopback answers, as archivers write them."""

import gzip
import http.client
import io
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from fastwarc.warc import WarcRecord, WarcRecordType

DATE = "2026-02-03T04:05:06Z"


def fetch(url: str) -> bytes:
    """Ask a server for one URL; returns its answer as it stood on the wire, about."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
    try:
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        body = answer.read()
        head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in answer.getheaders()
        )
    finally:
        connection.close()
    return head.encode("latin-1") + b"\r\n" + body


def answer(body: bytes, *, status: int = 200, **headers: str) -> bytes:
    """Write an HTTP answer; names of headers with underscores."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} Word", *lines, f"Content-Length: {len(body)}"])
    return f"{head}\r\n\r\n".encode() + body


def record(url: str, block: bytes, *, date: str = DATE, kind: str = "response") -> bytes:
    """Write one record with FastWARC, not packed."""
    made = WarcRecord()
    made.init_headers(getattr(WarcRecordType, kind))
    made.headers["WARC-Target-URI"] = url
    made.headers["WARC-Date"] = date
    if block.startswith(b"HTTP/"):
        made.headers["Content-Type"] = f"application/http; msgtype={kind}"
        made.is_http = True
    made.set_bytes_content(block)
    written = io.BytesIO()
    made.write(written)
    return written.getvalue()


def packed(records: Iterable[bytes]) -> bytes:
    """Pack each record by itself, as Common Crawl does."""
    return b"".join(gzip.compress(each, 1) for each in records)


def archive_of(urls: Sequence[str], *, date: str = DATE) -> list[bytes]:
    """Fetch URLs, and write each answer as a record, between those that archivers add."""
    info = record("", b"software: test\r\n", kind="warcinfo")
    found = [info]
    for url in urls:
        found.append(record(url, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", kind="request"))
        found.append(record(url, fetch(url), date=date))
    return found

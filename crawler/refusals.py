"""Names for why a resource was not fetched: what Scrapy raises, as codes that are counted.

The codes are stable and shown to users. Beside these there are those of
``indexer.errors.Refusal``, for bytes that were fetched and not hashed.
"""

from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    IgnoreRequest,
    NotSupported,
    ResponseDataLossError,
    UnsupportedURLSchemeError,
)
from scrapy.spidermiddlewares.httperror import HttpError
from twisted.internet.error import ConnectError, ConnectionClosed

from crawler.errors import RefusedError
from indexer.errors import ImageRefusedError, InvalidUrlError

INTERNAL_ERROR = "internal_error"
_BY_TYPE: tuple[tuple[type[BaseException], str], ...] = (
    (DownloadTimeoutError, "timeout"),
    (CannotResolveHostError, "host_not_found"),
    (ResponseDataLossError, "truncated"),
    (DownloadCancelledError, "too_many_bytes"),
    (DownloadConnectionRefusedError, "connection_failed"),
    (DownloadFailedError, "connection_failed"),
    (ConnectError, "connection_failed"),
    (ConnectionClosed, "connection_failed"),
    (UnsupportedURLSchemeError, "unsupported_scheme"),
    (NotSupported, "unsupported_scheme"),
    (InvalidUrlError, "invalid_url"),
)


def http_code(status: int) -> str:
    """Name an HTTP status that is no success: ``http_404``."""
    return f"http_{status}"


def refusal_code(error: BaseException) -> str:
    """Name why a download failed. What has no name is an ``internal_error``."""
    if isinstance(error, RefusedError):
        return error.code
    if isinstance(error, ImageRefusedError):
        return error.code.value
    if isinstance(error, HttpError):
        return http_code(error.response.status)
    if isinstance(error, IgnoreRequest):
        return _ignored_code(error)
    for kind, code in _BY_TYPE:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError) or type(error).__module__ in {"zlib", "brotli"}:
        return "bad_encoding"  # the body does not unpack
    return INTERNAL_ERROR


def _ignored_code(error: IgnoreRequest) -> str:
    # Scrapy tells these apart by their text alone; the tests hold us to its version.
    text = str(error)
    if text.startswith("Forbidden by robots.txt"):
        return "forbidden_by_robots"
    if text.startswith("max redirections"):
        return "too_many_redirects"
    if "during decompression" in text:
        return "too_many_bytes"
    return "ignored"

"""What can go wrong in the indexer.

``str(error)`` never holds a digest, a page URL or a case reference, so every
message here is safe to log and to show.

::

    IndexerError
    ├── SettingsError              the configuration is wrong; nothing was started
    ├── InvalidUrlError            text that names no http(s) resource
    ├── AddressRefusedError        a host that resolves to an address we must not fetch from
    ├── InvalidDigestError         text or bytes that are not a PDQ digest
    ├── HashKindMismatchError      two hashes of different kinds were compared
    ├── ImageRefusedError          bytes that were not hashed, with a named reason
    ├── TableError                 a table that is not of a schema that is known
    ├── FeedError
    │   ├── FeedSettingsError      keys or addresses of a feed are missing or wrong
    │   ├── FeedUnavailableError   the feed did not answer usefully; try again later
    │   ├── FeedProtocolError      the feed answered something that is not its protocol
    │   └── PageTokenExpiredError  the page token is no longer accepted; restart the set
    └── StoreError
        ├── StoreVersionError      the store was written by another version of the program
        ├── StoreFullError         the map or the disk is full; nothing of the write was kept
        ├── StoreDamagedError      the stored bytes break their written layout
        │   └── IndexDamagedError  a generation of the index does; it can be built anew
        └── QueueError             the queue that leads to the store did not take or give messages
"""

from enum import StrEnum


class IndexerError(Exception):
    """Base of everything the indexer raises on purpose."""


class SettingsError(IndexerError):
    """The configuration is wrong: names the file or key and what it should be."""


class InvalidUrlError(IndexerError):
    """Text that names no http(s) resource. The text itself is not in the message."""


class AddressRefusedError(IndexerError):
    """A host, or what it resolves to, is not a public address."""


class InvalidDigestError(IndexerError):
    """Text or bytes that are not a digest of the kind asked for."""


class HashKindMismatchError(IndexerError):
    """Two hashes of different kinds were compared. Never treat it as "no match"."""


class Refusal(StrEnum):
    """Why bytes were not hashed. The values are counted, shown and stable."""

    EMPTY = "empty"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    VECTOR_IMAGE = "vector_image"
    """Drawing commands (SVG): they have no pixels of their own to hash."""
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    UNREADABLE = "unreadable"
    TIMEOUT = "timeout"
    """Decoding took longer than the limit; the decoder was killed."""
    DECODER_CRASHED = "decoder_crashed"
    """The decoder's process died, or answered nonsense; another took its place."""


class ImageRefusedError(IndexerError):
    """Bytes that were not hashed. Never treat it as "no match".

    Attributes:
        code: the named reason, for counters.
    """

    def __init__(self, code: Refusal, message: str) -> None:
        super().__init__(message)
        self.code = code


class TableError(IndexerError):
    """A table that is not of a schema that is known, or whose rows cannot be read.

    Attributes:
        code: the named reason, for counters.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FeedError(IndexerError):
    """Base of what goes wrong with a signal feed."""


class FeedSettingsError(FeedError, SettingsError):
    """Keys or addresses of a feed are missing or wrong. A person has to mend them."""


class FeedUnavailableError(FeedError):
    """The feed did not answer usefully within the allowed tries. Retryable."""


class FeedProtocolError(FeedError):
    """The feed answered something that is not its protocol. Nothing was applied."""


class PageTokenExpiredError(FeedError):
    """The feed no longer takes a page token. The set has to be read from its start."""


class StoreError(IndexerError):
    """Base of what goes wrong with the LMDB store."""


class StoreVersionError(StoreError):
    """The store was written by another version of the program. Nothing was touched."""


class StoreFullError(StoreError):
    """The map or the disk is full. The transaction was rolled back whole."""


class StoreDamagedError(StoreError):
    """Stored bytes break their written layout."""


class IndexDamagedError(StoreDamagedError):
    """A generation of the index breaks its layout or its checksums. It can be built anew."""


class QueueError(StoreError):
    """The queue between crawlers and the indexer does not take, or does not give, messages.

    To whoever crawls it stands for the store: what cannot be handed over is not kept.

    Attributes:
        code: a short constant name: ``unreachable``, ``full``, ``too_large``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

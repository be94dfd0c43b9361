"""Keys of addresses and contents: keyed hashes, under one key for each consumer.

A list of plain addresses is a directory of intimate images, and a list of plain hashes of addresses
nearly is: addresses can be guessed. With a key of its own each consumer can look up what it
has, two of them cannot compare lists, and a list in other hands says nothing.

The key of an address is the first 16 bytes of HMAC-SHA256 over its canonical form (RFC 3986
section 6.2.2, without default port and fragment) in UTF-8; of a content, over its SHA-256. Any
language has both.
"""

import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from indexer.store import load_or_create_secret
from indexer.url import canonical_url

_BYTES = 16


@dataclass(frozen=True, slots=True)
class ConsumerKey:
    """The key of one consumer: 32 random bytes, in a file of mode 0600."""

    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, data_dir: Path, name: str) -> Self:
        """Load the key of a consumer, making it when it is missing.

        Raises:
            StoreError: the file cannot be read or written.
        """
        return cls(load_or_create_secret(key_path(data_dir, name)))

    def of_url(self, url: str) -> str:
        """Make the key of an address.

        Returns:
            32 hex digits.

        Raises:
            InvalidUrlError: not an address of the web.
        """
        return self.of_canonical(canonical_url(url))

    def of_canonical(self, url: str) -> str:
        """Make the key of an address that is in canonical form, as those in the ledger are."""
        return self._mac(url.encode())

    def of_content(self, sha256_hex: str) -> str:
        """Make the key of a content, from the SHA-256 of its bytes; empty for none."""
        return self._mac(bytes.fromhex(sha256_hex)) if sha256_hex else ""

    def _mac(self, message: bytes) -> str:
        return hmac.digest(self.secret, message, "sha256")[:_BYTES].hex()


def key_path(data_dir: Path, name: str) -> Path:
    """Say where the key of a consumer lies."""
    return data_dir / "secrets" / "consumers" / name

"""What people tell us of themselves, sealed: without the key file it is noise.

AES-256-GCM with a key that lies outside the database, so a copy of the database alone tells
nothing. Layout::

    0    1 byte    layout, 1
    1    12 bytes  nonce, random
    13   the rest  ciphertext and tag; the row that it belongs to is authenticated with it
"""

import hmac
import secrets
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from delist.errors import UnreadableReportError

_LAYOUT = b"\x01"
_NONCE_BYTES = 12


class Sealer:
    """Seals and opens.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(hmac.digest(key, b"direct reports", "sha256"))

    def seal(self, plain: bytes, *, row: str) -> bytes:
        """Seal what belongs to a row."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _LAYOUT + nonce + self._aead.encrypt(nonce, plain, row.encode())

    def open(self, sealed: bytes, *, row: str) -> bytes:
        """Open what was sealed for a row.

        Raises:
            UnreadableReportError: it was sealed with another key or for another row, or was edited.
        """
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        with suppress(InvalidTag, ValueError):
            if sealed[:1] == _LAYOUT:
                return self._aead.decrypt(nonce, ciphertext, row.encode())
        raise UnreadableReportError(
            "a report cannot be opened: its key file is another one, or it was edited"
        )

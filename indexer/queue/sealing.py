"""Sealing what leaves a machine: digests and addresses lie on the disks of Redis and NATS.

From one key of 32 bytes, which every crawler and every taker has in a file, come two: one seals
(AES-256-GCM, a random nonce in front), one names (HMAC-SHA-256). What is sealed for one use does
not open for another. Random nonces are good for some 2^32 messages of one key; then, or when a
machine that had the key is given away, make another one (docs/cluster.md).
"""

import base64
import binascii
import hmac
import os
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from indexer.errors import SettingsError

KEY_BYTES = 32
NAME_BYTES = 16
_NONCE_BYTES = 12
_MOST_BYTES = 1024


class NotSealedError(Exception):
    """Bytes that were not sealed with this key, or for another use, or were changed since."""


class Seal:
    """Seals, opens and names for one use."""

    def __init__(self, key: bytes, use: str) -> None:
        """Derive the keys of one use.

        Args:
            key: 32 bytes.
            use: what for; seals of different uses do not open each other's.
        """
        self._cipher = AESGCM(_derived(key, f"delist {use} seal"))
        self._naming = _derived(key, f"delist {use} name")

    @classmethod
    def of_file(cls, path: Path, use: str) -> Self:
        """Read the key from a file: 64 hex digits, or base64 of 32 bytes.

        Raises:
            SettingsError: the file cannot be read or holds no key; never says what it holds.
        """
        try:
            with path.open("rb") as file:
                key = _decode(file.read(_MOST_BYTES).decode("ascii").strip())
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None
        except (UnicodeDecodeError, binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise SettingsError(
                f"{path} holds no key: 64 hex digits or base64 of 32 bytes are needed"
            )
        return cls(key, use)

    def seal(self, plain: bytes) -> bytes:
        """Seal bytes; the same bytes come out different every time."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, None)

    def open(self, sealed: bytes) -> bytes:
        """Open what was sealed.

        Raises:
            NotSealedError: it was not, with this key and for this use.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            raise NotSealedError from None

    def name(self, *parts: bytes) -> str:
        """Name something, 32 hex digits, the same every time; without the key they tell nothing."""
        counted = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.digest(self._naming, counted, "sha256")[:NAME_BYTES].hex()


def _derived(key: bytes, info: str) -> bytes:
    return HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=info.encode()).derive(key)


def _decode(text: str) -> bytes:
    if len(text) == 2 * KEY_BYTES:
        return bytes.fromhex(text)
    return base64.b64decode(text, validate=True)

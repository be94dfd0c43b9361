"""Credentials files of NATS (``.creds``): a user's JWT, and the seed that proves who brings it.

Read here, since the client's own reader does not end where a file lacks what it looks for. A seed
is base32 of two bytes that say what it is of, the 32 bytes of an Ed25519 key, and a CRC-16.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delist.errors import SinkError
from delist.sinks.http import read_secret

_PARTS = re.compile(r"-----BEGIN ([A-Z ]+)-----\s+(\S+)\s+-{3,}END [A-Z ]+-{3,}")
_JWT, _SEED = "NATS USER JWT", "USER NKEY SEED"
_PREFIX_BYTES, _CRC_BYTES = 2, 2


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a user logs in with. The client calls it with what the server asks."""

    jwt: str = field(repr=False)
    key: Ed25519PrivateKey = field(repr=False)

    def token(self) -> bytes:
        """Return the JWT, which is no secret by itself."""
        return self.jwt.encode()

    def sign(self, nonce: str) -> bytes:
        """Sign what the server made up for this connection."""
        return base64.b64encode(self.key.sign(nonce.encode()))


def read_credentials(path: Path) -> Credentials:
    """Read a credentials file.

    Raises:
        SinkError: it cannot be read, or holds none; never says what it holds.
    """
    parts = dict(_PARTS.findall(read_secret(path)))
    try:
        key = Ed25519PrivateKey.from_private_bytes(_decoded(parts[_SEED]))
        return Credentials(parts[_JWT], key)
    except (KeyError, ValueError):  # `from None`: the error may hold the seed
        raise SinkError(
            "secret_unusable", f"{path} is no credentials file with a user's JWT and seed"
        ) from None


def _decoded(seed: str) -> bytes:
    raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    if int.from_bytes(raw[-_CRC_BYTES:], "little") != binascii.crc_hqx(raw[:-_CRC_BYTES], 0):
        raise ValueError("the check sum does not hold")
    return raw[_PREFIX_BYTES:-_CRC_BYTES]

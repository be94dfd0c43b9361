"""One-time codes (TOTP, RFC 6238), and recovery codes for whoever has lost the device.

A code of the step before or after counts too, for clocks that are off; none counts twice. The
secret has to be read again to check a code, so it is sealed with a key that lies outside the
database: a copy of the database alone opens nothing.
"""

import hmac
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

import pyotp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from delist.errors import DatabaseError

_ISSUER = "Delist"
_STEP_S = 30
_STEPS_OFF = (0, -1, 1)
_CODE = re.compile(r"[0-9]{6}", re.ASCII)
_SIGNS = "23456789abcdefghjkmnpqrstuvwxyz"
_GROUPS, _GROUP = 3, 4
_RECOVERY_CODES = 8
_NONCE_BYTES = 12
_NOBODYS = "A" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What a person needs for one-time codes; shown once.

    Attributes:
        secret: to be typed into an authenticator.
        uri: the same, as authenticators read it from a QR code.
        recovery_codes: each stands for one code, once.
    """

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    recovery_codes: tuple[str, ...] = field(repr=False)


class SecondFactor:
    """Makes, seals and checks.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seal = AESGCM(hmac.digest(key, b"one-time codes", "sha256"))

    def enrol(self, name: str) -> Enrolment:
        """Make a secret and recovery codes."""
        secret = pyotp.random_base32()
        return Enrolment(
            secret=secret,
            uri=pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=_ISSUER),
            recovery_codes=tuple(_recovery_codes()),
        )

    def seal(self, secret: str, *, person_id: str) -> bytes:
        """Seal a secret for the store; it opens for this person only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, secret.encode(), person_id.encode())

    def step_of(
        self, sealed: bytes | None, given: str, *, person_id: str, now: datetime
    ) -> int | None:
        """Return the step whose code was given; None for anything else, with the same work.

        Raises:
            DatabaseError: what is sealed does not open with this key.
        """
        secret = _NOBODYS if sealed is None else self._open(sealed, person_id)
        code, now_step = given.replace(" ", ""), int(now.timestamp()) // _STEP_S
        found = None
        for off in _STEPS_OFF:
            expected = pyotp.TOTP(secret).at((now_step + off) * _STEP_S)
            if hmac.compare_digest(expected.encode(), code.encode(errors="replace")):
                found = now_step + off
        return found if sealed is not None and _CODE.fullmatch(code) else None

    def hash_recovery_code(self, code: str) -> str:
        """Hash a recovery code, however its groups are set apart."""
        plain = "".join(sign for sign in code.lower() if sign in _SIGNS)
        return hmac.new(self._key, b"recovery\0" + plain.encode(), sha256).hexdigest()

    def _open(self, sealed: bytes, person_id: str) -> str:
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._seal.decrypt(nonce, rest, person_id.encode()).decode()
        except InvalidTag:
            raise DatabaseError(
                "one-time codes do not open with secrets/people-key; restore it from a backup"
            ) from None


def _recovery_codes() -> Iterator[str]:
    for _ in range(_RECOVERY_CODES):
        signs = "".join(secrets.choice(_SIGNS) for _ in range(_GROUPS * _GROUP))
        yield "-".join(signs[at : at + _GROUP] for at in range(0, len(signs), _GROUP))

"""Signed notes and their keys, as c2sp.org/signed-note writes them; Ed25519.

A key's name and id say which signature is whose. Signatures of keys that nobody asked for are
ignored; one of a known key that does not verify spoils the note.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from delist.errors import LogProofError

_KEY_BYTES = 32
_ID_BYTES = 4
_MOST_SIGNATURES = 64
_MOST_CHARACTERS = 1 << 20
_DASH = "\u2014"


class KeyKind(IntEnum):
    """What a key signs; the byte that stands before it."""

    NOTE = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key with its owner's name: ``name+id+key``, as text."""

    name: str
    kind: KeyKind
    public: bytes

    def __post_init__(self) -> None:
        """Refuse a name that no note can hold."""
        check_name(self.name)

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        material = bytes([self.kind]) + self.public
        return sha256(self.name.encode() + b"\n" + material).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        material = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{material}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key.

        Raises:
            LogProofError: it is none, or of a kind that is not known here.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, material = rest.partition("+")
        decoded = decode(material, "a verifier key")
        if len(decoded) != 1 + _KEY_BYTES or decoded[0] not in set(KeyKind):
            raise LogProofError("a verifier key must be an Ed25519 key, name+id+key")
        key = cls(name=name, kind=KeyKind(decoded[0]), public=decoded[1:])
        if key.id.hex() != key_id:
            raise LogProofError("a verifier key's id does not fit its name and key")
        return key

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Say whether this key made a signature."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key: 32 bytes, with its owner's name."""

    name: str
    secret: bytes = field(repr=False)

    def verifier(self, kind: KeyKind = KeyKind.NOTE) -> VerifierKey:
        """Return the public half."""
        return VerifierKey(name=self.name, kind=kind, public=public_of(self.secret))

    def sign(self, message: bytes) -> bytes:
        """Sign a message."""
        return Ed25519PrivateKey.from_private_bytes(self.secret).sign(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature line: whose, the key's id, and what the key's kind puts there."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH} {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"

    def is_of(self, key: VerifierKey) -> bool:
        """Say whether a key claims this signature; not whether it holds."""
        return (self.name, self.key_id) == (key.name, key.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text, with its last newline, and the signatures under it."""

    text: str
    signatures: Sequence[Signature]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, note: str) -> Self:
        """Read a note without looking at its signatures' worth.

        Raises:
            LogProofError: it is none.
        """
        text, blank, lines = note.rpartition("\n\n")
        if not blank or not lines.endswith("\n") or len(note) > _MOST_CHARACTERS:
            raise LogProofError("a signed note needs a text, an empty line and signatures")
        if any(sign < " " and sign != "\n" for sign in note):
            raise LogProofError("a signed note holds no control characters")
        signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
        if len(signatures) > _MOST_SIGNATURES:
            raise LogProofError("a signed note has too many signatures")
        return cls(text=f"{text}\n", signatures=signatures)

    def check(self, key: VerifierKey) -> None:
        """Check that a key signed the text.

        Raises:
            LogProofError: there is no signature of the key, or one that does not hold.
        """
        claimed = [signature.value for signature in self.signatures if signature.is_of(key)]
        if not claimed:
            raise LogProofError(f"the note is not signed by {key.name}")
        if not all(key.verifies(self.text.encode(), value) for value in claimed):
            raise LogProofError(f"a signature of {key.name} does not hold")


def signed(text: str, key: SigningKey) -> Note:
    """Sign a text that ends with a newline."""
    value = key.sign(text.encode())
    signature = Signature(name=key.name, key_id=key.verifier().id, value=value)
    return Note(text=text, signatures=(signature,))


def public_of(secret: bytes) -> bytes:
    """Return the public half of a private key, both 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def check_name(name: str) -> None:
    """Refuse a key's name, or an origin, that a note cannot hold.

    Raises:
        LogProofError: it is empty, or has spaces, a plus or control characters in it.
    """
    if not name or "+" in name or not name.isprintable() or any(map(str.isspace, name)):
        raise LogProofError("a key's name needs printable characters without spaces and plus")


def decode(text: str, what: str) -> bytes:
    """Read base64 that has one spelling only.

    Raises:
        LogProofError: it is none.
    """
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded or base64.b64encode(decoded).decode() != text:
        raise LogProofError(f"{what} holds what is not base64")
    return decoded


def _signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, value = rest.partition(" ")
    decoded = decode(value, "a signature")
    if dash != _DASH or len(decoded) <= _ID_BYTES:
        raise LogProofError("a line below a signed note is no signature")
    check_name(name)
    return Signature(name=name, key_id=decoded[:_ID_BYTES], value=decoded[_ID_BYTES:])

"""A stream of bytes as sealed chunks: AES-256-GCM in the STREAM construction.

Layout::

    header   "delist-backup-1" and a line feed; 1 byte cipher (0 none, 1 AES-256-GCM);
             32 bytes salt; 16 bytes that tell the right key
    chunk    4 bytes number, its highest bit set on the last one; 4 bytes length of what follows;
             ciphertext with a tag of 16 bytes

The key of an archive is made of the given key and the salt (HKDF-SHA256), so nonces need only
differ within one archive: 7 bytes zero, the number, a byte for the last. The header is
authenticated with every chunk. What stands before a chunk is only believed where the tag agrees:
it says in what way an archive is wrong. Without a key the tag is a cut SHA-256: it finds damage,
and nobody's intent.

The construction is that of Hoang, Reyhanitabar, Rogaway and Vizar (2015), as age has it.
"""

import hmac
import os
from hashlib import sha256
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from delist.errors import BackupDamagedError, BackupKeyError

CHUNK_BYTES = 1024 * 1024
_MAGIC = b"delist-backup-1\n"
_NONE, _AES = 0, 1
_SALT_BYTES, _TELLING_BYTES, _TAG_BYTES, _KEY_BYTES = 32, 16, 16, 32
_HEADER_BYTES = len(_MAGIC) + 1 + _SALT_BYTES + _TELLING_BYTES
_LAST = 1 << 31
_MOST_CHUNKS = _LAST - 1


class _Seal:
    """Seals and opens the chunks of one archive."""

    def __init__(self, header: bytes, key: bytes | None) -> None:
        self._header = header
        self._cipher = None if key is None else AESGCM(key)

    def seal(self, number: int, data: bytes, *, last: bool) -> bytes:
        if self._cipher is None:
            return data + self._sum(number, data, last=last)
        return self._cipher.encrypt(_nonce(number, last=last), data, self._header)

    def open(self, number: int, sealed: bytes, *, last: bool) -> bytes | None:
        """Return the content; None where the chunk is not the one that belongs here."""
        if self._cipher is None:
            data = sealed[:-_TAG_BYTES]
            whole = sealed[-_TAG_BYTES:] == self._sum(number, data, last=last)
            return data if whole else None
        try:
            return self._cipher.decrypt(_nonce(number, last=last), sealed, self._header)
        except InvalidTag:
            return None

    def _sum(self, number: int, data: bytes, *, last: bool) -> bytes:
        return sha256(self._header + _nonce(number, last=last) + data).digest()[:_TAG_BYTES]


class SealedWriter:
    """Writes a stream of bytes into a file as sealed chunks."""

    def __init__(self, file: BinaryIO, key: bytes | None) -> None:
        """Write the header; without a key nothing is encrypted."""
        salt = os.urandom(_SALT_BYTES)
        cipher, telling = (_NONE, bytes(_TELLING_BYTES)), b""
        archive_key = None
        if key is not None:
            archive_key, telling = _derive(key, salt)
            cipher = (_AES, telling)
        header = _MAGIC + bytes((cipher[0],)) + salt + cipher[1]
        self._file = file
        self._seal = _Seal(header, archive_key)
        self._held = bytearray()
        self._number = 0
        self._write(header)
        self.size_bytes = len(header)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._held += data
        while len(self._held) > CHUNK_BYTES:  # not >=: the last chunk has to be known as such
            chunk = bytes(self._held[:CHUNK_BYTES])
            del self._held[:CHUNK_BYTES]
            self._put(chunk, last=False)

    def finish(self) -> None:
        """Write the last chunk; without it an archive counts as cut."""
        self._put(bytes(self._held), last=True)
        self._held.clear()

    def _put(self, data: bytes, *, last: bool) -> None:
        if self._number > _MOST_CHUNKS:
            raise BackupDamagedError("a backup holds at most 2 PiB")
        sealed = self._seal.seal(self._number, data, last=last)
        mark = self._number | (_LAST if last else 0)
        self._write(mark.to_bytes(4) + len(sealed).to_bytes(4) + sealed)
        self.size_bytes += len(sealed) + 8
        self._number += 1

    def _write(self, data: bytes) -> None:
        self._file.write(data)


class SealedReader:
    """Reads such a stream. Nothing is returned of a chunk before its tag was checked.

    Attributes:
        encrypted: whether a key was needed.
        chunks: chunks read so far.
    """

    def __init__(self, file: BinaryIO, key: bytes | None) -> None:
        """Read the header.

        Raises:
            BackupDamagedError: this is no backup, or it is cut.
            BackupKeyError: no key was given, or another one than it was sealed with.
        """
        self._file = file
        header = file.read(_HEADER_BYTES)
        if not header.startswith(_MAGIC):
            raise BackupDamagedError("this is no backup of delist, or of a version to come")
        if len(header) < _HEADER_BYTES:
            raise BackupDamagedError("the archive is cut: it ends within its header")
        rest = header[len(_MAGIC) :]
        cipher, salt, telling = rest[0], rest[1 : 1 + _SALT_BYTES], rest[1 + _SALT_BYTES :]
        if cipher not in (_NONE, _AES):
            raise BackupDamagedError("the archive names a cipher that is not known here")
        self.encrypted = cipher == _AES
        if not self.encrypted and key is not None:
            # An archive that somebody made must not pass for one of ours.
            raise BackupKeyError(
                "the archive is not encrypted, though a key was given: it may be anybody's"
            )
        archive_key = None
        if self.encrypted:
            archive_key = _opened(key, salt, telling)
        self._seal = _Seal(header, archive_key)
        self._held = b""
        self._at = 0
        self.chunks = 0
        self._ended = False

    def read(self, size: int) -> bytes:
        """Read just so many bytes; fewer only at the end.

        Raises:
            BackupDamagedError: the archive is cut, altered, reordered or continued.
        """
        parts, missing = [], size
        while missing:
            if self._at == len(self._held):
                if self._ended:
                    break
                self._held, self._at = self._next(), 0
                continue
            part = self._held[self._at : self._at + missing]
            self._at += len(part)
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _next(self) -> bytes:
        number = self.chunks
        mark = self._file.read(8)
        if len(mark) < 8:  # noqa: PLR2004 - the layout
            raise BackupDamagedError(f"the archive is cut: it ends before chunk {number}")
        told, size = int.from_bytes(mark[:4]), int.from_bytes(mark[4:])
        last = bool(told & _LAST)
        if told & ~_LAST != number:
            raise BackupDamagedError(
                f"chunk {told & ~_LAST} stands where chunk {number} belongs: the archive was"
                " reordered, or a part of it is missing"
            )
        if not _TAG_BYTES <= size <= CHUNK_BYTES + _TAG_BYTES:
            raise BackupDamagedError(f"chunk {number} of the archive was altered")
        sealed = self._file.read(size)
        if len(sealed) < size:
            raise BackupDamagedError(f"the archive is cut: it ends within chunk {number}")
        data = self._seal.open(number, sealed, last=last)
        if data is None:
            raise BackupDamagedError(
                f"chunk {number} of the archive was altered, or belongs to another archive"
            )
        if last and self._file.read(1):
            raise BackupDamagedError("the archive goes on behind its end")
        self.chunks += 1
        self._ended = last
        return data


def _nonce(number: int, *, last: bool) -> bytes:
    return bytes(7) + number.to_bytes(4) + bytes((last,))


def _derive(key: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Make the key of one archive, and what tells a wrong one."""
    size = _KEY_BYTES + _TELLING_BYTES
    made = HKDF(algorithm=SHA256(), length=size, salt=salt, info=_MAGIC).derive(key)
    return made[:_KEY_BYTES], made[_KEY_BYTES:]


def _opened(key: bytes | None, salt: bytes, telling: bytes) -> bytes:
    if key is None:
        raise BackupKeyError("the archive is encrypted: name the file of its key, --key-file")
    archive_key, told = _derive(key, salt)
    if not hmac.compare_digest(told, telling):
        raise BackupKeyError("the key is not the one that this archive was sealed with")
    return archive_key

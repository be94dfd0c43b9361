"""The key of backups: 32 bytes in a file of their own, kept apart from what they open."""

import base64
import binascii
import os
import secrets
from pathlib import Path

from delist.errors import BackupError, UsageError

KEY_BYTES = 32
_HEX_CHARACTERS = 2 * KEY_BYTES
_MOST_BYTES = 1024


def make_key(path: Path) -> None:
    """Write a new key as hex text, mode 0600.

    Raises:
        UsageError: the file is there already: another key would make older backups unreadable.
        BackupError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already, and is not written over") from None
    except OSError as error:
        raise BackupError(f"cannot write {path}: {os.strerror(error.errno or 0)}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> bytes:
    """Read a key: 64 hex digits, or base64 of 32 bytes.

    Raises:
        UsageError: the file cannot be read or holds no key; never says what it holds.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("ascii").strip()
        key = _decode(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None
    except (UnicodeDecodeError, binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise UsageError(f"{path} holds no key: 64 hex digits or base64 of 32 bytes are needed")
    return key


def _decode(text: str) -> bytes:
    if len(text) == _HEX_CHARACTERS:
        return bytes.fromhex(text)
    return base64.b64decode(text, validate=True)

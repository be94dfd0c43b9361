"""Local secrets: random bytes in a file of mode 0600 that never leaves the machine."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer.errors import StoreError

SECRET_BYTES = 32
UNFINISHED = ".new"
"""Ends the name of a secret that is just being made; the next process takes the same name."""


def make_private(folder: Path) -> None:
    """Create a folder that only its owner may enter, unless it is there.

    Raises:
        StoreError: it cannot be created.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StoreError(f"cannot create {folder}: {reason}") from None


def load_or_create_secret(path: Path) -> bytes:
    """Load a secret, creating it when it is missing; safe when two processes start together.

    Raises:
        StoreError: the file cannot be read or written, or is not a secret of ours.
    """
    try:
        if not path.exists():
            _create(path)
        secret = path.read_bytes()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StoreError(f"cannot read or create the secret {path}: {reason}") from None
    if len(secret) != SECRET_BYTES:
        raise StoreError(
            f"the secret {path} must hold {SECRET_BYTES} bytes, it holds {len(secret)}; restore it "
            "from a backup (with another secret, no stored key can be found again)"
        )
    return secret


def _create(path: Path) -> None:
    """Write a whole file first, then give it its name: whoever comes second finds it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(path.parent) as folder:
        if path.exists():
            return
        beside = path.with_name(f"{path.name}{UNFINISHED}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        # The new name has to last: without the secret, the keys in the store mean nothing.
        os.fsync(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Keep other processes from making a secret there; yields the open folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)

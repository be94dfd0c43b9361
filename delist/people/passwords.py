"""Passwords: what is taken for one (NIST SP 800-63B), and how it is checked.

1. At least 12 characters, at most 256; all of them count, and nothing is asked of their kind.
2. Not one of the commonest, not the person's own name, not one sign or step over and over.
3. One spelling: NFKC, so that another keyboard gives the same bytes.

Checking costs 46 MiB and a tenth of a second (argon2id as OWASP advises for a server that does
other work too), so few are checked at a time; the same work is done where there is no account.
"""

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from itertools import pairwise

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from delist.errors import BusyError, UsageError

MIN_LENGTH, MAX_LENGTH = 12, 256
_MOST_AT_ONCE = 2
_MOST_WAITING = 8
"""Each that waits holds a thread of those that answer result pages."""
_WAIT_S = 5.0
_FEW_SIGNS = 4

_hasher = PasswordHasher(memory_cost=46 * 1024, time_cost=1, parallelism=1)
_places = threading.BoundedSemaphore(_MOST_AT_ONCE)
_queue = threading.BoundedSemaphore(_MOST_AT_ONCE + _MOST_WAITING)


def check_new(password: str, *, name: str) -> str:
    """Return a password to be set, in its one spelling.

    Raises:
        UsageError: it is too short, too long, or among the first that anybody tries.
    """
    password = _spelled(password)
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise UsageError(f"the password needs {MIN_LENGTH} to {MAX_LENGTH} characters")
    plain = "".join(sign for sign in password.casefold() if sign.isalnum())
    own = "".join(sign for sign in name.casefold() if sign.isalnum())
    rest = plain.replace(own, "") if own else plain
    steps = {ord(after) - ord(before) for before, after in pairwise(plain)}
    if (
        plain in _commonest()
        or plain.rstrip("0123456789") in _commonest()
        or len(set(password)) <= _FEW_SIGNS
        or len(rest) <= _FEW_SIGNS
        or len(steps) == 1
    ):
        raise UsageError("this password is among the first that anybody tries; take another")
    return password


def hash_password(password: str) -> str:
    """Hash a password that ``check_new`` has returned."""
    return _hasher.hash(password)


def is_password(held: str | None, given: str) -> bool:
    """Check a password; against nobody's, with the same work, where none is held.

    Raises:
        BusyError: too many are being checked.
    """
    if len(given) > MAX_LENGTH:
        given = ""
    with _place():
        try:
            _hasher.verify(held or _nobodys(), _spelled(given))
        except (VerificationError, InvalidHashError):
            return False
    return held is not None


def warm_up() -> None:
    """Make the hash of nobody's password, so that the first check takes as long as others."""
    _nobodys()


@contextmanager
def _place() -> Iterator[None]:
    busy = "too many people sign on at once; try again in a while"
    if not _queue.acquire(blocking=False):
        raise BusyError(busy)
    try:
        if not _places.acquire(timeout=_WAIT_S):
            raise BusyError(busy)
        try:
            yield
        finally:
            _places.release()
    finally:
        _queue.release()


def _spelled(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody's password")


@cache
def _commonest() -> frozenset[str]:
    text = (files("delist.people") / "common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))

"""How often somebody may try to open a case.

(1) One network has so many tries a minute, whatever it tries them on.
(2) One case reference takes so many wrong tries a minute from everybody together; it makes no
    difference whether there is such a case.
(3) Nobody can be locked out by that: the first tries of a network on a reference are looked at
    even when (2) is used up. A code has 100 random bits, so a thousand networks gain nothing.

What was right is given back. References are keys of a hash here, not themselves.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from delist.web.limits import RateLimiter

_NETWORK_PER_MINUTE, _NETWORK_AT_ONCE = 10, 20
_CASE_PER_MINUTE, _CASE_AT_ONCE = 10, 30
_FIRST_PER_HOUR, _FIRST_AT_ONCE = 4, 4


class TriesSpentError(Exception):
    """Too many tries; nothing was looked at.

    Attributes:
        wait_s: seconds to wait.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many tries")
        self.wait_s = int(wait_s) + 1


class Tries:
    """Counts the tries of one process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._networks = RateLimiter(per_s=_NETWORK_PER_MINUTE / 60, burst=_NETWORK_AT_ONCE)
        self._cases = RateLimiter(per_s=_CASE_PER_MINUTE / 60, burst=_CASE_AT_ONCE)
        self._first = RateLimiter(per_s=_FIRST_PER_HOUR / 3600, burst=_FIRST_AT_ONCE)

    @contextmanager
    def one(self, network: str, reference: str) -> Iterator[None]:
        """Spend a try; it is given back if the block ends without an error.

        Raises:
            TriesSpentError: there is none left now.
        """
        case = blake2b(reference.encode(errors="replace"), key=self._key).hexdigest()
        taken = []

        def take(limiter: RateLimiter, key: str) -> float:
            wait_s = limiter.take(key)
            if not wait_s:
                taken.append((limiter, key))
            return wait_s

        wait_s = take(self._networks, network)  # (1)
        if not wait_s:
            wait_s = take(self._first, f"{network} {case}")  # (3)
        if wait_s and taken:
            wait_s = take(self._cases, case)  # (2)
        if wait_s:
            raise TriesSpentError(wait_s)
        yield
        for limiter, key in taken:
            limiter.give_back(key)

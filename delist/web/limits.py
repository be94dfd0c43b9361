"""How often somebody may call: a rate for each key, in bounded memory.

The generic cell rate algorithm: one number for each key, the time at which its bucket is empty
again. ``limits`` and ``pyrate-limiter`` do the same with memory that grows with the number of
keys until they expire, and keys here are what strangers choose (ADR 0037).
"""

import ipaddress
import threading
from collections import OrderedDict
from time import monotonic

_MOST_KEYS = 20_000
_IPV6_NETWORK = 64


class RateLimiter:
    """Allows ``per_s`` units a second for each key, and ``burst`` of them at once. Thread-safe.

    Of more than ``most_keys`` keys the one that was seen longest ago is forgotten.
    """

    def __init__(self, *, per_s: float, burst: float, most_keys: int = _MOST_KEYS) -> None:
        self._interval_s = 1 / per_s
        self._tolerance_s = burst / per_s
        self._most_keys = most_keys
        self._empty_at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._empty_at)

    def take(self, key: str, *, now_s: float | None = None) -> float:
        """Take one unit; returns 0.0, or the seconds to wait where there is none left."""
        now_s = monotonic() if now_s is None else now_s
        with self._lock:
            empty_at = max(now_s, self._empty_at.get(key, now_s)) + self._interval_s
            wait_s = empty_at - now_s - self._tolerance_s
            if wait_s > 0:
                return wait_s
            self._put(key, empty_at)
            return 0.0

    def give_back(self, key: str) -> None:
        """Give back a unit that was taken in vain."""
        with self._lock:
            if key in self._empty_at:
                self._empty_at[key] -= self._interval_s

    def _put(self, key: str, empty_at: float) -> None:
        self._empty_at[key] = empty_at
        self._empty_at.move_to_end(key)
        while len(self._empty_at) > self._most_keys:
            self._empty_at.popitem(last=False)


def network_of(address: str) -> str:
    """Name who is behind an address: of IPv6 everybody has at least a /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), _IPV6_NETWORK), strict=False))
    return str(parsed)

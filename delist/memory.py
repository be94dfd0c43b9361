"""How the C library keeps the memory of processes that go on for months.

As it comes, the GNU C library gives every few threads a heap of their own and lets what it keeps
for itself grow with the largest array that was ever freed. Both leave holes: `delist run` held 192
MiB after twelve minutes and 209 after an hour, with no more in use (ADR 0050).
"""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Numbers of the GNU C library's malloc.h; see mallopt(3)."""

_ARENAS = 1
_GIVEN_BACK_BYTES = 1 << 20
"""As much may lie free at the heap's end: a burst of requests leaves it high for ever else."""
PIXELS_BYTES = 32 << 20
"""As far as the library itself would go: memory for pixels is not mapped anew for each image."""


def keep_together(*, large_bytes: int = 1 << 20) -> bool:
    """Have one heap, with fixed limits. To be called before any thread is started.

    Whoever sets the library's own variables (``MALLOC_ARENA_MAX`` and the like) knows better.

    Args:
        large_bytes: from so many on memory is mapped for itself, and given back at once. What
            hashes images wants ``PIXELS_BYTES``.

    Returns:
        Whether it was done: other C libraries have no such setting.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    chosen = {
        _ARENA_MAX: _ARENAS,
        _MMAP_THRESHOLD: large_bytes,
        _TRIM_THRESHOLD: _GIVEN_BACK_BYTES,
    }
    return all(set_option(option, value) for option, value in chosen.items())

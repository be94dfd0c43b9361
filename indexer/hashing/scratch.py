"""Memory for decoded pixels that is used again, so that the system need not clear it again.

To map and clear 48 MB of fresh memory takes 6-10 ms, beside 36 ms to decode 12 megapixels
into it. So two buffers of 32 to 64 MiB stay with the process between images, with the pixels
of the last image in them: in memory only, as all pixels are, until the next image is written
over them (docs/adr/0018). Whoever borrows a buffer has to write all that was asked for.
"""

import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 32 * 1024 * 1024
"""What is smaller the C library keeps by itself (glibc: ``DEFAULT_MMAP_THRESHOLD_MAX``)."""

MOST_BYTES = 64 * 1024 * 1024
"""What is larger is rare, and given back to the system."""

MOST_KEPT = 2
"""Buffers that stay; more threads than that at a time take fresh memory, as without this."""

_kept: deque[NDArray[np.uint8]] = deque(maxlen=MOST_KEPT)


def borrow(count: int) -> NDArray[np.uint32]:
    """Lend memory for so many pixels; what is in it is any image's, or nothing.

    It is lent to nobody else as long as the array, or any view of it, is alive. Safe to call
    from several threads: a deque takes and gives in one step.

    Args:
        count: pixels of four bytes.
    """
    size = 4 * count
    if not LEAST_BYTES <= size <= MOST_BYTES:
        return np.empty(count, np.uint32)
    try:
        buffer = _kept.pop()
    except IndexError:
        buffer = np.empty(size, np.uint8)
    if buffer.size < size:
        buffer = np.empty(size, np.uint8)
    # A memoryview between the two: views of what is lent then refer to it, not to the buffer.
    lent = np.frombuffer(buffer.data, np.uint32, count)
    weakref.finalize(lent, _kept.append, buffer).atexit = False
    return lent

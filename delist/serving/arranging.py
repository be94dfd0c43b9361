"""From URLs in effect to the arrays of a snapshot."""

import secrets
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delist.serving import kernels
from delist.serving.snapshot import Hashing, Origin, Snapshot, address_of

_WHOLE_HASH = 64


class Pile:
    """URLs with the number of a record each, in the order they came; a URL may come again."""

    def __init__(self) -> None:
        self._urls = bytearray()
        self._ends = array("Q", [0])
        self._records = array("Q")

    def add(self, pairs: Iterable[tuple[str, int]]) -> None:
        """Put canonical URLs and the numbers of their records on it."""
        urls, ends, records = self._urls, self._ends, self._records
        for url, record in pairs:
            urls += url.encode()
            ends.append(len(urls))
            records.append(record)

    def add_kept(self, snapshot: Snapshot, kept: NDArray[np.bool_]) -> None:
        """Put those URLs of a snapshot on it whose places are True; before all others.

        Only for an empty pile.
        """
        arrays = snapshot.arrays
        firsts = arrays["firsts"].astype(np.int64)
        times = firsts[1:] - firsts[:-1]
        order = np.repeat(np.arange(len(kept)), np.where(kept, times, 0))
        urls, offsets = _gathered(arrays["urls"], arrays["offsets"], order)
        self._urls = bytearray(urls.data)
        self._ends = array("Q", offsets.tobytes())
        every = np.repeat(kept, times)
        self._records = array("Q", arrays["records"][every].tobytes())

    def arranged(self, origin: Origin, *, hash_bits: int = _WHOLE_HASH) -> Snapshot:
        """Make a snapshot of it.

        Args:
            hash_bits: how many bits of the hash count; for tests, in which URLs are to collide.
        """
        hashing = Hashing(secrets.token_bytes(16), (1 << hash_bits) - 1)
        urls = np.frombuffer(self._urls or b"\0", np.uint8)
        ends = np.frombuffer(self._ends, np.uint64)
        count = len(self._records)
        buckets = 1 << max(count - 1, 0).bit_length()
        codes = np.empty(count, np.uint64)
        key_0, key_1 = np.frombuffer(hashing.key, "<u8")
        kernels.hash_all(address_of(urls), ends, key_0, key_1, codes)
        codes &= np.uint64(hashing.mask)
        places = ((codes & np.uint64(buckets - 1)) << np.uint64(32)) | (codes >> np.uint64(32))
        order = np.argsort(places, kind="stable")
        places = places[order]
        order, first = self._grouped(order, places)
        chosen = order[first]
        held, offsets = _gathered(urls, ends, chosen)
        bucket_of = (places[first] >> np.uint64(32)).astype(np.int64)
        starts = np.zeros(buckets + 1, np.uint32)
        np.cumsum(np.bincount(bucket_of, minlength=buckets), out=starts[1:])
        firsts = np.append(np.flatnonzero(first), count).astype(np.uint32)
        return Snapshot(
            origin,
            hashing,
            {
                "starts": starts,
                "tags": (places[first] & np.uint64(0xFFFFFFFF)).astype(np.uint32),
                "offsets": offsets,
                "urls": held,
                "firsts": firsts,
                "records": np.frombuffer(self._records, np.uint64)[order]
                if count
                else np.zeros(0, np.uint64),
            },
        )

    def _grouped(
        self, order: NDArray[np.int64], places: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Bring equal URLs together, and say where each URL comes first.

        Those of another place differ. Of one place are the same URL several times, for several
        cases, and once in a very long while different ones.
        """
        first = np.ones(len(order), np.bool_)
        first[1:] = places[1:] != places[:-1]
        bounds = np.append(np.flatnonzero(first), len(order))
        for run in np.flatnonzero(np.diff(bounds) > 1):
            begin, end = int(bounds[run]), int(bounds[run + 1])
            same: dict[bytes, list[int]] = {}
            for number in order[begin:end].tolist():
                same.setdefault(self._url(number), []).append(number)
            order[begin:end] = [number for group in same.values() for number in group]
            first[begin:end] = False
            for group in same.values():
                first[begin] = True
                begin += len(group)
        return order, first

    def _url(self, number: int) -> bytes:
        return bytes(self._urls[self._ends[number] : self._ends[number + 1]])


def _gathered(
    urls: NDArray[Any], offsets: NDArray[np.uint64], order: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Copy texts in another order; returns them one behind the other, and their offsets."""
    sizes = np.diff(offsets)[order]
    found = np.zeros(len(order) + 1, np.uint64)
    np.cumsum(sizes, out=found[1:])
    out = np.empty(int(found[-1]), np.uint8)
    given = np.require(offsets, requirements=["C", "W"])  # a mapped one is read-only
    kernels.gather(
        address_of(urls), given, np.ascontiguousarray(order, np.int64), 0, len(order), out
    )
    return out, found

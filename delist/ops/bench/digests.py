"""Digests to look up, and to look up in: random, in clusters of near copies, from a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delist.errors import UsageError
from indexer.model import DIGEST_BYTES
from indexer.ports import Digests

KINDS = ("random", "clustered", "file")
CLUSTER, CLUSTER_BITS = 20, 12
"""Copies of a cluster, and the most bits that a copy differs from its centre by."""

MOST_FLIPPED_BITS = 40
_FILE_COPY_BITS = 30
_BLOCK = 1 << 20
_HEX = 2 * DIGEST_BYTES
_KEPT_APART = 10
"""One in so many digests of a file is only asked for, and is not among the signals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """What is held and what is asked for.

    Attributes:
        held: uint8[n, 32], the signals.
        queries: uint8[m, 32]: half of them held digests with 0 to 40 bits flipped (a bit that
            is drawn twice is flipped back), half others of the same kind; in random order.
    """

    held: Digests
    queries: Digests


def make_lookups(
    kind: str, signals: int, queries: int, *, given: Digests | None, seed: int
) -> Lookups:
    """Make signals and queries of a kind: one of ``KINDS``.

    Args:
        given: uint8[k, 32], for ``file``. One in ten is kept apart, to be asked for; where
            the others are fewer than ``signals``, copies of them with 0 to 30 bits flipped
            make up the number.
    """
    rng = np.random.default_rng(seed)
    if given is None:
        make = _clustered if kind == "clustered" else _random
        held, others = make(rng, signals), make(rng, queries // 2)
    else:
        given = rng.permutation(given)
        apart = len(given) // _KEPT_APART
        own = given[apart:][:signals]
        held = np.concatenate(
            [own, flipped(rng, _drawn(rng, own, signals - len(own)), _FILE_COPY_BITS)]
        )
        others = _drawn(rng, given[:apart] if apart else given, queries // 2)
    near = flipped(rng, _drawn(rng, held, queries - queries // 2), MOST_FLIPPED_BITS)
    return Lookups(held=held, queries=rng.permutation(np.concatenate([near, others])))


def flipped(rng: np.random.Generator, digests: Digests, most_bits: int) -> Digests:
    """Flip 0 to ``most_bits`` bits of each digest, in place; returns them.

    A bit that is drawn twice is flipped back.
    """
    for first in range(0, len(digests), _BLOCK):
        block = digests[first : first + _BLOCK]
        counts = rng.integers(0, most_bits + 1, len(block), dtype=np.uint8)
        for drawn in range(most_bits):
            places = np.flatnonzero(counts > drawn)
            bits = rng.integers(0, 8 * DIGEST_BYTES, len(places), dtype=np.int16)
            block[places, bits >> 3] ^= (1 << (bits & 7)).astype(np.uint8)
    return digests


def load_digests(path: Path) -> Digests:
    """Read digests, uint8[n, 32], from a ``.npy`` file or from lines of 64 hex digits.

    Raises:
        UsageError: it cannot be read, holds something else, or nothing.
    """
    try:
        digests = _array_of(path) if path.suffix == ".npy" else _lines_of(path)
    except OSError as error:
        reason = error.strerror or "not a .npy file"
        raise UsageError(f"--digests: cannot read {path}: {reason}") from None
    except ValueError as error:
        raise UsageError(f"--digests: {path}: {error}") from None
    if not len(digests):
        raise UsageError(f"--digests: {path} holds no digest")
    return digests


def _array_of(path: Path) -> Digests:
    try:
        array: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError("not a .npy file of digests") from None
    if getattr(array, "dtype", None) != np.uint8 or array.shape[1:] != (DIGEST_BYTES,):
        raise ValueError(f"digests must be uint8[n, {DIGEST_BYTES}]")
    return np.ascontiguousarray(array)


def _lines_of(path: Path) -> Digests:
    digests = bytearray()
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            try:
                digest = bytes.fromhex(text)
            except ValueError:
                raise ValueError(f"line {number} is not {_HEX} hex digits") from None
            if text and len(digest) != DIGEST_BYTES:
                raise ValueError(f"line {number} is not {_HEX} hex digits")
            digests += digest
    return np.frombuffer(bytes(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def _random(rng: np.random.Generator, count: int) -> Digests:
    return rng.integers(0, 256, (count, DIGEST_BYTES), dtype=np.uint8)


def _clustered(rng: np.random.Generator, count: int) -> Digests:
    centres = _random(rng, -(-count // CLUSTER))
    return flipped(rng, np.repeat(centres, CLUSTER, axis=0)[:count].copy(), CLUSTER_BITS)


def _drawn(rng: np.random.Generator, digests: Digests, count: int) -> Digests:
    drawn: Digests = digests[rng.integers(0, len(digests), count)]
    return drawn

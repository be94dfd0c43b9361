"""The hash tree of RFC 6962: heads, inclusion and consistency proofs, and their checks.

Whoever makes a proof hands in ``Node``, which looks up the hash of a complete subtree; checks
need nothing but the proof. Checks follow RFC 9162, 2.1.3.2 and 2.1.4.2, and share no code with
what makes proofs.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from delist.errors import LogProofError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""Head of a tree without leaves."""

MOST_HASHES = 63
"""Longest proof of a tree that a 64-bit size can count."""

Node = Callable[[int, int], bytes]
"""Hash of the complete subtree of 2**height leaves that begins at leaf index * 2**height."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash an entry to its leaf (RFC 6962, 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees to the one above them (RFC 6962, 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def root_of(node: Node, start: int, end: int) -> bytes:
    """Return the head of the leaves from ``start`` up to ``end``, exclusive.

    ``start`` must be where RFC 6962 splits a tree, such as 0.
    """
    count = end - start
    if count == 0:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return node(height, start >> height)
    middle = start + _split(count)
    return node_hash(root_of(node, start, middle), root_of(node, middle, end))


def inclusion_proof(node: Node, index: int, size: int) -> list[bytes]:
    """Prove that a leaf is in the tree of a size (RFC 6962, 2.1.1), sibling of the leaf first."""
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(root_of(node, middle, end))
            end = middle
        else:
            path.append(root_of(node, start, middle))
            start = middle
    return path[::-1]


def consistency_proof(node: Node, old: int, size: int) -> list[bytes]:
    """Prove that a tree begins with an older one (RFC 6962, 2.1.2); empty from size 0."""
    if old in {0, size}:
        return []
    path: list[bytes] = []
    start, end, whole = 0, size, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(root_of(node, middle, end))
            end = middle
        else:
            path.append(root_of(node, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(root_of(node, start, end))
    return path[::-1]


def check_inclusion(
    leaf: bytes, index: int, proof: Sequence[bytes], *, size: int, root: bytes
) -> None:
    """Check that a leaf stands at an index of the tree with this head.

    Raises:
        LogProofError: the proof does not lead from the leaf to the head.
    """
    if not 0 <= index < size:
        raise LogProofError(f"the tree of {size} leaves has no leaf {index}")
    at, last, found = index, size - 1, leaf
    for part in proof:
        if last == 0:
            raise LogProofError("the inclusion proof is too long")
        if at & 1 or at == last:
            found = node_hash(part, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, part)
        at, last = at >> 1, last >> 1
    if last or found != root:
        raise LogProofError("the inclusion proof does not lead to the head of the tree")


def check_consistency(
    proof: Sequence[bytes], *, old: int, old_root: bytes, size: int, root: bytes
) -> None:
    """Check that the tree with one head begins with the tree of another.

    Raises:
        LogProofError: it does not, or the proof does not show it.
    """
    if old > size:
        raise LogProofError(f"a tree of {size} leaves cannot begin with {old}")
    if old in {0, size}:
        expected = EMPTY_ROOT if old == 0 else root
        if proof or old_root != expected:
            raise LogProofError("the two heads contradict each other")
        return
    rest: Iterator[bytes] = iter(proof)
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = old_root if old & (old - 1) == 0 else next(rest, b"")
    older = newer = first
    for part in rest:
        if last == 0:
            raise LogProofError("the consistency proof is too long")
        if at & 1 or at == last:
            older, newer = node_hash(part, older), node_hash(part, newer)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            newer = node_hash(newer, part)
        at, last = at >> 1, last >> 1
    if last or older != old_root or newer != root:
        raise LogProofError("the newer tree does not begin with the older one")


def _split(count: int) -> int:
    """Return the largest power of two below a count above 1."""
    return 1 << (count - 1).bit_length() - 1

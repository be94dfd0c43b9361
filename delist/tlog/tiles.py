"""Tiles of c2sp.org/tlog-tiles: a tree cut into pieces of height 8, and bundles of entries.

A full tile is 256 hashes of 32 bytes; the tile at level L holds heads of complete subtrees of
256**L leaves. A partial tile is the beginning of one. Only the right edge of a tree is partial.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from delist.errors import LogProofError
from delist.tlog.merkle import HASH_BYTES, Node

HEIGHT = 8
WIDTH = 1 << HEIGHT
TILE_BYTES = WIDTH * HASH_BYTES
_MOST_ENTRY_BYTES = (1 << 16) - 1

ReadTile = Callable[[int, int, int], bytes]
"""Reads the tile of a level and number, in at least a given width, as concatenated hashes."""


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """Return the address of a tile of hashes, below the log's prefix."""
    return f"tile/{level}/{_number_path(number, width)}"


def bundle_path(number: int, width: int = WIDTH) -> str:
    """Return the address of a bundle of entries."""
    return f"tile/entries/{_number_path(number, width)}"


def _number_path(number: int, width: int) -> str:
    """Write 1234067 as ``x001/x234/067``."""
    path = f"{number % 1000:03}"
    while number := number // 1000:
        path = f"x{number % 1000:03}/{path}"
    return path if width == WIDTH else f"{path}.p/{width}"


def tiles_of(size: int, *, since: int = 0) -> Iterator[tuple[int, int, int]]:
    """Name the tiles (level, number, width) of a tree that a smaller one has not in this width."""
    level = 0
    while hashes := size >> HEIGHT * level:
        known = since >> HEIGHT * level
        if known < hashes:
            for number in range(known // WIDTH, (hashes + WIDTH - 1) // WIDTH):
                yield level, number, min(WIDTH, hashes - number * WIDTH)
        level += 1


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Write entries, each behind its length as two bytes."""
    if any(len(entry) > _MOST_ENTRY_BYTES for entry in entries):
        raise LogProofError("an entry is longer than a bundle can hold")
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def decode_bundle(bundle: bytes) -> list[bytes]:
    """Read the entries of a bundle.

    Raises:
        LogProofError: it was cut.
    """
    entries, at = [], 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2])
        if at + 2 > len(bundle) or end > len(bundle):
            raise LogProofError("a bundle of entries was cut")
        entries.append(bundle[at + 2 : end])
        at = end
    return entries


def head_of(hashes: bytes) -> bytes:
    """Return the head of complete subtrees that stand side by side; a power of two of them."""
    while len(hashes) > HASH_BYTES:
        hashes = b"".join(
            [
                sha256(b"\x01" + hashes[at : at + 2 * HASH_BYTES]).digest()
                for at in range(0, len(hashes), 2 * HASH_BYTES)
            ]
        )
    return hashes


def nodes_of(read: ReadTile, size: int) -> Node:
    """Look up subtrees of a tree of this size in its tiles; each tile is read once."""
    held: dict[tuple[int, int], bytes] = {}

    def node(height: int, index: int) -> bytes:
        level, inside = divmod(height, HEIGHT)
        number, at = divmod(index << inside, WIDTH)
        tile = held.get((level, number))
        if tile is None:
            width = min(WIDTH, (size >> HEIGHT * level) - number * WIDTH)
            tile = read(level, number, width)[: width * HASH_BYTES]
            if len(tile) != width * HASH_BYTES:
                raise LogProofError(f"tile {tile_path(level, number, width)} is not whole")
            held[level, number] = tile
        return head_of(tile[at * HASH_BYTES : (at + (1 << inside)) * HASH_BYTES])

    return node


class Growth:
    """The right edge of a tree, to which leaves are appended."""

    def __init__(self, read: ReadTile | None = None, size: int = 0) -> None:
        """Go on from a tree in tiles, or begin with an empty one.

        Raises:
            LogProofError: a tile of the edge is not whole.
        """
        self.size = size
        self._edge: list[bytearray] = []
        self._numbers: list[int] = []
        for level in range((size.bit_length() + HEIGHT - 1) // HEIGHT):
            number, width = divmod(size >> HEIGHT * level, WIDTH)
            hashes = read(level, number, width) if read and width else b""
            if len(hashes) != width * HASH_BYTES:
                raise LogProofError(f"tile {tile_path(level, number, width)} is not whole")
            self._edge.append(bytearray(hashes))
            self._numbers.append(number)

    def append(self, leaves: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Append leaf hashes, and give each tile (level, number, hashes) that is full now."""
        self.size += len(leaves) // HASH_BYTES
        yield from self._append(0, leaves)

    def edge(self) -> Iterator[tuple[int, int, bytes]]:
        """Give the partial tiles."""
        for level, (number, hashes) in enumerate(zip(self._numbers, self._edge, strict=True)):
            if hashes:
                yield level, number, bytes(hashes)

    def _append(self, level: int, hashes: bytes) -> Iterator[tuple[int, int, bytes]]:
        if level == len(self._edge):
            self._edge.append(bytearray())
            self._numbers.append(0)
        edge = self._edge[level]
        edge += hashes
        heads = bytearray()
        whole = len(edge) - len(edge) % TILE_BYTES
        for at in range(0, whole, TILE_BYTES):
            tile = bytes(edge[at : at + TILE_BYTES])
            heads += head_of(tile)
            yield level, self._numbers[level], tile
            self._numbers[level] += 1
        del edge[:whole]
        if heads:
            yield from self._append(level + 1, bytes(heads))

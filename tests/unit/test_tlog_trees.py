"""Hash trees and tiles, against the definitions of RFC 6962 written down once more, slowly."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.errors import LogProofError
from delist.tlog import merkle, tiles

SIZES = st.integers(0, 700)


def entries(size: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(size)]


def naive_root(data: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, as it is written there."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = 1
    while 2 * k < len(data):
        k *= 2
    return sha256(b"\x01" + naive_root(data[:k]) + naive_root(data[k:])).digest()


def naive_path(m: int, data: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(data) == 1:
        return []
    k = 1
    while 2 * k < len(data):
        k *= 2
    if m < k:
        return [*naive_path(m, data[:k]), naive_root(data[k:])]
    return [*naive_path(m - k, data[k:]), naive_root(data[:k])]


def naive_subproof(m: int, data: list[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if m == len(data):
        return [] if whole else [naive_root(data)]
    k = 1
    while 2 * k < len(data):
        k *= 2
    if m <= k:
        return [*naive_subproof(m, data[:k], whole=whole), naive_root(data[k:])]
    return [*naive_subproof(m - k, data[k:], whole=False), naive_root(data[:k])]


class Tree:
    """Tiles in memory."""

    def __init__(self, size: int, *, step: int = 10**6) -> None:
        self.size = size
        self.tiles: dict[tuple[int, int], bytes] = {}
        leaves = b"".join(map(merkle.leaf_hash, entries(size)))
        at = 0
        while at < size:
            growth = tiles.Growth(self.read, at)
            part = leaves[at * 32 : (at + step) * 32]
            for level, number, hashes in [*growth.append(part), *growth.edge()]:
                self.tiles[level, number] = hashes
            at = growth.size

    def read(self, level: int, number: int, width: int) -> bytes:
        return self.tiles.get((level, number), b"")[: width * 32]

    @property
    def node(self) -> merkle.Node:
        return tiles.nodes_of(self.read, self.size)

    @property
    def root(self) -> bytes:
        return merkle.root_of(self.node, 0, self.size)


def test_the_published_vectors() -> None:
    """The test vectors of the RFC's reference implementation: its eight leaves and their heads."""
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
              "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
    heads = {
        0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    for size, head in heads.items():
        growth = tiles.Growth()
        data = b"".join(merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in leaves[:size])
        held = {(lv, n): h for lv, n, h in [*growth.append(data), *growth.edge()]}
        node = tiles.nodes_of(lambda lv, n, _w, held=held: held[lv, n], size)
        assert merkle.root_of(node, 0, size).hex() == head


@given(SIZES, st.integers(1, 300))
def test_heads_are_those_of_the_rfc(size: int, step: int) -> None:
    """Any size, grown in any steps, has the head that the definition gives."""
    assert Tree(size, step=step).root == naive_root(entries(size))


def test_all_proofs_of_small_trees() -> None:
    """Every leaf and every older size of trees up to 40: made as defined, and checked."""
    for size in range(1, 41):
        data, tree = entries(size), Tree(size)
        root = tree.root
        for index in range(size):
            path = merkle.inclusion_proof(tree.node, index, size)
            assert path == naive_path(index, data)
            leaf = merkle.leaf_hash(data[index])
            merkle.check_inclusion(leaf, index, path, size=size, root=root)
        for old in range(size + 1):
            proof = merkle.consistency_proof(tree.node, old, size)
            assert proof == (naive_subproof(old, data, whole=True) if old else [])
            old_root = naive_root(data[:old])
            merkle.check_consistency(proof, old=old, old_root=old_root, size=size, root=root)


@given(st.data(), st.integers(2, 700))
def test_proofs_of_larger_trees_and_none_that_was_changed(data: st.DataObject, size: int) -> None:
    """A proof holds; with any byte, part, index or size changed it does not."""
    tree, all_entries = Tree(size), entries(size)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size - 1))
    leaf, old_root = merkle.leaf_hash(all_entries[index]), naive_root(all_entries[:old])
    path = merkle.inclusion_proof(tree.node, index, size)
    proof = merkle.consistency_proof(tree.node, old, size)
    merkle.check_inclusion(leaf, index, path, size=size, root=tree.root)
    merkle.check_consistency(proof, old=old, old_root=old_root, size=size, root=tree.root)

    for good, check in (
        (path, lambda p: merkle.check_inclusion(leaf, index, p, size=size, root=tree.root)),
        (proof, lambda p: merkle.check_consistency(
            p, old=old, old_root=old_root, size=size, root=tree.root)),
    ):  # fmt: skip
        at = data.draw(st.integers(0, len(good) * 32 - 1))
        joined = bytearray(b"".join(good))
        joined[at] ^= data.draw(st.integers(1, 255))
        parts = [bytes(joined[n : n + 32]) for n in range(0, len(joined), 32)]
        for bad in (parts, good[:-1], [*good, b"\0" * 32]):
            with pytest.raises(LogProofError):
                check(bad)
    other = (index + 1) % size
    with pytest.raises(LogProofError):
        merkle.check_inclusion(leaf, other, path, size=size, root=tree.root)
    with pytest.raises(LogProofError):
        merkle.check_consistency(
            proof, old=old, old_root=naive_root(all_entries[: old - 1]), size=size, root=tree.root
        )


@pytest.mark.parametrize(("old", "size"), [(5, 4), (3, 5), (0, 5), (5, 5)])
def test_heads_that_contradict(old: int, size: int) -> None:
    """Smaller, without a proof, or of another head: never consistent."""
    with pytest.raises(LogProofError):
        merkle.check_consistency([], old=old, old_root=b"\1" * 32, size=size, root=b"\2" * 32)


@pytest.mark.parametrize(
    ("number", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (999, 256, "tile/0/999"),
        (1000, 256, "tile/0/x001/000"),
        (1234067, 256, "tile/0/x001/x234/067"),
        (1234067, 7, "tile/0/x001/x234/067.p/7"),
    ],
)
def test_addresses_of_tiles(number: int, width: int, path: str) -> None:
    """Numbers are cut into thousands, as the specification's examples are."""
    assert tiles.tile_path(0, number, width) == path
    assert tiles.bundle_path(number, width) == path.replace("tile/0", "tile/entries")


@given(st.lists(st.binary(max_size=400), max_size=20))
def test_bundles_come_back(data: list[bytes]) -> None:
    """Entries of any bytes come back; a bundle that was cut does not."""
    bundle = tiles.encode_bundle(data)
    assert tiles.decode_bundle(bundle) == data
    if bundle:
        with pytest.raises(LogProofError):
            tiles.decode_bundle(bundle + b"\0")
    with pytest.raises(LogProofError):
        tiles.encode_bundle([b"x" * 65536])


@given(SIZES, SIZES)
def test_tiles_that_are_new(one: int, other: int) -> None:
    """What is named as new, and what was named before, is what the larger tree needs."""
    since, size = sorted((one, other))
    every = set(tiles.tiles_of(size))
    assert set(tiles.tiles_of(size, since=since)) | set(tiles.tiles_of(since)) >= every
    assert set(tiles.tiles_of(size, since=since)) <= every


def test_a_tile_that_is_cut_is_no_tile() -> None:
    """A tree whose tiles lost something gives no proof and takes no leaf."""
    tree = Tree(300)
    tree.tiles[0, 1] = tree.tiles[0, 1][:-32]
    with pytest.raises(LogProofError):
        merkle.inclusion_proof(tree.node, 0, 300)
    with pytest.raises(LogProofError):
        tiles.Growth(tree.read, 300)

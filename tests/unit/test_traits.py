"""What is kept of an image for evidence: maps, likeness, and how much of a lattice it is."""

from typing import Any

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from delist.ops.pictures import draw_photo, encode
from indexer.background import is_current, rarity, summarise
from indexer.evidence import RESEMBLES, coherence
from indexer.hashing import hash_image
from indexer.hashing.guesses import Frame
from indexer.hashing.pdq import digests_of_blocks
from indexer.hashing.traits import (
    TRAITS_BYTES,
    BrightMap,
    find_lattice,
    find_map,
    lattice_of_block,
    lattice_of_digest,
    likeness,
    traits_of,
)
from indexer.hashing.variants import transform
from indexer.model import VARIANTS, HashedImage, ImageRecord, Variant
from tests.fakes.edits import cropped, digest_of, placed
from tests.fakes.plain_hashing import plain_traits
from tests.fakes.signals import NOW

WHITE = (255, 255, 255)
maps = st.builds(
    BrightMap,
    st.binary(min_size=32, max_size=32).map(
        lambda raw: np.unpackbits(np.frombuffer(raw, np.uint8)).reshape(16, 16).astype(bool)
    ),
    st.sampled_from((0, 4, 9)).map(lambda cut: np.arange(256).reshape(16, 16) >= 16 * cut),
)


def hashed(picture: Image.Image, form: str = "PNG", **options: Any) -> HashedImage:  # noqa: ANN401 - Pillow's
    data = encode(picture, form, **options)
    return hash_image(data, max_bytes=1 << 26, max_pixels=1 << 26)


def map_of(picture: Image.Image, variant: str = "upright") -> BrightMap:
    found = find_map(hashed(picture).traits[0], variant)
    assert found is not None
    return found


def lattice(picture: Image.Image) -> float:
    found = find_lattice(hashed(picture).traits[0])
    assert found is not None
    return found


def grid(step: int, *, line: int = 4, size: tuple[int, int] = (640, 480)) -> Image.Image:
    y, x = np.mgrid[: size[1], : size[0]]
    lines = (x % step < line) | (y % (step // 2) < line)
    return Image.fromarray(np.where(lines, 30, 230).astype(np.uint8)).convert("RGB")


def stripes(step: int) -> Image.Image:
    rows = (np.arange(480)[:, np.newaxis] % step < step // 2) * np.ones((1, 640), np.bool_)
    return Image.fromarray(np.where(rows, 230, 30).astype(np.uint8)).convert("RGB")


def board(step: int) -> Image.Image:
    y, x = np.mgrid[:480, :640]
    return Image.fromarray(((x // step + y // step) % 2 * 200 + 20).astype(np.uint8)).convert("RGB")


@given(maps, maps)
def test_likeness_is_symmetric_and_bounded(one: BrightMap, other: BrightMap) -> None:
    """Pearson's phi: between -1 and 1, the same both ways, 1 with itself unless constant."""
    value = likeness(one, other)

    assert -1 <= value <= 1
    assert value == pytest.approx(likeness(other, one))
    assert likeness(one, one) == 0.0 or likeness(one, one) == pytest.approx(1.0)


@given(st.lists(maps, max_size=6))
def test_coherence_is_a_share(held: list[BrightMap]) -> None:
    """None for fewer than two maps, otherwise 0-1, whatever their order."""
    value = coherence(held)

    assert (value is None) is (len(held) < 2)
    assert value is None or 0 <= value <= 1
    assert coherence(held[::-1]) == value


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**32))
def test_lattice_is_bounded_and_turns_with_the_picture(digest: bytes, seed: int) -> None:
    """0-1 for any block and digest; swapping rows and columns changes nothing."""
    block = np.random.default_rng(seed).uniform(0, 255, (64, 64))
    digests = digests_of_blocks(block[np.newaxis])
    turned = np.ascontiguousarray(block.T)

    assert 0 <= lattice_of_digest(digest) <= 1
    assert 0 <= lattice_of_block(block, digest) <= 1
    assert len(traits_of(block, digest)) == TRAITS_BYTES
    assert lattice_of_block(block, digests[0].tobytes()) == pytest.approx(
        lattice_of_block(turned, digests[1].tobytes())
    )


def luma_block(picture: Image.Image) -> NDArray[np.float64]:
    return np.asarray(picture.convert("L").resize((64, 64)), np.float64)


@pytest.mark.parametrize("seed", range(6))
def test_traits_are_the_plain_ones(seed: int) -> None:
    """The compiled loops say what plain NumPy says; the lattice to one step of its scale."""
    noise = np.random.default_rng(seed).uniform(0, 255, (64, 64))
    flat = np.full((64, 64), 40.0 * seed)
    for block in (luma_block(draw_photo(seed)), luma_block(grid(4 + seed)), noise, flat):
        digest = digests_of_blocks(block[np.newaxis])[0].tobytes()
        found, plain = traits_of(block, digest), plain_traits(block, digest)

        assert (found[0], found[2:]) == (plain[0], plain[2:])
        assert abs(found[1] - plain[1]) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_edited_copies_resemble_and_others_do_not(seed: int) -> None:
    """What PDQ matches resembles; an unrelated picture does not."""
    picture = draw_photo(seed)
    own = map_of(picture)
    edits = [
        picture.resize((100, 75)),
        cropped(picture, left=0.03, top=0.02),
        picture.convert("L").convert("RGB"),
        picture.point([int(255 * (value / 255) ** 1.4) for value in range(256)] * 3),
        picture.rotate(2),
    ]

    assert all(likeness(own, map_of(edit)) >= RESEMBLES for edit in edits)
    assert likeness(own, map_of(draw_photo(seed + 50))) < RESEMBLES


def test_agrees_with_imagehash() -> None:
    """Which pairs resemble each other, imagehash's pHash says too (64 bits, at most 18)."""
    pictures = [draw_photo(seed) for seed in range(6)]
    copies = [picture.resize((160, 120)) for picture in pictures]
    for i, picture in enumerate(pictures):
        for j, copy in enumerate(copies):
            far = imagehash.phash(picture) - imagehash.phash(copy)
            assert bool(far <= 18) is (i == j)
            assert (likeness(map_of(picture), map_of(copy)) >= RESEMBLES) is (i == j)


def test_plain_grounds_do_not_resemble() -> None:
    """Two pictures on much white are told apart by what stands on it."""
    one = placed(draw_photo(1, width=120, height=90), (400, 300), (20, 30), WHITE)
    other = placed(draw_photo(2, width=120, height=90), (400, 300), (250, 180), WHITE)

    assert likeness(map_of(one), map_of(other)) < RESEMBLES
    assert likeness(map_of(one), map_of(one.resize((200, 150)))) >= RESEMBLES


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_undone(variant: Variant) -> None:
    """The map of a turned copy is laid back: what the match names is done to it."""
    picture = draw_photo(3, width=256, height=256)
    copy = next(
        Image.fromarray(np.ascontiguousarray(transform(np.asarray(picture), edit)))
        for edit in VARIANTS
        if np.array_equal(
            transform(transform(np.arange(6).reshape(2, 3), edit), variant),
            np.arange(6).reshape(2, 3),
        )
    )

    assert likeness(map_of(picture), map_of(copy, variant.value)) > 0.75


def test_a_deep_match_is_laid_where_the_picture_was() -> None:
    """Cut edges and frames around the picture, as a guess names them."""
    picture = draw_photo(4)
    cut = cropped(picture, left=0.12, bottom=0.1)
    frame = Frame(left=0.12 / 0.88, bottom=0.1 / 0.9)
    framed = placed(picture, (400, 300), (60, 45), (0, 0, 0))
    part = Frame(rectangle=(0.15, 0.15, 0.8, 0.8))

    assert likeness(map_of(picture), map_of(cut, f"deep:upright:{frame}")) > 0.75
    assert likeness(map_of(picture), map_of(framed, f"deep:upright:{part}")) >= RESEMBLES
    assert likeness(map_of(picture), map_of(framed)) < RESEMBLES


def test_little_in_common_says_nothing() -> None:
    """Maps that share less than a quarter, or are constant, are not called alike."""
    every, none = np.ones((16, 16), np.bool_), np.zeros((16, 16), np.bool_)
    bright = np.indices((16, 16)).sum(axis=0) % 2 == 0

    assert likeness(BrightMap(bright, every), BrightMap(bright, none)) == 0.0
    assert likeness(BrightMap(every, every), BrightMap(every, every)) == 0.0


@pytest.mark.parametrize("step", [24, 60, 120])
def test_lattices_are_told_from_photographs(step: int) -> None:
    """Grids, stripes, boards and a flat picture above 0.7; drawn photographs below 0.3."""
    lattices = [grid(step), stripes(step), board(step), Image.new("RGB", (200, 200), (9, 80, 200))]

    assert min(map(lattice, lattices)) > 0.7
    assert max(lattice(draw_photo(step + seed)) for seed in range(5)) < 0.3


def test_bits_of_a_lattice() -> None:
    """Boards and boxes show in the digest alone; photographs do not."""
    box = placed(Image.new("RGB", (300, 200), (200, 0, 0)), (640, 480), (100, 90), WHITE)

    assert lattice_of_digest(digest_of(board(80))) > 0.4
    assert lattice_of_digest(digest_of(box)) > 0.7
    assert max(lattice_of_digest(digest_of(draw_photo(seed))) for seed in range(10)) < 0.2
    assert lattice_of_digest(bytes(32)) == 1.0


def test_traits_stay_private() -> None:
    """Neither a repr of the hashes nor of the record shows them."""
    image = hashed(draw_photo(1))
    record = ImageRecord(
        key=b"k", image_url="", sha256=b"", mime="", width=1, height=1, quality=1,
        hasher_version=1, rows=(0,), hashed_at=NOW, seen_at=NOW, traits=image.traits,
    )  # fmt: skip

    assert "traits" not in repr(image) + repr(record)
    assert repr(image.traits[0]) not in repr(image) + repr(record)
    assert repr(map_of(draw_photo(1))) == "BrightMap()"


def test_every_row_has_traits() -> None:
    """Frames of an animation and a black ground have their own."""
    first, *rest = (draw_photo(seed) for seed in range(3))
    image = hashed(first, "GIF", save_all=True, append_images=rest)

    assert len(image.traits) == len(image.rows) == 3
    assert len(set(image.traits)) == 3


@pytest.mark.parametrize("raw", [b"", b"\x02" + bytes(33), bytes(33)])
def test_an_unknown_layout_says_nothing(raw: bytes) -> None:
    """Bytes of a later layout are not read as ours."""
    assert find_lattice(raw) is None
    assert find_map(raw, "upright") is None


@given(st.integers(0, 2**32), st.integers(0, 255), st.integers(0, 31))
@settings(max_examples=50, deadline=None)
def test_rarity_is_bounded_and_monotone(seed: int, centre: int, distance_bits: int) -> None:
    """A wider threshold never expects fewer; a nearer match is never more usual."""
    distances = np.random.default_rng(seed).normal(centre, 6, 500).clip(0, 256).astype(np.int64)
    background = summarise(distances, held_rows=500, now=NOW)
    near, far = (
        rarity(background, distance_bits=distance_bits + more, threshold_bits=31 + more)
        for more in (0, 5)
    )

    assert 0 <= near.expected_per_million <= far.expected_per_million <= 1_000_000
    assert near.z >= far.z
    assert is_current(background, held_rows=999, now=NOW)
    assert not is_current(background, held_rows=1000, now=NOW)

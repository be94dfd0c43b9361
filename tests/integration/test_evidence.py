"""Evidence on a real store: what is planted coherent, poisoned, crowded or old."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from delist.ops.pictures import draw_photo, encode
from indexer.background import LEAST_ROWS
from indexer.evidence import MOST_COMPARED, MOST_READ, EvidenceReader
from indexer.hashing import hash_image
from indexer.model import DIGEST_BYTES, ROW_BYTES, HashedImage, ImageRecord, Match
from indexer.store import Store
from indexer.url import canonical_url, url_key
from indexer.visits import VisitRecorder
from tests.fakes.edits import cropped
from tests.fakes.signals import (
    NOW,
    add_signals,
    key_of,
    make_digest,
    make_image,
    make_lookup,
    make_visit,
    open_store,
    withdraw,
)

SIGNAL = make_digest(1)
UNDONE = {
    3: Image.Transpose.ROTATE_180,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""How a picture is stored so that a viewer who heeds the tag shows it upright."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data") as opened:
        add_signals(opened, [SIGNAL])
        yield opened


def hashed(picture: Image.Image) -> HashedImage:
    return hash_image(encode(picture), max_bytes=1 << 26, max_pixels=1 << 26)


def planted(picture: Image.Image) -> HashedImage:
    """Hash a picture, then force its first digest onto the signal."""
    image = hashed(picture)
    (background, row), *_ = image.rows
    return replace(image, rows=((background, SIGNAL + row[DIGEST_BYTES:]),))


def url_of(number: int) -> str:
    return f"http://site.example/{number}.jpg"


def image_key(number: int) -> bytes:
    return url_key(canonical_url(url_of(number)))


def record(store: Store, images: Sequence[HashedImage], *, first: int = 0) -> None:
    visits = [make_visit(url_of(first + at), image) for at, image in enumerate(images)]
    VisitRecorder(store, make_lookup(store)).record(visits, now=NOW)


def reader(store: Store, *, days: int = 0) -> EvidenceReader:
    return EvidenceReader(store, lambda: NOW + timedelta(days=days))


def test_copies_of_one_picture_are_coherent(store: Store) -> None:
    """Edited copies resemble each other."""
    picture = draw_photo(5)
    copies = [picture, picture.resize((160, 120)), cropped(picture, left=0.03), picture.rotate(1)]
    record(store, [planted(copy) for copy in copies])

    found = reader(store).evidence(image_key(0), key_of(store, SIGNAL))

    assert (found.coherence, found.resembling, found.compared) == (1.0, 1.0, 4)
    assert found.lattice is not None
    assert found.lattice < 0.3


def test_mirrored_copies_are_coherent(store: Store) -> None:
    """The variant that a match names is undone before copies are compared."""
    upright, mirrored = (
        hashed(draw_photo(5)),
        hashed(draw_photo(5).transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    )
    add_signals(store, [SIGNAL, digest := upright.rows[0][1][:DIGEST_BYTES]])
    record(store, [upright, mirrored])

    assert reader(store).evidence(image_key(1), key_of(store, digest)).coherence == 1.0


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_copies_with_an_orientation_tag_are_coherent(store: Store, orientation: int) -> None:
    """A browser heeds the tag; what is kept of the pixels is as they are stored."""
    upright = draw_photo(5)
    stored = upright.transpose(UNDONE[orientation])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    tagged = hash_image(encode(stored, exif=exif), max_bytes=1 << 26, max_pixels=1 << 26)
    shown = tagged.rows[0][1][ROW_BYTES // 2 :][:DIGEST_BYTES]
    add_signals(store, [SIGNAL, shown])
    record(store, [hashed(upright), tagged])

    found = reader(store).evidence(image_key(1), key_of(store, shown))

    assert (found.coherence, found.resembling, found.compared) == (1.0, 1.0, 2)


def test_a_poisoned_signal_is_not(store: Store) -> None:
    """Different pictures that match one signal do not resemble each other."""
    record(store, [planted(draw_photo(seed)) for seed in range(8)])

    found = reader(store).evidence(image_key(0), key_of(store, SIGNAL))

    assert found.coherence is not None
    assert found.coherence < 0.2
    assert found.resembling is not None
    assert found.resembling < 0.3


def test_one_stranger_in_a_group_stands_out(store: Store) -> None:
    """The group stays mostly coherent; the stranger resembles none of it."""
    copies = [draw_photo(5).resize((side, side)) for side in (300, 200, 150, 100)]
    record(store, [planted(picture) for picture in (*copies, draw_photo(77))])
    key = key_of(store, SIGNAL)

    assert reader(store).evidence(image_key(0), key).resembling == 0.75
    assert reader(store).evidence(image_key(4), key).resembling == 0.0
    assert reader(store).coherence(key) == 0.6


def test_equal_bytes_count_once(store: Store) -> None:
    """Many URLs of one file are one content: nothing to compare."""
    record(store, [planted(draw_photo(5))] * 3)

    found = reader(store).evidence(image_key(0), key_of(store, SIGNAL))

    assert (found.coherence, found.compared) == (None, 1)


def test_images_that_were_indexed_before_say_nothing(store: Store) -> None:
    """A record without the field gives None, and gains it when its bytes are seen again."""
    image = planted(draw_photo(5))
    record(store, [replace(image, traits=())])
    key = key_of(store, SIGNAL)
    before = reader(store).evidence(image_key(0), key)
    record(store, [image])
    after = reader(store).evidence(image_key(0), key)

    assert (before.lattice, before.coherence, before.compared) == (None, None, 0)
    assert before.signal_lattice is not None
    assert after.lattice is not None
    assert after.compared == 1


def test_the_background_is_measured_kept_and_goes_with_the_signal(store: Store) -> None:
    """Missing: measured. Fresh: kept. Old, or the column has doubled: measured anew."""
    key = key_of(store, SIGNAL)
    record(store, [planted(draw_photo(5))])
    assert reader(store).evidence(image_key(0), key).z is None  # too few to say

    record(store, [make_image(content) for content in range(300)], first=1)
    found = reader(store).evidence(image_key(0), key)
    assert found.z is not None
    assert found.z > 10
    assert found.expected_per_million is not None
    assert found.expected_per_million < 1
    assert found.nearest_bits is not None
    assert found.nearest_bits > 60  # its own match does not count

    assert kept_rows(store, key) == 300
    record(store, [make_image(content) for content in range(300, 310)], first=301)
    reader(store).evidence(image_key(0), key)
    assert kept_rows(store, key) == 300
    reader(store, days=31).evidence(image_key(0), key)
    assert kept_rows(store, key) == 310

    withdraw(store, SIGNAL)
    assert kept_rows(store, key) is None


def kept_rows(store: Store, key: bytes) -> int | None:
    with store.read() as txn:
        held = store.signals.backgrounds.find(txn, key)
    return held.rows if held else None


def test_a_crowded_signal_has_a_near_background(store: Store) -> None:
    """Where strangers come close, a match at the threshold is nothing special."""
    crowd = [make_image(seed, {0: near_signal(seed, 40 + seed % 30)}) for seed in range(300)]
    record(store, crowd)
    record(store, [make_image(999, {0: near_signal(999, 30)})], first=999)

    found = reader(store).evidence(image_key(999), key_of(store, SIGNAL))

    assert found.z is not None
    assert found.z < 4
    assert found.expected_per_million is not None
    assert found.expected_per_million > 1


def near_signal(seed: int, bits: int) -> bytes:
    mask = sum(1 << (seed * 7 + 11 * at) % 256 for at in range(bits))
    return (int.from_bytes(SIGNAL) ^ mask).to_bytes(DIGEST_BYTES)


def test_an_unknown_match_has_no_evidence(store: Store) -> None:
    """Neither image nor signal held: every number is None, nothing is raised."""
    found = reader(store).evidence(bytes(16), bytes(16))

    assert (found.coherence, found.z, found.lattice, found.signal_lattice) == (None,) * 4


def test_the_work_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10,000 images that match, at most 200 are read and 24 compared."""
    key, traits = key_of(store, SIGNAL), hashed(draw_photo(1)).traits
    with store.write() as txn:
        for number in range(10_000):
            owner = number.to_bytes(16)
            store.images.put(txn, stored(owner, content=number, traits=traits))
            store.images.put_match(txn, matched(owner, key))
    reads: list[bytes] = []
    find = store.images.find
    monkeypatch.setattr(store.images, "find", lambda txn, at: reads.append(at) or find(txn, at))

    found = reader(store).evidence((5).to_bytes(16), key)

    assert len(reads) <= MOST_COMPARED + 1
    assert (found.coherence, found.compared) == (1.0, MOST_COMPARED)
    with store.read() as txn:
        listed = store.images.matching_images(txn, key, start=key, most=MOST_READ)
        every = store.images.matching_images(txn, key, start=(9_000).to_bytes(16), most=20_000)
    assert len(listed) == MOST_READ
    assert [int.from_bytes(at) for at in every] == [*range(9_000, 10_000), *range(9_000)]


def stored(owner: bytes, *, content: int, traits: tuple[bytes, ...]) -> ImageRecord:
    return ImageRecord(
        key=owner, image_url=url_of(content), sha256=content.to_bytes(32), mime="image/png",
        width=1, height=1, quality=90, hasher_version=2, rows=(content,), hashed_at=NOW,
        seen_at=NOW, traits=traits,
    )  # fmt: skip


def matched(owner: bytes, key: bytes) -> Match:
    return Match(
        image_key=owner, signal_key=key, feed="stopncii", distance_bits=3, threshold_bits=31,
        variant="upright",
    )  # fmt: skip


def test_nothing_private_is_said(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the log nor a repr of the evidence holds a digest, an address or a map."""
    caplog.set_level(logging.DEBUG)
    image = planted(draw_photo(5))
    record(store, [image, *(make_image(content) for content in range(LEAST_ROWS))])
    found = reader(store).evidence(image_key(0), key_of(store, SIGNAL))

    said = repr(found) + caplog.text
    assert "site.example" not in said
    for secret in (SIGNAL, image.traits[0], image.traits[0][2:]):
        assert secret.hex() not in said
        assert repr(secret) not in said

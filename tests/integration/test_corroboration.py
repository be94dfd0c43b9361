"""A reporter's second hash on a real store: the picture's own, a forged one, a stranger's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from delist.direct import ReportedHash, hash_of_image
from delist.model import CaseState
from delist.ops.pictures import draw_photo, encode
from delist.policy import DIRECT_FEED
from indexer.errors import InvalidDigestError
from indexer.evidence import EvidenceReader
from indexer.hashing import hash_image
from indexer.hashing.corroboration import (
    CORROBORATES,
    CorroboratingHash,
    corroborating_hash,
    foretold_map,
    parse_corroborating,
)
from indexer.hashing.modes import packed
from indexer.hashing.paths import web_blocks
from indexer.hashing.pdq import digests_of_blocks
from indexer.match import FEED_KIND_PDQ
from indexer.model import HashedImage, Hasher
from indexer.store import Store
from indexer.url import canonical_url, url_key
from indexer.visits import VisitRecorder
from tests.fakes.delisting import World
from tests.fakes.edits import cropped
from tests.fakes.signals import NOW, add_signals, key_of, make_lookup, make_visit, open_store

URL = "https://images.example/one.jpg"
KEY = url_key(canonical_url(URL))
PICTURE = draw_photo(5)
MAP = "01" + "f0" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


def reported(picture: Image.Image) -> tuple[bytes, CorroboratingHash]:
    """Hash a picture as a reporter's browser does: both hashes."""
    block = web_blocks(packed(picture)).upright
    return digests_of_blocks(block[np.newaxis])[0].tobytes(), corroborating_hash(block)


def seen(store: Store, data: bytes, digest: bytes) -> None:
    """Take a signal in, and then an image at ``URL``."""
    add_signals(store, [digest])
    visit = make_visit(URL, hashed(data))
    VisitRecorder(store, make_lookup(store)).record([visit], now=NOW)


def hashed(data: bytes) -> HashedImage:
    return hash_image(data, max_bytes=1 << 26, max_pixels=1 << 26)


def likeness(store: Store, digest: bytes, second: CorroboratingHash) -> float:
    found = EvidenceReader(store, lambda: NOW).corroboration(KEY, key_of(store, digest), second)
    assert found is not None
    return found


def turned(picture: Image.Image) -> bytes:
    """Write a picture lying on its side, with the tag that has viewers turn it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


COPIES = {
    "the same": encode(PICTURE, "PNG"),
    "recompressed": encode(PICTURE, "JPEG", quality=30),
    "small": encode(PICTURE.resize((128, 96)), "JPEG", quality=80),
    "cropped a little": encode(cropped(PICTURE, left=0.01, bottom=0.01), "PNG"),
    "mirrored": encode(PICTURE.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
    "turned by a tag": turned(PICTURE),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_reporters_copy_is_corroborated_and_a_forger_s_word_is_not(
    store: Store, copy: bytes
) -> None:
    """Who hashed the picture is told from who made a second hash out of the first one."""
    digest, own = reported(PICTURE)
    seen(store, copy, digest)
    forged = CorroboratingHash(np.packbits(foretold_map(digest).bright).tobytes())

    assert likeness(store, digest, own) >= CORROBORATES
    assert likeness(store, digest, forged) < CORROBORATES / 2
    assert likeness(store, digest, reported(draw_photo(6))[1]) < CORROBORATES / 2


def test_the_picture_turned_by_a_tag_is_found_by_the_browsers_path_alone(store: Store) -> None:
    """So that the case above is the one in which all turns are tried."""
    digest, _ = reported(PICTURE)
    seen(store, turned(PICTURE), digest)

    with store.read() as txn:
        match = store.images.find_match(txn, KEY, key_of(store, digest))

    assert match is not None
    assert match.hasher is Hasher.WEB


def test_nothing_is_said_without_a_match(store: Store) -> None:
    """An image that does not match the signal, or is not there, gives None."""
    digest, own = reported(PICTURE)
    seen(store, encode(draw_photo(9), "PNG"), digest)
    reader = EvidenceReader(store, lambda: NOW)

    assert reader.corroboration(KEY, key_of(store, digest), own) is None
    assert reader.corroboration(bytes(16), key_of(store, digest), own) is None
    assert reader.corroboration(KEY, bytes(16), own) is None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as opened:
        yield opened


def seconds_in(world: World, digest: bytes) -> tuple[bytes, ...]:
    store = world.delist.indexer.store
    key = store.signals.key(feed=DIRECT_FEED, kind=FEED_KIND_PDQ, value=digest)
    with store.read() as txn:
        return store.signals.seconds.of(txn, key)


def corroborations(world: World) -> list[float | None]:
    case = world.case_of(URL)
    return [found.corroboration for found in world.delist.evidence(case).values()]


def test_a_direct_report_is_corroborated_when_its_picture_turns_up(world: World) -> None:
    """From what is kept of the image alone; who sent the digest without a second hash gets none."""
    digest, own = reported(PICTURE)
    world.visit(URL, hashed(COPIES["recompressed"]))
    plain = ReportedHash(kind=FEED_KIND_PDQ, value=digest.hex())

    world.delist.direct.add([plain], reference="first", actor="Robin")
    world.settle()
    without = corroborations(world)
    world.delist.direct.add([replace(plain, second=own)], reference="second", actor="Robin")
    (found,) = corroborations(world)

    assert without == [None]
    assert found is not None
    assert found >= CORROBORATES
    assert world.state_of(URL) is CaseState.OPEN  # still a person's to decide


def test_a_file_that_an_operator_brings_has_its_second_hash() -> None:
    """As near to that of a browser as the two paths are."""
    entry = hash_of_image(hashed(COPIES["the same"]))
    assert entry.second is not None

    ours, theirs = entry.second.map_bits, reported(PICTURE)[1].map_bits

    assert (int.from_bytes(ours) ^ int.from_bytes(theirs)).bit_count() <= 16
    assert entry.second.map_bits.hex() not in repr(entry)


def test_a_second_hash_goes_with_its_case(world: World) -> None:
    """Two report one picture: the first to withdraw takes their own, the last one everything."""
    digest, own = reported(PICTURE)
    other = reported(draw_photo(8))[1]
    entry = ReportedHash(kind=FEED_KIND_PDQ, value=digest.hex())
    for reference, second in (("first", own), ("second", other)):
        entry_with = replace(entry, second=second)
        world.delist.direct.add([entry_with], reference=reference, actor="Robin")

    both = seconds_in(world, digest)
    world.delist.direct.withdraw("first", actor="Robin")
    one = seconds_in(world, digest)
    world.delist.direct.withdraw("second", actor="Robin")

    assert [both, one] == [(bytes(own), bytes(other)), (bytes(other),)]
    assert seconds_in(world, digest) == ()
    world.delist.direct.add([entry], reference="second", actor="Robin")
    assert seconds_in(world, digest) == ()


@pytest.mark.parametrize("text", [MAP, MAP.upper(), f" {MAP}\n"])
def test_a_second_hash_is_read_as_it_was_written(text: str) -> None:
    """In either case, and blanks around it do not count; its repr does not show it."""
    second = parse_corroborating(text)

    assert bytes(second).hex() == MAP
    assert "f0" not in repr(second)


@pytest.mark.parametrize(
    "text",
    ["", MAP[2:], MAP + "00", "02" + MAP[2:], *("01" + byte * 32 for byte in ("zz", "00", "ff"))],
)
def test_what_is_no_second_hash_is_refused(text: str) -> None:
    """By length, digits, layout, and where it says nothing; the text is not repeated."""
    with pytest.raises(InvalidDigestError) as refused:
        parse_corroborating(text)

    assert not text or text not in str(refused.value)

"""Distances, thresholds, and which digests can serve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import HashKindMismatchError, InvalidDigestError
from indexer.match import checked_digest, compare, distance_bits, is_degenerate, parse_digest
from indexer.model import DIGEST_BITS, Hasher, HashKind, ImageHash, Signal
from tests.fakes.signals import NOW, flip, make_digest

digests = st.binary(min_size=32, max_size=32)
ZERO = bytes(32)


def image_at(bits: int, digest: bytes = ZERO) -> ImageHash:
    return ImageHash(
        kind=HashKind.PDQ,
        digest=flip(digest, bits),
        quality=77,
        hasher=Hasher.WEB,
        variant="mirror+black",
    )


def make_signal(digest: bytes = ZERO, kind: str = "ImagePDQ") -> Signal:
    return Signal(
        key=b"k" * 16,
        feed="bank",
        kind=kind,
        digest=digest,
        status="Active",
        added_at=NOW,
        changed_at=NOW,
    )


@pytest.mark.parametrize(
    ("bits", "threshold_bits", "matches"),
    [(0, 0, True), (1, 0, False), (31, 31, True), (32, 31, False), (256, 256, True)],
)
def test_the_threshold_is_inclusive(bits: int, threshold_bits: int, matches: bool) -> None:
    """A distance equal to the threshold matches; one bit more does not."""
    result = compare(image_at(bits), make_signal(), threshold_bits=threshold_bits)

    assert (result is not None) is matches


def test_a_match_names_what_matched() -> None:
    """A match holds distance, threshold, path, variant and quality of the image's hash."""
    match = compare(image_at(7), make_signal(), threshold_bits=31)

    assert match is not None
    assert (match.signal_key, match.feed) == (b"k" * 16, "bank")
    assert (match.distance_bits, match.threshold_bits) == (7, 31)
    assert (match.hasher, match.variant, match.quality) == (Hasher.WEB, "mirror+black", 77)


@pytest.mark.parametrize("kind", ["VideoMD5", "imagepdq", ""])
def test_another_kind_is_an_error_not_a_miss(kind: str) -> None:
    """Two kinds cannot be compared; that must not read as "no match"."""
    with pytest.raises(HashKindMismatchError):
        compare(image_at(0), make_signal(kind=kind), threshold_bits=31)


def test_another_length_is_an_error_not_a_miss() -> None:
    """Digests of different length cannot be compared."""
    with pytest.raises(HashKindMismatchError):
        compare(image_at(0), make_signal(bytes(16)), threshold_bits=31)


@given(digests, digests)
def test_distance_is_the_number_of_differing_bits(one: bytes, other: bytes) -> None:
    """The Hamming distance, as counted bit by bit by NumPy, and the same in both directions."""
    bits = [np.unpackbits(np.frombuffer(digest, np.uint8)) for digest in (one, other)]

    assert distance_bits(one, other) == int(np.count_nonzero(bits[0] != bits[1]))
    assert distance_bits(one, other) == distance_bits(other, one)


@given(digests, st.sets(st.integers(0, 255)))
def test_distance_counts_every_bit_wherever_it_lies(digest: bytes, positions: set[int]) -> None:
    """No bit of the 256 is left out or counted twice."""
    number = int.from_bytes(digest)
    for position in positions:
        number ^= 1 << position

    assert distance_bits(digest, number.to_bytes(32)) == len(positions)


@given(digests)
def test_hex_digits_read_back_in_either_case(digest: bytes) -> None:
    """Upper case, lower case and blanks around mean the same digest."""
    text = digest.hex()

    assert parse_digest(text) == parse_digest(text.upper()) == parse_digest(f" {text}\n") == digest


@pytest.mark.parametrize(
    "text",
    [
        "", "ab", "0" * 63, "0" * 65, "0" * 128, "g" * 64, "0x" + "0" * 62,
        "0" * 31 + "  " + "0" * 31,
        "٣" * 64, "\uff10" * 64, "-" + "0" * 63, "+" + "0" * 63, "0_" * 32, "00 " * 21 + "0",
    ],
)  # fmt: skip
def test_what_is_not_64_hex_digits_is_no_digest(text: str) -> None:
    """Other lengths and signs are refused; the text is not in the message."""
    with pytest.raises(InvalidDigestError) as raised:
        parse_digest(text)

    assert len(text) < 3 or text not in str(raised.value)


@given(st.binary(max_size=70).filter(lambda raw: len(raw) != 32))
def test_raw_digests_have_32_bytes(raw: bytes) -> None:
    """Raw digests of another length are refused, others pass unchanged."""
    assert checked_digest(raw.ljust(32, b"x")[:32]) == raw.ljust(32, b"x")[:32]
    with pytest.raises(InvalidDigestError):
        checked_digest(raw)


@pytest.mark.parametrize(
    ("set_bits", "degenerate"),
    [(0, True), (95, True), (96, False), (128, False), (160, False), (161, True), (256, True)],
)
def test_degenerate_digests_have_too_few_or_too_many_bits(set_bits: int, degenerate: bool) -> None:
    """96 to 160 set bits, both inclusive, can stand for a photograph."""
    assert is_degenerate(((1 << set_bits) - 1).to_bytes(DIGEST_BITS // 8)) is degenerate


def test_made_up_digests_are_not_degenerate() -> None:
    """What the tests use as digests is what the feed could send."""
    assert not any(is_degenerate(make_digest(seed)) for seed in range(100))

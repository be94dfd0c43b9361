"""A body as it comes in, in any pieces: a video is digested, the rest is passed on unchanged."""

import gzip
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.bodies import Body, BodyLimits
from crawler.decoding import PIECE_BYTES, Decoding, read_encodings
from crawler.errors import RefusedError
from tests.fakes.videos import md5_of, video_bytes
from tests.sites import draw_image

VIDEO = video_bytes("body", 9000)
IMAGE = draw_image(1)


def body(
    *, status: int = 200, encodings: Sequence[str] = (), most: int = 10**6, keep: int = 10**6
) -> Body:
    limits = BodyLimits(max_video_bytes=most, keep_bytes=keep)
    return Body(status=status, declared="", encodings=encodings, limits=limits)


def cut_at(data: bytes, places: Sequence[int]) -> Iterator[bytes]:
    """Cut bytes into pieces at some places."""
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    for start, end in pairwise(bounds):
        if end > start:
            yield data[start:end]


def passed(one: Body, pieces: Iterator[bytes]) -> bytes:
    return b"".join([*(one.take(piece) for piece in pieces), one.end()])


@given(places=st.lists(st.integers(0, 10**6), max_size=40), packed=st.booleans())
def test_pieces_change_nothing(places: list[int], packed: bool) -> None:
    """However the network cuts it, a video has one MD5, and nothing of it is passed on."""
    data = gzip.compress(VIDEO) if packed else VIDEO
    one = body(encodings=["gzip"] if packed else [])

    assert passed(one, cut_at(data, places)) == b""
    assert one.video is not None
    assert one.video.md5.hex() == md5_of(VIDEO)
    assert (one.video.size_bytes, one.video.data) == (len(VIDEO), _decoded_here(VIDEO))
    assert one.received_bytes == len(data)


def _decoded_here(data: bytes) -> bytes | None:
    """Say what is kept: the whole file where videos are decoded, nothing elsewhere."""
    try:
        import av  # noqa: F401, PLC0415 - may be missing
    except ImportError:
        return None
    return data


@given(
    data=st.one_of(st.binary(max_size=3000), st.just(IMAGE)),
    places=st.lists(st.integers(0, 10**6), max_size=20),
    encoding=st.sampled_from(["", "gzip", "br", "no-such"]),
)
def test_what_is_no_video_passes_as_it_came(data: bytes, places: list[int], encoding: str) -> None:
    """Packed, broken or plain, byte for byte; whoever receives it judges it."""
    one = body(encodings=[encoding] if encoding else [])

    assert passed(one, cut_at(data, places)) == data
    assert (one.video, one.is_video) == (None, False)


def test_an_answer_that_is_no_success_is_not_looked_at() -> None:
    """A video behind a 404 is no video that was found."""
    one = body(status=404)

    assert passed(one, iter([VIDEO])) == VIDEO
    assert one.video is None


def test_a_body_that_has_not_ended_has_no_video() -> None:
    """All bytes but the end: no MD5."""
    one = body()
    one.take(VIDEO)

    assert (one.is_video, one.video) == (True, None)


def test_the_limit_is_inclusive_and_counts_unpacked_bytes() -> None:
    """At the limit it is taken; one byte more is refused, packed or not."""
    exact = body(most=len(VIDEO))
    passed(exact, iter([VIDEO]))
    assert exact.video is not None
    for encodings, data in ([], VIDEO), (["gzip"], gzip.compress(VIDEO)):
        with pytest.raises(RefusedError, match="video_too_large"):
            passed(body(most=len(VIDEO) - 1, encodings=encodings), iter([data]))


def test_only_small_videos_are_held() -> None:
    """Beyond what may be decoded, the bytes are let go; the MD5 is the same."""
    one = body(keep=len(VIDEO) - 1)
    passed(one, cut_at(VIDEO, range(0, 9000, 700)))

    assert one.video is not None
    assert one.video.data is None
    assert one.video.md5.hex() == md5_of(VIDEO)


def test_a_part_is_refused() -> None:
    """206: nobody asked for a part, and its MD5 would be that of no file."""
    with pytest.raises(RefusedError, match="http_206"):
        passed(body(status=206), iter([VIDEO]))


def test_unpacked_pieces_are_small() -> None:
    """A bomb comes in pieces, so that a limit can end it."""
    bomb = gzip.compress(bytes(50_000_000))
    pieces = iter(Decoding(["gzip"]).feed(bomb))

    assert max(len(next(pieces)) for _ in range(100)) <= PIECE_BYTES


def test_a_packed_body_that_ends_early_is_broken() -> None:
    """Its length was right, its content is not whole."""
    one = body(encodings=["gzip"])
    one.take(gzip.compress(VIDEO)[:-9])

    with pytest.raises(RefusedError, match="bad_encoding"):
        one.end()


def test_encodings_are_read_from_all_headers() -> None:
    """Several headers, several words, capitals; ``identity`` is none."""
    assert read_encodings([b"GZIP, identity", b" br"]) == ["gzip", "br"]
    assert read_encodings([]) == []


def test_a_body_shows_no_digest() -> None:
    """A video that is logged by accident leaks neither bytes nor digests."""
    one = body()
    passed(one, iter([VIDEO]))

    assert md5_of(VIDEO) not in repr(one.video)
    assert "ftyp" not in repr(one.video)

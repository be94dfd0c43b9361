"""Video files: what is one, its MD5 in any pieces, and what is known of it without frames."""

from hashlib import md5, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.ops.pictures import draw_photo, encode
from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing import FileDigest, hash_bytes, hash_video, video_mime
from indexer.model import FILE_VARIANT, MD5_BYTES, HashedImage, Hasher, HashKind
from indexer.settings import HashingSettings
from tests.fakes.videos import md5_of, video_bytes

LIMITS = HashingSettings(max_bytes=100_000)
TAIL = bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video/mp4"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0qt  ", "video/mp4"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "video/quicktime"),
        (b"\x1a\x45\xdf\xa3", "video/webm"),
        (b"RIFF\0\0\0\0AVI ", "video/x-msvideo"),
        (b"FLV\x01", "video/x-flv"),
        (b"\x00\x00\x01\xba", "video/mpeg"),
        (b"OggS\0", "video/ogg"),
    ],
)
def test_a_video_is_known_by_its_first_bytes(head: bytes, mime: str) -> None:
    """Whatever it is declared as."""
    assert video_mime(head + TAIL) == mime
    assert video_mime(head + TAIL, "text/html") == mime


def test_a_stream_of_packets_is_a_video() -> None:
    """MPEG-TS has no signature but a mark on every packet."""
    packets = (b"G" + bytes(187)) * 5

    assert video_mime(packets) == "video/mp2t"
    assert video_mime(packets[:100]) == video_mime(b"G" + bytes(900)) == ""


@pytest.mark.parametrize("declared", ["", "video/mp4", "VIDEO/x-odd; codecs=1"])
@pytest.mark.parametrize(
    "head",
    [
        b"",
        encode(draw_photo(1)),
        encode(draw_photo(1), "WEBP"),
        b"<html><body>",
        b"#EXTM3U\n#EXTINF:1,\nhttp://a.example/1.ts\n",
        b'{"error": "not found"}',
        b"%PDF-1.7",
    ],
)
def test_pictures_and_text_are_no_videos(head: bytes, declared: str) -> None:
    """Whatever they are declared as: a page that says "not found" is no file to look up."""
    assert video_mime(head[:1024], declared) == ""


def test_the_declared_type_counts_where_the_bytes_say_nothing() -> None:
    """For what is no text; a type that is no type is not believed, and sound is not a video."""
    assert video_mime(TAIL, "Video/X-Odd; codecs=1") == "video/x-odd"
    for declared in ("video/", "video/a b", "audio/ogg", "application/octet-stream"):
        assert video_mime(TAIL, declared) == ""
    assert video_mime(b"OggS" + TAIL, "audio/ogg") == ""


@given(pieces=st.lists(st.binary(max_size=200), max_size=20), keep=st.integers(0, 2000))
def test_a_digest_is_that_of_all_pieces(pieces: list[bytes], keep: int) -> None:
    """MD5, SHA-256 and size of the whole, whatever is kept."""
    digest = FileDigest("video/mp4", keep_bytes=keep)
    for piece in pieces:
        digest.update(piece)
    file, whole = digest.finish(), b"".join(pieces)

    assert file.md5 == md5(whole, usedforsecurity=False).digest()
    assert (file.sha256, file.size_bytes) == (sha256(whole).digest(), len(whole))
    assert file.data in {None, whole}


def of_file(image: HashedImage) -> list[str]:
    return [entry.digest.hex() for entry in image.hashes if entry.variant == FILE_VARIANT]


def test_a_video_without_frames_has_its_md5() -> None:
    """Damaged, or too large to be decoded: not refused, and why is said."""
    for data, why in (
        (video_bytes(1), Refusal.CORRUPT),
        (video_bytes(1, 100_001), Refusal.TOO_MANY_BYTES),
        (b"FLV\x01" + TAIL, Refusal.UNSUPPORTED_FORMAT),
    ):
        result = hash_bytes(data, LIMITS)
        (entry,) = result.hashes
        assert (entry.kind, entry.hasher, len(entry.digest)) == (
            HashKind.VIDEO_MD5,
            Hasher.MD5,
            MD5_BYTES,
        )
        assert of_file(result) == [md5_of(data)]
        assert (result.rows, result.width, result.size_bytes) == ((), 0, len(data))
        if why is not Refusal.CORRUPT or result.incomplete is not Refusal.UNSUPPORTED_FORMAT:
            assert result.incomplete is why  # without PyAV nothing is found to be damaged


def test_frames_do_not_change_the_md5() -> None:
    """With frames, without, and where videos are switched off: one MD5."""
    pytest.importorskip("av")
    from tests.unit.test_video import PHOTOS, video  # noqa: PLC0415 - needs av

    data = video("video/mp4", PHOTOS[:1])
    whole = hash_bytes(data, HashingSettings())
    off = hash_bytes(data, HashingSettings(max_video_frames=0))
    digest = FileDigest("video/mp4", keep_bytes=0)
    digest.update(data)
    streamed = hash_video(digest.finish(), HashingSettings(max_bytes=len(data) - 1))

    assert whole.rows
    assert whole.incomplete is None
    assert (off.rows, off.incomplete) == ((), Refusal.UNSUPPORTED_FORMAT)
    assert (streamed.rows, streamed.incomplete) == ((), Refusal.TOO_MANY_BYTES)
    assert {*of_file(whole), *of_file(off), *of_file(streamed)} == {md5_of(data)}


def test_pictures_have_no_md5() -> None:
    """Nothing changes for them; what is neither is refused as ever."""
    assert of_file(hash_bytes(encode(draw_photo(1), "JPEG"), LIMITS)) == []
    for data in (b"", b"<html>", TAIL):
        with pytest.raises(ImageRefusedError):
            hash_bytes(data, LIMITS)


def test_no_digest_shows_in_a_repr() -> None:
    """Neither of a file nor of what was hashed of it."""
    data = video_bytes(2)
    digest = FileDigest("video/mp4", keep_bytes=10**6)
    digest.update(data)
    shown = repr(digest.finish()) + repr(hash_bytes(data, LIMITS)) + repr(digest)

    assert md5_of(data) not in shown
    assert repr(bytes.fromhex(md5_of(data)))[2:-1] not in shown

"""Videos: one picture a second is hashed, named by its second, in a decoding process."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from delist.ops.pictures import draw_photo, encode
from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing import formats, hash_image
from indexer.hashing.formats import Format, sniff
from indexer.hashing.opening import Limits, format_of
from indexer.model import HashedImage

av = pytest.importorskip("av")

PHOTOS = [draw_photo(seed, width=160, height=120) for seed in range(80, 86)]
KINDS = {
    "video/mp4": ("mpeg4", "mp4"),
    "video/webm": ("libvpx", "webm"),
    "video/x-msvideo": ("mpeg4", "avi"),
}


def video(
    mime: str, photos: Sequence[Image.Image], *, rate: int = 5, seconds_each: int = 1
) -> bytes:
    codec, container = KINDS[mime]
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height = photos[0].size
        stream.pix_fmt, stream.bit_rate, stream.gop_size = "yuv420p", 4_000_000, rate
        for photo in photos:
            for _ in range(rate * seconds_each):
                file.mux(stream.encode(av.VideoFrame.from_image(photo)))
        file.mux(stream.encode())
    return out.getvalue()


def hashed(data: bytes, *, most: int = 120, max_pixels: int = 1 << 22) -> HashedImage:
    return hash_image(data, max_bytes=1 << 24, max_pixels=max_pixels, max_video_frames=most)


def refusal(data: bytes, **limits: int) -> Refusal:
    with pytest.raises(ImageRefusedError) as raised:
        hashed(data, **limits)
    return raised.value.code


def frames_of(image: HashedImage) -> list[int]:
    return [image.label(row).frame for row in range(len(image.rows))]


@pytest.mark.parametrize("mime", KINDS)
def test_a_picture_a_second_is_hashed(mime: str) -> None:
    """Each second is named, and hashes as the still picture that it shows."""
    result = hashed(video(mime, PHOTOS))

    assert (result.mime, result.incomplete) == (mime, None)
    assert (result.width, result.height) == (160, 120)
    assert frames_of(result) == [0, 1, 2, 3, 4, 5]
    for row, photo in enumerate(PHOTOS):
        shown, still = result.rows[row][1][:32], hashed(encode(photo)).rows[0][1][:32]
        assert (int.from_bytes(shown) ^ int.from_bytes(still)).bit_count() <= 31
    assert "mirror+frame3" in {entry.variant for entry in result.hashes}


def test_seconds_that_show_the_same_are_one() -> None:
    """A still scene adds nothing after its first second."""
    assert len(hashed(video("video/mp4", PHOTOS[:2], seconds_each=6)).rows) <= 4


def test_a_long_video_is_sampled_to_its_end() -> None:
    """More seconds than are asked for: key frames, evenly spread."""
    photos = [draw_photo(seed, width=160, height=120) for seed in range(24)]
    frames = frames_of(hashed(video("video/mp4", photos), most=6))

    assert 4 <= len(frames) <= 6
    assert frames[0] == 0
    assert frames[-1] >= 18


def test_videos_can_be_switched_off() -> None:
    """Nothing of them is decoded where the setting is 0."""
    assert refusal(video("video/mp4", PHOTOS[:1]), most=0) is Refusal.UNSUPPORTED_FORMAT


def test_limits_and_damage_are_named() -> None:
    """As for images; what was decoded before the damage counts."""
    data = video("video/webm", PHOTOS)

    assert refusal(data, max_pixels=160 * 120 - 1) is Refusal.TOO_MANY_PIXELS
    assert refusal(data[:200]) is Refusal.CORRUPT
    cut = hashed(data[: len(data) // 2])
    assert 1 <= len(cut.rows) < 6


def test_play_lists_are_not_followed(tmp_path: Path) -> None:
    """No file and no address is opened, whatever a file says."""
    target = tmp_path / "private.mp4"
    target.write_bytes(video("video/mp4", PHOTOS[:1]))
    lists = [
        f"#EXTM3U\n#EXTINF:1,\nfile://{target}\n#EXT-X-ENDLIST\n".encode(),
        f"ffconcat version 1.0\nfile '{target}'\n".encode(),
    ]
    for text in lists:
        assert refusal(text) is Refusal.NOT_AN_IMAGE
        assert refusal(b"\x1a\x45\xdf\xa3" + text) is Refusal.CORRUPT


def test_times_far_off_are_damage() -> None:
    """A clip that says it runs at a frame in a year is hashed to where its times make sense."""
    data = bytearray(video("video/x-msvideo", PHOTOS))
    at = data.index(b"vids") + 20  # scale and rate, 32 bits each
    data[at : at + 8] = (2_000_000_000).to_bytes(4, "little") + (1).to_bytes(4, "little")
    result = hashed(bytes(data))

    assert frames_of(result) == [0]
    assert result.incomplete is Refusal.CORRUPT


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video/mp4"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0", "video/mp4"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0", None),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
    ],
)
def test_videos_are_told_by_content(data: bytes, mime: str | None) -> None:
    """By the brand of the container; sound alone is none."""
    form = sniff(data)
    assert (form and form.mime) == mime


def test_without_pyav_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names the extra."""
    form = Format(mime="video/x-msvideo", demuxer="avi", extra="video")
    monkeypatch.setattr(formats, "_AVI", form)
    limits = Limits(
        max_bytes=1 << 20, max_pixels=1 << 20, max_frames=1, max_video_frames=9, timeout_s=1
    )
    with pytest.raises(ImageRefusedError, match=r"delist\[video\]") as raised:
        format_of(b"RIFF\0\0\0\0AVI LIST", limits)

    assert raised.value.code is Refusal.UNSUPPORTED_FORMAT

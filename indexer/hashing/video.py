"""Videos: one picture a second, by PyAV (FFmpeg). Only decoding processes load this module.

Numbers of frames are whole seconds. A video of more seconds than are asked for is sampled at
evenly spread key frames, without decoding what lies between.

FFmpeg's formats include play lists, which open other files and addresses: the demuxer is named
by us, from the signature, and no protocol is allowed.
"""

from collections.abc import Iterator
from io import BytesIO

import av
import av.container
from PIL import Image

from indexer.hashing.opening import check_size

LAST_SECOND = 1_000_000
"""Eleven days; a time beyond is damage."""

_OPTIONS = {"protocol_whitelist": "none", "enable_drefs": "0"}


def pictures(
    data: bytes, demuxer: str, *, most: int, max_pixels: int
) -> Iterator[tuple[int, Image.Image]]:
    """Decode up to ``most`` pictures; each with the second at which it is shown, ascending.

    Raises:
        ImageRefusedError: it is too large or too small; before anything is decoded.
        ValueError: FFmpeg gave up.
        Exception: what Pillow raises.
    """
    try:
        with av.open(BytesIO(data), "r", format=demuxer, container_options=_OPTIONS) as container:
            if not container.streams.video:
                raise ValueError("no video in it")
            stream = container.streams.video[0]
            check_size(
                (stream.codec_context.width, stream.codec_context.height), max_pixels=max_pixels
            )
            stream.codec_context.thread_count = 1
            seconds = (container.duration or 0) / av.time_base
            ways = _in_turn if seconds <= most else _by_key_frames
            for second, frame in ways(container, most=most, seconds=seconds):
                check_size((frame.width, frame.height), max_pixels=max_pixels)
                yield second, frame.to_image()  # type: ignore[no-untyped-call]
    except av.FFmpegError:
        raise ValueError("FFmpeg gave up") from None


def _in_turn(
    container: av.container.InputContainer, *, most: int, seconds: float
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decode all, and take the first frame of each second."""
    del seconds
    taken = -1
    for frame in container.decode(video=0):
        second = _second_of(frame)
        if second > taken:
            taken = second
            yield second, frame
            most -= 1
        if most <= 0:
            return


def _by_key_frames(
    container: av.container.InputContainer, *, most: int, seconds: float
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Go to evenly spread times, and take the key frame before each."""
    taken = -1
    for step in range(most):
        container.seek(int(step * seconds / most * av.time_base), backward=True)
        frame = next(container.decode(video=0), None)
        if frame is None:
            return
        second = _second_of(frame)
        if second > taken:
            taken = second
            yield second, frame


def _second_of(frame: av.VideoFrame) -> int:
    """Say at which second a frame is shown; those before the beginning count to the first.

    Raises:
        ValueError: long after any video has ended.
    """
    second = max(0, int(frame.time or 0))
    if second > LAST_SECOND:
        raise ValueError("a time far off")
    return second

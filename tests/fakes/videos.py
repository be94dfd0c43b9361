"""Files that are videos by their first bytes, with nothing in them that could be decoded."""

import random
from hashlib import md5

VIDEO_KIND = "VideoMD5"


def video_bytes(seed: object, size_bytes: int = 20_000) -> bytes:
    """Make a file that says it is MP4."""
    head = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    return head + random.Random(f"video {seed}").randbytes(size_bytes - len(head))


def md5_of(data: bytes) -> str:
    """Name a file as the feed does."""
    return md5(data, usedforsecurity=False).hexdigest()

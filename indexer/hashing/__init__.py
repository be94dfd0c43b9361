"""Hashing images as the feed's hashes were made: two paths, eight variants each.

Loaded on first use, so that a decoding process, whose module lies in this package, loads
decoders and nothing else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.hashing.files import FileDigest, VideoFile, hash_bytes, hash_video, video_mime
    from indexer.hashing.image import hash_image, hash_within

_OF_FILES = ("FileDigest", "VideoFile", "hash_bytes", "hash_video", "video_mime")
__all__ = [
    "FileDigest",
    "VideoFile",
    "hash_bytes",
    "hash_image",
    "hash_video",
    "hash_within",
    "video_mime",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the signature of a module's __getattr__
    if name in __all__:
        from indexer.hashing import files, image  # noqa: PLC0415 - lazily, see above

        return getattr(files if name in _OF_FILES else image, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

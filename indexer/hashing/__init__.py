"""Hashing images as the feed's hashes were made: two paths, eight variants each.

Loaded on first use, so that a decoding process, whose module lies in this package, loads
decoders and nothing else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.hashing.image import hash_image, hash_within

__all__ = ["hash_image", "hash_within"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the signature of a module's __getattr__
    if name in __all__:
        from indexer.hashing import image  # noqa: PLC0415 - lazily, see above

        return getattr(image, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

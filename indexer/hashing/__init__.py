"""Hashing images as the feed's hashes were made: two paths, eight variants each."""

from indexer.hashing.image import hash_image

__all__ = ["hash_image"]

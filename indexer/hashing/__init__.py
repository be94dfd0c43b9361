"""Hashing images as the feed's hashes were made: two paths, eight variants each."""

from indexer.hashing.image import hash_image, hash_within

__all__ = ["hash_image", "hash_within"]

"""Exact indexes over the signals' digests, behind ``indexer.ports.AnnIndex``."""

from indexer.ann.flat import FlatIndex

__all__ = ["FlatIndex"]

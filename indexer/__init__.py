"""Which signals an image matches: hashing, feeds, the store, the index and scans.

``Indexer`` is loaded on first use, so that importing a small part (settings,
the model) does not load LMDB, faiss and Pillow.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.build import Indexer

__all__ = ["Indexer"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the signature of a module's __getattr__
    if name == "Indexer":
        from indexer.build import Indexer  # noqa: PLC0415 - lazily, see above

        return Indexer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

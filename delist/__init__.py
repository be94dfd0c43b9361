"""What follows from a match: cases, decisions, suppression records, reports and their edges.

``SuppressionFilter`` is loaded on first use, so that importing a small part does
not load SQLAlchemy.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from delist.serving import SuppressionFilter

__all__ = ["SuppressionFilter"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the signature of a module's __getattr__
    if name == "SuppressionFilter":
        from delist.serving import SuppressionFilter  # noqa: PLC0415 - lazily, see above

        return SuppressionFilter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Conditions on lists: few statements, however many lengths the lists have.

Each length of ``IN (?, ?, …)`` makes another text, and drivers keep what they have prepared by
text: SQLite's 128 for each connection, of tens of KiB where lists are long. So listing cases
filled a worker's memory for hours, one length after the other (ADR 0050).
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement

T = TypeVar("T")

_STEP = 512
"""Beyond it lengths are multiples, so that long lists are not made twice as long."""


def among(column: ColumnElement[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Say that a column holds one of some values: for an empty list, never."""
    return column.in_(padded(values))


def padded(values: Iterable[T]) -> list[T]:
    """Repeat the last value up to the next power of two, or multiple of 512 beyond that."""
    found = list(values)
    if not found:
        return found
    size = 1 << (len(found) - 1).bit_length()
    if len(found) > _STEP:
        size = -(-len(found) // _STEP) * _STEP
    return found + found[-1:] * (size - len(found))

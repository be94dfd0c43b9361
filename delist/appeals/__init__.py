"""Asking to look again, and what is told to whom."""

from delist.appeals.asking import (
    ToProve,
    open_for_holder,
    open_for_site,
    open_for_survivor,
    prove,
)

__all__ = [
    "ToProve",
    "open_for_holder",
    "open_for_site",
    "open_for_survivor",
    "prove",
]

"""One thing that the policy looked at, with what it says: kept with the decision."""

from dataclasses import dataclass
from enum import StrEnum


class Says(StrEnum):
    """What a check says about acting without a person."""

    FOR = "for"
    AGAINST = "against"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: a constant.
        says: whether it speaks for acting alone, against it, or is only noted.
        text: what was found; without digest, URL or case reference.
        signal: key of the signal it is about, or "" for the whole case.
    """

    name: str
    says: Says
    text: str
    signal: str = ""

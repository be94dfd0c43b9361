"""People at work on cases: deciding, the queue, a second look, taking back."""

from delist.review.deciding import (
    Ruling,
    checked_actor,
    checked_reason,
    checked_ruling,
    content_token,
    decide,
    get_case,
    people_needed,
    rule,
)

__all__ = [
    "Ruling",
    "checked_actor",
    "checked_reason",
    "checked_ruling",
    "content_token",
    "decide",
    "get_case",
    "people_needed",
    "rule",
]

"""What the feeds are told: words about their signals, and hashes that they lack."""

from delist.feedback.words import (
    BLOCKED,
    NOT_BLOCKED,
    PENDING,
    WITHDRAWN,
    DeliveryReport,
    deliver,
    queue_for,
    word_for,
)

__all__ = [
    "BLOCKED",
    "NOT_BLOCKED",
    "PENDING",
    "WITHDRAWN",
    "DeliveryReport",
    "deliver",
    "queue_for",
    "word_for",
]

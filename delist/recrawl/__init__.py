"""Recrawl: whether what is suppressed is still there, and still the same image (ADR 0043).

``following`` keeps the schedule in line with the ledger, ``outcomes`` says what a look came to
and when the next one is, ``looking`` looks.
"""

from delist.recrawl.looking import Recrawling, RecrawlReport

__all__ = ["RecrawlReport", "Recrawling"]

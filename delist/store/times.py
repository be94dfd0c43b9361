"""When it is time for what waits, on a clock that may have been wrong.

A clock that runs ahead writes times that lie far ahead once it is set right. What waits for one of
them would wait for months, and nothing would say so. So a time that lies further ahead than
anything ever waits was written by a wrong clock, and has come.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_


def has_come(at: ColumnElement[Any], *, now: datetime, longest: timedelta) -> ColumnElement[bool]:
    """Say, of a column, whether its time has come.

    Args:
        longest: the longest that anything waits there.
    """
    return or_(at <= now, at > now + longest)


def is_ahead(at: datetime, *, now: datetime, longest: timedelta) -> bool:
    """Say, of one time, whether it is still to be waited for."""
    return now < at <= now + longest

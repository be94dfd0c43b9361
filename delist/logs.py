"""Logs: JSON lines on standard error, constant event names, nothing that names a person or a page.

Our own events hold counts and names of feeds. Libraries write URLs and values into
their messages, so of theirs only logger, level and exception type are written.
"""

import logging
import sys

import structlog


class _LibraryMessages(logging.Handler):
    """Says that a library logged something, without what it said."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one constant event."""
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        structlog.get_logger().log(
            record.levelno, "library.message", logger=record.name, error=error
        )


def configure_logs(level: int) -> None:
    """Send logs of this process to standard error from a level on."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Whatever standard error is when something is said: whoever calls ``main`` may swap it.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        handlers=[_LibraryMessages()], level=max(level, logging.WARNING), force=True
    )

"""Steps that several commands end with."""

from typing import TYPE_CHECKING, Any

from delist.cli.context import Context
from delist.cli.output import document_of

if TYPE_CHECKING:
    from delist.build import Delist


def take_in(context: Context, delist: "Delist") -> dict[str, Any]:
    """Take the logs into cases and records, and tell the feeds.

    Feedback that cannot be sent now is a warning, not a failure: it waits in the
    outbox, and `delist run` and the next command try again.
    """
    document = document_of(delist.take_in())
    send_feedback(context, delist)
    return document


def send_feedback(context: Context, delist: "Delist") -> None:
    """Tell the feeds what waits and is due; what fails is a warning."""
    report = delist.send_feedback()
    for feed, reason in report.failed.items():
        context.output.error(f"feedback to {feed} waits: {reason}")

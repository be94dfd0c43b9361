"""Statements for the EU's DSA Transparency Database, as its API takes them.

A search engine is probably not obliged to send them; whoever wants to, can. No address, host,
hash or case is in one: ``puid`` is the id of the suppression record, so that one that is sent
twice is refused there. What the database is told is the same for every record but for days,
and whether a machine or a person decided.

Records come in order, and only once they are older than the delay after which anybody is told
(``[appeals] statement_delay_hours``): the first that is not ends an export.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from delist.model import RecordAction, RecordState, SuppressionRecord
from delist.reporting.exports import new_suppressions
from delist.store import ledger

MOST_IN_ONE = 100
"""Statements that the API takes in one request."""

_FACTS = (
    "A result of image search was found to show, or taken to show, an intimate image of a person"
    " that was shared without their consent. No person, address or image is named here."
)
_GROUND = "Policy of this search engine on intimate images shared without consent"
_EXPLANATION = (
    "Results do not show images that are, or are taken to be, intimate and shared without the"
    " consent of a person they show."
)


def requests(
    connection: Connection, *, after: int, until: datetime, most: int = MOST_IN_ONE
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Make the bodies of ``POST /api/v1/statements``, each with the last record behind it.

    Args:
        after: number of the last record that was exported before.
        until: newer records are not told of yet.
        most: statements in one body.
    """
    records = new_suppressions(connection, after=after, until=until)
    while batch := list(islice(records, most)):
        statements = [statement(record, _ended(connection, record)) for record in batch]
        yield batch[-1].sequence, {"statements": statements}


def statement(record: SuppressionRecord, ended: datetime | None) -> dict[str, Any]:
    """Make the statement of one record; when the image came to be there is not known to us."""
    by_machine = record.state is RecordState.PROVISIONAL
    day = f"{record.effective_at:%Y-%m-%d}"
    found: dict[str, Any] = {
        "decision_visibility": ["DECISION_VISIBILITY_OTHER"],
        "decision_visibility_other": "Not shown in results of image search",
        "decision_ground": "DECISION_GROUND_INCOMPATIBLE_CONTENT",
        "incompatible_content_ground": _GROUND,
        "incompatible_content_explanation": _EXPLANATION,
        "content_type": ["CONTENT_TYPE_IMAGE"],
        "category": "STATEMENT_CATEGORY_CYBER_VIOLENCE",
        "category_specification": ["KEYWORD_NON_CONSENSUAL_IMAGE_SHARING"],
        "content_date": day,
        "application_date": day,
        "decision_facts": _FACTS,
        "source_type": "SOURCE_TYPE_OTHER_NOTIFICATION",
        "automated_detection": "Yes",
        "automated_decision": (
            "AUTOMATED_DECISION_FULLY" if by_machine else "AUTOMATED_DECISION_NOT_AUTOMATED"
        ),
        "puid": record.id,
    }
    if ended is not None:
        found["end_date_visibility_restriction"] = f"{ended:%Y-%m-%d}"
    return found


def _ended(connection: Connection, record: SuppressionRecord) -> datetime | None:
    """Say when the address came back to results, or None."""
    return _revoked_after(record, ledger.of_case(connection, record.case_id))


def _revoked_after(
    record: SuppressionRecord, of_case: Sequence[SuppressionRecord]
) -> datetime | None:
    return next(
        (
            later.effective_at
            for later in of_case
            if later.sequence > record.sequence
            and later.image_url == record.image_url
            and later.action is RecordAction.REVOKE
        ),
        None,
    )

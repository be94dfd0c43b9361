"""A notice for Lumen, with hosts and counts and nothing finer.

A list of addresses would be a directory of the abuse, so there is none; nor a sender, a
principal, a case or a day of one record. Hosts with fewer than ten addresses are not named:
one may be a person's own site. Counts are rounded as in the transparency report.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from delist.reporting.disclosure import publish, total
from delist.reporting.exports import new_suppressions
from delist.sites import site_of

_BODY = (
    "This search engine does not show these results under its policy on intimate images that are"
    " shared without consent. Addresses are not given: a list of them would lead to the images."
    " Hosts with fewer than ten addresses are not named, and counts are rounded down to tens."
)


def notice(
    connection: Connection, *, after: int, until: datetime, recipient: str, now: datetime
) -> tuple[int, dict[str, Any] | None]:
    """Make the body of ``POST /notices`` for the records behind a number.

    Args:
        recipient: name of the search engine.
        until: newer records are not told of yet.

    Returns:
        The number of the last record behind it, and the body; None where there are too few
        records to tell of: then nothing is used up.
    """
    hosts: Counter[str] = Counter()
    last = after
    for record in new_suppressions(connection, after=after, until=until):
        hosts[site_of(record.image_url)] += 1
        last = record.sequence
    body = _body(hosts, recipient, now)
    return (after, None) if body is None else (last, body)


def _body(hosts: Counter[str], recipient: str, now: datetime) -> dict[str, Any] | None:
    works = _works(hosts)
    url_count = total([count for _, count in works])
    if url_count is None:
        return None
    return {
        "notice": {
            "title": "Intimate images shared without consent: results not shown",
            "type": "PrivateInformation",
            "subject": "Results of image search, by host",
            "body": _BODY,
            "language": "en",
            "action_taken": "Yes",
            "date_sent": f"{now:%Y-%m-%d}",
            "url_count": url_count,
            "works_attributes": [
                {"description": f"{name}: {count} addresses or more"} for name, count in works
            ],
            "entity_notice_roles_attributes": [
                {"name": "recipient", "entity_attributes": {"name": recipient}}
            ],
        }
    }


def _works(hosts: Counter[str]) -> Sequence[tuple[str, int]]:
    """List hosts that are named, the largest first, and the rest together, rounded."""
    named = {name: publish(count) for name, count in hosts.items()}
    works = [(name, count) for name, count in named.items() if count is not None]
    works.sort(key=lambda work: (-work[1], work[0]))
    rest = publish(sum(count for name, count in hosts.items() if named[name] is None))
    return works if rest is None else [*works, ("other hosts", rest)]

"""Who has seen which image, and what they did since a time: counted from the audit log."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from delist.store.tables import audit_log, cases

IMAGE_VIEWED = "case.image_viewed"
"""The act of whoever was shown an image, in the detail how clearly."""
DECIDED, UNDONE = "case.decided", "case.decision_undone"
PAUSED, ENDED = "person.paused", "person.shift_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a person did since a time.

    Attributes:
        decided: cases that they decided, each once; what was taken back too.
        undone: decisions that they took back.
        seen: cases whose image they were shown, however clearly.
        clear: of these, those that they saw clearly.
        avoided: decided cases of which they saw no image, of a near-duplicate neither.
        paused_at: when they last made a break or ended a shift.
    """

    decided: int
    undone: int
    seen: int
    clear: int
    avoided: int
    paused_at: datetime | None


def work_of(connection: Connection, actor: str, since: datetime) -> Work:
    """Count what a person did since a time."""
    mine = select(audit_log.c.act, audit_log.c.subject, audit_log.c.detail, audit_log.c.at).where(
        audit_log.c.actor == actor,
        audit_log.c.at >= since,
        audit_log.c.act.in_((IMAGE_VIEWED, DECIDED, UNDONE, PAUSED, ENDED)),
    )
    decided, seen, clear, groups = set[str](), set[str](), set[str](), set[str]()
    undone, paused_at = 0, None
    for row in connection.execute(mine.order_by(audit_log.c.sequence)):
        if row.act == IMAGE_VIEWED:
            detail = json.loads(row.detail)
            seen.add(row.subject)
            groups.add(detail.get("group", ""))
            if detail.get("step") == "clear":
                clear.add(row.subject)
        elif row.act == DECIDED:
            decided.add(row.subject)
        elif row.act == UNDONE:
            undone += 1
        else:
            paused_at = row.at
    return Work(
        decided=len(decided),
        undone=undone,
        seen=len(seen),
        clear=len(clear),
        avoided=len(_unseen(connection, decided - seen, groups)),
        paused_at=paused_at,
    )


def has_seen(connection: Connection, actor: str, case_id: str, step: str) -> bool:
    """Say whether a person was shown the image of a case at a step."""
    found = connection.scalars(
        select(audit_log.c.detail).where(
            audit_log.c.subject == case_id,
            audit_log.c.act == IMAGE_VIEWED,
            func.lower(audit_log.c.actor) == func.lower(actor),
        )
    )
    return any(json.loads(detail).get("step") == step for detail in found)


def seen_in_group(connection: Connection, actor: str, group_id: str) -> datetime | None:
    """Say when a person last saw an image of a group of near-duplicates; None for never."""
    members = select(cases.c.id).where(cases.c.group_id == group_id)
    found: datetime | None = connection.scalar(
        select(func.max(audit_log.c.at)).where(
            audit_log.c.subject.in_(members),
            audit_log.c.act == IMAGE_VIEWED,
            func.lower(audit_log.c.actor) == func.lower(actor),
        )
    )
    return found


def _unseen(
    connection: Connection, case_ids: Collection[str], groups: Collection[str]
) -> list[str]:
    """Leave out the cases of groups of which an image was seen."""
    if not case_ids:
        return []
    chosen = select(cases.c.id).where(cases.c.id.in_(case_ids))
    return list(connection.scalars(chosen.where(cases.c.group_id.not_in(list(groups)))))

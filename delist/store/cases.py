"""Cases, their matches and their decisions in SQL, inside the caller's transaction."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from delist.model import (
    Action,
    Case,
    CaseMatch,
    CaseState,
    Decision,
    RulingKind,
    Support,
    Verdict,
)
from delist.store.lists import among
from delist.store.tables import UtcDateTime, case_matches, cases, decisions

_CONTENT_CHARS = 16
_FIRST_BATCH, _BATCH = 50, 500


def own_group(case: Case) -> str:
    """Name the group that a case leads with the bytes that are there now."""
    return case.id + case.content_sha256[:_CONTENT_CHARS]


def leads(group_id: str, content_sha256: str) -> bool:
    """Whether a group's name says that its first image had these bytes."""
    return group_id.endswith(content_sha256[:_CONTENT_CHARS])


def find(connection: Connection, case_id: str) -> Case | None:
    """Find a case with its matches by its id."""
    if not (
        case_id.isascii() and case_id.isprintable()
    ):  # no id of ours, and perhaps no text that SQL can take
        return None
    return _load_one(connection, cases.c.id == case_id)


def find_by_image(connection: Connection, image_key: str) -> Case | None:
    """Find the case of an image."""
    return _load_one(connection, cases.c.image_key == image_key)


def put(connection: Connection, case: Case, *, before: Case | None) -> None:
    """Store a case and all its matches.

    Args:
        before: as it is stored; None when it is new.
    """
    values = {entry.name: getattr(case, entry.name) for entry in fields(case)}
    del values["matches"]
    values["queue_at"] = case.queue_at or case.deadline_at
    values["awaits_person"] = case.awaits_person
    if before is None:
        connection.execute(insert(cases).values(values))
    else:
        connection.execute(update(cases).where(cases.c.id == case.id).values(values))
        if case.matches == before.matches:
            return
        connection.execute(delete(case_matches).where(case_matches.c.case_id == case.id))
    if case.matches:
        rows = [{"case_id": case.id, **asdict(match)} for match in case.matches]
        connection.execute(insert(case_matches), rows)


def add_decision(connection: Connection, decision: Decision) -> int:
    """Append a decision; returns its number."""
    added = connection.execute(insert(decisions).values(asdict(decision)).returning(decisions.c.id))
    return int(added.scalar_one())


def decisions_of(connection: Connection, case_id: str) -> list[Decision]:
    """Load the decisions on a case, the oldest first."""
    found = connection.execute(
        select(decisions).where(decisions.c.case_id == case_id).order_by(decisions.c.id)
    )
    return [_decision(row) for row in found]


def rulings(connection: Connection, case_id: str, *, content_sha256: str) -> list[Decision]:
    """Load people's decisions on one content version of a case's image, the oldest first.

    Also those that took one back.
    """
    found = connection.execute(
        select(decisions)
        .where(
            decisions.c.case_id == case_id,
            decisions.c.content_sha256 == content_sha256,
            or_(decisions.c.verdict.is_not(None), decisions.c.kind == RulingKind.UNDO.value),
        )
        .order_by(decisions.c.id)
    )
    return [_decision(row) for row in found]


def decided_with(
    connection: Connection, case: Case, *, actor: str, reason: str, since: datetime
) -> list[str]:
    """List the near-duplicates of a case that a person decided on for a reason that begins so."""
    found = (
        select(decisions.c.case_id)
        .join(cases, cases.c.id == decisions.c.case_id)
        .where(
            cases.c.group_id == case.group_id,
            cases.c.id != case.id,
            decisions.c.kind == RulingKind.REVIEW.value,
            decisions.c.actor == actor,
            decisions.c.decided_at >= since,
            decisions.c.reason.startswith(reason, autoescape=True),
        )
        .distinct()
        .order_by(decisions.c.case_id)
    )
    return list(connection.scalars(found))


def acted_at(connection: Connection, case_id: str, *, content_sha256: str) -> datetime | None:
    """Return when the machine suppressed one content version of a case's image first, or None."""
    found: datetime | None = connection.scalar(
        select(func.min(decisions.c.decided_at)).where(
            decisions.c.case_id == case_id,
            decisions.c.content_sha256 == content_sha256,
            decisions.c.kind == RulingKind.POLICY.value,
            decisions.c.action == Action.SUPPRESS.value,
        )
    )
    return found


def every(connection: Connection, *, awaiting_person: bool) -> Iterator[Case]:
    """Iterate over cases: those that wait for a person, as in the queue, or all, by deadline.

    A page of them at a time is in memory, and each page is found by an index.
    """
    order = cases.c.queue_at if awaiting_person else cases.c.deadline_at
    chosen = select(cases).order_by(order, cases.c.id)
    if awaiting_person:
        chosen = chosen.where(cases.c.awaits_person)
    page = connection.execute(chosen.limit(_FIRST_BATCH)).all()
    while page:
        yield from _with_matches(connection, page)
        last = page[-1]
        place = tuple_(literal(last._mapping[order.name], UtcDateTime), literal(last.id))  # noqa: SLF001 - SQLAlchemy's public name for it
        behind = chosen.where(tuple_(order, cases.c.id) > place)
        page = connection.execute(behind.limit(_BATCH)).all()


def on_site(connection: Connection, site: str, *, limit: int) -> list[Case]:
    """Load cases of a site, those that wait first, then the newest."""
    found = connection.execute(
        select(cases)
        .where(cases.c.site == site)
        .order_by(cases.c.awaits_person.desc(), cases.c.opened_at.desc(), cases.c.id)
        .limit(limit)
    ).all()
    return list(_with_matches(connection, found))


def supported_by(connection: Connection, signal_keys: Iterable[str]) -> list[Case]:
    """Load the cases that signals stand or stood behind, the oldest first."""
    keys = list(signal_keys)
    matched = select(case_matches.c.case_id).where(among(case_matches.c.signal_key, keys))
    found = connection.execute(
        select(cases).where(cases.c.id.in_(matched)).order_by(cases.c.opened_at, cases.c.id)
    ).all()
    return list(_with_matches(connection, found))


def replaced(connection: Connection) -> Iterator[tuple[str, str, str]]:
    """Go through cases where other bytes are there than a person confirmed, and one has to look.

    Yields:
        Image key, image URL, and the content version that the case is about now.
    """
    chosen = select(cases.c.image_key, cases.c.image_url, cases.c.content_sha256).where(
        cases.c.awaits_person,
        cases.c.confirmed_sha256 != "",
        cases.c.confirmed_sha256 != cases.c.content_sha256,
    )
    for row in connection.execute(chosen):
        yield row.image_key, row.image_url, row.content_sha256


def images_supported_by(connection: Connection, signal_keys: Iterable[str]) -> list[str]:
    """List the image keys of the cases that signals stand behind, the oldest case first.

    Also of those that are suppressed although they no longer match.
    """
    keys = list(signal_keys)
    found = (
        select(cases.c.image_key)
        .join(case_matches, case_matches.c.case_id == cases.c.id)
        .where(
            among(case_matches.c.signal_key, keys),
            or_(
                case_matches.c.support == Support.ACTIVE.value,
                and_(
                    case_matches.c.support == Support.ENDED.value,
                    cases.c.state == CaseState.SUPPRESSED.value,
                ),
            ),
        )
        .group_by(cases.c.image_key, cases.c.opened_at, cases.c.id)
    )
    return list(connection.scalars(found.order_by(cases.c.opened_at, cases.c.id)))


def standings(connection: Connection, signal_key: str) -> list[tuple[CaseState, Verdict | None]]:
    """Load state and verdict of the cases that a signal stands behind, each pair once."""
    found = connection.execute(
        select(cases.c.state, cases.c.verdict)
        .join(case_matches, case_matches.c.case_id == cases.c.id)
        .where(
            case_matches.c.signal_key == signal_key,
            case_matches.c.support == Support.ACTIVE.value,
        )
        .distinct()
    )
    return [
        (CaseState(row.state), None if row.verdict is None else Verdict(row.verdict))
        for row in found
    ]


def site_verdicts(connection: Connection, site: str) -> dict[tuple[str, Verdict], int]:
    """Count people's verdicts in force on the images of a site, by place and verdict."""
    found = connection.execute(
        select(cases.c.path, cases.c.verdict, func.count())
        .where(cases.c.site == site, cases.c.verdict.is_not(None))
        .group_by(cases.c.path, cases.c.verdict)
    )
    return {(path, Verdict(verdict)): count for path, verdict, count in found}


def matched_sites(
    connection: Connection, signal_key: str, *, since: datetime, limit: int
) -> list[str]:
    """List different sites that a signal has newly matched since a time, at most ``limit``."""
    found = (
        select(cases.c.site)
        .join(case_matches, case_matches.c.case_id == cases.c.id)
        .where(
            case_matches.c.signal_key == signal_key,
            case_matches.c.support == Support.ACTIVE.value,
            case_matches.c.matched_at >= since,
        )
        .distinct()
        .limit(limit)
    )
    return list(connection.scalars(found))


def matched_contents(
    connection: Connection, signal_key: str, *, since: datetime, limit: int
) -> list[str]:
    """List different contents that a signal has newly matched since a time, up to ``limit``."""
    found = (
        select(case_matches.c.content_sha256)
        .where(
            case_matches.c.signal_key == signal_key,
            case_matches.c.support == Support.ACTIVE.value,
            case_matches.c.matched_at >= since,
        )
        .distinct()
        .limit(limit)
    )
    return list(connection.scalars(found))


def has_match(
    connection: Connection, *, feed: str | None = None, signal_key: str | None = None
) -> bool:
    """Whether a feed or a signal stands or stood behind any case."""
    chosen = select(case_matches.c.case_id)
    if feed is not None:
        chosen = chosen.where(case_matches.c.feed == feed)
    if signal_key is not None:
        chosen = chosen.where(case_matches.c.signal_key == signal_key)
    return connection.execute(chosen.limit(1)).first() is not None


def image_keys_after(
    connection: Connection, image_key: str, *, limit: int | None = None
) -> list[str]:
    """List image keys of cases behind one, in order."""
    chosen = select(cases.c.image_key).where(cases.c.image_key > image_key)
    return list(connection.scalars(chosen.order_by(cases.c.image_key).limit(limit)))


def total(connection: Connection) -> int:
    """Count all cases."""
    return int(connection.scalar(select(func.count()).select_from(cases)) or 0)


def group(connection: Connection, group_id: str, *, limit: int) -> list[Case]:
    """Load the cases of one group of near-duplicates, the oldest first."""
    found = connection.execute(
        select(cases)
        .where(cases.c.group_id == group_id)
        .order_by(cases.c.opened_at, cases.c.id)
        .limit(limit)
    ).all()
    return list(_with_matches(connection, found))


def group_size(connection: Connection, group_id: str) -> int:
    """Count the cases of a group of near-duplicates that a live signal stands behind."""
    found = select(func.count()).select_from(cases)
    found = found.where(cases.c.group_id == group_id, cases.c.state != CaseState.WITHDRAWN.value)
    return int(connection.scalar(found) or 0)


def group_verdicts(connection: Connection, group_id: str, *, but: str) -> dict[Verdict, int]:
    """Count people's verdicts in force in a group of near-duplicates, one case left out."""
    found = connection.execute(
        select(cases.c.verdict, func.count())
        .where(cases.c.group_id == group_id, cases.c.id != but, cases.c.verdict.is_not(None))
        .group_by(cases.c.verdict)
    )
    return {Verdict(verdict): count for verdict, count in found}


def leaders(
    connection: Connection, signal_keys: Iterable[str], *, limit: int
) -> list[tuple[str, str, str]]:
    """List cases that lead a group and share a signal, the oldest first.

    Returns:
        Group, image key and content of each.
    """
    own = cases.c.id + func.substr(cases.c.content_sha256, 1, _CONTENT_CHARS)
    matched = select(case_matches.c.case_id).where(among(case_matches.c.signal_key, signal_keys))
    found = connection.execute(
        select(cases.c.group_id, cases.c.image_key, cases.c.content_sha256)
        .where(cases.c.id.in_(matched), cases.c.group_id == own)
        .order_by(cases.c.opened_at, cases.c.id)
        .limit(limit)
    )
    return [(row.group_id, row.image_key, row.content_sha256) for row in found]


def _load_one(connection: Connection, condition: Any) -> Case | None:  # noqa: ANN401 - an SQL expression
    found = connection.execute(select(cases).where(condition)).all()
    return next(_with_matches(connection, found), None)


def _with_matches(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[Case]:
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        matches: dict[str, list[CaseMatch]] = {row.id: [] for row in part}
        found = connection.execute(
            select(case_matches)
            .where(among(case_matches.c.case_id, matches))
            .order_by(case_matches.c.distance_bits, case_matches.c.signal_key)
        )
        for row in found:
            values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
            case_id = values.pop("case_id")
            values["support"] = Support(values["support"])
            matches[case_id].append(CaseMatch(**values))
        yield from (_case(row, matches[row.id]) for row in part)


def _decision(row: Row[Any]) -> Decision:
    return Decision(
        case_id=row.case_id,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        action=Action(row.action),
        actor=row.actor,
        policy_version=row.policy_version,
        reason=row.reason,
        content_sha256=row.content_sha256,
        decided_at=row.decided_at,
        kind=RulingKind(row.kind),
        needs=row.needs,
        checks=row.checks,
    )


def _case(row: Row[Any], matches: list[CaseMatch]) -> Case:
    values = dict(row._mapping)  # noqa: SLF001
    values["state"] = CaseState(values["state"])
    for name in ("verdict", "pending"):
        values[name] = None if values[name] is None else Verdict(values[name])
    del values["awaits_person"]
    return Case(**values, matches=tuple(matches))

"""Appeals in SQL, inside the caller's transaction."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)

from delist.appeal_record import Appeal, AppealState, Asks, Party
from delist.errors import UnknownAppealError
from delist.store import audit
from delist.store.lists import among
from delist.store.tables import appeals, blind_reviews


def add(connection: Connection, appeal: Appeal) -> None:
    """Store a new appeal."""
    connection.execute(insert(appeals).values(asdict(appeal)))


def put(connection: Connection, appeal: Appeal) -> None:
    """Store what has changed of an appeal."""
    connection.execute(update(appeals).where(appeals.c.id == appeal.id).values(asdict(appeal)))


def find(connection: Connection, appeal_id: str) -> Appeal | None:
    """Find an appeal by its id."""
    if not (appeal_id.isascii() and appeal_id.isprintable()):  # no id of ours
        return None
    found = connection.execute(select(appeals).where(appeals.c.id == appeal_id)).first()
    return None if found is None else _appeal(found)


def get(connection: Connection, appeal_id: str, *, now: datetime) -> Appeal:
    """Load an appeal.

    Raises:
        UnknownAppealError: no such appeal, or its time to be proved is over.
    """
    appeal = find(connection, appeal_id)
    lapsed = (
        appeal is not None
        and appeal.state is AppealState.AWAITING_PROOF
        and appeal.deadline_at <= now
    )
    if appeal is None or lapsed:
        raise UnknownAppealError("no appeal has this id, or its time to be proved is over")
    return appeal


def note(
    connection: Connection, appeal: Appeal, act: str, *, now: datetime, actor: str = ""
) -> None:
    """Append to the audit log what somebody did about an appeal; "" for the party itself."""
    audit.append(
        connection,
        actor=actor or appeal.party.value,
        act=act,
        subject=appeal.id,
        now=now,
        detail={"asks": appeal.asks.value, "state": appeal.state.value, "case": appeal.case_id},
    )


def every(connection: Connection, *, waiting: bool) -> list[Appeal]:
    """List the appeals that wait for a decision, or all, by deadline."""
    chosen = select(appeals).order_by(appeals.c.deadline_at, appeals.c.id)
    if waiting:
        chosen = chosen.where(appeals.c.state == AppealState.OPEN.value)
    return [_appeal(row) for row in connection.execute(chosen)]


def of_case(connection: Connection, case_id: str) -> list[Appeal]:
    """List the appeals about a case, the oldest first."""
    chosen = select(appeals).where(appeals.c.case_id == case_id)
    found = connection.execute(chosen.order_by(appeals.c.opened_at, appeals.c.id))
    return [_appeal(row) for row in found]


def count_open(connection: Connection, party: Party, party_key: str) -> int:
    """Count a party's appeals that wait for a decision."""
    return _count(connection, _of(party, party_key), appeals.c.state == AppealState.OPEN.value)


def count_proved(connection: Connection, party: Party, party_key: str, *, since: datetime) -> int:
    """Count a party's appeals that were proved since a time."""
    return _count(connection, _of(party, party_key), appeals.c.proved_at > since)


def find_open(connection: Connection, party: Party, party_key: str, case_id: str) -> Appeal | None:
    """Find a party's appeal about a case that waits for a decision."""
    found = connection.execute(
        select(appeals).where(
            _of(party, party_key),
            appeals.c.case_id == case_id,
            appeals.c.state == AppealState.OPEN.value,
        )
    ).first()
    return None if found is None else _appeal(found)


def cases_asked_to_keep(connection: Connection, case_key: str, case_ids: Iterable[str]) -> set[str]:
    """Say for which cases the holder of a case reference waits to have them looked at again."""
    found = connection.scalars(
        select(appeals.c.case_id).where(
            _of(Party.SURVIVOR, case_key),
            among(appeals.c.case_id, case_ids),
            appeals.c.state == AppealState.OPEN.value,
            appeals.c.asks == Asks.KEEP.value,
        )
    )
    return {case_id for case_id in found if case_id is not None}


def drop_unproved(connection: Connection, party_key: str, *, now: datetime, most: int) -> None:
    """Forget appeals whose time to be proved is over, and the oldest of a site beyond ``most``."""
    connection.execute(delete(appeals).where(lapsed(now)))
    waiting = appeals.c.state == AppealState.AWAITING_PROOF.value
    surplus = list(
        connection.scalars(
            select(appeals.c.id)
            .where(waiting, appeals.c.party_key == party_key)
            .order_by(appeals.c.opened_at.desc(), appeals.c.id)
            .offset(most)
        )
    )
    if surplus:
        connection.execute(delete(appeals).where(appeals.c.id.in_(surplus)))


def lapsed(now: datetime) -> ColumnElement[bool]:
    """Say of an appeal whether its time to be proved is over."""
    return and_(appeals.c.state == AppealState.AWAITING_PROOF.value, appeals.c.deadline_at <= now)


def blind_reviewers(connection: Connection, case_id: str, *, content_sha256: str) -> set[str]:
    """Name who has looked at a content version blind."""
    found = connection.scalars(
        select(blind_reviews.c.actor).where(
            blind_reviews.c.case_id == case_id,
            blind_reviews.c.content_sha256 == content_sha256,
            blind_reviews.c.actor.is_not(None),
        )
    )
    return {actor for actor in found if actor}


def _of(party: Party, party_key: str) -> Any:  # noqa: ANN401 - an SQL expression
    return (appeals.c.party_key == party_key) & (appeals.c.party == party.value)


def _count(connection: Connection, *conditions: Any) -> int:  # noqa: ANN401 - SQL expressions
    return int(connection.scalar(select(func.count()).select_from(appeals).where(*conditions)) or 0)


def _appeal(row: Row[Any]) -> Appeal:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values["party"] = Party(values["party"])
    values["asks"] = Asks(values["asks"])
    values["state"] = AppealState(values["state"])
    return Appeal(**values)

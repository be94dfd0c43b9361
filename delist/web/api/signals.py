"""A signal's status, by key: whoever has only a digest learns nothing here."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request

from delist.model import BrakeKind
from delist.store import brakes
from delist.web.api.shapes import KEY_PATTERN, Told, answers, delist_of
from delist.web.problems import Problem
from delist.web.tokens import ReviewCaller
from indexer.model import has_ended

router = APIRouter(tags=["signals"])


class SignalStatus(Told):
    """One signal; neither its digest nor a case reference."""

    signal: str
    feed: str
    state: str
    kind: str | None = None
    references: int | None = None
    added_at: datetime | None = None
    changed_at: datetime | None = None
    withdrawn_at: datetime | None = None
    stopped: str | None = None


@router.get("/v1/signals/{key}", responses=answers(404, 422))
def signal_status(
    request: Request, _caller: ReviewCaller, key: Annotated[str, Path(pattern=KEY_PATTERN)]
) -> SignalStatus:
    """Say where a signal stands: `live` or `withdrawn`, and which brake is on for it."""
    delist = delist_of(request)
    name = bytes.fromhex(key)
    store = delist.indexer.store
    with store.read() as txn:
        signal, stone = store.signals.find(txn, name), store.signals.find_tombstone(txn, name)
    if signal is not None:
        with delist.database.read() as connection:
            stopped = brakes.codes_on(connection)
        return SignalStatus(
            signal=key,
            feed=signal.feed,
            state="live",
            kind=signal.kind,
            references=sum(not has_ended(entry.status) for entry in signal.cases),
            added_at=signal.added_at,
            changed_at=signal.changed_at,
            stopped=stopped.get((BrakeKind.SIGNAL, key)),
        )
    if stone is None:
        raise Problem(404, "unknown_signal", "no signal has this key")
    return SignalStatus(
        signal=key, feed=stone.feed, state="withdrawn", withdrawn_at=stone.withdrawn_at
    )

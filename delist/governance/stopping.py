"""Brakes in people's hands: stopping a feed or a signal at once, and releasing what was stopped.

A bank is a feed. What rests on stopped signals alone goes on hold; what a person confirmed stays.
The machine sets brakes too (``braking``), and only a person releases them.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from delist.errors import UsageError
from delist.model import BrakeKind
from delist.policy import DIRECT_FEED
from delist.review import checked_actor, checked_reason
from delist.store import Database, audit, brakes, cases, reassessments
from delist.store.brakes import Brake
from indexer.store import Store
from indexer.url import KEY_BYTES

KILL_SWITCH = "kill_switch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """What setting or releasing a brake came to.

    Attributes:
        changed: brakes that were set or released; 0 where it was set already.
        cases: that are looked at again.
    """

    kind: BrakeKind
    name: str
    changed: int
    cases: int


def listed(database: Database, *, every: bool) -> list[Brake]:
    """List the brakes that are on, or all that ever were, the newest first."""
    with database.read() as connection:
        return brakes.every(connection, on_only=not every)


def stop(
    store: Store,
    database: Database,
    kind: BrakeKind,
    name: str,
    *,
    feeds: frozenset[str],
    actor: str,
    reason: str,
    now: datetime,
) -> Switched:
    """Stop a feed or a signal: it supports nothing until it is released.

    Args:
        feeds: names of the feeds that are configured.

    Raises:
        UsageError: no such feed or signal, or actor or reason is missing or too long.
    """
    actor, reason = checked_actor(actor), checked_reason(reason)
    with database.write() as connection:
        _check_known(store, connection, kind, name, feeds)
        new = brakes.put(
            connection,
            kind=kind,
            name=name,
            code=KILL_SWITCH,
            detail=reason,
            actor=actor,
            now=now,
        )
        asked = _ask(connection, kind, name, reason=KILL_SWITCH, now=now) if new else 0
        if new:
            audit.append(
                connection,
                actor=actor,
                act="brake.set",
                subject=name,
                now=now,
                detail={"kind": kind.value, "code": KILL_SWITCH},
            )
    return Switched(kind=kind, name=name, changed=int(new), cases=asked)


def release(
    database: Database, kind: BrakeKind, name: str, *, actor: str, reason: str, now: datetime
) -> Switched:
    """Release every brake that is on for a feed or a signal, whoever has set it.

    Raises:
        UsageError: none is on, or actor or reason is missing or too long.
    """
    actor, reason = checked_actor(actor), checked_reason(reason)
    with database.write() as connection:
        codes = sorted(
            brake.code
            for brake in brakes.every(connection)
            if (brake.kind, brake.name) == (kind, name)
        )
        if not codes:
            raise UsageError(f"no brake is on for this {kind.value}; see `delist brakes list`")
        changed = brakes.release(
            connection, kind=kind, name=name, actor=actor, reason=reason, now=now
        )
        asked = _ask(connection, kind, name, reason="brake_released", now=now)
        audit.append(
            connection,
            actor=actor,
            act="brake.released",
            subject=name,
            now=now,
            detail={"kind": kind.value, "codes": codes},
        )
    return Switched(kind=kind, name=name, changed=changed, cases=asked)


def _check_known(
    store: Store, connection: Connection, kind: BrakeKind, name: str, feeds: frozenset[str]
) -> None:
    """Make sure that there is something to stop: a wrong name would stop nothing.

    Raises:
        UsageError: there is not.
    """
    if kind is BrakeKind.FEED:
        with store.read() as txn:
            known = name in feeds or name == DIRECT_FEED or bool(store.signals.counts(txn, name))
        if not known and not cases.has_match(connection, feed=name):
            raise UsageError("no feed or bank has this name; `delist feed status` shows them")
        return
    try:
        key = bytes.fromhex(name)
    except ValueError:
        key = b""
    if len(key) == KEY_BYTES and name == key.hex():
        with store.read() as txn:
            if store.signals.find(txn, key) is not None:
                return
        if cases.has_match(connection, signal_key=name):
            return
    raise UsageError("no signal has this key; `delist cases show` names those of a case")


def _ask(connection: Connection, kind: BrakeKind, name: str, *, reason: str, now: datetime) -> int:
    ask = {
        BrakeKind.FEED: reassessments.ask_for_feed,
        BrakeKind.SIGNAL: reassessments.ask_for_signal,
    }[kind]
    return ask(connection, name, reason=reason, now=now)

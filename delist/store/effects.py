"""The ledger as the serving filter reads it: which record put which URL in or out of effect.

Rows of four columns, so that ten million of them are read in bearable time.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from delist.errors import LedgerError
from delist.model import RecordAction
from delist.store.lists import among
from delist.store.tables import suppression_records as records

_BATCH, _IDS = 5_000, 500


class Effect(NamedTuple):
    """What a record does to a URL, for one case."""

    sequence: int
    suppress: bool
    case_id: str
    image_url: str


def after(connection: Connection, sequence: int) -> Iterator[list[Effect]]:
    """Iterate over what follows a number, in order and in batches.

    Raises:
        LedgerError: a record holds an action that no record says.
    """
    while True:
        chosen = _columns().where(records.c.sequence > sequence).order_by(records.c.sequence)
        found = [_effect(row) for row in connection.execute(chosen.limit(_BATCH))]
        if not found:
            return
        yield found
        sequence = found[-1].sequence


def in_effect(connection: Connection, sequence: int) -> Iterator[tuple[str, int]]:
    """Iterate over URLs and numbers of the records in effect at a number, case by case.

    A URL comes once for each case that suppresses it. Holds one case at a time in memory.

    Raises:
        LedgerError: a record holds an action that no record says.
    """
    chosen = _columns().where(records.c.sequence <= sequence)
    chosen = chosen.order_by(records.c.case_id, records.c.sequence)
    case_id, held = "", dict[str, int]()
    for row in connection.execute(chosen.execution_options(yield_per=_BATCH)):
        effect = _effect(row)
        if effect.case_id != case_id:
            yield from held.items()
            case_id, held = effect.case_id, {}
        if effect.suppress and effect.image_url:  # empty: the payload was erased
            held[effect.image_url] = effect.sequence
        else:
            held.pop(effect.image_url, None)
    yield from held.items()


def about(connection: Connection, subjects: Sequence[int], sequence: int) -> list[Effect]:
    """Load what records up to a number do to some subjects, in order.

    Args:
        subjects: numbers as ``ledger.subject_of`` gives them; two addresses may share one.

    Raises:
        LedgerError: a record holds an action that no record says.
    """
    found: list[Effect] = []
    for first in range(0, len(subjects), _IDS):
        part = subjects[first : first + _IDS]
        chosen = _columns().where(among(records.c.subject, part), records.c.sequence <= sequence)
        found += map(_effect, connection.execute(chosen))
    return sorted(found)


def record_id(connection: Connection, sequence: int) -> str:
    """Return the id of a record, by which two histories are told apart; empty for none."""
    return connection.scalar(select(records.c.id).where(records.c.sequence == sequence)) or ""


def is_erased_behind(connection: Connection, sequence: int) -> bool:
    """Say whether a record behind a number was erased, and so may have ended one before it."""
    behind = (records.c.sequence > sequence) & records.c.erased_at.is_not(None)
    return connection.execute(select(records.c.sequence).where(behind).limit(1)).first() is not None


def case_ids(connection: Connection, sequences: Sequence[int]) -> dict[int, str]:
    """Return the case of each record, without those that were erased: none is in effect."""
    found: dict[int, str] = {}
    for first in range(0, len(sequences), _IDS):
        part = sequences[first : first + _IDS]
        chosen = select(records.c.sequence, records.c.case_id).where(
            among(records.c.sequence, part), records.c.erased_at.is_(None)
        )
        found.update((row[0], row[1]) for row in connection.execute(chosen))
    return found


def _columns() -> Select[Any]:
    return select(records.c.sequence, records.c.action, records.c.case_id, records.c.image_url)


def _effect(row: Any) -> Effect:  # noqa: ANN401 - a row of ``_columns``
    sequence, action, case_id, image_url = row
    if action not in _ACTIONS:
        raise LedgerError("a record holds a value that cannot be read; it was edited")
    return Effect(sequence, action == _SUPPRESS, case_id, image_url)


_SUPPRESS = RecordAction.SUPPRESS.value
_ACTIONS = frozenset(action.value for action in RecordAction)

"""Comparing what a receiver hides with what the ledger says, and mending the difference."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from delist.consumers.instructions import Instruction, instructions
from delist.consumers.keys import ConsumerKey
from delist.errors import SinkError
from delist.sinks.courier import alone
from delist.sinks.port import Held, Inspectable, Sink
from delist.store import Database, consumers, effects, ledger

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a receiver agrees with the ledger.

    Attributes:
        in_effect: addresses that the ledger hides, of those that the sink was brought already.
        hidden: documents that the receiver hides because of us.
        unfounded: of these, whose record is not in effect: they are to be shown again.
        brought_again: instructions that were brought again to mend, whatever was hidden.
        lifted: documents that were shown again to mend.
    """

    sink: str
    in_effect: int
    hidden: int
    unfounded: int
    brought_again: int = 0
    lifted: int = 0


def compare(
    database: Database,
    name: str,
    sink: Sink,
    key: ConsumerKey,
    *,
    plain: bool,
    mend: bool,
) -> Agreement:
    """Compare, and mend if asked to.

    Documents that the engine came to have after the record was brought are hidden by mending:
    every suppression in effect is brought again. Meanwhile nobody else brings this sink anything:
    what was hidden and shown in between must not be taken for what is missing or too much.

    Raises:
        SinkError: the receiver cannot be asked; to mend, also while somebody brings it what is new.
    """
    assert isinstance(sink, Inspectable)  # noqa: S101 - whoever calls has looked
    if not mend:
        return _compare(database, name, sink, key, plain=plain, mend=False)
    with alone(database.data_dir, name) as mine:
        if not mine:
            raise SinkError("busy", "another process is bringing it what is new; try again")
        return _compare(database, name, sink, key, plain=plain, mend=True)


def _compare(
    database: Database,
    name: str,
    sink: Sink,
    key: ConsumerKey,
    *,
    plain: bool,
    mend: bool,
) -> Agreement:
    assert isinstance(sink, Inspectable)  # noqa: S101 - whoever calls has looked
    held = list(sink.held())
    with database.read() as connection:
        consumer = consumers.find(connection, name)
        position = 0 if consumer is None else consumer.position
        sequences = sorted({number for _, number in effects.in_effect(connection, position)})
    founded: set[str] = set()
    again = 0
    for first in range(0, len(sequences), _BATCH):
        with database.read() as connection:
            found = ledger.entries(connection, sequences[first : first + _BATCH])
            batch = instructions(connection, found, key=key, plain=plain)
        founded.update(told.id for told in batch)
        if mend:
            again += _bring(sink, batch)
    # What was brought again may stand on a document now that nothing in effect hid before.
    lifted = _lift(sink, _unfounded(sink.held(), founded)) if mend else 0
    return Agreement(
        sink=name,
        in_effect=len(sequences),
        hidden=len({entry.document for entry in held}),
        unfounded=len(_unfounded(held, founded)),
        brought_again=again,
        lifted=lifted,
    )


def _bring(sink: Sink, batch: list[Instruction]) -> int:
    return len(batch) - len(sink.deliver(batch)) if batch else 0


def _unfounded(held: Iterable[Held], founded: AbstractSet[str]) -> list[str]:
    """List the documents that no record in effect hides."""
    records: dict[str, set[str]] = {}
    for entry in held:
        records.setdefault(entry.document, set()).add(entry.record_id)
    return [document for document, ids in records.items() if founded.isdisjoint(ids)]


def _lift(sink: Inspectable, documents: list[str]) -> int:
    for first in range(0, len(documents), _BATCH):
        sink.lift(documents[first : first + _BATCH])
    return len(documents)

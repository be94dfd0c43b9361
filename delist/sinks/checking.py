"""Comparing what a receiver hides with what the ledger says, and mending the difference."""

from dataclasses import dataclass

from delist.consumers.instructions import Instruction, instructions
from delist.consumers.keys import ConsumerKey
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
    every suppression in effect is brought again.

    Raises:
        SinkError: the receiver cannot be asked.
    """
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
    unfounded = [entry for entry in held if entry.record_id not in founded]
    lifted = _lift(sink, unfounded) if mend else 0
    return Agreement(
        sink=name,
        in_effect=len(sequences),
        hidden=len(held),
        unfounded=len(unfounded),
        brought_again=again,
        lifted=lifted,
    )


def _bring(sink: Sink, batch: list[Instruction]) -> int:
    return len(batch) - len(sink.deliver(batch)) if batch else 0


def _lift(sink: Inspectable, unfounded: list[Held]) -> int:
    for first in range(0, len(unfounded), _BATCH):
        sink.lift([entry.document for entry in unfounded[first : first + _BATCH]])
    return len(unfounded)

"""What a consumer is told of a record: what it has to do, and nothing of why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from delist.consumers.keys import ConsumerKey
from delist.model import ErasedRecord, RecordState, Scope, SuppressionRecord
from delist.store import effects, ledger

VERSION = 1
"""Of the document; ``delist/schemas/instruction-1.json`` describes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One record of the ledger as one consumer is told of it.

    Attributes:
        sequence: number of the record; whoever obeys them in this order is right.
        id: id of the record, the same however often it is told: the idempotency key.
        suppressed: whether the address is to be hidden from now on. It may be true for a record
            that revokes, where the address is hidden for another reason too.
        because: id of a record by which the address is hidden now, mostly this one; empty where
            it is not hidden. An engine keeps it beside what it hides.
        erased: the record was erased, so that its address is not known any more. Whoever still
            hides something because of ``supersedes`` or of ``id`` ends that.
        url_key: see ``keys``; empty where the record was erased.
        url: the address itself, for a consumer that is trusted with it, else None.
        document_id: the engine's own id, or empty.
        content_key: of the bytes that were decided on; empty where they are not known.
        supersedes: id of the record that this one takes the place of, or empty.
        expires_at: when nothing hides the address any more by itself; None: not before a record
            ends it.
        subject: by it two instructions about one address are told to belong together; ours only.
        record_url: the address, for the adapters of an engine's own index; ours only.
    """

    sequence: int
    id: str
    suppressed: bool
    because: str = ""
    erased: bool = False
    state: RecordState | None = None
    scope: Scope | None = None
    url_key: str = ""
    url: str | None = field(default=None, repr=False)
    document_id: str = field(default="", repr=False)
    content_key: str = field(default="", repr=False)
    effective_at: datetime
    expires_at: datetime | None = None
    recheck_at: datetime | None = None
    supersedes: str = ""
    subject: int = field(default=0, repr=False)
    record_url: str = field(default="", repr=False)


_OURS = frozenset({"subject", "record_url"})


def document(instruction: Instruction) -> dict[str, Any]:
    """Write an instruction as the JSON document that consumers read."""
    names = [name for name in Instruction.__dataclass_fields__ if name not in _OURS]
    values = {name: getattr(instruction, name) for name in names}
    if instruction.url is None:
        del values["url"]
    plain = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }
    return {"version": VERSION, **plain}


def page(
    connection: Connection, after: int, *, limit: int, key: ConsumerKey, plain: bool = False
) -> list[Instruction]:
    """Load the instructions behind a number, in order.

    Args:
        limit: how many at most.
        plain: whether the consumer is told addresses.

    Raises:
        LedgerError: the ledger holds a record that cannot be read.
    """
    found = ledger.page_after(connection, after, limit=limit)
    return instructions(connection, found, key=key, plain=plain)


def instructions(
    connection: Connection,
    found: Sequence[SuppressionRecord | ErasedRecord],
    *,
    key: ConsumerKey,
    plain: bool = False,
) -> list[Instruction]:
    """Say what entries of the ledger, in order, come to for a consumer.

    Raises:
        LedgerError: the ledger holds a record that cannot be read.
    """
    hidden_by = _hidden_by(connection, found)
    told: list[Instruction] = []
    for entry in found:
        if isinstance(entry, ErasedRecord):
            told.append(_erased(entry))
            continue
        hiding = hidden_by[entry.sequence]
        told.append(
            Instruction(
                sequence=entry.sequence,
                id=entry.id,
                suppressed=bool(hiding),
                because=hiding[-1].id if hiding else "",
                state=entry.state,
                scope=entry.scope,
                url_key=key.of_canonical(entry.image_url),
                url=entry.image_url if plain else None,
                document_id=entry.document_id,
                content_key=key.of_content(entry.content_sha256),
                effective_at=entry.effective_at,
                expires_at=_ends_at(hiding),
                recheck_at=entry.recheck_at,
                supersedes=entry.supersedes,
                subject=ledger.subject_of(entry.image_url),
                record_url=entry.image_url,
            )
        )
    return told


def _erased(entry: ErasedRecord) -> Instruction:
    return Instruction(
        sequence=entry.sequence,
        id=entry.id,
        suppressed=False,
        erased=True,
        effective_at=entry.erased_at,
        supersedes=entry.supersedes,
    )


def _hidden_by(
    connection: Connection, found: Sequence[SuppressionRecord | ErasedRecord]
) -> Mapping[int, list[SuppressionRecord]]:
    """Say of each record which records hid its address right after it, whichever cases'."""
    known = {entry.sequence: entry for entry in found if isinstance(entry, SuppressionRecord)}
    if not known:
        return {}
    subjects = {ledger.subject_of(entry.image_url) for entry in known.values()}
    held: dict[str, dict[str, int]] = {}
    hiding: dict[int, list[int]] = {}
    for effect in effects.about(connection, sorted(subjects), max(known)):
        cases = held.setdefault(effect.image_url, {})
        if effect.suppress:
            cases[effect.case_id] = effect.sequence
        else:
            cases.pop(effect.case_id, None)
        if effect.sequence in known:
            hiding[effect.sequence] = sorted(cases.values())
    others = {sequence for by in hiding.values() for sequence in by} - known.keys()
    for entry in ledger.entries(connection, sorted(others)) if others else ():
        if isinstance(entry, SuppressionRecord):
            known[entry.sequence] = entry
    return {
        sequence: [known[each] for each in by if each in known] for sequence, by in hiding.items()
    }


def _ends_at(hiding: Sequence[SuppressionRecord]) -> datetime | None:
    """Say when the last of some records ends by itself; None where one does not."""
    ends = [each.expires_at for each in hiding if each.expires_at is not None]
    return max(ends) if ends and len(ends) == len(hiding) else None

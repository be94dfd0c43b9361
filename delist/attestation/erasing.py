"""Erasing what records of the ledger say, by law or on a survivor's wish.

What is in effect does not change by it: a record that hides a result is revoked first, and what
ended a record goes no earlier than that record. Commitments stay, so the log still verifies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from operator import itemgetter

from sqlalchemy import Connection

from delist import emission
from delist.errors import UsageError
from delist.model import ErasedRecord, SuppressionRecord
from delist.store import Database, consumers, effects, erasures, ledger, recrawls
from indexer.url import url_key


def erase(
    database: Database,
    sequences: Sequence[int],
    *,
    actor: str,
    reason: str,
    now: datetime,
    at_once: bool = False,
) -> int:
    """Erase what some records say, all or none of them; returns how many.

    Args:
        reason: goes into the audit log, where it stays: it must not say what is erased.
        at_once: also where a consumer has not obeyed them yet. It is told that they were erased,
            and has to end by itself what it did because of them.

    Raises:
        UsageError: a record is not there, was erased before, still has an effect, or has not
            reached every consumer; or, at once, its address is hidden for another reason too.
    """
    with database.write() as connection:
        return erase_within(
            connection, sequences, actor=actor, reason=reason, now=now, at_once=at_once
        )


def erase_within(
    connection: Connection,
    sequences: Iterable[int],
    *,
    actor: str,
    reason: str,
    now: datetime,
    at_once: bool = False,
) -> int:
    """Do the same inside the caller's write transaction; nothing was written if it raises."""
    wanted = sorted(set(sequences))
    if wanted and not at_once:
        _check_consumers(connection, wanted[-1])
    found = [_get(connection, sequence) for sequence in wanted]
    if at_once:
        _check_addresses(connection, found)
    for case_id in sorted({record.case_id for record in found}):
        _check_effect(connection, case_id, set(wanted))
    for sequence in wanted:
        erasures.erase(connection, sequence, actor=actor, reason=reason, now=now)
    _follow_schedule(connection, found)
    return len(wanted)


def _check_consumers(connection: Connection, last: int) -> None:
    for consumer in consumers.every(connection):
        found = consumers.reached(connection, consumer)
        if found < last:
            raise UsageError(
                f"{consumer.name} has obeyed the records up to {found} only, and could not obey"
                f" record {last} any more: wait for it, remove it, or erase at once"
            )


def _check_addresses(connection: Connection, found: Sequence[SuppressionRecord]) -> None:
    """See to it that no address of these records is hidden because of another case.

    A consumer that is told only that a record was erased shows the address again.
    """
    held = _held(connection, found)
    for record in found:
        if held[record.image_url]:
            raise UsageError(
                f"the address of record {record.sequence} is hidden for another reason too:"
                " wait until every consumer has obeyed the record"
            )


def _follow_schedule(connection: Connection, found: Sequence[SuppressionRecord]) -> None:
    """Let the schedule of looks name nothing that was erased.

    It follows the ledger, where these addresses cannot be read any more.
    """
    erased = {record.sequence for record in found}
    held = _held(connection, found)
    for image_url in sorted({record.image_url for record in found}):
        entry = recrawls.find(connection, url_key(image_url).hex())
        if entry is None or entry.sequence not in erased:
            continue
        others = held.get(image_url)
        if not others:
            recrawls.drop(connection, [entry.url_key])
            continue
        case_id, sequence = max(others.items(), key=itemgetter(1))
        recrawls.put(connection, replace(entry, case_id=case_id, sequence=sequence, lifted_at=None))


def _held(connection: Connection, found: Sequence[SuppressionRecord]) -> dict[str, dict[str, int]]:
    """Say which cases suppress the addresses of records, by what record each."""
    subjects = {ledger.subject_of(record.image_url) for record in found}
    held: dict[str, dict[str, int]] = {}
    last = ledger.head(connection)[0]
    for effect in effects.about(connection, sorted(subjects), last):
        cases = held.setdefault(effect.image_url, {})
        if effect.suppress:
            cases[effect.case_id] = effect.sequence
        else:
            cases.pop(effect.case_id, None)
    return held


def _get(connection: Connection, sequence: int) -> SuppressionRecord:
    found = ledger.entry(connection, sequence)
    if found is None:
        raise UsageError(f"there is no record {sequence}")
    if isinstance(found, ErasedRecord):
        raise UsageError(f"record {sequence} was erased before")
    return found


def _check_effect(connection: Connection, case_id: str, erased: set[int]) -> None:
    records = ledger.of_case(connection, case_id)
    before = emission.effective(records)
    for record in before.values():
        if record.sequence in erased:
            raise UsageError(f"record {record.sequence} is in effect: revoke it first")
    after = emission.effective(record for record in records if record.sequence not in erased)
    for image_url, record in after.items():
        if image_url not in before:
            raise UsageError(
                f"record {record.sequence} would be in effect again: erase it with what ended it"
            )

"""The schedule of looks follows from the ledger.

(1) What is in effect is on it.
(2) So is what was lifted since other bytes were there, or the URL led elsewhere: it may come
    back. It stays for ``watch_days``, as long as a signal of its case is live.
(3) Everything else is not: what was dismissed, withdrawn, put on hold or erased.

The number of the last record that was followed is written with the rows, so a kill loses none.
Images that stand inside a page (``data:``) have no URL of their own and are not looked at.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

import lmdb
from sqlalchemy import Connection

from delist.emission import REASON_CONTENT_CHANGED, REASON_URL_MOVED
from delist.model import Support, SuppressionRecord
from delist.settings import RecrawlSettings
from delist.sites import site_of
from delist.store import Database, cases, effects, ledger, positions, recrawls
from delist.store.effects import Effect
from delist.store.recrawls import Recrawl
from indexer.store import Store
from indexer.url import url_key

_WATCHED = frozenset({REASON_CONTENT_CHANGED, REASON_URL_MOVED})
_CLAIM = timedelta(hours=1)
_SUBJECTS_AT_ONCE = 500
_RECORDS_AT_ONCE = 500
"""Half a second of work: whoever else writes waits so long."""


def follow(
    database: Database, settings: RecrawlSettings, *, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Bring the schedule in line with the ledger, a batch of records in a transaction.

    Args:
        stopped: asked between batches; the next call goes on.

    Raises:
        LedgerError: a record holds what no record says.
    """
    while not stopped():
        with database.write() as connection:
            position = positions.load(connection, positions.RECRAWL)
            batch = next(effects.after(connection, position), [])[:_RECORDS_AT_ONCE]
            if not batch:
                return
            for effect, record in _states(connection, batch):
                _put(connection, effect, record, settings)
            positions.put(connection, positions.RECRAWL, batch[-1].sequence)


def claim(
    database: Database,
    store: Store,
    settings: RecrawlSettings,
    *,
    limit: int,
    now: datetime,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Recrawl]:
    """Claim what is due for an hour, within what each site has left today.

    What was lifted leaves the schedule where nothing could suppress it again. That is asked of
    those alone whose turn it is: of a site that shows something else in place of all that it took
    down, tens of thousands may be due, and each costs a look at its case.

    Args:
        limit: most URLs.
        stopped: asked between batches of which none was worth a look.
    """
    longest = max(timedelta(days=settings.longest_days), timedelta(hours=settings.first_hours))
    before = now - timedelta(days=settings.watch_days)
    with database.write() as connection:
        recrawls.drop_ended(connection, lifted_before=before)
    while not stopped():
        with database.write() as connection, store.read() as txn:
            found = recrawls.due(
                connection, now=now, per_site=settings.per_site_day, limit=limit, longest=longest
            )
            entries = _without_hopeless(connection, store, txn, found)
            recrawls.claim(connection, entries, until=now + _CLAIM, now=now)
        if entries or not found:
            return entries
    return []


def _without_hopeless(
    connection: Connection, store: Store, txn: lmdb.Transaction, entries: Sequence[Recrawl]
) -> list[Recrawl]:
    hopeless = {
        each.url_key
        for each in entries
        if each.lifted_at is not None and not _may_return(connection, store, txn, each)
    }
    recrawls.drop(connection, hopeless)
    return [each for each in entries if each.url_key not in hopeless]


def _may_return(
    connection: Connection, store: Store, txn: lmdb.Transaction, entry: Recrawl
) -> bool:
    case = cases.find(connection, entry.case_id)
    return case is not None and any(
        match.support is not Support.WITHDRAWN
        and store.signals.find(txn, bytes.fromhex(match.signal_key)) is not None
        for match in case.matches
    )


def _states(
    connection: Connection, batch: Iterable[Effect]
) -> Iterator[tuple[Effect, SuppressionRecord]]:
    """Yield, for each URL of some records, the one that says how it stands now."""
    urls = iter(dict.fromkeys(each.image_url for each in batch if each.image_url))
    newest, _ = ledger.head(connection)
    while part := list(islice(urls, _SUBJECTS_AT_ONCE)):
        last: dict[str, dict[str, Effect]] = {url: {} for url in part}
        for effect in effects.about(connection, [*map(ledger.subject_of, part)], newest):
            if effect.image_url in last:
                last[effect.image_url][effect.case_id] = effect
        heaviest = [max(by_case.values(), key=_weight) for by_case in last.values() if by_case]
        told = {effect.sequence: effect for effect in heaviest}
        for record in ledger.entries(connection, list(told)):
            if isinstance(record, SuppressionRecord):
                yield told[record.sequence], record


def _weight(effect: Effect) -> tuple[bool, int]:
    """What suppresses a URL outweighs what another case no longer says of it."""
    return effect.suppress, effect.sequence


def _put(
    connection: Connection, told: Effect, record: SuppressionRecord, settings: RecrawlSettings
) -> None:
    url = told.image_url
    if "#" in url:  # a ``data:`` image, named after its page
        return
    key = url_key(url).hex()
    if not told.suppress and record.reason_code not in _WATCHED:
        recrawls.drop(connection, [key])  # (3)
        return
    lifted_at = None if told.suppress else record.effective_at  # (1), (2)
    first_at = record.effective_at + timedelta(hours=settings.first_hours)
    held = recrawls.find(connection, key)
    fresh = Recrawl(
        url_key=key,
        image_url=url,
        site=site_of(url),
        case_id=told.case_id,
        sequence=told.sequence,
        lifted_at=lifted_at,
        next_at=first_at,
    )
    if held is not None:
        fresh = replace(
            held,
            case_id=told.case_id,
            sequence=told.sequence,
            lifted_at=lifted_at,
            next_at=min(held.next_at, first_at),
        )
    recrawls.put(connection, fresh)

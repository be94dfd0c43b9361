"""What the ledger says behind a snapshot: for each URL that it touches, all that is in effect."""

from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from delist.serving.snapshot import Snapshot
from delist.store import effects

Cases = dict[str, int]
"""Number of the record in effect, by case."""


def follow(
    connection: Connection,
    snapshot: Snapshot,
    changed: dict[str, Cases],
    sequence: int,
    *,
    before: Callable[[list[str]], None] = lambda _urls: None,
) -> int:
    """Apply what follows a number, and return the number of the last record.

    Args:
        changed: by URL, what is in effect in place of what the snapshot says. Whoever reads it
            meanwhile finds each URL as it is before or after, never between: its entry is
            replaced when everything about it is known.
        before: called with URLs before their entries are replaced.
    """
    for batch in effects.after(connection, sequence):
        known = [effect for effect in batch if effect.image_url]  # empty: it was erased
        urls = {effect.image_url for effect in known}
        fresh = {url: dict(changed[url]) for url in urls if url in changed}
        fresh |= _held(connection, snapshot, urls - fresh.keys())
        for effect in known:
            if effect.suppress:
                fresh[effect.image_url][effect.case_id] = effect.sequence
            else:
                fresh[effect.image_url].pop(effect.case_id, None)
        before(list(fresh))
        changed.update(fresh)
        sequence = batch[-1].sequence
    return sequence


def cases_of(connection: Connection, snapshot: Snapshot, place: int) -> Cases:
    """Load what is in effect for the URL of a place in the snapshot."""
    found = effects.case_ids(connection, snapshot.records_of(place))
    return {case_id: sequence for sequence, case_id in sorted(found.items())}


def _held(connection: Connection, snapshot: Snapshot, urls: Iterable[str]) -> dict[str, Cases]:
    found: dict[str, Cases] = {}
    for url in urls:
        place = snapshot.find(url) if len(snapshot) else -1
        found[url] = {} if place < 0 else cases_of(connection, snapshot, place)
    return found

"""What a store that was put back may not do yet: take a signal for one that is in force.

A backup may hold signals that were withdrawn since. Each feed is read from its beginning by the
next sync, which ends them; until then nothing is decided and nothing is said to the feed. What
people reported to us directly has no other end that could be asked: a person says that what was
withdrawn since the backup was withdrawn again (``accept``), and the same of a feed that is no
longer configured. What was suppressed stays so meanwhile.
"""

from datetime import datetime

from delist.errors import RestoredError, UsageError
from delist.policy import DIRECT_FEED
from delist.review import checked_actor
from delist.store import Database, audit
from indexer.store import Store

ACT = "restored.accepted"


def check_settled(store: Store) -> None:
    """Check that nothing put back is still to be compared with what its feed says now.

    Raises:
        RestoredError: names the feeds, and what to do.
    """
    feeds = store.restored_feeds()
    if not feeds:
        return
    taken_at = min(feeds.values())
    parts = []
    if named := sorted(feeds.keys() - {DIRECT_FEED}):
        parts.append(f"{', '.join(named)} (delist feed sync)")
    if DIRECT_FEED in feeds:
        parts.append(f"{DIRECT_FEED} (delist accept-restored {DIRECT_FEED})")
    raise RestoredError(
        f"put back from a backup of {taken_at:%FT%TZ}; what was withdrawn since is not known yet"
        f" of: {' and '.join(parts)}. Nothing is decided before"
    )


def accept(
    store: Store, database: Database, feed: str, *, actor: str, reason: str, now: datetime
) -> None:
    """Take what was put back of a feed as it is, by a person's word.

    Raises:
        UsageError: no name or reason, or nothing of this feed waits for it.
    """
    actor = checked_actor(actor)
    if not reason.strip():
        raise UsageError("a reason is needed")
    if feed not in store.restored_feeds():
        raise UsageError("nothing that was put back of this feed waits to be accepted")
    with database.write() as connection:
        audit.append(
            connection,
            actor=actor,
            act=ACT,
            subject=feed[:64],
            now=now,
            detail={"reason": reason.strip()},
        )
    store.accept_restored(feed)  # behind its entry: a crash between asks for it again

"""``delist doctor``: is this installation able to do its work, and if not, how to mend it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

from delist.build import Delist
from delist.errors import DelistError
from delist.model import BrakeKind
from delist.monitoring import Condition, Health, conditions
from delist.monitoring.conditions import (
    DISK_NEARLY_FULL,
    FEED_NEVER_SYNCED,
    FEED_STALE,
)
from delist.monitoring.figures import Figures
from delist.monitoring.judging import counted, lasting, of_crawl_queue
from delist.ops import machine
from delist.policy import read_text
from delist.store import brakes, policies
from indexer.errors import IndexDamagedError, IndexerError
from indexer.feed import open_feed
from indexer.settings import FeedSettings

PACKAGES = ("crawler", "delist", "indexer")
DISTRIBUTION = "delist"
__all__ = ["Check", "Health", "examine"]
_GIB = 1024**3
_EARLIEST_YEAR = 2026
_OF_FEEDS = frozenset({FEED_NEVER_SYNCED, FEED_STALE})
_SAID = _OF_FEEDS | {DISK_NEARLY_FULL}
"""What a check above says too, more closely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check and what to do about it.

    Attributes:
        mend: what to do; empty when all is well.
    """

    name: str
    health: Health
    detail: str
    mend: str = ""


def examine(delist: Delist) -> Iterator[Check]:
    """Run every check; one that fails does not keep the others from running."""
    yield _installation()
    yield _clock(delist)
    yield _guarded("store", _store, delist)
    yield _guarded("index", _index, delist)
    yield _guarded("cases", _case_store, delist)
    yield _guarded("policy", _policy, delist)
    data_dir = delist.settings.indexer.data_dir
    yield _of_machine("permissions", machine.modes(data_dir, delist.settings))
    yield _of_machine("disk", machine.disk(data_dir))
    yield _of_machine("memory", machine.memory())
    yield from _standing(delist)


def _of_machine(name: str, found: machine.Remark) -> Check:
    health = Health.WARNING if found.mend else Health.OK
    return Check(name=name, health=health, detail=found.detail, mend=found.mend)


def _standing(delist: Delist) -> Iterator[Check]:
    """Say what is stale or wrong in the words of ``delist.monitoring``; of feeds, each."""
    figures: Figures | None = None
    found: list[Condition] = []
    # Where a store fails, its check has said it.
    with suppress(IndexerError, DelistError):
        figures = delist.monitor().read()
        found = conditions(figures, delist.limits)
    for settings in delist.settings.indexer.feeds:
        of_feed = [c for c in found if c.code in _OF_FEEDS and c.subject == settings.name]
        yield _feed(delist, settings, of_feed[0] if of_feed else None)
    yield from _crawl_queue(delist, figures)
    for condition in found:
        if condition.code not in _SAID:
            subject = f" {condition.subject}" if condition.subject else ""
            yield Check(
                name=f"{condition.code}{subject}",
                health=condition.health,
                detail=condition.detail,
                mend=condition.mend,
            )


def _crawl_queue(delist: Delist, found: Figures | None) -> Iterator[Check]:
    """Say what lacks to ask the crawlers' queue, or that all is well; else a condition says it."""
    try:
        delist.crawl_queue.check_extra()
    except IndexerError as error:
        mend = "pip install 'delist[cluster]'"
        yield Check(name="crawl queue", health=Health.FAILED, detail=str(error), mend=mend)
        return
    queue = None if found is None else found.cases.crawl_queue
    if found is None or queue is None or any(of_crawl_queue(found, delist.limits)):
        return
    waiting = f"{counted(queue.waiting, 'message')} not taken in"
    if queue.waiting:
        waiting += f", the oldest for {lasting(queue.oldest_s)}"
    detail = f"asked {lasting(queue.asked_age_s or 0)} ago: {waiting}"
    yield Check(name="crawl queue", health=Health.OK, detail=detail)


def _guarded(name: str, check: Callable[[Delist], Check], delist: Delist) -> Check:
    try:
        return check(delist)
    except (IndexerError, DelistError) as error:
        mend = "delist feed sync" if isinstance(error, IndexDamagedError) else "see the detail"
        return Check(name=name, health=Health.FAILED, detail=str(error), mend=mend)


def _installation() -> Check:
    """The packages' names are generic: another distribution could shadow one of them."""
    owners = packages_distributions()
    for package in PACKAGES:
        others = set(owners.get(package, [])) - {DISTRIBUTION}
        if others:
            return Check(
                name="installation",
                health=Health.FAILED,
                detail=f'the package "{package}" also comes from {", ".join(sorted(others))}',
                mend="install delist into a virtual environment of its own",
            )
        found = Path(sys.modules[package].__file__ or "") if package in sys.modules else None
        beside = Path(__file__).resolve().parents[2]
        if found is not None and beside not in found.resolve().parents:
            return Check(
                name="installation",
                health=Health.FAILED,
                detail=f'the package "{package}" is not ours',
                mend="install delist into a virtual environment of its own",
            )
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check(name="installation", health=Health.OK, detail=f"Python {version}")


def _clock(delist: Delist) -> Check:
    now = delist.clock()
    if now.year < _EARLIEST_YEAR:
        return Check(
            name="clock",
            health=Health.FAILED,
            detail=f"the clock says {now:%Y-%m-%d}",
            mend="set the clock; deadlines and feed cursors depend on it",
        )
    return Check(name="clock", health=Health.OK, detail=f"{now:%Y-%m-%d %H:%M:%S}Z")


def _store(delist: Delist) -> Check:
    found = delist.monitor().of_store()
    signals = sum(feed.signals for feed in found.feeds.values())
    return Check(name="store", health=Health.OK, detail=f"{found.images} images, {signals} signals")


def _index(delist: Delist) -> Check:
    version = delist.indexer.verify_index()
    detail = "none published, small feeds need none" if version is None else f"version {version}"
    return Check(name="index", health=Health.OK, detail=detail)


def _case_store(delist: Delist) -> Check:
    records = delist.verify_ledger()
    detail = f"ledger of {records} records verified, {delist.database.product()}"
    risk = delist.database.risk()
    if risk:
        return Check(
            name="cases",
            health=Health.WARNING,
            detail=f"{detail}; {risk}",
            mend="switch it on; otherwise a power failure can cost what was decided",
        )
    return Check(name="cases", health=Health.OK, detail=detail)


def _policy(delist: Delist) -> Check:
    policy = delist.policy
    with delist.database.read() as connection:
        stopped = brakes.every(connection)
        applied = policies.newest(connection)
    file = delist.settings.policy_file
    if applied is not None and file is not None and read_text(file) != applied.text:
        return Check(
            name="policy",
            health=Health.WARNING,
            detail=f"version {policy.version} is in force, and {file.name} differs from it",
            mend=f"look with `delist policy simulate {file.name}`, then `delist policy apply` it",
        )
    signals, feeds = (
        len({brake.name for brake in stopped if brake.kind is kind})
        for kind in (BrakeKind.SIGNAL, BrakeKind.FEED)
    )
    detail = f"version {policy.version}; stopped: {counted(signals, 'signal')}"
    detail += f", {counted(feeds, 'feed')}"
    return Check(name="policy", health=Health.OK, detail=detail)


def _feed(delist: Delist, settings: FeedSettings, stale: Condition | None) -> Check:
    name = f"feed {settings.name}"
    try:
        since = int(delist.clock().timestamp())
        open_feed(settings, tries=1).fetch_page(since=since, token=None)
    except IndexerError as error:
        return Check(name=name, health=Health.FAILED, detail=str(error), mend="see the detail")
    if stale is not None:
        detail = f"reachable, {stale.detail}"
        return Check(name=name, health=stale.health, detail=detail, mend=stale.mend)
    age_s = delist.monitor().of_store().feeds[settings.name].sync_age_s or 0
    detail = f"reachable, last synced {age_s / 60:.0f} minutes ago"
    return Check(name=name, health=Health.OK, detail=detail)

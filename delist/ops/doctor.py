"""``delist doctor``: is this installation able to do its work, and if not, how to mend it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import packages_distributions
from pathlib import Path

from delist.build import Delist
from delist.casework import braking
from delist.errors import DelistError
from delist.model import BrakeKind
from delist.policy import read_text
from delist.store import brakes, policies
from indexer.errors import IndexDamagedError, IndexerError
from indexer.feed import open_feed
from indexer.match import MATCHED_KINDS

PACKAGES = ("crawler", "delist", "indexer")
DISTRIBUTION = "delist"
_GIB = 1024**3
_LOW_DISK_BYTES = 2 * _GIB
_STALE_S = 24 * 3600
_EARLIEST_YEAR = 2026
_PRIVATE = 0o077


class Health(StrEnum):
    """Result of one check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


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
    yield _private(delist.settings.indexer.data_dir)
    yield _disk(delist.settings.indexer.data_dir)
    yield from _feeds(delist)


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
    store = delist.indexer.store
    with store.read() as txn:
        images = store.images.count(txn)
        signals = sum(
            store.signals.counts(txn, feed.name).get(kind, 0)
            for feed in delist.settings.indexer.feeds
            for kind in MATCHED_KINDS
        )
    return Check(name="store", health=Health.OK, detail=f"{images} images, {signals} signals")


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
    detail = f"version {policy.version}; stopped: {_counted(signals, 'signal')}"
    detail += f", {_counted(feeds, 'feed')}"
    if any(brake.set_by == braking.ACTOR for brake in stopped):
        return Check(
            name="policy",
            health=Health.WARNING,
            detail=f"{detail}; some by the machine, and they wait for a person",
            mend="look with `delist brakes list`; `delist brakes release` lets them go on",
        )
    return Check(name="policy", health=Health.OK, detail=detail)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _private(data_dir: Path) -> Check:
    places = (data_dir, data_dir / "secrets", *sorted((data_dir / "secrets").glob("*")))
    for path in places:
        if path.exists() and path.stat().st_mode & _PRIVATE:
            return Check(
                name="permissions",
                health=Health.WARNING,
                detail=f"{path} can be read by others",
                mend=f"chmod go-rwx {path}",
            )
    return Check(name="permissions", health=Health.OK, detail="data directory is private")


def _disk(data_dir: Path) -> Check:
    free = shutil.disk_usage(data_dir if data_dir.exists() else Path.cwd()).free
    detail = f"{free / _GIB:.1f} GiB free"
    if free < _LOW_DISK_BYTES:
        return Check(name="disk", health=Health.WARNING, detail=detail, mend="free some space")
    return Check(name="disk", health=Health.OK, detail=detail)


def _feeds(delist: Delist) -> Iterator[Check]:
    feeds = delist.settings.indexer.feeds
    if not feeds:
        yield Check(
            name="feeds",
            health=Health.WARNING,
            detail="no feed is configured",
            mend="add a [feeds.NAME] table",
        )
    for settings in feeds:
        name = f"feed {settings.name}"
        try:
            since = int(delist.clock().timestamp())
            open_feed(settings, tries=1).fetch_page(since=since, token=None)
            yield _freshness(delist, settings.name)
        except IndexerError as error:
            yield Check(name=name, health=Health.FAILED, detail=str(error), mend="see the detail")


def _freshness(delist: Delist, feed: str) -> Check:
    name = f"feed {feed}"
    with delist.indexer.store.read() as txn:
        cursor = delist.indexer.store.feed_cursors.load(txn, feed)
    if cursor.synced_at is None:
        return Check(
            name=name,
            health=Health.WARNING,
            detail="reachable, never synced",
            mend=f"delist feed sync {feed}",
        )
    age_s = (delist.clock() - cursor.synced_at).total_seconds()
    health = Health.WARNING if age_s > _STALE_S else Health.OK
    mend = "is `delist run` running?" if health is Health.WARNING else ""
    detail = f"reachable, last synced {age_s / 60:.0f} minutes ago"
    return Check(name=name, health=health, detail=detail, mend=mend)

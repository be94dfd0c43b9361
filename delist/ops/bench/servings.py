"""``delist bench serving``: is this URL suppressed? Ours and others', in one run."""

import gc
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns

import lmdb
import numpy as np

from delist.ops.bench.timing import Say, Spread, resident_bytes, timed
from delist.serving import SuppressionFilter
from delist.serving.arranging import Pile
from delist.serving.keeping import snapshot_path
from delist.serving.snapshot import Origin, write_snapshot
from delist.store import Database
from indexer.url import canonical_url, url_key

OURS, SET, LMDB, SQLITE = "delist", "Python set", "LMDB", "SQLite"
_SINGLES, _RAW_SHARE, _LEAST_BATCH = 20_000, 4, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """What is measured.

    Attributes:
        batch: URLs that are asked for at once.
        rounds: each takes every contestant in turn.
    """

    batch: int = 100_000
    rounds: int = 5


@dataclass(frozen=True, slots=True)
class Single:
    """Microseconds of one question alone, the clock's own time included."""

    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingResult:
    """What one contestant reached.

    Attributes:
        rate: canonical URLs a second in batches, half of them held, over rounds.
        raw_rate: the same from URLs that are not in canonical form.
        miss, hit, raw_miss: single questions; from canonical URLs, and raw.
        ratio: how many times its rate ours is, over rounds.
        build_s: seconds from a list of URLs to what can be asked.
        bytes_per_url: memory or file; None where that cannot be told.
        shared: whether processes share it.
        right: whether every answer was.
    """

    name: str
    rate: Spread
    raw_rate: Spread
    miss: Single
    hit: Single
    raw_miss: Single
    ratio: Spread
    build_s: float
    bytes_per_url: float | None
    shared: bool
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingReport:
    """One size; ourselves first. ``clock_us`` is what reading the clock alone takes."""

    urls: int
    clock_us: float
    results: Sequence[ServingResult]

    @property
    def right(self) -> bool:
        """Whether all answers of all were right."""
        return all(result.right for result in self.results)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rival:
    """``ask`` takes a canonical URL, ``ask_raw`` any; so do ``many`` and ``many_raw`` lists."""

    name: str
    ask: Callable[[str], object]
    ask_raw: Callable[[str], object]
    many: Callable[[list[str]], Sequence[object]]
    many_raw: Callable[[list[str]], Sequence[object]]
    build_s: float
    bytes_per_url: float | None
    shared: bool


@dataclass(frozen=True, slots=True)
class _Times:
    rates: list[float] = field(default_factory=list)
    raw_rates: list[float] = field(default_factory=list)
    miss: list[int] = field(default_factory=list)
    hit: list[int] = field(default_factory=list)
    raw_miss: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)


def held_url(number: int) -> str:
    """Return the URL of a number; of even ones it is held."""
    path = f"{number * 2_654_435_761 % (1 << 32):08x}/photos/{number}"
    return f"https://www.site{number % 9973}.example/albums/{path}.jpg?width=800&v=3"


def raw_url(number: int) -> str:
    """Write the same URL as somebody else would."""
    return held_url(number).replace("https://www", "HTTPS://WWW").replace("/photos", "/%70hotos")


def compare_servings(
    sizes: Sequence[int], options: ServingOptions, say: Say = lambda _word: None
) -> Iterator[ServingReport]:
    """Measure one size after the other."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
            yield _measured(size, Path(folder), opened, options, say)
        gc.collect()


def _measured(
    size: int, folder: Path, opened: ExitStack, options: ServingOptions, say: Say
) -> ServingReport:
    rivals = []
    for build in (_ours, _set, _lmdb, _sqlite):
        say(f"{size:,} URLs: building {build.__name__.strip('_')}")
        rivals.append(build(size, folder, opened))
    gc.collect()
    gc.freeze()
    times = [_Times() for _ in rivals]
    random = np.random.default_rng(1)
    for number in range(options.rounds):
        places = random.integers(0, size, options.batch).tolist()
        for rival, own in zip(rivals, times, strict=True):
            say(f"{size:,} URLs: round {number + 1} of {options.rounds}: {rival.name}")
            _take_turn(rival, own, places)
    gc.unfreeze()
    clock = float(np.median([-perf_counter_ns() + perf_counter_ns() for _ in range(_SINGLES)]))
    return ServingReport(
        urls=size,
        clock_us=clock / 1e3,
        results=[_result(r, own, times[0]) for r, own in zip(rivals, times, strict=True)],
    )


def _take_turn(rival: _Rival, own: _Times, places: list[int]) -> None:
    urls = [held_url(2 * place + number % 2) for number, place in enumerate(places)]
    seconds, answers = timed(rival.many, urls)
    own.rates.append(len(urls) / seconds)
    raw = [
        raw_url(2 * place + number % 2)
        for number, place in enumerate(places[: max(_LEAST_BATCH, len(places) // _RAW_SHARE)])
    ]
    seconds, raw_answers = timed(rival.many_raw, raw)
    own.raw_rates.append(len(raw) / seconds)
    singles = places[:_SINGLES]
    own.wrong.append(
        sum(bool(answer) != (n % 2 == 0) for n, answer in enumerate(answers))
        + sum(bool(answer) != (n % 2 == 0) for n, answer in enumerate(raw_answers))
        + _time_each(rival.ask, [held_url(2 * n + 1) for n in singles], own.miss)
        + len(singles)
        - _time_each(rival.ask, [held_url(2 * n) for n in singles], own.hit)
        + _time_each(rival.ask_raw, [raw_url(2 * n + 1) for n in singles], own.raw_miss)
    )


def _time_each(ask: Callable[[str], object], urls: list[str], spent: list[int]) -> int:
    """Ask one after the other; returns how often the answer was yes."""
    found = 0
    for url in urls:
        started = perf_counter_ns()
        answer = ask(url)
        spent.append(perf_counter_ns() - started)
        found += bool(answer)
    return found


def _result(rival: _Rival, own: _Times, ours: _Times) -> ServingResult:
    return ServingResult(
        name=rival.name,
        rate=Spread.of(own.rates),
        raw_rate=Spread.of(own.raw_rates),
        miss=_single(own.miss),
        hit=_single(own.hit),
        raw_miss=_single(own.raw_miss),
        ratio=Spread.of([a / b for a, b in zip(ours.rates, own.rates, strict=True)]),
        build_s=rival.build_s,
        bytes_per_url=rival.bytes_per_url,
        shared=rival.shared,
        right=not any(own.wrong),
    )


def _single(spent: list[int]) -> Single:
    p50, p99 = np.percentile(spent, [50, 99])
    return Single(float(p50) / 1e3, float(p99) / 1e3)


def _ours(size: int, folder: Path, opened: ExitStack) -> _Rival:
    """Write a snapshot of an empty ledger: what the ledger says is read once, not at a question."""
    database = Database(folder / "data")
    path = snapshot_path(database.data_dir)
    path.parent.mkdir(exist_ok=True)

    def build() -> SuppressionFilter:
        pile = Pile()
        pile.add((held_url(2 * number), number + 1) for number in range(size))
        write_snapshot(path, pile.arranged(Origin()))
        return SuppressionFilter(database)

    build_s, results = timed(build)
    opened.enter_context(results)
    return _Rival(
        name=OURS,
        ask=results.is_suppressed,
        ask_raw=results.is_suppressed,
        many=results.suppressed,  # type: ignore[arg-type]
        many_raw=results.suppressed,  # type: ignore[arg-type]
        build_s=build_s,
        bytes_per_url=path.stat().st_size / size,
        shared=True,
    )


def _set(size: int, folder: Path, opened: ExitStack) -> _Rival:
    del folder
    before = resident_bytes()
    build_s, held = timed(lambda: {held_url(2 * number) for number in range(size)})
    after = resident_bytes()
    opened.callback(held.clear)
    return _Rival(
        name=SET,
        ask=held.__contains__,
        ask_raw=lambda url: canonical_url(url) in held,
        many=lambda urls: [url in held for url in urls],
        many_raw=lambda urls: [canonical_url(url) in held for url in urls],
        build_s=build_s,
        bytes_per_url=None if before is None or after is None else (after - before) / size,
        shared=False,
    )


def _lmdb(size: int, folder: Path, opened: ExitStack) -> _Rival:
    """Sixteen-byte keys of URLs, put in order first; one read transaction for all questions."""
    path = folder / "lmdb"
    opened_here = lmdb.open(str(path), map_size=max(1 << 26, 200 * size), sync=False)
    environment = opened.enter_context(closing(opened_here))

    def build() -> None:
        keys = sorted(url_key(held_url(2 * number)) for number in range(size))
        with environment.begin(write=True) as txn, txn.cursor() as cursor:
            cursor.putmulti(((key, b"") for key in keys), append=True)

    build_s, _ = timed(build)
    txn = opened.enter_context(environment.begin())
    cursor = opened.enter_context(closing(txn.cursor()))

    def many(urls: list[str]) -> list[bool]:
        keys = [url_key(url) for url in urls]
        found = {bytes(key) for key, _ in cursor.getmulti(keys)}
        return [key in found for key in keys]

    return _Rival(
        name=LMDB,
        ask=lambda url: txn.get(url_key(url)) is not None,
        ask_raw=lambda url: txn.get(url_key(canonical_url(url))) is not None,
        many=many,
        many_raw=lambda urls: many([canonical_url(url) for url in urls]),
        build_s=build_s,
        bytes_per_url=(path / "data.mdb").stat().st_size / size,
        shared=True,
    )


def _sqlite(size: int, folder: Path, opened: ExitStack) -> _Rival:
    """The same keys in a table without row ids."""
    path = folder / "keys.sqlite3"
    connection = opened.enter_context(closing(sqlite3.connect(path)))
    connection.execute("create table held (key blob primary key) without rowid")

    def build() -> None:
        keys = sorted(url_key(held_url(2 * number)) for number in range(size))
        with connection:
            connection.executemany("insert into held values (?)", ((key,) for key in keys))

    def ask(url: str) -> bool:
        key = (url_key(url),)
        return connection.execute("select 1 from held where key = ?", key).fetchone() is not None

    build_s, _ = timed(build)
    return _Rival(
        name=SQLITE,
        ask=ask,
        ask_raw=lambda url: ask(canonical_url(url)),
        many=lambda urls: [ask(url) for url in urls],
        many_raw=lambda urls: [ask(canonical_url(url)) for url in urls],
        build_s=build_s,
        bytes_per_url=path.stat().st_size / size,
        shared=True,
    )

"""``delist bench lookup``: exact look-ups, ours and others', on the same digests in one run."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from delist.ops.bench.digests import make_lookups
from delist.ops.bench.peers import FLAT, Contestant, contestants
from delist.ops.bench.timing import Say, Spread, over_threads, timed
from indexer.ports import Digests
from indexer.settings import MatchingSettings

_SEED = 1
_QUERIES = 32_768
_SINGLES_SHARE, _TRIAL_SHARE = 0.25, 0.25
"""Time for single look-ups, and for finding out how many are affordable, over that of batches."""
_LEAST_ASKED, _LEAST_SINGLES, _MOST_SINGLES = 16, 3, 1_000
_COMPARISONS, _LEAST_CHECKED, _MOST_CHECKED = 2_500_000_000, 256, 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupOptions:
    """What is measured.

    Attributes:
        batch: digests that are looked up at once.
        kind: one of ``digests.KINDS``.
        given: uint8[k, 32] for the kind ``file``.
        threads: a batch is dealt out to so many, for every contestant alike.
        rounds: each takes every contestant in turn.
        seconds: what a contestant takes in a round for batches, and a quarter for single
            look-ups; those that are too slow for a batch are asked fewer.
        with_peer: whether the public client takes part where it is installed.
    """

    batch: int = 4_096
    kind: str = "random"
    given: Digests | None = field(default=None, repr=False)
    threads: int = 1
    rounds: int = 5
    seconds: float = 0.6
    with_peer: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupResult:
    """What one contestant reached.

    Attributes:
        rate: look-ups a second in batches, over rounds.
        single_p50_us: median of single look-ups, microseconds.
        ratio: how many times its rate ours is, over rounds; 1 for ourselves.
        build_s: seconds to build it; once.
        bytes_per_signal: memory it takes; None where that cannot be told.
        recall: share of faiss flat's matches that it found, with their distances.
        exact: whether it found these and no others.
        asked: look-ups a round; the slower ones are asked fewer.
    """

    name: str
    rate: Spread
    single_p50_us: float
    ratio: Spread
    build_s: float
    bytes_per_signal: float | None
    recall: float
    exact: bool
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupReport:
    """One size; ourselves first, then the others.

    Attributes:
        checked: queries whose matches were compared with faiss flat's.
    """

    signals: int
    threshold_bits: int
    checked: int
    results: Sequence[LookupResult]

    @property
    def exact(self) -> bool:
        """Whether we found what faiss flat found, distances included."""
        return self.results[0].exact


def compare_lookups(
    sizes: Sequence[int], options: LookupOptions, say: Say = lambda _word: None
) -> Iterator[LookupReport]:
    """Measure one size after the other."""
    for size in sizes:
        say(f"{size:,} signals")
        yield _measured(size, options, say)


def _measured(size: int, options: LookupOptions, say: Say) -> LookupReport:
    threshold_bits = MatchingSettings().threshold_bits
    count = max(_QUERIES, options.batch)
    lookups = make_lookups(options.kind, size, count, given=options.given, seed=_SEED)
    rivals = list(
        contestants(
            lookups.held, threshold_bits=threshold_bits, with_peer=options.with_peer, say=say
        )
    )
    say("checking")
    checked = min(max(_COMPARISONS // size, _LEAST_CHECKED), _MOST_CHECKED)
    shares = recalls(rivals, lookups.queries[:checked])
    turns = _race(rivals, lookups.queries, options, say)
    return LookupReport(
        signals=size,
        threshold_bits=threshold_bits,
        checked=checked,
        results=[
            LookupResult(
                name=rival.name,
                rate=Spread.of(own.rates),
                single_p50_us=float(np.median(own.singles_s)) * 1e6,
                ratio=Spread.of(
                    [ours / rate for ours, rate in zip(turns[0].rates, own.rates, strict=True)]
                ),
                build_s=rival.build_s,
                bytes_per_signal=None if rival.size_bytes is None else rival.size_bytes / size,
                recall=shares[rival.name][0],
                exact=shares[rival.name][1],
                asked=own.asked,
            )
            for rival, own in zip(rivals, turns, strict=True)
        ],
    )


def recalls(rivals: Sequence[Contestant], queries: Digests) -> dict[str, tuple[float, bool]]:
    """Return, by name, the share of faiss flat's matches that each found, and if it is exact."""
    sets = {}
    for rival in rivals:
        rows, positions, distances = rival.found(queries)
        matches = zip(rows.tolist(), positions.tolist(), distances.tolist(), strict=True)
        sets[rival.name] = set(matches)
    wanted = sets[FLAT]
    return {
        name: (len(found & wanted) / len(wanted) if wanted else 1.0, found == wanted)
        for name, found in sets.items()
    }


@dataclass(frozen=True, slots=True)
class _Turns:
    """What a contestant did in all rounds: ``asked`` look-ups in each."""

    asked: int
    singles: int
    rates: list[float] = field(default_factory=list)
    singles_s: list[float] = field(default_factory=list)


def _race(
    rivals: Sequence[Contestant], queries: Digests, options: LookupOptions, say: Say
) -> list[_Turns]:
    with ThreadPoolExecutor(options.threads) as pool:
        asks = [over_threads(rival.ask, pool, options.threads) for rival in rivals]
        turns = [_affordable(ask, queries, options) for ask in asks]
        for number in range(options.rounds):
            for rival, ask, own in zip(rivals, asks, turns, strict=True):
                say(f"round {number + 1} of {options.rounds}: {rival.name}")
                asked = _slice(queries, number, own.asked)
                batches = range(0, len(asked), options.batch)
                seconds = [timed(ask, asked[first : first + options.batch])[0] for first in batches]
                own.rates.append(len(asked) / sum(seconds))
                singles = _slice(queries, number, own.singles)[:, np.newaxis]
                own.singles_s.extend(timed(rival.ask, query)[0] for query in singles)
    return turns


def _affordable(
    ask: Callable[[Digests], object], queries: Digests, options: LookupOptions
) -> _Turns:
    """Choose how much to ask for in a round: whole batches where there is time for one."""
    batch, seconds = options.batch, options.seconds
    ask(queries[:1])
    single_s = timed(ask, queries[1:9])[0] / 8
    few = max(_LEAST_ASKED, min(batch, int(_TRIAL_SHARE * seconds / single_s)))
    asked_s = timed(ask, queries[:few])[0] / few
    asked = max(_LEAST_ASKED, min(len(queries), int(seconds / asked_s)))
    whole = asked - asked % batch if asked >= batch else asked
    singles = int(_SINGLES_SHARE * seconds / single_s)
    return _Turns(whole, max(_LEAST_SINGLES, min(_MOST_SINGLES, singles)))


def _slice(queries: Digests, number: int, count: int) -> Digests:
    """Take the queries of a round: others than the round before, as far as there are."""
    places = np.arange(number * count, (number + 1) * count) % len(queries)
    taken: Digests = queries[places]
    return taken

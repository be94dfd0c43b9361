"""``delist bench hash``: JPEG bytes to hashes, both tiers and others, on one core in one run.

Times are of the processor, of all threads of this process: whatever else runs on the machine
does not count, and nobody gains by a second thread.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from delist.ops.bench.timing import Say, Spread, peer_is_installed
from delist.ops.pictures import draw_photo, encode
from indexer.hashing import hash_within
from indexer.hashing.borders import find_parts
from indexer.hashing.decode import decode
from indexer.hashing.fitting import digests_of_guesses
from indexer.hashing.guesses import GUESS_SETS, PART_SET, WHOLE
from indexer.hashing.opening import Limits
from indexer.model import DIGESTS_PER_ROW
from indexer.settings import HashingSettings

SIZES = ((300, 200), (800, 600), (1920, 1080), (4000, 3000))
"""Pixels, width and height."""

FAST, DEEP, PEER = "delist, fast", "delist, deep", "threatexchange PdqSignal"
DECODING = "decoding alone"

_IMAGES = 4
_QUALITY = 85
_LIMITS = HashingSettings()

Hash = Callable[[bytes], int]
"""Hashes a JPEG file, and says how many digests were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HashOptions:
    """What is measured.

    Attributes:
        repeats: rounds; each takes every contestant in turn with the same image.
        seconds: what each takes in a round, about: as many calls as go into it, one at least.
        with_peer: whether the public client takes part, where it is installed.
    """

    repeats: int = 10
    seconds: float = 0.1
    with_peer: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HashResult:
    """What one contestant reached.

    Attributes:
        rate: images a second of one core, over rounds.
        ratio: how many times the fast tier's rate is this one's, over rounds.
        digests: of one image.
    """

    name: str
    rate: Spread
    ratio: Spread
    digests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HashReport:
    """One size; the fast tier first, then the deep tier, then others.

    Attributes:
        width: pixels.
        height: pixels.
        size_bytes: mean of the files.
    """

    width: int
    height: int
    size_bytes: float
    results: Sequence[HashResult]


def compare_hashing(
    sizes: Sequence[tuple[int, int]], options: HashOptions, say: Say = lambda _word: None
) -> Iterator[HashReport]:
    """Measure one size after the other."""
    for width, height in sizes:
        say(f"{width}x{height}")
        images = [
            encode(draw_photo(seed, width=width, height=height), "JPEG", quality=_QUALITY)
            for seed in range(min(options.repeats, _IMAGES))
        ]
        rivals = dict(_contestants(with_peer=options.with_peer))
        rates, digests = _race(rivals, images, options, say)
        yield HashReport(
            width=width,
            height=height,
            size_bytes=sum(map(len, images)) / len(images),
            results=[
                HashResult(
                    name=name,
                    rate=Spread.of(own),
                    ratio=Spread.of(
                        [ours / rate for ours, rate in zip(rates[FAST], own, strict=True)]
                    ),
                    digests=digests[name],
                )
                for name, own in rates.items()
            ],
        )


def _contestants(*, with_peer: bool) -> Iterator[tuple[str, Hash]]:
    yield FAST, _fast
    yield DEEP, _deep
    if with_peer and peer_is_installed():
        from threatexchange.signal_type.pdq.signal import PdqSignal  # noqa: PLC0415 - optional

        def of_peer(data: bytes) -> int:
            PdqSignal.hash_from_bytes(data)
            return 1

        yield PEER, of_peer
    yield DECODING, _decode


def _fast(data: bytes) -> int:
    return len(hash_within(data, _LIMITS).rows) * DIGESTS_PER_ROW


def _deep(data: bytes) -> int:
    """Hash an image for the deep tier, in all guesses that it has time for if it has enough."""
    hashed = hash_within(data, _LIMITS, deep=True)
    reduced, count = hashed.reduced, len(hashed.rows) * DIGESTS_PER_ROW
    for guess_set in GUESS_SETS:
        for rectangle in find_parts(reduced) if guess_set is PART_SET else (WHOLE,):
            count += len(digests_of_guesses(reduced, guess_set, rectangle))
    return count


def _decode(data: bytes) -> int:
    limits = Limits(
        max_bytes=_LIMITS.max_bytes,
        max_pixels=_LIMITS.max_pixels,
        max_frames=_LIMITS.max_frames,
        timeout_s=_LIMITS.timeout_s,
    )
    for _ in decode(data, limits):
        pass
    return 0


def _race(
    rivals: dict[str, Hash], images: Sequence[bytes], options: HashOptions, say: Say
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Let each take its turn in each round; returns rates and numbers of digests, by name."""
    digests = {name: call(images[0]) for name, call in rivals.items()}
    calls = {name: _affordable(call, images[0], options) for name, call in rivals.items()}
    rates: dict[str, list[float]] = {name: [] for name in rivals}
    for number in range(options.repeats):
        data = images[number % len(images)]
        for name, call in rivals.items():
            say(f"round {number + 1} of {options.repeats}: {name}")
            rates[name].append(calls[name] / _spent_s(call, data, calls[name]))
    return rates, digests


def _affordable(call: Hash, data: bytes, options: HashOptions) -> int:
    return max(1, int(options.seconds / _spent_s(call, data, 1)))


def _spent_s(call: Hash, data: bytes, calls: int) -> float:
    """Return the processor's seconds that some calls take, at least one of its clock's steps."""
    started = time.process_time()
    for _ in range(calls):
        call(data)
    return max(time.process_time() - started, time.get_clock_info("process_time").resolution)

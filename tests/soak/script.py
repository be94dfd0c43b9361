"""What happens outside during one long run: rounds of changes, the same for every run of a seed.

Each round changes about each picture one thing at most, and is settled before the next one
begins. So however the processes interleave or end, every picture has one history, and it is fair
to ask that a disturbed run ends as an undisturbed one does. What a person says comes when the
round's other changes are settled: a verdict counts for other pictures of its site.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from delist.model import Verdict
from indexer.hashing import hash_bytes
from indexer.model import DIGEST_BYTES, Hasher
from indexer.settings import HashingSettings
from tests.fakes.delisting import flipped
from tests.sites import draw_image

EXCHANGE, CROWD, BANK = "exchange", "crowd", "bank"
LIVE, WITHDRAWN = "Received", "Withdrawn"


@dataclass(frozen=True, kw_only=True)
class Show:
    """A page of the site shows a picture, perhaps by an address that leads to another."""

    page: str
    path: str
    body: bytes
    via: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A feed holds a signal, or says that it has ended."""

    feed: str
    digest: bytes
    status: str
    case_ref: str


@dataclass(frozen=True, kw_only=True)
class Word:
    """A person says what a picture is."""

    path: str
    verdict: Verdict


Change = Show | Report | Word


@dataclass(kw_only=True)
class Round:
    """What changes at once, and what people say afterwards.

    Attributes:
        crowd: signals of a feed that match nothing.
    """

    shows: list[Show] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    crowd: list[bytes] = field(default_factory=list)

    def add(self, change: Change) -> None:
        if isinstance(change, Show):
            self.shows.append(change)
        elif isinstance(change, Report):
            self.reports.append(change)
        else:
            self.words.append(change)

    @property
    def pages(self) -> list[str]:
        """The pages that a crawl has to visit."""
        return sorted({show.page for show in self.shows})


class Life:
    """One picture, and everything that can happen to it."""

    def __init__(self, number: int, seed: int) -> None:
        self.number, self._seed = number, seed
        self.path = f"/i/{number}.jpg"

    def show(self, version: int = 0, *, via: bool = False) -> Show:
        body, _ = self._picture(version)
        other = f"/r/{self.number}" if via else ""
        return Show(page=f"/p/{self.number}.html", path=self.path, body=body, via=other)

    def report(
        self, bits: int, *, version: int = 0, status: str = LIVE, feed: str = EXCHANGE
    ) -> Report:
        """Report the picture as it would be so many bits away."""
        _, digest = self._picture(version)
        ref = f"case-{self._seed}-{self.number}-{bits}"
        return Report(feed=feed, digest=flipped(digest, bits), status=status, case_ref=ref)

    def say(self, verdict: Verdict) -> Word:
        return Word(path=self.path, verdict=verdict)

    def _picture(self, version: int) -> tuple[bytes, bytes]:
        body = draw_image(self._seed * 100_000 + self.number * 10 + version)
        hashed = hash_bytes(body, HashingSettings())
        upright = next(
            entry
            for entry in hashed.hashes
            if entry.hasher is Hasher.CPP and entry.variant == "upright"
        )
        return body, upright.digest


Kind = Callable[[Life], list[list[Change]]]
KINDS: dict[str, Kind] = {
    "found": lambda life: [[life.show(), life.report(9)]],
    "late": lambda life: [[life.show()], [life.report(4)]],
    "early": lambda life: [[life.report(20)], [life.show()]],
    "waiting": lambda life: [[life.show(), life.report(25)]],
    "bystander": lambda life: [[life.show()]],
    "withdrawn": lambda life: [
        [life.show(), life.report(3)],
        [life.report(3, status=WITHDRAWN)],
    ],
    "returned": lambda life: [
        [life.show(), life.report(7)],
        [life.report(7, status=WITHDRAWN)],
        [life.report(7)],
    ],
    "confirmed": lambda life: [[life.show(), life.report(6), life.say(Verdict.NCII)]],
    "dismissed": lambda life: [[life.show(), life.report(8), life.say(Verdict.NOT_NCII)]],
    "raised": lambda life: [[life.show(), life.report(26), life.say(Verdict.NCII)]],
    "confirmed, withdrawn": lambda life: [
        [life.show(), life.report(5), life.say(Verdict.NCII)],
        [life.report(5, status=WITHDRAWN)],
    ],
    "changed": lambda life: [[life.show(), life.report(10)], [life.show(1)]],
    "confirmed, changed": lambda life: [
        [life.show(), life.report(11), life.say(Verdict.NCII)],
        [life.show(1)],
    ],
    "swapped": lambda life: [
        [life.show(), life.report(2), life.report(12, version=1)],
        [life.show(1)],
    ],
    "two signals": lambda life: [
        [life.show(), life.report(12)],
        [life.report(1)],
        [life.report(1, status=WITHDRAWN)],
    ],
    "led to": lambda life: [
        [life.show(via=True), life.report(14)],
        [life.report(14, status=WITHDRAWN)],
    ],
    "of a bank": lambda life: [
        [life.show(), life.report(13, feed=BANK)],
        [life.report(13, feed=BANK, status=WITHDRAWN)],
    ],
}


@dataclass(frozen=True, kw_only=True)
class Script:
    """All rounds of a run.

    Attributes:
        kinds: of pictures, by path.
    """

    seed: int
    rounds: list[Round]
    kinds: dict[str, str]


def write_script(
    seed: int,
    *,
    kinds: tuple[str, ...] = tuple(KINDS),
    starts: int = 1,
    crowd: tuple[int, int] = (0, 0),
) -> Script:
    """Draw a script: each kind of picture appears once, in an order and a round of its own.

    Args:
        starts: rounds over which pictures appear for the first time.
        crowd: signals that match nothing, in the first round and in each later one.
    """
    rng = random.Random(seed)
    names = rng.sample(kinds, len(kinds))
    plans = [(number, KINDS[name](Life(number, seed))) for number, name in enumerate(names)]
    first = {number: number % starts for number, _ in plans}
    count = max(first[number] + len(stages) for number, stages in plans)
    rounds = [Round() for _ in range(count)]
    for number, stages in plans:
        for step, stage in enumerate(stages):
            for change in stage:
                rounds[first[number] + step].add(change)
    for step, part in enumerate(rounds):
        size = crowd[0] if step == 0 else crowd[1]
        part.crowd += [rng.randbytes(DIGEST_BYTES) for _ in range(size)]
        rng.shuffle(part.reports)
    return Script(
        seed=seed,
        rounds=rounds,
        kinds={f"/i/{number}.jpg": name for number, name in enumerate(names)},
    )

"""What people of the demo reported: the records of the feed, before and after each change.

Four people, all made up. Three reported photos before the crawl; one photo was
reported by two of them. The fourth comes later, and one withdraws.
"""

import random
import time
from dataclasses import dataclass, field

from delist.ops.demo.album import COPIES, FURTHER, LATE, Album
from delist.ops.standin import Record, make_case, make_record, make_records, odd_records

OTHER_SIGNALS = 300
_EARLY = 3
ASKS, WITHDRAWS = 0, 1
"""Numbers of two people: who asks for a report, who withdraws."""
SHARED = 10
"""The photo that the person who withdraws and the one who asks both reported."""
_A_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Reports:
    """Who reported which original.

    Attributes:
        people: case reference of each person; the last one comes late.
    """

    album: Album
    people: tuple[str, ...] = field(repr=False)

    def of(self, person: int) -> list[int]:
        """Return the originals that one of the early people reported."""
        mine = [n for n in range(COPIES + 1) if n % _EARLY == person]
        return [*mine, SHARED] if person == ASKS else mine

    @property
    def only_withdrawn(self) -> list[int]:
        """Originals behind which nobody stands once the withdrawal is in."""
        return [number for number in self.of(WITHDRAWS) if number != SHARED]

    def first_records(self) -> list[Record]:
        """Make the feed as it stands at first: reports, other signals, one of every oddity."""
        reported = [self._record(number, "Received", days=3) for number in range(FURTHER + 1)]
        return [*make_records(OTHER_SIGNALS, seed=1), *odd_records(), *reported]

    def late_record(self) -> Record:
        """Make the record of the photo that is reported after the crawl."""
        return self._record(LATE, "Received")

    def withdrawal(self) -> list[Record]:
        """Make the records that change when one person withdraws."""
        return [self._record(number, "Withdrawn") for number in self.of(WITHDRAWS)]

    def _record(self, number: int, word: str, *, days: int = 0) -> Record:
        people = [p for p in range(_EARLY) if number in self.of(p)] or [_EARLY]
        cases = {
            self.people[person]: word if person == WITHDRAWS else "Received" for person in people
        }
        return make_record(
            random.Random(number),  # noqa: S311 - nothing is drawn from it that is kept
            hashValue=self.album.digests[number],
            hashStatus=word if set(cases.values()) == {word} else "Received",
            caseNumbers=cases,
            lastModtimestamp=int(time.time()) - days * _A_DAY_S,
        )


def make_reports(album: Album) -> Reports:
    """Make up the people; their case references are new each time."""
    rng = random.SystemRandom()
    return Reports(album, tuple(make_case(rng) for _ in range(_EARLY + 1)))

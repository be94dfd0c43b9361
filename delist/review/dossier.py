"""What stands beside a case while a person decides, from both stores; nothing is written.

Not for a blind second review: much of it says what others have decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from delist.appeal_record import Appeal
from delist.model import Case, Verdict
from delist.policy import DIRECT_FEED
from delist.store import Database, appeals, cases, direct_reports, exposures
from indexer.model import CaseStatus, has_ended
from indexer.store import Store

_MOST = 5
"""Reports of one case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalNotes:
    """What the store holds about one signal of a case.

    Attributes:
        words: last word of each other platform, by its name.
        references: case references behind it that have not ended; how many, not which.
        added_at: when it came to us; None: it was withdrawn.
    """

    words: Mapping[str, str]
    references: int
    added_at: datetime | None

    @property
    def is_live(self) -> bool:
        """Whether the feed has it still."""
        return self.added_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """What stands beside a case.

    Attributes:
        signals: by key.
        site: people's verdicts in force on other images of the site.
        place: the same, on the same path of it.
        appeals: about the case, the oldest first.
        seen_at: when this person last saw the image or a near-duplicate; None for never.
        is_direct: a signal was reported to us directly.
        reports: ids of the reports behind it.
    """

    signals: Mapping[str, SignalNotes]
    site: Mapping[Verdict, int]
    place: Mapping[Verdict, int]
    appeals: Sequence[Appeal] = field(repr=False)
    seen_at: datetime | None
    is_direct: bool
    reports: Sequence[str] = ()


def dossier(store: Store, database: Database, case: Case, *, actor: str) -> Dossier:
    """Collect what stands beside a case."""
    with store.read() as txn:
        signals = {
            match.signal_key: store.signals.find(txn, bytes.fromhex(match.signal_key))
            for match in case.matches
        }
    direct = {
        store.signals.case_key(entry.case_ref).hex(): None
        for signal in signals.values()
        if signal is not None and signal.feed == DIRECT_FEED
        for entry in signal.cases
        if not has_ended(entry.status)
    }
    with database.read() as connection:
        held = [direct_reports.find_by_case(connection, key) for key in list(direct)[:_MOST]]
        verdicts = cases.site_verdicts(connection, case.site) if case.site else {}
        asked = appeals.of_case(connection, case.id)
        seen_at = exposures.seen_in_group(connection, actor, case.group_id)
    site = dict.fromkeys(Verdict, 0)
    place = dict(site)
    for (path, verdict), count in verdicts.items():
        site[verdict] += count
        place[verdict] += count if path == case.path else 0
    if case.verdict is not None:
        site[case.verdict] -= 1
        place[case.verdict] -= 1
    return Dossier(
        signals={
            key: SignalNotes(
                words={entry.source: entry.value for entry in signal.feedback} if signal else {},
                references=_live(signal.cases) if signal else 0,
                added_at=signal.added_at if signal else None,
            )
            for key, signal in signals.items()
        },
        site=site,
        place=place,
        appeals=asked,
        seen_at=seen_at,
        is_direct=any(match.feed == DIRECT_FEED for match in case.active_matches),
        reports=[report.id for report in held if report is not None],
    )


def _live(held: Sequence[CaseStatus]) -> int:
    return sum(not has_ended(entry.status) for entry in held)

"""Collecting what is known of a case, for the policy: from both stores, in one state of each."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import lmdb
from sqlalchemy import Connection

from delist.casework.benign import BenignBank, rows_of
from delist.model import BrakeKind, Case, CaseMatch, CaseState, Verdict
from delist.policy import (
    CaseFacts,
    GroupFacts,
    MarkFacts,
    MatchFacts,
    PageFacts,
    Policy,
    SignalFacts,
    SiteFacts,
    may_act,
)
from delist.sites import site_of
from delist.store import acts, brakes, cases, outbox, submissions
from indexer.evidence import Evidence
from indexer.match import FEED_KIND_PDQ
from indexer.model import ImageRecord, PageMark, PartnerFeedback, Signal, has_ended
from indexer.store import Store
from indexer.url import url_key

BLOCKED, NOT_BLOCKED = "Blocked", "NotBlocked"
_MOST_SHOWN = 200
"""Images of one signal whose sites are looked at for what was there before it."""

_MOST_MARKED = 1_000
"""Pages of one image whose marks are looked at."""

EvidenceOf = Callable[[bytes, bytes], Evidence]
"""Evidence of an image key and a signal key; ``Indexer.evidence``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where facts come from beside the two stores.

    Attributes:
        evidence: see ``EvidenceOf``.
        bank: the known-benign images.
        threshold_bits: the matching threshold, for what is near a known-benign image.
    """

    evidence: EvidenceOf
    bank: BenignBank
    threshold_bits: int


@dataclass(slots=True, kw_only=True)
class Supposed:
    """What is taken for granted on top of the stores, where nothing may be written.

    Attributes:
        acts: automatic acts, by scope, beside those that are counted.
        stopped: codes of brakes, by signal.
        states: of cases, by image key, where not the stored one.
    """

    acts: Counter[str] = field(default_factory=Counter)
    stopped: dict[str, str] = field(default_factory=dict)
    states: dict[str, CaseState] = field(default_factory=dict)


class FactsReader:
    """Collects facts for one assessor: each site and signal is asked for once."""

    def __init__(
        self,
        store: Store,
        image_txn: lmdb.Transaction,
        connection: Connection,
        sources: Sources,
        *,
        policy: Policy,
        now: datetime,
        supposed: Supposed | None = None,
    ) -> None:
        self._store = store
        self._txn = image_txn
        self._connection = connection
        self._sources = sources
        self._policy = policy
        self._now = now
        self._supposed = supposed or Supposed()
        self._acts: Counter[str] = Counter()
        self._before: dict[str, int] = {}
        self._sites: dict[str, dict[tuple[str, Verdict], int]] = {}
        self._signals: dict[str, tuple[Signal | None, SignalFacts]] = {}
        self._shown: dict[tuple[str, datetime], set[str]] = {}
        # What this assessor's own cases stop is in ``supposed``.
        self._brakes = brakes.codes_on(connection)
        sources.bank.refresh(connection)

    def of_case(self, case: Case, record: ImageRecord | None, *, acted_before: bool) -> CaseFacts:
        """Collect everything about a case with at least one active match.

        Args:
            acted_before: the machine's act on these bytes is in force already, so that the
                caps do not count it again and pages cannot undo it.
        """
        matches = case.active_matches
        signals = {match.signal_key: self._known(match.signal_key)[0] for match in matches}
        image_key = bytes.fromhex(case.image_key)
        # What evidence costs is worth it only where it could change the outcome.
        evidence = {
            match.signal_key: self._sources.evidence(image_key, bytes.fromhex(match.signal_key))
            for match in matches
            if may_act(match, self._policy)
        }
        prior = self._prior_sites(record, [s for s in signals.values() if s])
        return CaseFacts(
            matches=tuple(self._match(match, evidence.get(match.signal_key)) for match in matches),
            dismissed_before=case.verdict is Verdict.NOT_NCII,
            verdict=case.verdict,
            benign=self._is_benign(record),
            lattice=next((found.lattice for found in evidence.values()), None),
            prior_sites=len(prior),
            prior_reputable=not prior.isdisjoint(self._policy.doubt.reputable_sites),
            site=self._site(case),
            group=self._group(case),
            provenance=record.provenance if record else (),
            pages=self._pages(record),
            acted=acted_before,
            acted_at=self.acted_at(case),
            now=self._now,
            budget_left=acted_before or self._budget_left(matches),
        )

    def acted_at(self, case: Case) -> datetime | None:
        """Say when the machine acted first on a case's bytes, where the policy asks for it."""
        if not self._policy.people.provisional_days:
            return None
        return cases.acted_at(self._connection, case.id, content_sha256=case.content_sha256)

    def scopes(self, match: CaseMatch) -> list[str]:
        """List what an automatic act on a match counts for in the caps."""
        return _scopes(self._store, match, self._known(match.signal_key)[0])

    def budget(self, match: CaseMatch) -> dict[str, tuple[int, int]]:
        """Say how many acts were counted for each scope of a match today, and how many may be."""
        rules = self._policy.brakes
        most = {
            acts.ALL: rules.automatic_per_day,
            "feed": rules.automatic_per_feed_day,
            "case": rules.automatic_per_case_day,
        }
        return {
            scope: (
                self._counted(scope) + self._acts[scope] + self._supposed.acts[scope],
                most[scope.partition(":")[0]],
            )
            for scope in self.scopes(match)
        }

    def count_act(self, match: CaseMatch) -> None:
        """Count an automatic act on a match in every scope of its caps; see ``take_acts``."""
        self._acts.update(self.scopes(match))

    def take_acts(self) -> Counter[str]:
        """Return what was counted by scope and is not stored yet, and forget it."""
        taken, self._acts = self._acts, Counter()
        self._before.clear()
        return taken

    def _counted(self, scope: str) -> int:
        if scope not in self._before:
            self._before[scope] = acts.count(self._connection, scope, now=self._now)
        return self._before[scope]

    def _known(self, signal_key: str) -> tuple[Signal | None, SignalFacts]:
        """Load a signal, and what holds for it whichever image it matches."""
        found = self._signals.get(signal_key)
        if found is None:
            signal = self._store.signals.find(self._txn, bytes.fromhex(signal_key))
            feedback = () if signal is None else signal.feedback
            said = _words_of_others(feedback, frozenset(self._policy.support.our_names))
            own = self._own_word(signal_key) if said else ""
            threshold, bank = self._sources.threshold_bits, self._sources.bank
            found = (
                signal,
                SignalFacts(
                    blocked=_without(said, BLOCKED, own),
                    not_blocked=_without(said, NOT_BLOCKED, own),
                    benign=signal is not None
                    and signal.kind == FEED_KIND_PDQ
                    and bank.holds_signal(signal.digest, threshold_bits=threshold),
                ),
            )
            self._signals[signal_key] = found
        return found

    def _match(self, match: CaseMatch, evidence: Evidence | None) -> MatchFacts:
        on = self._brakes.get((BrakeKind.FEED, match.feed))
        on = on or self._brakes.get((BrakeKind.SIGNAL, match.signal_key))
        return MatchFacts(
            match=match,
            resembling=evidence.resembling if evidence else None,
            signal=replace(
                self._known(match.signal_key)[1],
                brake=on or self._supposed.stopped.get(match.signal_key),
                coherence=evidence.coherence if evidence else None,
                compared=evidence.compared if evidence else 0,
                expected_per_million=evidence.expected_per_million if evidence else None,
                lattice=evidence.signal_lattice if evidence else None,
            ),
        )

    def _own_word(self, signal_key: str) -> str:
        """Return the word of ours that a feed lists among others', as the policy names us not."""
        if self._policy.support.our_names:
            return ""
        if submissions.stands(self._connection, signal_key) is not None:  # a hash we offered
            return BLOCKED
        return outbox.last_sent(self._connection, signal_key) or ""

    def _is_benign(self, record: ImageRecord | None) -> bool:
        if record is None:
            return False
        rows = rows_of(self._store.images.rows(self._txn, record))
        return self._sources.bank.holds_image(rows, threshold_bits=self._sources.threshold_bits)

    def _prior_sites(self, record: ImageRecord | None, signals: Sequence[Signal]) -> set[str]:
        """Find the sites that showed the image, or another of its signals, before these came.

        What matches in the indexer's store counts, not what is a case already: of many copies
        that one scan has found, the first is judged by all.
        """
        came = [_came_at(signal) for signal in signals]
        if record is None or not came:
            return set()
        first = min(came)
        found = self._shown_by(record) if record.hashed_at < first else set[str]()
        for signal in signals:
            found |= self._shown_before(signal.key, first)
        return found

    def _shown_before(self, signal_key: bytes, first: datetime) -> set[str]:
        wanted = (signal_key.hex(), first)
        if wanted not in self._shown:
            images, found = self._store.images, set[str]()
            for key in images.matching_images(
                self._txn, signal_key, start=signal_key, most=_MOST_SHOWN
            ):
                record = images.find(self._txn, key)
                if record is not None and record.hashed_at < first:
                    found |= self._shown_by(record)
            self._shown[wanted] = found
        return self._shown[wanted]

    def _shown_by(self, record: ImageRecord) -> set[str]:
        pages = self._store.images.pages(self._txn, record.key)
        return {site_of(url) for url in (record.image_url, *pages)}

    def _pages(self, record: ImageRecord | None) -> PageFacts:
        if record is None:
            return PageFacts()
        images = self._store.images
        urls = images.pages(self._txn, record.key)
        marks = images.page_marks.of_image(self._txn, record.key, most=_MOST_MARKED)
        if not marks:
            return PageFacts(pages=len(urls))
        pages: Counter[PageMark] = Counter()
        sites: dict[PageMark, set[str]] = {}
        for url in urls:
            for mark in marks.get(url_key(url), ()):
                pages[mark] += 1
                sites.setdefault(mark, set()).add(site_of(url))
        return PageFacts(
            pages=len(urls),
            sites=len(set(map(site_of, urls))),
            marked=tuple(
                MarkFacts(mark=mark, pages=pages[mark], sites=len(sites[mark]))
                for mark in PageMark
                if pages[mark]
            ),
        )

    def _site(self, case: Case) -> SiteFacts:
        if case.site not in self._sites:
            self._sites[case.site] = cases.site_verdicts(self._connection, case.site)
        counts = self._sites[case.site]

        def total(verdict: Verdict, path: str | None = None) -> int:
            own = case.verdict is verdict and path in {None, case.path}
            return sum(
                count
                for (held, said), count in counts.items()
                if said is verdict and path in {None, held}
            ) - (1 if own and counts.get((case.path, verdict)) else 0)

        return SiteFacts(
            confirmed=total(Verdict.NCII),
            dismissed=total(Verdict.NOT_NCII),
            path_confirmed=total(Verdict.NCII, case.path),
            path_dismissed=total(Verdict.NOT_NCII, case.path),
        )

    def _group(self, case: Case) -> GroupFacts:
        counts = cases.group_verdicts(self._connection, case.group_id, but=case.id)
        return GroupFacts(
            confirmed=counts.get(Verdict.NCII, 0), dismissed=counts.get(Verdict.NOT_NCII, 0)
        )

    def _budget_left(self, matches: Iterable[CaseMatch]) -> bool:
        """Whether the caps allow one more act for every match that could be its basis."""
        for match in matches:
            if not may_act(match, self._policy):
                continue
            if any(counted >= most for counted, most in self.budget(match).values()):
                return False
        return True


def _scopes(store: Store, match: CaseMatch, signal: Signal | None) -> list[str]:
    live = () if signal is None else [c for c in signal.cases if not has_ended(c.status)]
    refs = [f"case:{store.signals.case_key(case.case_ref).hex()}" for case in live]
    return [acts.ALL, f"feed:{match.feed}", *refs]


def _words_of_others(
    feedback: Iterable[PartnerFeedback], our_names: frozenset[str]
) -> dict[str, int]:
    """Count other platforms by their word, in lower case; each platform's last word once."""
    last = {entry.source: entry.value.strip().lower() for entry in feedback}
    counts: dict[str, int] = {}
    for source, word in last.items():
        if source not in our_names:
            counts[word] = counts.get(word, 0) + 1
    return counts


def _without(said: Mapping[str, int], word: str, own: str) -> int:
    """Count those who said a word, ourselves left out."""
    return max(0, said.get(word.lower(), 0) - (own == word))


def _came_at(signal: Signal) -> datetime:
    """Say when a signal came to be, as far as is known: the feed's time or ours, the earlier."""
    if signal.modified_at is None:
        return signal.added_at
    said = max(0, min(signal.modified_at, int(signal.added_at.timestamp())))
    return datetime.fromtimestamp(said, tz=signal.added_at.tzinfo)

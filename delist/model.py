"""The records of delisting. Frozen, slotted, keyword-only; each holds the key of the one before.

Page and image URLs and case references never show in a ``repr``.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class CaseState(StrEnum):
    """Where a case stands; ``workflow.py`` has the steps between them."""

    OPEN = "open"
    SUPPRESSED = "suppressed"
    DISMISSED = "dismissed"
    WITHDRAWN = "withdrawn"
    QUARANTINED = "quarantined"


class Verdict(StrEnum):
    """What a person found: an intimate image without consent, not one, or unsure."""

    NCII = "ncii"
    NOT_NCII = "not_ncii"
    UNSURE = "unsure"


class Action(StrEnum):
    """What a decision does to the result."""

    SUPPRESS = "suppress"
    REVIEW = "review"
    LIFT = "lift"
    KEEP = "keep"
    HOLD = "hold"
    """Nothing is shown as suppressed, nothing is decided, until a person has released a brake."""


class Support(StrEnum):
    """Whether a match still stands behind its case."""

    ACTIVE = "active"
    WITHDRAWN = "withdrawn"
    """The signal was withdrawn."""
    ENDED = "ended"
    """The bytes at the URL changed and no longer match."""


class BrakeKind(StrEnum):
    """What a brake is on for. A bank is a feed of ours, so its name is a feed's."""

    FEED = "feed"
    SIGNAL = "signal"


class ReportOutcome(StrEnum):
    """What came of a report, as its holder is told."""

    ACTED = "acted"
    """What could be found was looked at and decided on."""
    NOT_FOUND = "not_found"
    """There was no such image where the report says."""
    DECLINED = "declined"
    """It is nothing that this search engine decides on."""


class RulingKind(StrEnum):
    """In what part a decision was made."""

    POLICY = "policy"
    REVIEW = "review"
    BLIND = "blind"
    """Again, by a second reviewer who did not see the first decision. Decides nothing by itself."""
    APPEAL = "appeal"
    """After an appeal, by another person than before."""
    UNDO = "undo"
    """The same person takes back what they decided last. Has no verdict."""


class RecordAction(StrEnum):
    """What a suppression record tells a consumer to do."""

    SUPPRESS = "suppress"
    REVOKE = "revoke"


class Scope(StrEnum):
    """What of a result is not to be shown."""

    IMAGE = "image"
    THUMBNAIL = "thumbnail"
    CACHE = "cache"
    PAGE = "page"


class RecordState(StrEnum):
    """Whether a person has confirmed what a record rests on."""

    PROVISIONAL = "provisional"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMatch:
    """One signal that a case's image matches or matched. Keys are hex.

    Attributes:
        distance_bits: Hamming distance, 0-256; at most ``threshold_bits``.
        quality: of the image, 0-100.
        content_sha256: content version that matched.
        weighted_bits: for a match of the deep tier, the distance that its threshold is on.
    """

    signal_key: str
    feed: str
    distance_bits: int
    threshold_bits: int
    hasher: str
    variant: str
    quality: int
    content_sha256: str = field(repr=False)
    support: Support
    matched_at: datetime
    weighted_bits: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a person reviews: one image with all its matches.

    Attributes:
        image_key: hex key of the canonical image URL.
        site: registrable domain of the image's host, or the host itself.
        verdict: in force, of as many people as are needed, on the bytes that are there now;
            None while nobody decided.
        deadline_at: when the 48 hours to decide are over.
        queue_at: place in the queue: the deadline, earlier for what has more risk.
        risk: 0-100; see ``delist.casework.risk``.
        reach: pages and near-duplicates that show the image.
        group_id: id of the first case of the near-duplicates that it belongs to.
        pending: verdict of one person that a second has to agree with.
        pending_by: that person.
        disputed: two people decided differently, and a third is needed.
        claimed_by: who is at work on it, until ``claimed_until``.
        confirmed_sha256: content that a person confirmed and that it suppresses, "" for none;
            another than ``content_sha256`` where a person has to look at what is there now.
    """

    id: str
    image_key: str = field(repr=False)
    image_url: str = field(repr=False)
    content_sha256: str = field(repr=False)
    state: CaseState
    verdict: Verdict | None = None
    opened_at: datetime
    deadline_at: datetime
    changed_at: datetime
    decided_at: datetime | None = None
    site: str = field(default="", repr=False)
    path: str = field(default="", repr=False)
    queue_at: datetime | None = None
    risk: int = 0
    reach: int = 1
    group_id: str = ""
    pending: Verdict | None = None
    pending_by: str = ""
    disputed: bool = False
    claimed_by: str = ""
    claimed_until: datetime | None = None
    confirmed_sha256: str = field(default="", repr=False)
    matches: tuple[CaseMatch, ...] = ()

    @property
    def active_matches(self) -> tuple[CaseMatch, ...]:
        """Matches that stand behind the case, the nearest first."""
        active = [match for match in self.matches if match.support is Support.ACTIVE]
        return tuple(sorted(active, key=lambda match: (match.distance_bits, match.signal_key)))

    @property
    def has_changed(self) -> bool:
        """Whether it suppresses what a person confirmed, and something else is there now."""
        return self.confirmed_sha256 not in {"", self.content_sha256}

    @property
    def awaits_person(self) -> bool:
        """Whether a person still has to decide."""
        undecided = self.verdict in {None, Verdict.UNSURE}
        return (
            self.state is CaseState.OPEN
            or (self.state is CaseState.SUPPRESSED and undecided)
            or (self.state is not CaseState.WITHDRAWN and (bool(self.pending) or self.disputed))
        )

    def claimant(self, now: datetime) -> str:
        """Who is at work on it now, or ""."""
        holds = self.claimed_until is not None and now < self.claimed_until
        return self.claimed_by if holds else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision on a case, by policy or by a person.

    Attributes:
        verdict: None when the policy decided, which never says what an image shows, and when
            somebody took a decision back.
        actor: a person's name, or ``policy``.
        kind: in what part it was made.
        needs: how many people had to agree when it was made.
        checks: what the policy looked at, as JSON (``delist.policy.Check``), or "".
    """

    case_id: str
    verdict: Verdict | None
    action: Action
    actor: str
    policy_version: str
    reason: str = field(repr=False)
    content_sha256: str = field(repr=False)
    decided_at: datetime
    kind: RulingKind = RulingKind.POLICY
    needs: int = 1
    checks: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a suppression record rests on: one match, under one policy."""

    feed: str
    signal: str
    distance_bits: int
    hasher: str
    variant: str
    policy_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDraft:
    """An instruction to result pages, before it has its place in the ledger.

    Attributes:
        image_url: the subject, in canonical form.
        document_id: the engine's own id, if it gave one.
        content_sha256: content version that was decided on, hex.
        scope: what is not to be shown.
        reason_code: why, as a constant.
        supersedes: id of the record that this one takes the place of, or "".
        expires_at: when it ends by itself; None: not before it is revoked.
        recheck_at: when its subject should be looked at again; None: no time was set.
    """

    action: RecordAction
    state: RecordState
    case_id: str
    image_url: str = field(repr=False)
    document_id: str = field(default="", repr=False)
    content_sha256: str = field(repr=False)
    scope: Scope = Scope.IMAGE
    reason_code: str
    basis: Basis
    supersedes: str = ""
    expires_at: datetime | None = None
    recheck_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRecord(RecordDraft):
    """An instruction to result pages in the ledger; appended, never edited.

    Attributes:
        sequence: 1, 2, 3, ... without gaps.
        commitment: what the log says of it, hex (``delist.commitments``).
        previous_hash: hash of the record before this one, hex.
        hash: its place in the chain, hex (``delist.store.ledger``).
    """

    sequence: int
    id: str
    effective_at: datetime
    commitment: str = field(repr=False)
    previous_hash: str = field(repr=False)
    hash: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedRecord:
    """What is left of a record that was erased: its place, and nothing of whom it was about.

    It was not in effect. A consumer that still holds the record it names as superseded drops it.
    """

    sequence: int
    id: str
    action: RecordAction
    supersedes: str
    erased_at: datetime
    commitment: str = field(repr=False)
    previous_hash: str = field(repr=False)
    hash: str = field(repr=False)

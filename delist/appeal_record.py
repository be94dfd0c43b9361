"""An appeal: the record of it, the table of its states, and what an outcome says. Pure.

Contact, text, address and keys never show in a ``repr``.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from delist.model import CaseState, Verdict


class Party(StrEnum):
    """Who asks."""

    SITE_OWNER = "site_owner"
    SURVIVOR = "survivor"


class Asks(StrEnum):
    """What is asked for."""

    KEEP = "keep"
    """Look again at an image that was dismissed, and keep it out of results."""
    LIFT = "lift"
    """Show an image again that results do not show."""


class Finding(StrEnum):
    """What the person who decides an appeal finds about the decision before."""

    UPHELD = "upheld"
    OVERTURNED = "overturned"


class AppealState(StrEnum):
    """Where an appeal stands."""

    AWAITING_PROOF = "awaiting_proof"
    OPEN = "open"
    NO_RECORD = "no_record"
    """Control was proved, and there is no record that can be told of."""
    UPHELD = "upheld"
    OVERTURNED = "overturned"
    ENDED = "ended"
    """What was asked for had happened otherwise, or the case had ended, before a decision."""


class Step(StrEnum):
    """What happens to an appeal."""

    PROVED = "proved"
    PROVED_WITHOUT_RECORD = "proved_without_record"
    UPHOLD = "uphold"
    OVERTURN = "overturn"
    END = "end"


TABLE: dict[tuple[AppealState, Step], AppealState] = {
    (AppealState.AWAITING_PROOF, Step.PROVED): AppealState.OPEN,
    (AppealState.AWAITING_PROOF, Step.PROVED_WITHOUT_RECORD): AppealState.NO_RECORD,
    (AppealState.OPEN, Step.UPHOLD): AppealState.UPHELD,
    (AppealState.OPEN, Step.OVERTURN): AppealState.OVERTURNED,
    (AppealState.OPEN, Step.END): AppealState.ENDED,
}
"""Every step that there is; all others are refused."""

_VERDICTS = {
    (Asks.LIFT, Finding.UPHELD): Verdict.NCII,
    (Asks.LIFT, Finding.OVERTURNED): Verdict.NOT_NCII,
    (Asks.KEEP, Finding.UPHELD): Verdict.NOT_NCII,
    (Asks.KEEP, Finding.OVERTURNED): Verdict.NCII,
}
_APPEALABLE = {Asks.LIFT: CaseState.SUPPRESSED, Asks.KEEP: CaseState.DISMISSED}
_DONE = {Asks.LIFT: CaseState.DISMISSED, Asks.KEEP: CaseState.SUPPRESSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Appeal:
    """A request to look again.

    Attributes:
        image_url: what it is about, canonical; empty once there turned out to be no record.
        case_id: None until a case is known to have the image.
        record_id: the suppression record in effect when it was opened, or "".
        content_sha256: the bytes that a decision on it is about; "" until there is a case.
        party_key: the site, or the key of the case reference.
        contact: where the answer is to go.
        proof_hash: keyed hash of the token, or "" for a survivor.
        proof_method: ``file``, ``meta``, ``access_code`` or ``image``; "" until proved.
        proved_for: host, with a port that is not the default one, that the proof was found on.
        opened_at: when it was asked for.
        deadline_at: until when control has to be proved; afterwards, until when to decide.
    """

    id: str
    party: Party
    asks: Asks
    state: AppealState
    image_url: str = field(repr=False)
    case_id: str | None = None
    record_id: str = ""
    content_sha256: str = field(default="", repr=False)
    party_key: str = field(repr=False)
    contact: str = field(repr=False)
    statement: str = field(repr=False)
    proof_hash: str = field(default="", repr=False)
    proof_method: str = ""
    proved_for: str = field(default="", repr=False)
    proved_at: datetime | None = None
    opened_at: datetime
    deadline_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = field(default=None, repr=False)


def after(state: AppealState, step: Step) -> AppealState | None:
    """Say where an appeal stands after a step; None where there is no such step."""
    return TABLE.get((state, step))


def step_of(finding: Finding) -> Step:
    """Say which step a finding is."""
    return Step.UPHOLD if finding is Finding.UPHELD else Step.OVERTURN


def verdict_of(asks: Asks, finding: Finding) -> Verdict:
    """Say which verdict on the image a finding comes to."""
    return _VERDICTS[asks, finding]


def can_be_asked(asks: Asks, state: CaseState) -> bool:
    """Say whether a case is such that this can be asked of it."""
    return state is _APPEALABLE[asks]


def is_settled(asks: Asks, state: CaseState, verdict: Verdict | None) -> bool:
    """Say whether there is nothing left to decide: done by a person otherwise, or ended."""
    if state is CaseState.WITHDRAWN:
        return True
    return state is _DONE[asks] and verdict is verdict_of(asks, Finding.OVERTURNED)

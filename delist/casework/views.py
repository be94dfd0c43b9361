"""What assessing follows, and what it says: values that its callers hold."""

from dataclasses import dataclass, field

from delist.casework.braking import Tripped
from delist.casework.facts import Sources
from delist.model import Case, CaseMatch, CaseState
from delist.policy import Policy, Proposal
from indexer.model import ImageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What assessing follows beside the two stores.

    Attributes:
        policy: in force.
        policy_id: its number among those that were applied, 0 where none was. What was asked for
            when another one was applied must not be done under this one. None: as if in force.
        review_hours: that a person has to decide.
        sources: of facts.
        sample_key: secret that draws decisions for a blind second review; empty: none is drawn.
    """

    policy: Policy
    policy_id: int | None = None
    review_hours: int
    sources: Sources
    sample_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a case.

    Attributes:
        before: its state before, None when it is new.
        records: records that were appended to the ledger.
    """

    before: CaseState | None
    case: Case
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where a case would stand, before anything is written.

    Attributes:
        held: the case as it is stored, None when it is new.
        proposal: of the policy; None when no live signal matches.
        basis: the match that a suppression would rest on, or None.
        tripped: signals that have to be stopped.
    """

    held: Case | None
    case: Case
    record: ImageRecord | None
    proposal: Proposal | None
    basis: CaseMatch | None
    tripped: tuple[Tripped, ...] = ()

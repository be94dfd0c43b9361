"""Why a case stands where it stands: the policy asked anew on what is true now.

Who looked is on record. The answer holds no address, no digest and no case reference.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from delist.casework.looking import Looker
from delist.casework.views import Rules
from delist.errors import UnknownCaseError
from delist.model import Action, BrakeKind, Case, Decision, RulingKind, Verdict
from delist.policy import Check, Proposal
from delist.review import checked_actor, get_case, people_needed
from delist.store import Database, audit, brakes, cases
from delist.store.brakes import Brake
from indexer.store import Store

FOR_ONE_CASE_REFERENCE = "case"
"""In ``Explanation.budget``, the fullest of the case references: none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a case stands where it stands.

    Attributes:
        case: as it is stored.
        now: as it would stand if it were looked at now.
        proposal: of the policy in force, with every check; None when no live signal matches.
        policy_version: of that policy.
        rulings: people's decisions on the bytes that are there now.
        people_needed: how many have to agree.
        brakes: that are on for its signals and their feeds.
        group_size: cases of near-duplicates, itself among them.
        group_verdicts: people's verdicts on the others.
        budget: by scope, automatic acts of today and the cap.
        last: the policy's last decision on the case, with the checks of that time, or None.
    """

    case: Case
    now: Case
    proposal: Proposal | None
    policy_version: str
    rulings: Sequence[Decision]
    people_needed: int
    brakes: Sequence[Brake]
    group_size: int
    group_verdicts: Mapping[Verdict, int]
    budget: Mapping[str, tuple[int, int]]
    last: Decision | None

    @property
    def action(self) -> Action | None:
        """What the policy proposes."""
        return self.proposal.action if self.proposal else None

    @property
    def last_checks(self) -> Sequence[Mapping[str, str]]:
        """What the policy looked at when it decided last, as ``Check`` has it."""
        found: list[dict[str, str]] = []
        if self.last is not None and self.last.checks:
            found = json.loads(self.last.checks)
        return found

    @property
    def checks(self) -> Sequence[Check]:
        """Everything that the policy looks at now."""
        return self.proposal.checks if self.proposal else ()


def explain(
    store: Store, database: Database, case_id: str, *, rules: Rules, actor: str, now: datetime
) -> Explanation:
    """Explain a case, and note who looked.

    Raises:
        UnknownCaseError: no case has this id.
        UsageError: no name of the actor.
    """
    actor = checked_actor(actor)
    with database.write() as connection:
        get_case(connection, case_id)
        audit.append(connection, actor=actor, act="case.explained", subject=case_id, now=now)
    with database.read() as connection, store.read() as txn:
        case = get_case(connection, case_id)
        looker = Looker(store, txn, connection, rules=rules, now=now)
        view = looker.look(bytes.fromhex(case.image_key))
        if view is None:
            raise UnknownCaseError("the case has just gone")
        decisions = cases.decisions_of(connection, case_id)
        content = view.case.content_sha256
        names = {(BrakeKind.SIGNAL, match.signal_key) for match in case.matches} | {
            (BrakeKind.FEED, match.feed) for match in case.matches
        }
        return Explanation(
            case=case,
            now=view.case,
            proposal=view.proposal,
            policy_version=rules.policy.version,
            rulings=cases.rulings(connection, case_id, content_sha256=content),
            people_needed=people_needed(view.case, rules),
            brakes=[b for b in brakes.every(connection) if (b.kind, b.name) in names],
            group_size=cases.group_size(connection, view.case.group_id),
            group_verdicts=cases.group_verdicts(connection, view.case.group_id, but=case_id),
            budget=_nameless(looker.budget(view)),
            last=next((d for d in reversed(decisions) if d.kind is RulingKind.POLICY), None),
        )


def _nameless(budget: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Leave out which case reference a scope is of: the fullest stands for all."""
    found: dict[str, tuple[int, int]] = {}
    for scope, (counted, most) in budget.items():
        name = FOR_ONE_CASE_REFERENCE if scope.startswith("case:") else scope
        found[name] = max(found.get(name, (0, most)), (counted, most))
    return found

"""The states of a case and the steps between them, in one table.

A step is asked for by what is true now: whether anything still supports the
case, what a person has decided about the bytes that are there now, and what the
policy proposes. Nobody sets a state by hand.
"""

from delist.errors import TransitionError
from delist.model import Action, CaseState, Verdict

_S = CaseState

STEPS: dict[CaseState, frozenset[CaseState]] = {
    # A new match, or one that came back.
    _S.OPEN: frozenset({_S.OPEN, _S.SUPPRESSED, _S.DISMISSED, _S.WITHDRAWN, _S.QUARANTINED}),
    # Revoked by a person (dismissed), by withdrawal, or because what is left needs a person.
    _S.SUPPRESSED: frozenset({_S.SUPPRESSED, _S.OPEN, _S.DISMISSED, _S.WITHDRAWN, _S.QUARANTINED}),
    # Looked at again: another signal, other bytes, or a second verdict.
    _S.DISMISSED: frozenset({_S.DISMISSED, _S.OPEN, _S.SUPPRESSED, _S.WITHDRAWN}),
    # Ends nothing for good: a signal that returns, or a new one, opens it again.
    _S.WITHDRAWN: frozenset({_S.WITHDRAWN, _S.OPEN, _S.SUPPRESSED, _S.DISMISSED}),
    _S.QUARANTINED: frozenset({_S.QUARANTINED, _S.OPEN, _S.SUPPRESSED, _S.DISMISSED, _S.WITHDRAWN}),
}


def next_state(
    *,
    supported: bool,
    verdict: Verdict | None,
    verdict_covers_matches: bool,
    proposed: Action | None,
) -> CaseState:
    """Say where a case stands, from what is true now.

    Args:
        supported: at least one live signal matches the bytes that are there now.
        verdict: a person's last verdict on these bytes.
        verdict_covers_matches: no match is newer than the verdict. A newer one asks a
            person again after ``not_ncii``; after ``ncii`` it changes nothing.
        proposed: what the policy proposes; None when nothing supports the case.
    """
    if not supported:
        return CaseState.WITHDRAWN
    if verdict is Verdict.NCII:
        return CaseState.SUPPRESSED
    if verdict is Verdict.NOT_NCII and verdict_covers_matches:
        return CaseState.DISMISSED
    return CaseState.SUPPRESSED if proposed is Action.SUPPRESS else CaseState.OPEN


def check_step(before: CaseState, after: CaseState) -> None:
    """Make sure that the table has a step.

    Raises:
        TransitionError: it does not.
    """
    if after not in STEPS[before]:
        raise TransitionError(f"a case cannot go from {before.value} to {after.value}")

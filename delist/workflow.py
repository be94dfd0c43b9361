"""Where a case stands: one table from what is true now to its state.

Whatever becomes true next, a case may go from any state to any other (a signal returns, bytes
change back, a brake is released), so the table is not of steps but of facts: the first row that
holds says the state. Nobody sets a state by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass

from delist.model import Action, CaseState, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Standpoint:
    """What is true of a case now.

    Attributes:
        supported: at least one live signal matches the bytes that are there now.
        verdict: in force, of people, on these bytes.
        verdict_covers_matches: no match is newer than the verdict. A newer one asks a person
            again after ``not_ncii``; after ``ncii`` it changes nothing.
        proposed: what the policy proposes; None when nothing supports the case.
        kept: a person confirmed these bytes by eye, and the policy keeps what was confirmed
            although nothing supports it any more.
        changed: a person confirmed what was there before, and nobody has dismissed what is
            there now.
    """

    supported: bool
    verdict: Verdict | None
    verdict_covers_matches: bool
    proposed: Action | None
    kept: bool = False
    changed: bool = False


_HOLDS = Callable[[Standpoint], bool]

TABLE: tuple[tuple[str, _HOLDS, CaseState], ...] = (
    ("kept by rule", lambda now: not now.supported and now.kept, CaseState.SUPPRESSED),
    # A host may show us something else than it shows to people: no machine lifts it then.
    ("confirmed by eye, changed since", lambda now: now.changed, CaseState.SUPPRESSED),
    ("nothing supports it", lambda now: not now.supported, CaseState.WITHDRAWN),
    ("confirmed by eye", lambda now: now.verdict is Verdict.NCII, CaseState.SUPPRESSED),
    (
        "dismissed by eye",
        lambda now: now.verdict is Verdict.NOT_NCII and now.verdict_covers_matches,
        CaseState.DISMISSED,
    ),
    (
        # A person has dismissed these bytes: what another signal says of them waits for one.
        "dismissed by eye, matched anew",
        lambda now: now.verdict is Verdict.NOT_NCII and now.proposed is Action.HOLD,
        CaseState.OPEN,
    ),
    ("every signal is stopped", lambda now: now.proposed is Action.HOLD, CaseState.QUARANTINED),
    ("the machine acts", lambda now: now.proposed is Action.SUPPRESS, CaseState.SUPPRESSED),
    ("a person has to decide", lambda _now: True, CaseState.OPEN),
)
"""Name, condition and state; the first that holds counts."""


def next_state(now: Standpoint) -> CaseState:
    """Say where a case stands, from what is true now."""
    return next(state for _, holds, state in TABLE if holds(now))

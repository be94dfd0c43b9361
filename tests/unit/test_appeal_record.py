"""The states of an appeal, and what its outcome says of the image."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.appeal_record import (
    AppealState,
    Asks,
    Finding,
    Step,
    after,
    can_be_asked,
    is_settled,
    step_of,
    verdict_of,
)
from delist.model import CaseState, Verdict

ENDS = {
    AppealState.NO_RECORD,
    AppealState.UPHELD,
    AppealState.OVERTURNED,
    AppealState.ENDED,
}


@given(st.lists(st.sampled_from(Step), max_size=12))
def test_nothing_is_decided_unproved_or_twice(steps: list[Step]) -> None:
    """Whatever is tried, in any order: a decision follows a proof, and nothing follows an end."""
    state, proved = AppealState.AWAITING_PROOF, False
    for step in steps:
        target = after(state, step)
        if target is None:
            continue
        assert state not in ENDS
        if step in {Step.PROVED, Step.PROVED_WITHOUT_RECORD}:
            assert not proved
            proved = True
        assert proved
        state = target
    assert proved is (state is not AppealState.AWAITING_PROOF)


@pytest.mark.parametrize("state", AppealState)
def test_every_state_is_an_end_or_leads_to_one(state: AppealState) -> None:
    """No appeal is stuck."""
    reached = {state}
    for _ in AppealState:
        reached |= {t for s in reached for step in Step if (t := after(s, step)) is not None}
    assert bool(reached & ENDS)
    assert (state in ENDS) is (reached == {state})


@given(st.sampled_from(Asks), st.sampled_from(Finding))
def test_overturned_gives_what_was_asked(asks: Asks, finding: Finding) -> None:
    """Overturned means shown again for lift and away for keep; upheld means the contrary."""
    away = verdict_of(asks, finding) is Verdict.NCII
    granted = finding is Finding.OVERTURNED
    assert away is ((asks is Asks.KEEP) is granted)
    assert after(AppealState.OPEN, step_of(finding)) in ENDS


@given(st.sampled_from(Asks), st.sampled_from(CaseState))
def test_what_can_be_asked_is_not_settled(asks: Asks, state: CaseState) -> None:
    """An appeal is about a decision that stands against what it asks for."""
    if can_be_asked(asks, state):
        against = verdict_of(asks, Finding.UPHELD)
        assert not is_settled(asks, state, against)
        assert not is_settled(asks, state, None)


@given(st.sampled_from(Asks))
def test_a_case_that_ended_leaves_nothing_to_decide(asks: Asks) -> None:
    """Without any live signal there is nothing to keep and nothing to lift."""
    assert is_settled(asks, CaseState.WITHDRAWN, None)

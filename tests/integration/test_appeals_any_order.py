"""Appeals between everything else that happens, in any order, on real stores."""

import os
from contextlib import suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from delist import appeals
from delist.appeal_record import AppealState, Asks, Finding, verdict_of
from delist.appeals import deciding
from delist.casework.assessment import Assessor
from delist.errors import UsageError
from delist.model import CaseState
from tests.integration.test_any_order import PEOPLE, AnyOrder

REFUSALS = ("changed", "another person", "two people")


class WithAppeals(AnyOrder):
    """Survivors ask to look again, and somebody decides, whatever else happens."""

    @initialize()
    def begin(self) -> None:
        """Appeals wait from the beginning, while everything else happens."""
        super().begin()
        self.ask()

    @rule()
    def ask(self) -> None:
        """Survivors ask for all that can be asked for now."""
        desk = self.world.delist.appeal_desk
        code = self.world.delist.issue_access_code("case-a")
        for case in self.cases():
            for asks in Asks:
                with suppress(UsageError):
                    appeals.open_for_survivor(
                        desk, "case-a", code, case.image_url, asks=asks, text="look again"
                    )

    @precondition(lambda self: deciding.every(self.world.delist.appeal_desk))
    @rule(
        first=st.sampled_from([*PEOPLE, "Alex"]),
        findings=st.lists(st.sampled_from(Finding), min_size=1, max_size=3),
        settles=st.booleans(),
    )
    def decide_appeals(self, first: str, findings: list[Finding], *, settles: bool) -> None:
        """Somebody else than before decides about the bytes that are there, or is refused."""
        for finding in findings:
            for person in (first, "Alex"):
                if deciding.every(self.world.delist.appeal_desk):
                    self.decide_one(person, finding)
        self.after(settles=settles)

    def decide_one(self, person: str, finding: Finding) -> None:
        desk = self.world.delist.appeal_desk
        waiting = deciding.every(desk)[0]
        file = deciding.show(desk, waiting.id, actor=person)
        assert file.case is not None
        try:
            done = deciding.decide(desk, waiting.id, finding, actor=person, reason="looked again")
        except UsageError as error:
            refused = str(error)
            assert any(word in refused for word in REFUSALS), refused
        else:
            case = next(case for case in self.world.cases() if case.id == waiting.case_id)
            if done.state is AppealState.ENDED:
                assert case == file.case
            else:
                assert person not in file.decided_before
                assert case.verdict is verdict_of(done.asks, finding)

    @invariant()
    def looking_again_changes_nothing(self) -> None:
        """As for all; of a case that ended only its state, since its bytes may have changed."""
        if not self.settled:
            return
        delist = self.world.delist
        with delist.database.read() as connection, delist.indexer.store.read() as txn:
            assessor = Assessor(
                delist.indexer.store, txn, connection, rules=delist.rules(), now=delist.clock()
            )
            for case in self.world.cases():
                view = assessor.look(bytes.fromhex(case.image_key))
                assert view is not None
                assert view.case.state is case.state
                if case.state is not CaseState.WITHDRAWN:
                    assert view.case.verdict is case.verdict


def test_appeals_in_any_order() -> None:
    """Whatever happens between, results say what the ledger says, with a live basis."""
    run_state_machine_as_test(
        WithAppeals,
        settings=settings(
            max_examples=500 if os.environ.get("DELIST_SOAK") else 7,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )

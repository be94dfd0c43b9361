"""Feed, web, several people, policies, brakes and crashes in any order, on real stores.

What is in force must follow from what is true, whatever happened before: a suppression has a live
basis, the filter says what the ledger says, and looking at every case anew changes nothing.
"""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from delist.casework.assessment import Assessor
from delist.emission import effective
from delist.errors import UsageError
from delist.model import Action, BrakeKind, Case, CaseState, RecordState, SuppressionRecord, Verdict
from delist.policy import parse_policy
from delist.review import Ruling
from delist.store import audit, benign, brakes, ledger, policies, reassessments
from indexer.model import HashedImage
from tests.fakes.delisting import FEED, World, digest_of, image_near

SIGNALS = [digest_of(f"any order {number}") for number in range(3)]
SITES = [f"https://site{number}.example" for number in range(4)]
URLS = [f"{site}/{number}.jpg" for number, site in enumerate(SITES * 2)]
PEOPLE = ["Robin", "Kim", "Sam"]
BANDS = """
[[bands]]
name = "near"
to_bits = {near}
action = "suppress"
supported = "suppress"
[[bands]]
name = "wide"
from_bits = {after}
supported = "{supported}"
"""
POLICIES = [
    'version = "strict"\n' + BANDS.format(near=4, after=5, supported="review"),
    'version = "wide"\n'
    + BANDS.format(near=24, after=25, supported="suppress")
    + "[people]\nsecond_person_from_reach = 2\n",
    'version = "braked"\n'
    + BANDS.format(near=20, after=21, supported="suppress")
    + "[brakes]\nblast_sites = 2\n[people]\nsecond_person_from_reach = 0\n",
    'version = "keeping"\nreview_only_feeds = ["exchange"]\n'
    + BANDS.format(near=20, after=21, supported="suppress")
    + '[confirmed]\nafter_withdrawal = "keep"\n',
]
CONTENTS: list[HashedImage] = [
    image_near({}, name="nothing"),
    image_near({SIGNALS[0]: 0}, name="a"),
    image_near({SIGNALS[0]: 6}, name="b"),
    image_near({SIGNALS[0]: 30}, name="c"),
    image_near({SIGNALS[1]: 2, SIGNALS[2]: 28}, name="d"),
    image_near({SIGNALS[1]: 12}, name="e", quality=30),
    image_near({SIGNALS[2]: 3}, name="f"),
]


class AnyOrder(RuleBasedStateMachine):
    """Everybody does as they please; what must be true is asked for after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder / "data")
        self.settled = False

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        """Images match already: near and far ones of one signal, and of two others."""
        self.world.offer(*SIGNALS, cases={"case-a": "Received"})
        for url, content in zip(URLS, (1, 3, 4, 6, 2), strict=False):
            self.world.visit(url, CONTENTS[content])
        self.settle()

    # The feed and the web

    @rule(
        signal=st.integers(0, 2),
        status=st.sampled_from(["Received", "Withdrawn", "Received"]),
        blocked=st.booleans(),
    )
    def offer(self, signal: int, status: str, *, blocked: bool) -> None:
        self.world.offer(
            SIGNALS[signal],
            cases={"case-a": status},
            status=status,
            blocked_by=["elsewhere"] if blocked else [],
        )
        self.settled = False

    @rule(
        url=st.sampled_from(URLS),
        content=st.integers(0, len(CONTENTS) - 1),
        settles=st.booleans(),
    )
    def visit(self, url: str, content: int, *, settles: bool) -> None:
        self.world.visit(url, CONTENTS[content])
        self.after(settles=settles)

    # People

    @precondition(lambda self: self.world.cases())
    @rule(
        number=st.integers(0, 7),
        person=st.sampled_from(PEOPLE),
        verdict=st.sampled_from([Verdict.NCII, Verdict.NCII, Verdict.NOT_NCII, Verdict.UNSURE]),
        settles=st.booleans(),
    )
    def decide(self, number: int, person: str, verdict: Verdict, *, settles: bool) -> None:
        found = self.cases()
        case = found[number % len(found)]
        ruling = Ruling(verdict=verdict, actor=person, reason="looked at it")
        try:
            self.world.delist.decide(case.id, ruling)
        except UsageError as error:
            refused = str(error)
            assert any(word in refused for word in ("ended", "changed", "cannot decide twice")), (
                refused
            )
        self.after(settles=settles)

    @precondition(lambda self: self.world.cases())
    @rule(number=st.integers(0, 7))
    def confirm_and_withdraw(self, number: int) -> None:
        """Two people confirm an image, and every case behind its signals is withdrawn."""
        found = self.cases()
        case = found[number % len(found)]
        for person in PEOPLE[:2]:
            self.decide(number, person, Verdict.NCII, settles=False)
        for signal, digest in enumerate(SIGNALS):
            if self.key_of(signal) in {match.signal_key for match in case.matches}:
                self.world.offer(digest, cases={"case-a": "Withdrawn"}, status="Withdrawn")
        self.settle()

    @rule(number=st.integers(0, len(POLICIES) - 1), settles=st.booleans())
    def apply_policy(self, number: int, *, settles: bool) -> None:
        text, now = POLICIES[number], self.world.clock()
        version = parse_policy(text, name="policy").version
        with self.world.delist.database.write() as connection:
            policies.add(
                connection, version=version, text=text, actor="Robin", reason="try", now=now
            )
            reassessments.ask_for_all(connection, reason="policy", now=now)
        self.after(settles=settles)

    @rule(signal=st.integers(0, 2), on=st.booleans(), settles=st.booleans())
    def brake(self, signal: int, on: bool, *, settles: bool) -> None:
        key = self.key_of(signal)
        now = self.world.clock()
        with self.world.delist.database.write() as connection:
            if on:
                brakes.put(
                    connection,
                    kind=BrakeKind.SIGNAL,
                    name=key,
                    code="kill_switch",
                    detail="",
                    actor="Robin",
                    now=now,
                )
            else:
                brakes.release(
                    connection,
                    kind=BrakeKind.SIGNAL,
                    name=key,
                    actor="Robin",
                    reason="looked at",
                    now=now,
                )
            reassessments.ask_for_signal(connection, key, reason="brake", now=now)
        self.after(settles=settles)

    @rule(content=st.integers(1, len(CONTENTS) - 1), put=st.booleans())
    def bank(self, content: int, put: bool) -> None:
        image, now = CONTENTS[content], self.world.clock()
        with self.world.delist.database.write() as connection:
            if put:
                benign.add(
                    connection,
                    image_sha256=image.sha256.hex(),
                    label="known",
                    rows=b"".join(row for _, row in image.rows),
                    actor="Robin",
                    now=now,
                )
            else:
                for entry in benign.every(connection):
                    benign.remove(connection, entry.id)
            reassessments.ask_for_all(connection, reason="bank", now=now)
        self.settled = False

    # Time and trouble

    @rule(hours=st.sampled_from([1, 30]))
    def time_passes(self, hours: int) -> None:
        self.world.clock.advance(hours=hours)

    @rule()
    def crash(self) -> None:
        """Intake is cut off after its first batch, and the stores are opened anew."""
        self.world.delist.take_in(stopped=lambda: True)
        feed, clock = self.world.feed, self.world.clock
        self.world.close()
        self.world = World(self.folder / "data")
        self.world.feed, self.world.clock = feed, clock
        self.world.delist.clock = clock
        self.settled = False

    def after(self, *, settles: bool) -> None:
        self.settled = False
        if settles:
            self.settle()

    @rule()
    def settle(self) -> None:
        self.world.settle()
        while self.world.take_in().reassessed:
            pass
        before = (len(self.world.ledger()), self.states())
        report = self.world.settle()
        assert (report.cases, report.suppressed, report.revoked) == (0, 0, 0)
        assert (len(self.world.ledger()), self.states()) == before
        self.settled = True

    # What must be true

    @invariant()
    def filter_follows_the_ledger(self) -> None:
        answers = self.world.results.suppressed(URLS)
        said = {url for url, answer in zip(URLS, answers, strict=True) if answer}
        assert said == set(self.in_effect())

    @invariant()
    def logs_verify(self) -> None:
        with self.world.delist.database.read() as connection:
            assert ledger.verify(connection) == len(self.world.ledger())
            audit.verify(connection)

    @invariant()
    def every_suppression_has_a_live_basis(self) -> None:
        if not self.settled:
            return
        cases = {case.image_url: case for case in self.world.cases()}
        store = self.world.delist.indexer.store
        policy = self.world.delist.policy
        for url, record in self.in_effect().items():
            case = cases[url]
            assert case.state is CaseState.SUPPRESSED
            # Other bytes are there than were confirmed, and nothing matches them (ADR 0043).
            kept = case.has_changed and not case.active_matches
            assert record.content_sha256 == (case.confirmed_sha256 if kept else case.content_sha256)
            assert case.verdict is not Verdict.NOT_NCII or case.active_matches
            confirmed = record.state is RecordState.CONFIRMED
            assert confirmed is (kept or case.verdict is Verdict.NCII)
            with store.read() as txn:
                live = store.signals.find(txn, bytes.fromhex(record.basis.signal)) is not None
            assert live or (confirmed and policy.confirmed.after_withdrawal == "keep")
            if not confirmed and not case.has_changed:
                assert record.basis.signal not in self.stopped()
                assert not policy.only_reviews(FEED)
                band = policy.band(FEED, record.basis.distance_bits)
                assert band is not None
                assert Action.SUPPRESS in {band.action_for(supported=s) for s in (True, False)}
        for url, case in cases.items():
            assert (case.state is CaseState.SUPPRESSED) is (url in self.in_effect())

    @invariant()
    def looking_again_changes_nothing(self) -> None:
        """Whatever a case rests on has asked for it: none is behind the facts."""
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
                assert (view.case.state, view.case.verdict) == (case.state, case.verdict)
                assert not view.tripped

    def cases(self) -> list[Case]:
        """The cases in an order that does not hang on their random ids."""
        return sorted(self.world.cases(), key=lambda case: case.image_url)

    def in_effect(self) -> dict[str, SuppressionRecord]:
        return effective(self.world.ledger())

    def states(self) -> list[tuple[str, CaseState]]:
        return [(case.id, case.state) for case in self.world.cases()]

    def stopped(self) -> set[str]:
        with self.world.delist.database.read() as connection:
            return brakes.names_on(connection, BrakeKind.SIGNAL)

    def key_of(self, signal: int) -> str:
        store = self.world.delist.indexer.store
        return store.signals.key(feed=FEED, kind="ImagePDQ", value=SIGNALS[signal]).hex()


def test_whatever_happens_what_is_in_force_has_a_live_basis() -> None:
    """Any order of events ends in a state that follows from what is true."""
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=1000 if os.environ.get("DELIST_SOAK") else 12,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )

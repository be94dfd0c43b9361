"""The workflow: its table of steps, and every order of events against real stores."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
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

from delist.errors import UsageError
from delist.model import Action, Case, CaseState, RecordAction, RecordState, Verdict
from delist.settings import DatabaseSettings
from delist.store import ledger
from delist.workflow import TABLE, Standpoint, next_state
from indexer.model import HashedImage
from indexer.url import canonical_url
from tests.fakes.delisting import FEED, World, digest_of, image_near
from tests.fakes.postgres import PostgresServer


def standpoints() -> list[Standpoint]:
    return [
        Standpoint(
            supported=supported,
            verdict=verdict,
            verdict_covers_matches=covers,
            proposed=proposed if supported else None,
            kept=kept and verdict is Verdict.NCII,
            changed=changed and verdict is not Verdict.NOT_NCII,
        )
        for supported, verdict, covers, proposed, kept, changed in itertools.product(
            (True, False),
            (None, *Verdict),
            (True, False),
            (Action.SUPPRESS, Action.REVIEW, Action.HOLD),
            (True, False),
            (True, False),
        )
    ]


def test_every_row_and_every_state_is_reached() -> None:
    """No row of the table is hidden by one before it, and facts lead to every state."""
    reached = {next(name for name, holds, _ in TABLE if holds(now)) for now in standpoints()}

    assert reached == {name for name, _, _ in TABLE}
    assert {next_state(now) for now in standpoints()} == set(CaseState)


def test_nobody_is_overruled_and_nothing_acts_without_support() -> None:
    """No act on what a person dismissed or nothing supports; what was confirmed is not held."""
    for now in standpoints():
        state = next_state(now)
        if state is CaseState.SUPPRESSED:
            assert now.supported or now.changed or (now.kept and now.verdict is Verdict.NCII)
            assert now.verdict is not Verdict.NOT_NCII or not now.verdict_covers_matches
            if now.supported and now.verdict is not Verdict.NCII and not now.changed:
                assert now.proposed is Action.SUPPRESS
        if now.supported and now.verdict is Verdict.NCII:
            assert state is CaseState.SUPPRESSED


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"supported": False, "verdict": Verdict.NCII}, CaseState.WITHDRAWN),
        ({"supported": False, "verdict": None}, CaseState.WITHDRAWN),
        ({"verdict": Verdict.NCII, "proposed": Action.REVIEW}, CaseState.SUPPRESSED),
        (
            {"verdict": Verdict.NCII, "verdict_covers_matches": False, "proposed": Action.REVIEW},
            CaseState.SUPPRESSED,
        ),
        ({"verdict": Verdict.NOT_NCII, "proposed": Action.REVIEW}, CaseState.DISMISSED),
        ({"verdict": Verdict.NOT_NCII, "proposed": Action.SUPPRESS}, CaseState.DISMISSED),
        (
            {
                "verdict": Verdict.NOT_NCII,
                "verdict_covers_matches": False,
                "proposed": Action.REVIEW,
            },
            CaseState.OPEN,
        ),
        ({"verdict": Verdict.UNSURE, "proposed": Action.SUPPRESS}, CaseState.SUPPRESSED),
        ({"verdict": Verdict.UNSURE, "proposed": Action.REVIEW}, CaseState.OPEN),
        ({"verdict": None, "proposed": Action.SUPPRESS}, CaseState.SUPPRESSED),
        ({"verdict": None, "proposed": Action.REVIEW}, CaseState.OPEN),
    ],
)
def test_state_follows_from_the_facts(facts: dict[str, Any], state: CaseState) -> None:
    """Without a live signal a case has ended; then a person's verdict counts, then the policy."""
    given = {"supported": True, "verdict_covers_matches": True, "proposed": None, **facts}

    assert next_state(Standpoint(**given)) is state


SIGNALS = [digest_of(f"signal {number}") for number in range(4)]
URLS = [f"https://site{number}.example/{number}.jpg" for number in range(3)]
ALIASES = ["https://cdn.example/one", "https://cdn.example/two"]
# Images are made of the same signals, so that they are near-duplicates: looked at elsewhere.
POLICY = """
[support]
near_duplicate_confirmed = false
[doubt]
near_duplicate_dismissed = false
[confirmed]
after_replacement = "lift"
"""
CASE_REFS = ["case-a", "case-b", "case-c"]
STATUSES = ["Received", "Withdrawn", "Deleted", "Paused"]

# What the images are, as distances to signals. A number behind them is the quality.
CONTENTS: list[tuple[dict[int, int], int]] = [
    ({}, 100),
    ({0: 0}, 100),
    ({0: 20}, 50),
    ({0: 21}, 100),
    ({1: 5}, 49),
    ({0: 4, 1: 8}, 100),
    ({0: 25, 1: 12}, 100),
    ({2: 31, 3: 0}, 100),
    ({2: 32}, 100),
    ({2: 30, 3: 31}, 80),
]
AUTOMATIC_BITS, LEAST_QUALITY, THRESHOLD_BITS = 20, 50, 31


def hashed(content: int) -> HashedImage:
    near, quality = CONTENTS[content]
    return image_near(
        {SIGNALS[signal]: bits for signal, bits in near.items()}, name=content, quality=quality
    )


HASHED = [hashed(content) for content in range(len(CONTENTS))]
BY_SHA256 = {image.sha256.hex(): number for number, image in enumerate(HASHED)}


class Delisting(RuleBasedStateMachine):
    """Feed, web and people do as they please; a model says what must be true after intake."""

    server: PostgresServer | None = None

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.name = "" if self.server is None else self.server.create_store()
        url = "" if self.server is None else self.server.url(self.name)
        policy = self.folder / "policy.toml"
        policy.write_text(POLICY)
        self.world = World(
            self.folder / "data", policy_file=policy, database=DatabaseSettings(url=url)
        )
        self.keys = {
            self.world.delist.indexer.store.signals.key(
                feed=FEED, kind="ImagePDQ", value=digest
            ).hex(): number
            for number, digest in enumerate(SIGNALS)
        }
        self.live: set[int] = set()
        self.bytes_at: dict[str, int] = {}
        self.leads_to: dict[str, str] = {}
        self.verdicts: dict[tuple[str, int], Verdict] = {}
        self.scanned = self.taken_in = True

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.folder)
        if self.server is not None:
            self.server.drop(self.name)

    # What happens

    @initialize()
    def begin(self) -> None:
        """Three images match already: near, in two ways, and beyond what acts alone."""
        for signal in range(3):
            self.offer(signal, {CASE_REFS[signal]: "Received"}, "Received")
        for url, content in zip(URLS, (1, 5, 3), strict=True):
            self.visit(url, content, set())
        self.take_in()

    @rule(
        signal=st.integers(0, 3),
        cases=st.dictionaries(st.sampled_from(CASE_REFS), st.sampled_from(STATUSES)),
        status=st.sampled_from(STATUSES),
    )
    def offer(self, signal: int, cases: dict[str, str], status: str) -> None:
        """The feed offers a newer snapshot of a record: of no, one or many cases."""
        self.world.offer(SIGNALS[signal], status=status, cases=cases)
        ended = {"Withdrawn", "Deleted"}
        if not cases:
            lives = status not in ended
        elif len(cases) == 1:
            lives = status not in ended and not ended.issuperset(cases.values())
        else:
            lives = not ended.issuperset(cases.values())
        if lives and signal not in self.live:
            self.scanned = False
        (self.live.add if lives else self.live.discard)(signal)
        self.taken_in = False

    @rule(signal=st.integers(0, 3), word=st.sampled_from(["Withdrawn", "Deleted", "Received"]))
    def end_or_return(self, signal: int, word: str) -> None:
        """The one case behind a signal ends, or comes back."""
        self.offer(signal, {"case-a": word}, "Received")

    @rule()
    def sync_again(self) -> None:
        """Reading the feed again changes nothing."""
        report = self.world.sync()
        assert (report.added, report.changed, report.withdrawn) == (0, 0, 0)

    @rule(
        url=st.sampled_from(URLS),
        content=st.integers(0, len(CONTENTS) - 1),
        aliases=st.just(set()) | st.sets(st.sampled_from([*ALIASES, *URLS]), max_size=2),
    )
    def visit(self, url: str, content: int, aliases: set[str]) -> None:
        """An image is met: new, the same or other bytes; some URLs redirect to it."""
        others = tuple(sorted(aliases - {url}))
        self.world.visit(url, HASHED[content], aliases=others)
        self.bytes_at[url] = content
        self.note_aliases(url, others)

    @precondition(lambda self: self.bytes_at)
    @rule(number=st.integers(0, 2), alias=st.sampled_from([*ALIASES, *URLS]))
    def visit_unchanged(self, number: int, alias: str) -> None:
        """The server says 304; perhaps the image was found through another URL."""
        url = sorted(self.bytes_at)[number % len(self.bytes_at)]
        aliases = () if alias == url else (alias,)
        self.world.visit(url, None, aliases=aliases)
        self.note_aliases(url, aliases)

    def note_aliases(self, url: str, aliases: tuple[str, ...]) -> None:
        self.leads_to.pop(url, None)
        for alias in aliases:
            if self.bytes_at.pop(alias, None) is not None:
                # Its own bytes cannot be had any more; what led to it leads on.
                moved = [other for other, target in self.leads_to.items() if target == alias]
                self.leads_to.update(dict.fromkeys(moved, url))
                self.leads_to.pop(url, None)
            self.leads_to[alias] = url
        self.taken_in = False

    def scan(self) -> None:
        self.world.scan()
        self.scanned, self.taken_in = True, False

    @precondition(lambda self: self.world.cases())
    @rule(number=st.integers(0, 2), verdict=st.sampled_from(Verdict))
    def decide(self, number: int, verdict: Verdict) -> None:
        """A person decides on what the case shows."""
        cases = self.world.cases()
        case = cases[number % len(cases)]
        content = BY_SHA256[case.content_sha256]
        unseen = self.bytes_at.get(case.image_url) != content
        try:
            self.world.decide(case, verdict)
        except UsageError as error:
            # What signals does it match? None, or those that no scan has met yet.
            if "has ended" in str(error):
                assert not (self.scanned and not unseen and self.distances(content))
            else:
                assert unseen
            return
        assert not unseen, "a verdict on bytes that nobody saw"
        self.verdicts[case.image_url, content] = verdict

    # What must be true

    def take_in(self) -> None:
        self.world.take_in()
        self.check_records()
        before = (self.world.ledger(), self.world.cases(), self.outbox())
        report = self.world.take_in()
        assert (report.matches, report.cases, report.suppressed, report.revoked) == (0, 0, 0, 0)
        assert (self.world.ledger(), self.world.cases(), self.outbox()) == before
        self.taken_in = True

    @rule(scanned=st.sampled_from([True, True, False]))
    def settle(self, scanned: bool) -> None:
        if scanned:
            self.scan()
        self.take_in()

    @rule(number=st.integers(0, 2), verdict=st.sampled_from(Verdict))
    def take_in_and_decide(self, number: int, verdict: Verdict) -> None:
        self.settle(scanned=True)
        self.decide(number, verdict)

    @invariant()
    def filter_follows_the_ledger(self) -> None:
        """The filter says suppressed if and only if a record in effect says so."""
        suppressed = {url for _, url in self.in_effect()}
        urls = [*URLS, *ALIASES]
        answers = self.world.results.suppressed(urls)
        assert {url for url, answer in zip(urls, answers, strict=True) if answer} == suppressed

    @invariant()
    def what_is_true_is_in_force(self) -> None:
        """After scan and intake, suppressed is exactly what ought to be."""
        if self.scanned and self.taken_in:
            expected = {url for url in self.bytes_at if self.ought_to_be_suppressed(url)}
            expected |= {alias for alias, url in self.leads_to.items() if url in expected}
            assert {url for _, url in self.in_effect()} == expected

    def check_records(self) -> None:
        """Every suppression rests on a live signal that matches the bytes stored now."""
        with self.world.delist.database.read() as connection:
            assert ledger.verify(connection) == len(self.world.ledger())
        urls = {case.id: case.image_url for case in self.world.cases()}
        for (case_id, subject), record in self.in_effect().items():
            url = urls[case_id]
            assert url == subject or self.leads_to.get(subject) == url
            content = self.bytes_at[url]
            assert record.content_sha256 == HASHED[content].sha256.hex()
            signal = self.keys[record.basis.signal]
            assert signal in self.live, "a withdrawn signal supports nothing"
            bits = CONTENTS[content][0][signal]
            assert record.basis.distance_bits == bits <= THRESHOLD_BITS
            verdict = self.verdicts.get((url, content))
            assert verdict is not Verdict.NOT_NCII, "the machine overruled a person"
            assert (record.state is RecordState.CONFIRMED) is (verdict is Verdict.NCII)

    # The model

    def distances(self, content: int) -> dict[int, int]:
        near, _ = CONTENTS[content]
        return {s: bits for s, bits in near.items() if s in self.live and bits <= THRESHOLD_BITS}

    def ought_to_be_suppressed(self, url: str) -> bool:
        content = self.bytes_at[url]
        distances = self.distances(content)
        verdict = self.verdicts.get((url, content))
        if not distances or verdict is Verdict.NOT_NCII:
            return False
        enough = CONTENTS[content][1] >= LEAST_QUALITY
        return verdict is Verdict.NCII or (enough and min(distances.values()) <= AUTOMATIC_BITS)

    def in_effect(self) -> dict[tuple[str, str], Any]:
        found: dict[tuple[str, str], Any] = {}
        for record in self.world.ledger():
            place = record.case_id, record.image_url
            if record.action is RecordAction.SUPPRESS:
                assert record.supersedes == (found[place].id if place in found else "")
                found[place] = record
            else:
                assert found.pop(place).id == record.supersedes
        return found

    def outbox(self) -> list[Any]:
        with self.world.delist.database.read() as connection:
            return list(connection.exec_driver_sql("select * from feedback_outbox order by id"))


class DelistingOnPostgres(Delisting):
    """The same with cases on a server."""


@pytest.mark.parametrize(
    ("machine", "examples", "soak"), [(Delisting, 20, 2000), (DelistingOnPostgres, 5, 300)]
)
def test_any_order_of_events_ends_in_the_truth(
    postgres: PostgresServer, machine: type[Delisting], examples: int, soak: int
) -> None:
    """Whatever feed, web and people do in whatever order, records say what is true."""
    assert [canonical_url(url) for url in (*URLS, *ALIASES)] == [*URLS, *ALIASES]
    DelistingOnPostgres.server = postgres
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=soak if os.environ.get("DELIST_SOAK") else examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )


def test_case_shows_nobody_its_addresses() -> None:
    """A case that is logged by accident shows no URL, key or content hash."""
    assert not {"image_url", "image_key", "content_sha256"} & {
        name for name, entry in Case.__dataclass_fields__.items() if entry.repr
    }

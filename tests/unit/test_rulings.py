"""What several people's decisions come to: rules in prose, and histories that nobody thought of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.model import Action, Decision, RulingKind, Verdict
from delist.rulings import not_taken_back, person_key, standing_of

START = datetime(2026, 3, 1, tzinfo=UTC)
NCII, NOT, UNSURE = Verdict.NCII, Verdict.NOT_NCII, Verdict.UNSURE


def said(
    actor: str,
    verdict: Verdict | None,
    *,
    needs: int = 2,
    kind: RulingKind = RulingKind.REVIEW,
    step: int = 0,
) -> Decision:
    return Decision(
        case_id="c",
        verdict=verdict,
        action=Action.REVIEW,
        actor=actor,
        policy_version="1",
        reason="r",
        content_sha256="00",
        decided_at=START + timedelta(seconds=step),
        kind=kind,
        needs=needs,
    )


def blind(actor: str, verdict: Verdict) -> Decision:
    return said(actor, verdict, kind=RulingKind.BLIND)


def appeal(actor: str, verdict: Verdict) -> Decision:
    return said(actor, verdict, kind=RulingKind.APPEAL)


def undo(actor: str) -> Decision:
    return said(actor, None, kind=RulingKind.UNDO)


def come_to(*history: Decision) -> tuple[Verdict | None, Verdict | None, bool]:
    """Verdict in force, pending verdict, disputed."""
    standing = standing_of(history)
    return standing.verdict, standing.pending, standing.disputed


AGREED = (said("A", NCII), said("B", NCII))


@pytest.mark.parametrize(
    ("history", "standing"),
    [
        ([], (None, None, False)),
        ([said("A", NCII)], (None, NCII, False)),
        ([said("A", NCII), said("A", NCII)], (None, NCII, False)),
        ([said("A", NCII), said("A", NOT)], (None, NOT, False)),
        (AGREED, (NCII, None, False)),
        ([said("A", NCII), said("B", NOT)], (None, NOT, True)),
        ([said("A", NCII), said("B", NOT), said("A", NOT)], (None, NOT, True)),
        ([said("A", NCII), said("B", NOT), said("C", UNSURE)], (None, NOT, True)),
        ([said("A", NCII), said("B", NOT), said("C", NCII)], (NCII, None, False)),
        ([said("A", NCII), said("B", NOT), said("C", NOT)], (NOT, None, False)),
    ],
)
def test_two_people_agree_or_a_third_decides(
    history: list[Decision], standing: tuple[Verdict | None, Verdict | None, bool]
) -> None:
    """One word is pending, two that agree are in force, two that differ wait for a third."""
    assert come_to(*history) == standing


@pytest.mark.parametrize(
    ("later", "standing"),
    [
        ([said("C", NOT)], (NCII, NOT, False)),
        ([said("A", NOT)], (NCII, NOT, False)),
        ([said("C", NOT), said("D", NOT)], (NOT, None, False)),
        ([said("A", NOT), said("B", NOT)], (NOT, None, False)),
        ([said("C", NOT), said("D", NCII)], (NCII, None, False)),
        ([said("C", NOT), said("A", NCII)], (NCII, NOT, True)),
        ([said("C", NOT), said("A", NCII), said("B", NCII)], (NCII, NOT, True)),
        ([said("C", NOT), said("A", NCII), said("D", NCII)], (NCII, None, False)),
        ([said("C", NOT), said("A", NCII), said("D", NOT)], (NOT, None, False)),
        ([said("C", NOT), said("C", NCII)], (NCII, None, False)),
        ([said("C", UNSURE)], (NCII, UNSURE, False)),
        ([said("C", UNSURE), said("D", UNSURE)], (UNSURE, None, False)),
        ([said("C", NOT), said("D", UNSURE)], (NCII, NOT, False)),
    ],
)
def test_what_two_confirmed_takes_two_to_take_back(
    later: list[Decision], standing: tuple[Verdict | None, Verdict | None, bool]
) -> None:
    """No single person lifts it, by doubt neither; whoever else affirms it ends the doubt."""
    assert come_to(*AGREED, *later) == standing


def test_old_words_do_not_count_in_a_new_round() -> None:
    """Two who were outvoted long ago do not make one person's change of mind a majority."""
    history = [*AGREED, said("C", NOT), said("D", NOT)]

    assert come_to(*history, said("C", NCII)) == (NOT, NCII, False)


@pytest.mark.parametrize("needs", [1, 2])
@pytest.mark.parametrize("second", [NOT, UNSURE])
def test_a_blind_word_lifts_nothing(needs: int, second: Verdict) -> None:
    """Where the second reviewer differs it is in dispute, and what is in force stays."""
    people = [said("A", NCII, needs=needs), said("B", NCII, needs=needs)]
    history = [*people, blind("S", second)]

    assert come_to(*history) == (NCII, None, True)
    for party in ("B", "S"):
        assert come_to(*history, said(party, NOT, needs=needs)) == (NCII, None, True)
    assert come_to(*history, said("T", NCII, needs=needs)) == (NCII, None, False)
    assert come_to(*history, said("T", second, needs=2)) == (second, None, False)


def test_a_blind_word_that_agrees_changes_nothing() -> None:
    """Nor does one on what nobody has decided."""
    assert come_to(*AGREED, blind("S", NCII)) == (NCII, None, False)
    assert come_to(said("A", NCII), blind("S", NCII)) == (None, NCII, False)


def test_an_appeal_ends_a_dispute() -> None:
    """Its outcome counts by itself, and older words are over."""
    history = [said("A", NCII), said("B", NOT), appeal("C", NOT)]

    assert come_to(*history) == (NOT, None, False)
    assert come_to(*history, said("A", NCII)) == (NOT, NCII, False)


@pytest.mark.parametrize("name", ["a", " A ", "\uff21", "A\u00a0"])
def test_spellings_of_one_name_are_one_person(name: str) -> None:
    """Nobody is a second person by writing a name differently."""
    assert person_key(name) == person_key("A")
    assert come_to(said("A", NCII), said(name, NCII)) == (None, NCII, False)


people = st.sampled_from("ABCD")
verdicts = st.sampled_from(list(Verdict))
kinds = st.sampled_from([RulingKind.REVIEW] * 4 + [RulingKind.BLIND, RulingKind.APPEAL])
rulings = st.builds(said, people, verdicts, needs=st.sampled_from([1, 2, 2]), kind=kinds)
histories = st.lists(rulings, max_size=12)


@given(histories, people, verdicts)
def test_one_person_alone_changes_nothing_in_force(
    history: list[Decision], actor: str, verdict: Verdict
) -> None:
    """Where two are needed, a definite verdict changes only with somebody else's earlier word."""
    before, after = standing_of(history), standing_of([*history, said(actor, verdict)])

    if after.verdict is not before.verdict and before.verdict in {NCII, NOT}:
        others = {person_key(r.actor) for r in history if r.verdict is verdict} - {
            person_key(actor)
        }
        assert others
    if after.verdict in {NCII, NOT} and after.verdict is not before.verdict:
        assert any(r.actor != actor and r.verdict is verdict for r in history)


@given(histories, people, verdicts)
def test_a_blind_review_never_changes_what_is_in_force(
    history: list[Decision], actor: str, verdict: Verdict
) -> None:
    """Whatever came before."""
    before, after = standing_of(history), standing_of([*history, blind(actor, verdict)])

    assert (after.verdict, after.ruling, after.pending) == (
        before.verdict,
        before.ruling,
        before.pending if after.pending else after.pending,
    )
    assert after.disputed or not before.disputed


@given(histories, st.sampled_from([NCII, NOT]))
def test_two_new_people_always_settle_it(history: list[Decision], verdict: Verdict) -> None:
    """Whatever came before, two people who had no part in it and agree put it in force."""
    standing = standing_of([*history, said("X", verdict), said("Y", verdict)])

    assert standing.verdict is verdict
    assert (standing.pending, standing.disputed, standing.parties) == (None, False, frozenset())


@given(histories)
def test_parties_of_a_dispute_settle_nothing(history: list[Decision]) -> None:
    """Only a person who is not a party moves a dispute; there is always such a person."""
    standing = standing_of(history)

    assert bool(standing.parties) == standing.disputed
    for party in standing.parties:
        for verdict in Verdict:
            assert standing_of([*history, said(party.upper(), verdict)]) == standing


@given(histories, rulings)
def test_what_was_taken_back_was_never_said(history: list[Decision], ruling: Decision) -> None:
    """The standing is that of before, also for what comes later."""
    later = said("Z", NCII)
    back = [*history, ruling, undo(ruling.actor)]

    assert standing_of(back) == standing_of(history)
    assert standing_of([*back, later]) == standing_of([*history, later])
    assert not_taken_back(back) == history


@given(histories)
def test_where_one_is_enough_the_last_word_counts(history: list[Decision]) -> None:
    """Without blind reviews there is no dispute and nothing pending."""
    alone = [replace(r, needs=1) for r in history if r.kind is not RulingKind.BLIND]
    standing = standing_of(alone)

    assert standing.verdict is (alone[-1].verdict if alone else None)
    assert (standing.pending, standing.disputed) == (None, False)


class Model:
    """The rule for people who review, told in another way: two piles of names for each verdict.

    For the first verdict on a case only, before which nothing is in force.
    """

    def __init__(self) -> None:
        self.piles: dict[Verdict, set[str]] = {NCII: set(), NOT: set()}
        self.verdict: Verdict | None = None

    def say(self, actor: str, verdict: Verdict) -> None:
        parties = self.piles[NCII] | self.piles[NOT]
        if all(self.piles.values()) and actor in parties:
            return
        for pile in self.piles.values():
            if verdict is not UNSURE or self.piles[NCII] | self.piles[NOT]:
                pile.discard(actor)
        if verdict is UNSURE:
            if not self.piles[NCII] | self.piles[NOT]:
                self.verdict = UNSURE
            return
        self.piles[verdict].add(actor)
        if len(self.piles[verdict]) > 1:
            self.verdict = verdict


@given(st.lists(st.tuples(people, verdicts), max_size=12))
def test_the_first_verdict_is_that_of_the_model(words: list[tuple[str, Verdict]]) -> None:
    """Until two agree: the same verdict and dispute as by counting names in two piles."""
    model, history = Model(), []
    for actor, verdict in words:
        model.say(actor, verdict)
        history.append(said(actor, verdict))
        standing = standing_of(history)
        if model.verdict in {NCII, NOT}:
            assert standing.verdict is model.verdict
            return
        assert standing.disputed == all(model.piles.values())
        assert bool(standing.pending) == any(model.piles.values())

"""What several people's decisions on the same bytes come to. Pure.

Where one person is enough, the last word counts. Where two are needed:

(1) A verdict comes into force when two different people say it; until then the first one's is
    pending. What was in force before stays in force meanwhile.
(2) Two who say different things are in dispute. What either says again changes nothing: a third
    person decides, by agreeing with one of them.
(3) A verdict in force begins a new round: older words do not count any more. Whoever says what
    is in force already ends the round; but those who put it in force against somebody who
    doubts it are one of two parties, and in dispute.
(4) "Unsure" stands aside where others have spoken. Where a verdict is in force it is a word like
    the others: one person's doubt does not lift what two have confirmed.

A blind second review decides nothing: where it says something else than what is in force, that
is in dispute between its reviewer and whoever put it in force. The outcome of an appeal counts
by itself: another person than before has made it. What was taken back counts as never said.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from delist.model import Decision, RulingKind, Verdict

_TWO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is in force, and what is still missing.

    Attributes:
        verdict: in force; None where nobody has decided, or too few.
        ruling: the decision that put it in force, or has affirmed it last.
        pending: one person's verdict that a second has to agree with.
        pending_by: that person.
        disputed: two people disagree, so a third is needed.
        parties: keys (``person_key``) of those whose word settles nothing in a dispute.
    """

    verdict: Verdict | None = None
    ruling: Decision | None = None
    pending: Verdict | None = None
    pending_by: str = ""
    disputed: bool = False
    parties: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What is in force, who put it there, and what was said since.

    Attributes:
        authors: keys of the people behind the verdict in force.
        words: the last word of each person since, the newest last.
    """

    verdict: Verdict | None = None
    ruling: Decision | None = None
    authors: frozenset[str] = frozenset()
    words: tuple[Decision, ...] = ()
    disputed: bool = False

    @property
    def parties(self) -> frozenset[str]:
        if not self.disputed:
            return frozenset()
        said = frozenset(person_key(word.actor) for word in self.words)
        return said | self.authors if self.is_definite else said

    @property
    def is_definite(self) -> bool:
        return self.verdict not in {None, Verdict.UNSURE}

    def without(self, person: str) -> "_Round":
        kept = tuple(word for word in self.words if person_key(word.actor) != person)
        return replace(self, words=kept)


def standing_of(rulings: Iterable[Decision]) -> Standing:
    """Say what people's decisions on one content version come to.

    Args:
        rulings: decisions of people, and those that took one back, the oldest first.
    """
    now = _Round()
    for ruling in not_taken_back(rulings):
        now = _after(now, ruling)
    # A blind reviewer's word is not told to whoever decides.
    shown = [word for word in now.words if word.kind is not RulingKind.BLIND]
    return Standing(
        verdict=now.verdict,
        ruling=now.ruling,
        pending=shown[-1].verdict if shown else None,
        pending_by=shown[-1].actor if shown else "",
        disputed=now.disputed,
        parties=now.parties,
    )


def not_taken_back(rulings: Iterable[Decision]) -> list[Decision]:
    """Return the decisions with a verdict that nobody took back, the oldest first."""
    kept: list[Decision] = []
    for ruling in rulings:
        if ruling.kind is RulingKind.UNDO:
            _take_back(kept, ruling)
        elif ruling.verdict is not None:
            kept.append(ruling)
    return kept


def person_key(actor: str) -> str:
    """Return what two spellings of one person's name have in common."""
    return " ".join(unicodedata.normalize("NFKC", actor).casefold().split())


def _take_back(kept: list[Decision], undo: Decision) -> None:
    for place in range(len(kept) - 1, -1, -1):
        if person_key(kept[place].actor) == person_key(undo.actor):
            del kept[place]
            return


def _after(now: _Round, ruling: Decision) -> _Round:
    """Say where things stand after one more decision."""
    person = person_key(ruling.actor)
    if ruling.kind is RulingKind.APPEAL:
        return _in_force(ruling, person)
    if ruling.kind is RulingKind.BLIND:
        return _after_blind(now, ruling, person)
    if person in now.parties:  # (2)
        return now
    others = now.without(person)
    unsure = ruling.verdict is Verdict.UNSURE
    if ruling.needs < _TWO:
        return others if unsure and now.disputed else _in_force(ruling, person)
    agreeing = [word for word in others.words if word.verdict is ruling.verdict]
    if agreeing:  # (1)
        return _in_force(ruling, person, *(person_key(word.actor) for word in agreeing))
    if unsure and (others.words or not now.is_definite):  # (4)
        return others if others.words else _in_force(ruling, person)
    if ruling.verdict is now.verdict:  # (3)
        return _affirmed(now, others, ruling, person)
    definite = any(word.verdict is not Verdict.UNSURE for word in others.words)
    return replace(others, words=(*others.words, ruling), disputed=now.disputed or definite)


def _affirmed(now: _Round, others: _Round, ruling: Decision, person: str) -> _Round:
    """Say where things stand when somebody says what is in force already."""
    if others.words and others != now:  # they take back what they said against it
        return others
    if others.words and person in now.authors:
        return replace(others, disputed=True)
    return replace(others, ruling=ruling, words=(), disputed=False)


def _after_blind(now: _Round, ruling: Decision, person: str) -> _Round:
    if not now.is_definite or ruling.verdict is now.verdict:
        return now
    others = now.without(person)
    return replace(others, words=(*others.words, ruling), disputed=True)


def _in_force(ruling: Decision, *people: str) -> _Round:
    return _Round(verdict=ruling.verdict, ruling=ruling, authors=frozenset(people))

"""What several people's decisions on the same bytes come to. Pure.

Where one person is enough, the last word counts. Where two are needed, a verdict is in force
when the last word of two different people agrees; until then the first one's is pending. The
outcome of an appeal counts by itself: another person than before has made it. A blind second
review decides nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from delist.model import Decision, RulingKind, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is in force, and what is still missing.

    Attributes:
        verdict: in force; None where nobody has decided, or too few.
        ruling: the decision that put it in force.
        pending: one person's verdict that a second has to agree with.
        pending_by: that person.
        disputed: two people disagree, so a third is needed.
    """

    verdict: Verdict | None = None
    ruling: Decision | None = None
    pending: Verdict | None = None
    pending_by: str = ""
    disputed: bool = False


def standing_of(rulings: Iterable[Decision]) -> Standing:
    """Say what people's decisions on one content version come to.

    Args:
        rulings: decisions with a verdict, the oldest first.
    """
    standing = Standing()
    words: dict[str, Decision] = {}
    for ruling in rulings:
        if ruling.verdict is None or ruling.kind is RulingKind.BLIND:
            continue
        if ruling.kind is RulingKind.APPEAL:
            words.clear()
        words[ruling.actor] = ruling
        standing = _after(standing, ruling, words)
    return standing


def _after(standing: Standing, ruling: Decision, words: dict[str, Decision]) -> Standing:
    """Say where things stand after one more decision."""
    alone = ruling.needs < 2 or ruling.kind is RulingKind.APPEAL  # noqa: PLR2004 - two people
    others = [word for actor, word in words.items() if actor != ruling.actor]
    if alone or any(word.verdict is ruling.verdict for word in others):
        return Standing(verdict=ruling.verdict, ruling=ruling)
    if ruling.verdict is Verdict.UNSURE:
        # Nothing to agree with; whoever is sure next begins anew.
        return Standing(verdict=ruling.verdict, ruling=ruling)
    definite = [word for word in others if word.verdict is not Verdict.UNSURE]
    return Standing(
        verdict=standing.verdict,
        ruling=standing.ruling,
        pending=ruling.verdict,
        pending_by=ruling.actor,
        disputed=bool(definite),
    )

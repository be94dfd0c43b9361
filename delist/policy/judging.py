"""What the machine may do on its own: a pure function from a case's facts to a proposal.

(1) A signal that a brake is on for supports nothing: what rests on such signals alone is held.
(2) What the variant, the feed or a person's verdict rules out never acts alone.
(3) Doubts send a match to a person, however near it is.
(4) The band of its distance says whether a match acts; what speaks for it counts here.
(5) An act over the caps waits for a person.

The first match that may act is the basis. Every check that was made is in the proposal, so that
a person can be shown why. A person's ``not_ncii`` on the same bytes is never overruled.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from delist.model import Action, CaseMatch, Verdict
from delist.policy.checks import Check, Says
from delist.policy.facts import CaseFacts, MatchFacts
from delist.policy.pages import page_checks
from delist.policy.rules import Policy
from indexer.model import VARIANTS, Background

_FAST_VARIANT = re.compile(
    rf"({'|'.join(VARIANTS)})(\+frame[1-9][0-9]*)?(\+{Background.BLACK.value})?", re.ASCII
)
WHOLE_FILE = "md5"
"""Hasher of a whole file: equal or not, so no variant and no quality."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the policy proposes, and the match that it rests on.

    Attributes:
        action: ``suppress`` (provisionally), ``review`` or ``hold``.
        reason: one sentence without digest, URL or case reference.
        checks: everything that was looked at, in order.
    """

    action: Action
    match: CaseMatch
    reason: str
    checks: tuple[Check, ...] = ()


def propose(facts: CaseFacts, policy: Policy) -> Proposal:
    """Propose what to do about an image.

    Args:
        facts: of the case; at least one match.
        policy: the policy in force.
    """
    free = [found for found in facts.matches if found.signal.brake is None]
    checks = [_brake(found) for found in facts.matches if found.signal.brake is not None]
    if not free:  # (1)
        return Proposal(
            action=Action.HOLD,
            match=facts.matches[0].match,
            reason=checks[0].text,
            checks=tuple(checks),
        )
    against_all = [*_about_time(facts, policy), *_about_case(facts, policy)]
    checks += against_all
    stopped = next((check for check in against_all if check.says is Says.AGAINST), None)
    first_doubt: Check | None = None
    for found in free:
        about = list(_about_match(found, facts, policy))
        checks += about
        doubt = stopped or next((check for check in about if check.says is Says.AGAINST), None)
        if doubt is None and not facts.budget_left:  # (5)
            doubt = Check(
                name="caps", says=Says.AGAINST, text="more automatic acts today than the caps allow"
            )
            checks.append(doubt)
        if doubt is None:
            reason = next(check.text for check in about if check.name == "band")
            return Proposal(
                action=Action.SUPPRESS, match=found.match, reason=reason, checks=tuple(checks)
            )
        first_doubt = first_doubt or doubt
    assert first_doubt is not None  # noqa: S101 - there is a match, and it did not act
    return Proposal(
        action=Action.REVIEW, match=free[0].match, reason=first_doubt.text, checks=tuple(checks)
    )


def acts_until(acted_at: datetime | None, policy: Policy) -> datetime | None:
    """Say how long the machine's act holds without a person's decision; None: without an end.

    Args:
        acted_at: when it acted first on these bytes.
    """
    if acted_at is None or not policy.people.provisional_days:
        return None
    return acted_at + timedelta(days=policy.people.provisional_days)


def may_act(match: CaseMatch, policy: Policy) -> bool:
    """Whether a match could act alone if everything else spoke for it.

    What it costs to find out everything else is worth it only then.
    """
    band = policy.band(match.feed, match.distance_bits)
    return (
        band is not None
        and Action.SUPPRESS in {band.action_for(supported=value) for value in (False, True)}
        and not policy.only_reviews(match.feed)
        and _is_whole_and_plain(match)
        and _has_quality(match, band.min_quality)
    )


def _brake(found: MatchFacts) -> Check:
    return Check(
        name="brake",
        says=Says.AGAINST,
        text=f"the signal is stopped: {found.signal.brake}",
        signal=found.match.signal_key,
    )


def _about_time(facts: CaseFacts, policy: Policy) -> Iterator[Check]:
    """Whether the machine's act has held for as long as it may without a person."""  # (3)
    until = acts_until(facts.acted_at, policy)
    if until is not None and facts.now is not None and until <= facts.now:
        yield _against(
            "expired",
            f"the machine acted {policy.people.provisional_days} days ago, and no person decided",
        )


def _about_case(facts: CaseFacts, policy: Policy) -> Iterator[Check]:
    """What holds for the image, whichever match it rests on."""  # (2), (3)
    doubt = policy.doubt
    if facts.dismissed_before:
        yield _against(
            "dismissed_before", "another signal matches an image that a person dismissed"
        )
    if facts.verdict is Verdict.UNSURE:
        yield _note("verdict", "a person looked and was not sure")
    if facts.benign:
        yield _against("benign", "the image is in the bank of known-benign images: a conflict")
    if facts.lattice is not None and facts.lattice > doubt.most_lattice:
        yield _against(
            "lattice",
            f"the image is a grid or a plain shape ({facts.lattice:.2f}); such match by accident",
        )
    if facts.prior_reputable:
        yield _against("prior_presence", "a reputable site showed it before the signal came")
    elif doubt.prior_sites and facts.prior_sites >= doubt.prior_sites:
        yield _against(
            "prior_presence", f"{facts.prior_sites} sites showed it before the signal came"
        )
    site = facts.site
    if doubt.site_dismissed and site.dismissed >= doubt.site_dismissed and not site.confirmed:
        yield _against(
            "site", f"{site.dismissed} images of the site were dismissed, none confirmed"
        )
    if doubt.near_duplicate_dismissed and facts.group.dismissed:
        yield _against("near_duplicate", "a person dismissed a near-duplicate")
    for mark in facts.provenance:
        says = Says.AGAINST if mark in doubt.provenance else Says.NOTE
        yield Check(name="provenance", says=says, text=f"the file says of its origin: {mark}")
    yield from page_checks(facts, policy.pages)


def _about_match(found: MatchFacts, facts: CaseFacts, policy: Policy) -> Iterator[Check]:
    """What holds for one match: the band last, which names the reason of an act."""
    for check in (
        *_about_variant(found, policy),
        *_about_signal(found, policy),
        *_support(found, facts, policy),
    ):
        yield Check(
            name=check.name, says=check.says, text=check.text, signal=found.match.signal_key
        )
    supported = any(True for _ in _support(found, facts, policy))
    band = _band(found.match, policy, supported=supported)
    yield Check(name=band.name, says=band.says, text=band.text, signal=found.match.signal_key)


def _about_variant(found: MatchFacts, policy: Policy) -> Iterator[Check]:
    match = found.match
    if policy.only_reviews(match.feed):
        yield _against("feed", f"feed {match.feed} never acts without a person")
    if not _is_whole_and_plain(match):
        yield _against(
            "variant",
            "a part is missing or an edit was guessed: such a match never acts alone",
        )


def _about_signal(found: MatchFacts, policy: Policy) -> Iterator[Check]:  # (3)
    signal, doubt = found.signal, policy.doubt
    if doubt.partner_not_blocked and signal.not_blocked >= doubt.partner_not_blocked:
        yield _against(
            "partner", f"{signal.not_blocked} other platforms reviewed it and did not call it NCII"
        )
    if signal.benign:
        yield _against("benign", "the signal is of a known-benign image: a conflict")
    compared = signal.compared >= doubt.compared_from
    if compared and found.resembling is not None and found.resembling < doubt.least_resembling:
        yield _against(
            "coherence",
            f"the image resembles {found.resembling:.0%} of the signal's other images",
        )
    expected = signal.expected_per_million
    if expected is not None and expected > doubt.most_expected_per_million:
        yield _against(
            "background", f"strangers come near the signal: {expected:.2g} expected in a million"
        )
    if signal.lattice is not None and signal.lattice > doubt.most_signal_lattice:
        yield _against(
            "signal_lattice", f"the signal's bits are those of a grid ({signal.lattice:.2f})"
        )


def _support(found: MatchFacts, facts: CaseFacts, policy: Policy) -> Iterator[Check]:
    """What speaks for a match: then the band's ``supported`` counts."""
    rules = policy.support
    if rules.partner_blocked and found.signal.blocked >= rules.partner_blocked:
        yield _for("partner", f"{found.signal.blocked} other platforms called it NCII")
    site = facts.site
    if (
        rules.site_confirmed
        and site.path_confirmed >= rules.site_confirmed
        and not site.path_dismissed
    ):
        yield _for("site", f"{site.path_confirmed} images of this place were confirmed before")
    if rules.near_duplicate_confirmed and facts.group.confirmed:
        yield _for("near_duplicate", "a person confirmed a near-duplicate")


def _band(match: CaseMatch, policy: Policy, *, supported: bool) -> Check:  # (4)
    band = policy.band(match.feed, match.distance_bits)
    if band is None:
        return _against("band", f"{match.distance_bits} bits is beyond every band")
    place = f'{match.distance_bits} bits is in band "{band.name}" ({band.from_bits}-{band.to_bits})'
    if band.action_for(supported=supported) is not Action.SUPPRESS:
        return _against("band", f"{place}, which waits for a person")
    if not _has_quality(match, band.min_quality):
        return _against("quality", f"{place}, but the image's hash says too little")
    return _for("band", f"{place}, which acts{' with support' if supported else ''}")


def _is_whole_and_plain(match: CaseMatch) -> bool:
    if match.hasher == WHOLE_FILE:
        return True
    return match.weighted_bits is None and _FAST_VARIANT.fullmatch(match.variant) is not None


def _has_quality(match: CaseMatch, least: int) -> bool:
    return match.hasher == WHOLE_FILE or match.quality >= least


def _for(name: str, text: str) -> Check:
    return Check(name=name, says=Says.FOR, text=text)


def _against(name: str, text: str) -> Check:
    return Check(name=name, says=Says.AGAINST, text=text)


def _note(name: str, text: str) -> Check:
    return Check(name=name, says=Says.NOTE, text=text)

"""What the machine may do on its own: a pure function from a case's facts to a proposal.

The first policy has one band: a match at most ``automatic_bits`` away, of an image
whose hash says enough (``min_quality``), by a variant of the ``fast`` tier, is
suppressed provisionally at once and reviewed afterwards. Frames of an animation count
like the image itself, each with the quality of its own hash. Everything else up to
the matching threshold waits for a person, also a picture of which a part was missing.
A person's ``not_ncii`` on the same bytes is never overruled by the machine.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from delist.errors import PolicyError
from delist.model import Action, CaseMatch
from indexer.errors import SettingsError
from indexer.model import VARIANTS, Background
from indexer.settings import read_table, read_toml, setting

_FAST_VARIANT = re.compile(
    rf"({'|'.join(VARIANTS)})(\+frame[1-9][0-9]*)?(\+{Background.BLACK.value})?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy file as typed values."""

    version: str = setting(
        "1", "Name of this text; every decision records it. Change it with every edit."
    )
    automatic_bits: int = setting(
        20,
        "Largest distance, in bits and inclusive, at which a result is suppressed before a person\n"
        "has looked. Such a suppression is provisional: a person reviews it within the 48 hours.",
        low=0,
        high=31,
    )
    min_quality: int = setting(
        50,
        "Least quality (0-100) of the image's hash for that; flat images match by accident.",
        low=0,
        high=100,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the policy proposes, and the match that it rests on.

    Attributes:
        action: ``suppress`` (provisionally) or ``review``.
        reason: one sentence without digest, URL or case reference.
    """

    action: Action
    match: CaseMatch
    reason: str


def propose(matches: Sequence[CaseMatch], policy: Policy, *, dismissed_before: bool) -> Proposal:
    """Propose what to do about an image.

    Args:
        matches: the matches that stand behind the case, at least one, the nearest first.
        policy: the policy in force.
        dismissed_before: a person has said ``not_ncii`` of these very bytes.
    """
    nearest = matches[0]
    if dismissed_before:
        return Proposal(
            action=Action.REVIEW,
            match=nearest,
            reason="another signal matches an image that a person dismissed",
        )
    for match in matches:
        if _is_automatic(match, policy):
            return Proposal(
                action=Action.SUPPRESS,
                match=match,
                reason=f"{match.distance_bits} bits is within the automatic band of "
                f"{policy.automatic_bits}",
            )
    if nearest.distance_bits <= policy.automatic_bits:
        reason = (
            "the image's hash says too little, a part of the picture is missing, "
            "or the variant is not of the fast tier"
        )
    else:
        reason = (
            f"{nearest.distance_bits} bits is beyond the automatic band of {policy.automatic_bits}"
        )
    return Proposal(action=Action.REVIEW, match=nearest, reason=reason)


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: it cannot be read, or a value is wrong.
    """
    try:
        return read_table(Policy, read_toml(path), where="policy", base_dir=path.parent)
    except SettingsError as error:
        raise PolicyError(f"{path.name}: {error}") from None


def _is_automatic(match: CaseMatch, policy: Policy) -> bool:
    return (
        match.distance_bits <= policy.automatic_bits
        and match.quality >= policy.min_quality
        and _FAST_VARIANT.fullmatch(match.variant) is not None
    )

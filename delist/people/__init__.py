"""People who sign on: who they are, what they may do, how they like the console.

A person has one role. A lead may do what a reviewer may; auditors and administrators may not
review, and reviewers see no audit log: whoever is to be watched does not do the watching.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a person may do."""

    REVIEWER = "reviewer"
    """Decide cases and appeals."""
    LEAD = "lead"
    """The same, and release brakes, settle disputes."""
    AUDITOR = "auditor"
    """Read the audit log and the figures; decide nothing."""
    ADMIN = "admin"
    """Sinks, consumers, accounts; decide nothing."""

    def covers(self, needed: "Role") -> bool:
        """Say whether this role may do what another one may."""
        return self is needed or (self is Role.LEAD and needed is Role.REVIEWER)


class SignOn(StrEnum):
    """How somebody has shown who they are."""

    ACCOUNT = "account"
    """A local account: password and one-time code."""
    OIDC = "oidc"
    """The organisation's sign-on."""


class Theme(StrEnum):
    """Colours of the pages."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """How a person likes the pages.

    Attributes:
        grey: images are shown without colour.
        mute: videos are shown without sound.
        blur_px: how strongly the first step of unveiling blurs, in CSS pixels; 0 to 60.
        break_minutes: minutes of work after which a break is proposed; 0: never.
        shown_s: seconds that an image shows after one press, 3 to 60; 0: only while it is held.
    """

    grey: bool = True
    mute: bool = True
    blur_px: int = 24
    break_minutes: int = 45
    theme: Theme = Theme.SYSTEM
    shown_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who has signed on.

    Attributes:
        id: names the person for ever, and says nothing.
        name: the actor of all they do, in decisions and in the audit log.
    """

    id: str
    name: str
    role: Role
    signed_on_by: SignOn
    preferences: Preferences = field(default=Preferences())

    def may(self, *roles: Role) -> bool:
        """Say whether the person may do what one of these roles may."""
        return any(self.role.covers(needed) for needed in roles)

"""Putting a policy in force: who did it, why and when stays on record.

The texts are only appended, and the last one is in force. Every case is looked at again under
it: asked for in the same transaction, done by the next intake.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from delist.errors import PolicyError
from delist.policy import parse_policy, read_text
from delist.review import checked_actor, checked_reason
from delist.store import Database, audit, policies, reassessments
from delist.store.policies import AppliedPolicy, sha256_of

CONFIGURED = "configuration"
"""Stands for a person where the configured file, or what is built in, is in force."""

Configured = Callable[[], str]
"""Reads the text that is in force while nobody has applied any; raises PolicyError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enacted:
    """What putting a policy in force came to.

    Attributes:
        version: of the policy.
        sha256: of its text, hex.
        cases: that are looked at again.
    """

    version: str
    sha256: str
    applied_by: str
    applied_at: datetime
    cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The policy that is in force.

    Attributes:
        applied_by: who applied it; ``configuration`` where nobody has applied any.
        applied_at: None where nobody has.
        reason: that was given.
    """

    version: str
    text: str = field(repr=False)
    sha256: str
    applied_by: str
    applied_at: datetime | None = None
    reason: str = field(default="", repr=False)


def in_force(database: Database, *, configured: Configured) -> InForce:
    """Show the policy that is in force.

    Raises:
        PolicyError: nobody has applied any, and the configured one cannot be read or is wrong.
    """
    with database.read() as connection:
        applied = policies.newest(connection)
    if applied is None:
        text = configured()
        version = parse_policy(text, name="policy").version
        return InForce(version=version, text=text, sha256=sha256_of(text), applied_by=CONFIGURED)
    return InForce(
        version=applied.version,
        text=applied.text,
        sha256=applied.sha256,
        applied_by=applied.applied_by,
        applied_at=applied.applied_at,
        reason=applied.reason,
    )


def history(database: Database) -> list[AppliedPolicy]:
    """List the policies that were applied, the newest first."""
    with database.read() as connection:
        return policies.every(connection)


def enact(
    database: Database,
    path: Path,
    *,
    configured: Configured,
    actor: str,
    reason: str,
    now: datetime,
) -> Enacted:
    """Put a policy file in force.

    Raises:
        PolicyError: the file is wrong, is in force already, or has the version of another text;
            nothing changes.
        UsageError: actor or reason is missing or too long.
    """
    actor, reason = checked_actor(actor), checked_reason(reason)
    text = read_text(path)
    version = parse_policy(text, name=path.name).version
    with database.write() as connection:
        applied = policies.every(connection)
        _check_new(text, version, applied, configured=configured)
        policies.add(connection, version=version, text=text, actor=actor, reason=reason, now=now)
        asked = reassessments.ask_for_all(connection, reason="policy_applied", now=now)
        audit.append(
            connection,
            actor=actor,
            act="policy.applied",
            subject=version,
            now=now,
            detail={"sha256": sha256_of(text), "before": applied[0].version if applied else ""},
        )
    return Enacted(
        version=version,
        sha256=sha256_of(text),
        applied_by=actor,
        applied_at=now,
        cases=asked,
    )


def _check_new(
    text: str, version: str, applied: list[AppliedPolicy], *, configured: Configured
) -> None:
    """Make sure that a text is not in force already, and that its version names no other.

    Raises:
        PolicyError: it is, or does.
    """
    if applied and text == applied[0].text:
        raise PolicyError(f"this text is in force already, as version {version}")
    others = [entry.text for entry in applied if entry.version == version]
    # Decisions name the configured policy's version too: it must not come to mean another. When
    # that one is wrong or gone, this is how to mend it.
    with suppress(PolicyError):
        set_down = configured()
        if parse_policy(set_down, name="policy").version == version:
            others.append(set_down)
    if any(other != text for other in others):
        raise PolicyError(
            f'version "{version}" is the name of another text that was in force; '
            "give the changed policy a new version"
        )

"""Settings of what is decided, by whom, and how long it is kept."""

from dataclasses import dataclass
from pathlib import Path

from indexer.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """[policy]: what the machine may do on its own."""

    file: Path | None = setting(
        None, "The policy file. Without one, the built-in policy is in force."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSettings:
    """[review]: the work of people."""

    hours: int = setting(48, "Hours that a person has to decide on a case.", low=1, high=24 * 30)
    claim_minutes: int = setting(
        30,
        "Minutes that a case stays with the person who took it from the queue, so that nobody\n"
        "else looks at it meanwhile.",
        low=1,
        high=24 * 60,
    )
    undo_s: int = setting(
        60, "Seconds in which a person can take back what they decided last; 0: never.", low=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppealSettings:
    """[appeals]: requests to look again, of site owners and of survivors."""

    days: int = setting(14, "Days that a person has to decide on an appeal.", low=1, high=365)
    proof_days: int = setting(
        7, "Days in which a site owner has to prove control of the site.", low=1, high=90
    )
    open_per_site: int = setting(
        20,
        "Most appeals of one site, or of one case reference, that wait for a decision. Only those\n"
        "whose proof was found count: a stranger cannot use up a site's share.",
        low=1,
    )
    per_site_day: int = setting(
        20, "Most appeals of one site, or of one case reference, within 24 hours.", low=1
    )
    statement_delay_hours: int = setting(
        72,
        "Hours that a result has to be away from results before its site's owner is told, by a\n"
        "statement or by the answer to an appeal. Whoever planted a copy to see whether somebody\n"
        "reports it should learn little from when it went.",
        low=0,
        high=24 * 90,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecrawlSettings:
    """[recrawl]: when suppressed URLs are looked at again."""

    first_hours: int = setting(
        6,
        "Hours after which a suppressed URL is looked at first, and again after each change. The\n"
        "time doubles with every look that finds the same.",
        low=1,
        high=24 * 30,
    )
    longest_days: int = setting(30, "Days between two looks at most.", low=1, high=365)
    per_site_day: int = setting(
        2_000, "Most looks at the URLs of one site (registrable domain) on a day, UTC.", low=1
    )
    batch: int = setting(500, "Most looks of one recrawl, which is one crawl process.", low=1)
    host_gone_days: int = setting(
        14, "Days without an address for a host's name after which its URLs count as gone.", low=1
    )
    watch_days: int = setting(
        180,
        "Days for which a URL is still looked at after it was lifted since other bytes were\n"
        "there: a copy that comes back is suppressed at once.",
        low=0,
        high=3650,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """[retention]: how long what is over is kept; docs/retention.md has reasons."""

    withdrawn_days: int = setting(
        30,
        "Days after which a withdrawn case is erased, with addresses, matches and decisions, and\n"
        "what its records say, once none of its signals is live.",
        low=0,
        high=3660,
    )
    appeal_days: int = setting(
        180, "Days after its decision in which contact and text of an appeal stay.", low=1
    )
    access_code_days: int = setting(
        90, "Days in which an access code still opens a case reference that has ended.", low=1
    )
    feedback_days: int = setting(
        400, "Days in which words to feeds stay after they were sent.", low=1
    )
    match_log_days: int = setting(
        90, "Days in which entries of the match log stay after intake.", low=1
    )
    signal_log_days: int = setting(
        800, "Days in which entries of the signal log stay; transparency reports count them.", low=1
    )

"""The policy: what the machine may do on its own, as a text and as a pure function.

``rules`` holds the values, ``text`` reads and writes the policy file, ``facts`` says what is known
of a case, and ``judging`` makes a proposal of both, with every check (``checks``) it made;
``pages`` weighs what pages say.
"""

from delist.policy.checks import Check, Says
from delist.policy.facts import (
    CaseFacts,
    GroupFacts,
    MarkFacts,
    MatchFacts,
    PageFacts,
    SignalFacts,
    SiteFacts,
)
from delist.policy.judging import WHOLE_FILE, Proposal, acts_until, may_act, propose
from delist.policy.pages import urgency
from delist.policy.rules import DIRECT_FEED, Band, ConfirmedRule, Policy
from delist.policy.text import annotated_policy, parse_policy, read_policy, read_text

__all__ = [
    "DIRECT_FEED",
    "WHOLE_FILE",
    "Band",
    "CaseFacts",
    "Check",
    "ConfirmedRule",
    "GroupFacts",
    "MarkFacts",
    "MatchFacts",
    "PageFacts",
    "Policy",
    "Proposal",
    "Says",
    "SignalFacts",
    "SiteFacts",
    "acts_until",
    "annotated_policy",
    "may_act",
    "parse_policy",
    "propose",
    "read_policy",
    "read_text",
    "urgency",
]

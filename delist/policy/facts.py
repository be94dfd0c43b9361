"""What is known of a case when the policy is asked; ``delist.casework.facts`` collects it.

None stands for "nothing can be said", never for a value in anybody's favour.
"""

from dataclasses import dataclass
from datetime import datetime

from delist.model import CaseMatch, Verdict
from indexer.model import PageMark


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFacts:
    """What is known of one signal.

    Attributes:
        blocked: other platforms that reviewed it and called it NCII.
        not_blocked: other platforms that reviewed it and did not.
        brake: code of the brake that is on for it or its feed, or None.
        benign: it lies within the matching threshold of a known-benign image.
        coherence: see ``indexer.evidence.Evidence``; so are the three below.
        compared: contents that coherence was measured on.
        expected_per_million: false matches to expect in a million unrelated hash rows.
        lattice: how much the signal's bits are those of a grid, 0-1.
    """

    blocked: int = 0
    not_blocked: int = 0
    brake: str | None = None
    benign: bool = False
    coherence: float | None = None
    compared: int = 0
    expected_per_million: float | None = None
    lattice: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchFacts:
    """One match with what is known of its signal and of the two together.

    Attributes:
        resembling: share, 0-1, of the signal's other images that this one resembles.
    """

    match: CaseMatch
    signal: SignalFacts = SignalFacts()
    resembling: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts:
    """What people decided before about images of this site, and of this path on it."""

    confirmed: int = 0
    dismissed: int = 0
    path_confirmed: int = 0
    path_dismissed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """What people decided about near-duplicates of the image."""

    confirmed: int = 0
    dismissed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkFacts:
    """On how many pages, and on pages of how many sites, one mark stands."""

    mark: PageMark
    pages: int
    sites: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """What the pages that show the image say of it.

    Attributes:
        pages: that show it, whether or not they say something.
        sites: of those pages; counted only where one of them says something.
        marked: marks that stand somewhere, in the order of ``PageMark``.
    """

    pages: int = 0
    sites: int = 0
    marked: tuple[MarkFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """Everything that the policy looks at.

    Attributes:
        matches: those that stand behind the case, at least one, the nearest first.
        dismissed_before: a person has said ``not_ncii`` of these very bytes.
        verdict: a person's verdict in force on these bytes.
        benign: the image lies within the matching threshold of a known-benign image.
        lattice: how much the image is a grid, 0-1.
        prior_sites: sites that showed the image or a near-duplicate before the signal came.
        prior_reputable: one of them is on the policy's list.
        provenance: marks of origin in the file, such as ``c2pa`` or ``iptc:digitalCapture``.
        pages: what the pages say that show it.
        acted: the machine's act on these bytes is in force.
        acted_at: when it acted on these bytes first; None for never, or where the policy sets no
            time for that.
        now: when this was collected.
        budget_left: the caps for a case reference and for a day allow one more automatic act.
    """

    matches: tuple[MatchFacts, ...]
    dismissed_before: bool = False
    verdict: Verdict | None = None
    benign: bool = False
    lattice: float | None = None
    prior_sites: int = 0
    prior_reputable: bool = False
    site: SiteFacts = SiteFacts()
    group: GroupFacts = GroupFacts()
    provenance: tuple[str, ...] = ()
    pages: PageFacts = PageFacts()
    acted: bool = False
    acted_at: datetime | None = None
    now: datetime | None = None
    budget_left: bool = True

"""The rules of a policy as typed values. ``text`` reads and writes them.

Bands say by distance what the machine may do; the others say what speaks for and against it,
what stops it, when two people are needed, and what a confirmed image follows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from delist.errors import PolicyError
from delist.model import Action
from indexer.model import PageMark
from indexer.settings import setting

DIRECT_FEED = "direct"
"""The feed of hashes that people report to us directly. It only ever leads to review."""

MAX_BITS = 31
"""The largest distance that a band speaks of; what was found beyond never acts alone."""

_NAME = re.compile(r"[\w .:-]{1,64}", re.ASCII)


class ConfirmedRule(StrEnum):
    """What becomes of an image that a person confirmed by eye when its basis goes."""

    LIFT = "lift"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """[[bands]]: what a match at some distance may lead to."""

    name: str
    from_bits: int = setting(0, "First distance of the band, in bits.", low=0, high=31)
    to_bits: int = setting(31, "Last distance of the band, inclusive.", low=0, high=31)
    action: str = setting(
        "review", '"suppress" (provisionally, before a person looks) or "review".'
    )
    supported: str = setting("review", "The same, where something speaks for the match: [support].")
    min_quality: int = setting(
        50, "Least quality (0-100) of the image's hash for that.", low=0, high=100
    )
    feeds: tuple[str, ...] = setting(
        (), "Feeds that the band is for; empty: all without their own."
    )

    def action_for(self, *, supported: bool) -> Action:
        """Say what the band proposes."""
        return Action(self.supported if supported else self.action)


BUILT_IN_BANDS = (
    Band(name="near", from_bits=0, to_bits=20, action="suppress", supported="suppress"),
    Band(name="wide", from_bits=21, to_bits=31, action="review", supported="suppress"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportRules:
    """[support]: what speaks for a match, so that a band's "supported" counts."""

    partner_blocked: int = setting(
        1, "Other platforms that called the signal NCII; 0 leaves their word out.", low=0
    )
    site_confirmed: int = setting(
        5,
        "Images of the same site and path that people confirmed, none dismissed: a repeat\n"
        "offender. 0 leaves the site's history out.",
        low=0,
    )
    our_names: tuple[str, ...] = setting(
        (),
        "Names under which feeds list our own feedback, which is nobody else's word. Without any,\n"
        "one word like the last that a feed was told is taken for ours.",
    )
    near_duplicate_confirmed: bool = setting(
        True, "A near-duplicate that a person confirmed speaks for the image."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtRules:
    """[doubt]: what sends a match to a person, however near it is."""

    partner_not_blocked: int = setting(
        1, "Other platforms that reviewed the signal and did not call it NCII; 0: never.", low=0
    )
    near_duplicate_dismissed: bool = setting(
        True, "A near-duplicate that a person dismissed speaks against the image."
    )
    least_resembling: float = setting(
        0.25,
        "Least share (0-1) of the signal's other images that the image must resemble,\n"
        "asked for from `compared_from` different images on: a stranger among them waits.",
        low=0,
        high=1,
    )
    compared_from: int = setting(3, "Different images of a signal from which that counts.", low=2)
    most_expected_per_million: float = setting(
        0.001,
        "Most false matches that the signal's surroundings let expect in a million unrelated\n"
        "hashes. Of signals of photographs, 19 of 20 lie below 0.000001.",
        low=0,
    )
    most_lattice: float = setting(
        0.85, "Most of a grid, stripes or plain shape that the image may be, 0-1.", low=0, high=1
    )
    most_signal_lattice: float = setting(0.5, "The same of the signal's bits, 0-1.", low=0, high=1)
    prior_sites: int = setting(
        20,
        "Different sites that showed the image, or a near-duplicate, before the signal came:\n"
        "what was widely published is for a person. 0: never.",
        low=0,
    )
    reputable_sites: tuple[str, ...] = setting(
        (), "Sites that need only be one of them, such as those of newspapers and archives."
    )
    site_dismissed: int = setting(
        10, "Images of the same site that people dismissed, none confirmed. 0: never.", low=0
    )
    provenance: tuple[str, ...] = setting(
        (),
        'Marks in the file that send it to a person: "c2pa", or "iptc:" and a digital source\n'
        "type. Made-up images can be intimate images without consent too, so none by default.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRules:
    """[pages]: what pages that show an image say of it. Anybody can write it: it never acts."""

    urgent: tuple[str, ...] = setting(
        (PageMark.ABUSE_WORDS.value, PageMark.IMAGE_WORDS.value),
        "Marks for which a person sees the case sooner. There are: abuse_words (title or address\n"
        "of a page name the abuse), image_words (what it writes about the image does), adult (it\n"
        "labels itself so), news, news_image (the image is its news article's), article and\n"
        "decoration (a logo, an icon). All of them are shown with each decision.",
    )
    urgent_risk: int = setting(
        10, "How much sooner: points of risk, of 100. The clock stays as it is.", low=0, high=30
    )
    doubtful: tuple[str, ...] = setting(
        (PageMark.NEWS_IMAGE.value,),
        "Marks that send a match to a person, where most sites that show the image bear one. Not\n"
        "where a page labels itself adult or bears an urgent mark, nor on sites of which people\n"
        "confirmed images; and what the machine has hidden already stays so until a person looks.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeRules:
    """[brakes]: what stops the machine. A stopped signal waits for a person, with all it did."""

    blast_sites: int = setting(
        50, "Different sites that one signal may newly match within the window.", low=1
    )
    blast_window_hours: int = setting(24, "That window, in hours.", low=1, high=24 * 90)
    incoherent_from: int = setting(
        6, "Different images of a signal from which they must resemble each other.", low=2
    )
    least_coherence: float = setting(
        0.2, "Least share (0-1) of pairs of them that must.", low=0, high=1
    )
    automatic_per_case_day: int = setting(
        100,
        "Most images that one case reference of a feed may suppress in a day before review.",
        low=0,
    )
    automatic_per_feed_day: int = setting(5_000, "The same for one feed.", low=0)
    automatic_per_day: int = setting(10_000, "The same for all feeds.", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleRules:
    """[people]: when one person is not enough."""

    second_person_from_reach: int = setting(
        10,
        "Pages and near-duplicates together from which a second person must agree; 0: never.",
        low=0,
    )
    blind_sample_percent: float = setting(
        5.0,
        "Share of decisions, in per cent, that a second reviewer makes again without seeing the\n"
        "first.",
        low=0,
        high=100,
    )
    provisional_days: int = setting(
        0,
        "Days that the machine's act holds while no person decides. After that the result shows\n"
        "again, and the machine does not act on these bytes any more. 0: it holds until a person\n"
        "decides, however late: a lapse would expose whoever the clock has failed already.",
        low=0,
        high=366,
    )
    decide_unseen: bool = setting(
        True,
        "Whether the console lets a person decide from the evidence, without having opened the\n"
        "image or a near-duplicate: what is not looked at harms nobody who works here.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedRules:
    """[confirmed]: what becomes of an image that a person confirmed by eye."""

    after_withdrawal: str = setting(
        "lift",
        'When every case behind its signals is withdrawn: "lift" obeys the withdrawal, "keep"\n'
        "keeps what a person saw (and whoever forces a withdrawal gains nothing).",
    )
    after_change: str = setting(
        "keep",
        'When threshold or signal change and the same bytes no longer match: "keep" or "lift".',
    )
    after_replacement: str = setting(
        "keep",
        'When other bytes are there, or the URL leads elsewhere: "keep" until a person has looked\n'
        '(a host may show us another image than people see), or "lift".',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GivingBackRules:
    """[giving_back]: what other platforms learn from us."""

    submit_confirmed_edits: bool = setting(
        False,
        "Offer the hash of a copy that a person confirmed and that the feed's own hash does not\n"
        "reach (a crop, a border) to the feed with SubmitHashes.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy file as typed values.

    Raises:
        PolicyError: bands leave a hole, overlap, or say what no band says; an unknown word.
    """

    version: str = "2"
    bands: tuple[Band, ...] = BUILT_IN_BANDS
    review_only_feeds: tuple[str, ...] = ()
    support: SupportRules = SupportRules()
    doubt: DoubtRules = DoubtRules()
    pages: PageRules = PageRules()
    brakes: BrakeRules = BrakeRules()
    people: PeopleRules = PeopleRules()
    confirmed: ConfirmedRules = ConfirmedRules()
    giving_back: GivingBackRules = GivingBackRules()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.version):
            raise PolicyError(
                "version: a name of 1 to 64 letters, digits, blanks or . : - is needed"
            )
        for feed in (None, *self._feeds_with_bands()):
            _check_bands(self.bands_of(feed), feed)
        for where, value in (
            ("after_withdrawal", self.confirmed.after_withdrawal),
            ("after_change", self.confirmed.after_change),
            ("after_replacement", self.confirmed.after_replacement),
        ):
            if value not in set(ConfirmedRule):
                raise PolicyError(f'confirmed.{where}: "lift" or "keep" is needed, not "{value}"')
        for where, marks in (("urgent", self.pages.urgent), ("doubtful", self.pages.doubtful)):
            unknown = sorted(set(marks) - set(PageMark))
            if unknown:
                raise PolicyError(
                    f'pages.{where}: no mark is called "{unknown[0]}"; known: {", ".join(PageMark)}'
                )

    def bands_of(self, feed: str | None) -> tuple[Band, ...]:
        """Return the bands for a feed, its own if it has any; None for those of all others."""
        own = tuple(band for band in self.bands if feed in band.feeds)
        return own or tuple(band for band in self.bands if not band.feeds)

    def band(self, feed: str, distance_bits: int) -> Band | None:
        """Find the band of a distance; None beyond 31 bits, where nothing acts alone."""
        for band in self.bands_of(feed):
            if band.from_bits <= distance_bits <= band.to_bits:
                return band
        return None

    def only_reviews(self, feed: str) -> bool:
        """Whether a feed never acts without a person."""
        return feed == DIRECT_FEED or feed in self.review_only_feeds

    def _feeds_with_bands(self) -> list[str]:
        return sorted({feed for band in self.bands for feed in band.feeds})


def _check_bands(bands: Sequence[Band], feed: str | None) -> None:
    """Make sure that bands cover every distance once.

    Raises:
        PolicyError: names the first hole or overlap.
    """
    which = "bands" if feed is None else f"bands of feed {feed}"
    expected = 0
    for band in sorted(bands, key=lambda band: (band.from_bits, band.to_bits)):
        _check_band(band)
        if band.from_bits < expected:
            raise PolicyError(f'{which}: "{band.name}" overlaps another at {band.from_bits} bits')
        if band.from_bits > expected:
            raise PolicyError(f"{which}: no band for {expected} to {band.from_bits - 1} bits")
        expected = band.to_bits + 1
    if expected <= MAX_BITS:
        raise PolicyError(f"{which}: no band for {expected} to {MAX_BITS} bits")


def _check_band(band: Band) -> None:
    if band.from_bits > band.to_bits:
        raise PolicyError(f'bands: "{band.name}" ends before it begins')
    for value in (band.action, band.supported):
        if value not in {Action.SUPPRESS.value, Action.REVIEW.value}:
            raise PolicyError(
                f'bands: "{band.name}": "suppress" or "review" is needed, not "{value}"'
            )

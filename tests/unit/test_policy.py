"""What the machine may do on its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.errors import PolicyError
from delist.model import Action, CaseMatch, Support, Verdict
from delist.policy import (
    DIRECT_FEED,
    Band,
    CaseFacts,
    GroupFacts,
    MarkFacts,
    MatchFacts,
    PageFacts,
    Policy,
    Proposal,
    Says,
    SignalFacts,
    SiteFacts,
    annotated_policy,
    may_act,
    parse_policy,
    propose,
    read_policy,
    urgency,
)
from indexer.model import Background, PageMark, variant_name
from tests.fakes.delisting import START

OLD = "automatic_bits = {}"


def match(
    distance_bits: int = 0, *, quality: int = 100, variant: str = "upright", key: str = "aa"
) -> CaseMatch:
    return CaseMatch(
        signal_key=key,
        feed="exchange",
        distance_bits=distance_bits,
        threshold_bits=31,
        hasher="cpp",
        variant=variant,
        quality=quality,
        content_sha256="00" * 32,
        support=Support.ACTIVE,
        matched_at=START,
    )


def facts(*matches: CaseMatch | MatchFacts, **case: object) -> CaseFacts:
    found = [m if isinstance(m, MatchFacts) else MatchFacts(match=m) for m in matches]
    return CaseFacts(matches=tuple(found), **case)


def said(
    *matches: CaseMatch | MatchFacts, policy: Policy | None = None, **case: object
) -> Proposal:
    return propose(facts(*matches, **case), policy or Policy())


def of_signal(distance_bits: int = 0, **signal: object) -> MatchFacts:
    return MatchFacts(match=match(distance_bits), signal=SignalFacts(**signal))


@pytest.mark.parametrize(
    ("distance_bits", "expected"),
    [
        (0, Action.SUPPRESS),
        (19, Action.SUPPRESS),
        (20, Action.SUPPRESS),
        (21, Action.REVIEW),
        (31, Action.REVIEW),
    ],
)
def test_automatic_band_includes_its_last_bit(distance_bits: int, expected: Action) -> None:
    """20 bits act before a person has looked; 21 bits wait for one."""
    assert said(match(distance_bits)).action is expected


@pytest.mark.parametrize(
    ("quality", "expected"),
    [(0, Action.REVIEW), (49, Action.REVIEW), (50, Action.SUPPRESS), (100, Action.SUPPRESS)],
)
def test_least_quality_is_enough(quality: int, expected: Action) -> None:
    """Quality 50 is enough to act on; 49 waits for a person, however near the match."""
    assert said(match(0, quality=quality)).action is expected


@pytest.mark.parametrize("background", Background)
@pytest.mark.parametrize("position", range(16))
def test_every_fast_variant_acts(position: int, background: Background) -> None:
    """All eight symmetries act, flattened on white or on black, of any frame."""
    for frame in (0, 1, 300):
        name = variant_name(position, background, frame=frame)
        assert said(match(20, variant=name)).action is Action.SUPPRESS


@pytest.mark.parametrize("frame", [0, 12])
@pytest.mark.parametrize("background", Background)
def test_a_partial_picture_waits_for_a_person(background: Background, frame: int) -> None:
    """Where a part of the picture is missing the machine never acts alone, however near."""
    name = variant_name(0, background, frame=frame, partial=True)
    assert said(match(0, variant=name)).action is Action.REVIEW


@pytest.mark.parametrize(
    "variant",
    [
        "",
        "trim",
        "trim+black",
        "upright+grey",
        "upright+black+black",
        "black",
        "+black",
        "upright+frame0",
        "upright+frame",
        "frame3",
        "upright+black+frame3",
        "upright\n",
    ],
)
def test_other_variants_wait_for_a_person(variant: str) -> None:
    """A guess beyond the fast tier never acts alone, whatever speaks for it."""
    supported = MatchFacts(match=match(0, variant=variant), signal=SignalFacts(blocked=9))
    assert said(supported, group=GroupFacts(confirmed=3)).action is Action.REVIEW


def test_a_deep_match_never_acts_alone() -> None:
    """What only a guess brought near waits, also where the stored hash is named upright."""
    deep = replace(match(25), weighted_bits=12.0)
    assert said(MatchFacts(match=deep, signal=SignalFacts(blocked=3))).action is Action.REVIEW


def test_a_whole_file_is_equal_or_not() -> None:
    """An MD5 of a whole file has neither quality nor variant, and acts."""
    video = replace(match(0), hasher="md5", variant="file", quality=0)
    assert said(video).action is Action.SUPPRESS


@pytest.mark.parametrize("distance_bits", [0, 20, 31])
def test_dismissed_bytes_go_to_a_person(distance_bits: int) -> None:
    """What a person called not_ncii is never suppressed by the machine, however near the match."""
    proposal = said(of_signal(distance_bits, blocked=5), dismissed_before=True)

    assert proposal.action is Action.REVIEW
    assert "dismissed" in proposal.reason


def test_any_match_in_the_band_acts_and_is_the_basis() -> None:
    """A nearer match that may not act does not stand in the way of one that may."""
    within = match(20, key="bb")

    proposal = said(match(3, variant="trim", key="aa"), within)

    assert (proposal.action, proposal.match) == (Action.SUPPRESS, within)


def test_review_names_the_nearest_match() -> None:
    """Where nothing may act, the reviewer is shown the nearest match."""
    proposal = said(match(22), match(30, key="bb"))

    assert (proposal.action, proposal.match.distance_bits) == (Action.REVIEW, 22)
    assert "22 bits" in proposal.reason


@pytest.mark.parametrize("words", [{"blocked": 1}, {"blocked": 4}])
def test_partners_word_widens_the_band(words: dict[str, int]) -> None:
    """A signal that another platform called NCII acts up to 31 bits."""
    assert said(of_signal(31, **words)).action is Action.SUPPRESS
    assert said(of_signal(21)).action is Action.REVIEW


@pytest.mark.parametrize("distance_bits", [0, 20, 31])
@pytest.mark.parametrize(
    "signal",
    [
        {"not_blocked": 1},
        {"not_blocked": 1, "blocked": 5},
        {"benign": True},
        {"expected_per_million": 0.002},
        {"lattice": 0.51},
    ],
)
def test_what_is_doubtful_of_a_signal_waits(distance_bits: int, signal: dict[str, Any]) -> None:
    """No act alone on a signal that others dismissed, that is benign, or that strangers crowd."""
    assert said(of_signal(distance_bits, **signal)).action is Action.REVIEW


@pytest.mark.parametrize(
    "case",
    [
        {"benign": True},
        {"lattice": 0.86},
        {"prior_sites": 20},
        {"prior_reputable": True},
        {"site": SiteFacts(dismissed=10)},
        {"group": GroupFacts(dismissed=1)},
        {"group": GroupFacts(dismissed=1, confirmed=4)},
        {"budget_left": False},
    ],
)
def test_what_is_doubtful_of_an_image_waits(case: dict[str, Any]) -> None:
    """Doubts about the image outweigh the nearest match and every word for it."""
    proposal = said(of_signal(0, blocked=3), **case)

    assert proposal.action is Action.REVIEW
    assert any(check.says is Says.AGAINST for check in proposal.checks)


@pytest.mark.parametrize(
    "case",
    [
        {"lattice": 0.85},
        {"prior_sites": 19},
        {"site": SiteFacts(dismissed=10, confirmed=1)},
        {"site": SiteFacts(dismissed=9)},
        {"provenance": ("c2pa", "iptc:trainedAlgorithmicMedia")},
        {"verdict": Verdict.UNSURE},
    ],
)
def test_limits_are_inclusive_and_notes_stop_nothing(case: dict[str, Any]) -> None:
    """At the limit a doubt does not count yet; what is only noted never does."""
    assert said(match(20), **case).action is Action.SUPPRESS


def test_a_stranger_among_a_signals_images_waits() -> None:
    """From three different images on, one that resembles none of the others is not acted on."""
    few = MatchFacts(match=match(5), signal=SignalFacts(compared=2), resembling=0.0)
    stranger = MatchFacts(match=match(5), signal=SignalFacts(compared=3), resembling=0.0)
    friend = MatchFacts(match=match(5), signal=SignalFacts(compared=3), resembling=0.25)

    assert said(few).action is Action.SUPPRESS
    assert said(stranger).action is Action.REVIEW
    assert said(friend).action is Action.SUPPRESS


def test_repeat_offender_is_a_place_not_a_site() -> None:
    """Confirmed images of the same path speak for a match; of other paths of the site not."""
    assert said(match(25), site=SiteFacts(confirmed=5, path_confirmed=5)).action is Action.SUPPRESS
    assert said(match(25), site=SiteFacts(confirmed=90, path_confirmed=4)).action is Action.REVIEW
    place = SiteFacts(confirmed=50, path_confirmed=50, dismissed=1, path_dismissed=1)
    assert said(match(25), site=place).action is Action.REVIEW


def test_confirmed_near_duplicate_speaks_for_a_match() -> None:
    """A near-duplicate that a person confirmed widens the band."""
    assert said(match(31), group=GroupFacts(confirmed=1)).action is Action.SUPPRESS


def test_a_stopped_signal_supports_nothing() -> None:
    """Stopped signals alone are held; a free one beside them is judged by itself."""
    stopped = MatchFacts(match=match(0), signal=SignalFacts(brake="blast_radius"))

    assert said(stopped).action is Action.HOLD
    assert said(stopped, match(25, key="bb")).action is Action.REVIEW
    beside = said(stopped, match(20, key="bb"))
    assert (beside.action, beside.match.signal_key) == (Action.SUPPRESS, "bb")


def test_direct_reports_only_lead_to_review() -> None:
    """No policy can make the feed of direct reports act; another feed can be told the same."""
    direct = replace(match(0), feed=DIRECT_FEED)
    bands = (Band(name="all", action="suppress", supported="suppress", min_quality=0),)

    assert said(direct, policy=Policy(bands=bands)).action is Action.REVIEW
    assert not may_act(direct, Policy(bands=bands))
    only = Policy(review_only_feeds=("exchange",))
    assert said(match(0), policy=only).action is Action.REVIEW


def test_a_feed_may_have_bands_of_its_own() -> None:
    """Bands that name a feed take the place of the others for it alone."""
    own = Band(name="bank", action="review", feeds=("bank",))
    policy = Policy(bands=(*Policy().bands, own))

    assert said(replace(match(0), feed="bank"), policy=policy).action is Action.REVIEW
    assert said(match(0), policy=policy).action is Action.SUPPRESS


signals = st.builds(
    SignalFacts,
    blocked=st.integers(0, 3),
    not_blocked=st.integers(0, 1),
    brake=st.sampled_from([None, None, None, "kill"]),
    benign=st.booleans(),
    compared=st.integers(0, 9),
    expected_per_million=st.none() | st.floats(0, 1),
    lattice=st.none() | st.floats(0, 1),
)
found = st.builds(
    MatchFacts,
    match=st.builds(
        match,
        st.integers(0, 40),
        quality=st.integers(0, 100),
        variant=st.sampled_from(["upright", "mirror", "trim", "upright+partial"]),
        key=st.sampled_from(["aa", "bb"]),
    ),
    signal=signals,
    resembling=st.none() | st.floats(0, 1),
)


@given(
    matches=st.lists(found, min_size=1, max_size=3),
    dismissed=st.booleans(),
    budget=st.booleans(),
    benign=st.booleans(),
)
def test_no_facts_make_the_machine_overstep(
    matches: list[MatchFacts], *, dismissed: bool, budget: bool, benign: bool
) -> None:
    """Whatever is known, an act rests on a free fast match that nothing forbids, and says why."""
    proposal = said(*matches, dismissed_before=dismissed, budget_left=budget, benign=benign)

    if proposal.action is Action.SUPPRESS:
        basis = next(entry for entry in matches if entry.match == proposal.match)
        assert may_act(basis.match, Policy())
        assert (dismissed, benign, budget) == (False, False, True)
        assert any(entry.match == basis.match and entry.signal.brake is None for entry in matches)
    else:
        assert any(check.says is Says.AGAINST for check in proposal.checks)
    assert (proposal.action is Action.HOLD) == all(entry.signal.brake for entry in matches)
    assert proposal.reason
    assert "://" not in proposal.reason
    assert not {"aa", "bb"} & set(proposal.reason.split())


def test_what_is_in_force_is_what_is_written() -> None:
    """The annotated policy, read again, is the built-in one."""
    assert parse_policy(annotated_policy(), name="policy.toml") == Policy()


@pytest.mark.parametrize("automatic_bits", [0, 20, 31])
def test_the_two_old_keys_stand_in_for_bands(automatic_bits: int) -> None:
    """A file from before bands means what it meant: one automatic band, nothing widens it."""
    policy = parse_policy(f"automatic_bits = {automatic_bits}\nmin_quality = 60", name="p")

    assert said(match(automatic_bits, quality=60), policy=policy).action is Action.SUPPRESS
    assert said(match(0, quality=59), policy=policy).action is Action.REVIEW
    if automatic_bits < 31:
        wider = of_signal(automatic_bits + 1, blocked=3)
        assert said(wider, policy=policy).action is Action.REVIEW


def bands(*ranges: tuple[int, int], extra: str = "") -> str:
    return "".join(
        f'[[bands]]\nname = "b{number}"\nfrom_bits = {low}\nto_bits = {high}\n{extra}\n'
        for number, (low, high) in enumerate(ranges)
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (bands((0, 10), (12, 31)), "no band for 11 to 11 bits"),
        (bands((1, 31)), "no band for 0 to 0 bits"),
        (bands((0, 10), (11, 30)), "no band for 31 to 31 bits"),
        (bands((0, 10), (10, 31)), "overlaps another at 10 bits"),
        (bands((0, 31), (5, 6)), "overlaps"),
        (bands((0, 31)) + bands((0, 9), extra='feeds = ["x"]'), "bands of feed x: no band for 10"),
        (bands((0, 31), extra='feeds = ["x"]'), "no band for 0 to 31 bits"),
        (bands((0, 32)), "at most 31"),
        (bands((5, 2), (0, 31)), "ends before it begins"),
        (bands((0, 31), extra='action = "delete"'), "delete"),
        (bands((0, 31), extra="actoin = 1"), "actoin: unknown key"),
        ("[[bands]]\nfrom_bits = 0", "name: is missing"),
        ("bands = 3", "tables"),
        (bands((0, 31)) + "automatic_bits = 3", "unknown key"),
        ("automatic_bits = 3\n" + bands((0, 31)), "use one of both"),
        ("automatic_bits = 32", "at most 31"),
        ("automatic_bits = -1", "at least 0"),
        ("automatic_bits = 20.0", "int is needed"),
        ("automatic_bits = true", "int is needed"),
        ('automatic_bits = "20"', "int is needed"),
        ("min_quality = 101", "at most 100"),
        ("version = 1", "str is needed"),
        ('version = ""', "version"),
        ('version = "https://a/b"', "version"),
        ("automatic_bit = 20", "unknown key"),
        ("[policy]\nautomatic_bits = 20", "unknown key"),
        ("[doubt]\nprior_site = 2", "prior_site: unknown key"),
        ('[confirmed]\nafter_withdrawal = "never"', '"lift" or "keep"'),
        ("[people]\nblind_sample_percent = 101", "at most 100"),
        ("automatic_bits = ", "not valid TOML"),
        ("\x00", "not valid TOML"),
    ],
)
def test_wrong_policy_file_is_refused(text: str, says: str, tmp_path: Path) -> None:
    """A hole, an overlap, an unknown key or a wrong value is no policy; the place is named."""
    path = tmp_path / "policy.toml"
    path.write_text(text)

    with pytest.raises(PolicyError, match=r"policy\.toml") as refused:
        read_policy(path)

    assert says in str(refused.value)


def test_missing_policy_file_is_refused(tmp_path: Path) -> None:
    """A policy file that is configured but missing never falls back to the built-in policy."""
    with pytest.raises(PolicyError, match="cannot read"):
        read_policy(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="UTF-8"):
        read_policy(tmp_path / "binary.toml")


def on_pages(*marks: PageMark, sites: int = 1) -> PageFacts:
    marked = tuple(MarkFacts(mark=mark, pages=1, sites=1) for mark in marks)
    return PageFacts(pages=sites, sites=sites, marked=marked)


@pytest.mark.parametrize(
    ("pages", "case", "action"),
    [
        (on_pages(PageMark.NEWS_IMAGE), {}, Action.REVIEW),
        (on_pages(PageMark.NEWS_IMAGE, sites=2), {}, Action.SUPPRESS),
        (on_pages(PageMark.NEWS_IMAGE, PageMark.ADULT), {}, Action.SUPPRESS),
        (on_pages(PageMark.NEWS_IMAGE, PageMark.ABUSE_WORDS), {}, Action.SUPPRESS),
        (on_pages(PageMark.NEWS_IMAGE), {"acted": True}, Action.SUPPRESS),
        (on_pages(PageMark.NEWS_IMAGE), {"site": SiteFacts(confirmed=1)}, Action.SUPPRESS),
        (on_pages(PageMark.NEWS, PageMark.ARTICLE, PageMark.DECORATION), {}, Action.SUPPRESS),
    ],
)
def test_a_doubtful_mark_counts_only_where_nothing_says_otherwise(
    pages: PageFacts, case: dict[str, Any], action: Action
) -> None:
    """Whoever writes a page can plant one, so it takes most sites, and any other word outweighs."""
    assert said(match(5), pages=pages, **case).action is action


@pytest.mark.parametrize("distance_bits", [5, 25])
@pytest.mark.parametrize("mark", list(PageMark))
def test_no_mark_speaks_for_acting(mark: PageMark, distance_bits: int) -> None:
    """With a mark the machine acts on nothing that it would have left alone without it."""
    rules = parse_policy(f'[pages]\nurgent = ["{mark}"]\ndoubtful = []', name="p.toml")
    without = said(match(distance_bits), policy=rules)
    marked = said(match(distance_bits), policy=rules, pages=on_pages(mark))

    assert marked.action is without.action
    assert [c.says for c in marked.checks if c.name == "page"] == [Says.NOTE]


def test_what_is_urgent_depends_on_what_is_shown() -> None:
    """Words that name the abuse while it is shown; a doubt also once it is hidden."""
    rules = Policy().pages
    words, news = (
        facts(match(5), pages=on_pages(mark))
        for mark in (PageMark.IMAGE_WORDS, PageMark.NEWS_IMAGE)
    )

    assert [urgency(words, rules, hidden=hidden) for hidden in (False, True)] == [10, 0]
    assert [urgency(news, rules, hidden=hidden) for hidden in (False, True)] == [10, 10]
    assert urgency(facts(match(5)), rules, hidden=False) == 0


@pytest.mark.parametrize("key", ["urgent", "doubtful"])
def test_an_unknown_mark_is_named(key: str) -> None:
    """A slip of the pen in a policy file is refused, not ignored."""
    with pytest.raises(PolicyError, match=f'pages.{key}: no mark is called "nudity"'):
        parse_policy(f'[pages]\n{key} = ["nudity"]', name="policy.toml")

"""What the machine may do on its own."""

from pathlib import Path

import pytest

from delist.errors import PolicyError
from delist.model import Action, CaseMatch, Support
from delist.policy import Policy, propose, read_policy
from indexer.model import Background, variant_name
from tests.fakes.delisting import START


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


def action(*matches: CaseMatch, dismissed_before: bool = False, **policy: int) -> Action:
    return propose(matches, Policy(**policy), dismissed_before=dismissed_before).action  # type: ignore[arg-type]


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
    assert action(match(distance_bits)) is expected


@pytest.mark.parametrize(
    ("quality", "expected"),
    [(0, Action.REVIEW), (49, Action.REVIEW), (50, Action.SUPPRESS), (100, Action.SUPPRESS)],
)
def test_least_quality_is_enough(quality: int, expected: Action) -> None:
    """Quality 50 is enough to act on; 49 waits for a person, however near the match."""
    assert action(match(0, quality=quality)) is expected


@pytest.mark.parametrize("background", Background)
@pytest.mark.parametrize("position", range(16))
def test_every_fast_variant_acts(position: int, background: Background) -> None:
    """All eight symmetries act, flattened on white or on black, of any frame."""
    for frame in (0, 1, 300):
        name = variant_name(position, background, frame=frame)
        assert action(match(20, variant=name)) is Action.SUPPRESS


@pytest.mark.parametrize("frame", [0, 12])
@pytest.mark.parametrize("background", Background)
def test_a_partial_picture_waits_for_a_person(background: Background, frame: int) -> None:
    """Where a part of the picture is missing the machine never acts alone, however near."""
    name = variant_name(0, background, frame=frame, partial=True)
    assert action(match(0, variant=name)) is Action.REVIEW


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
    """A guess beyond the fast tier never acts alone."""
    assert action(match(0, variant=variant)) is Action.REVIEW


@pytest.mark.parametrize("distance_bits", [0, 20, 31])
def test_dismissed_bytes_go_to_a_person(distance_bits: int) -> None:
    """What a person called not_ncii is never suppressed by the machine, however near the match."""
    proposal = propose([match(distance_bits)], Policy(), dismissed_before=True)

    assert proposal.action is Action.REVIEW
    assert "dismissed" in proposal.reason


def test_any_match_in_the_band_acts_and_is_the_basis() -> None:
    """A nearer match that may not act does not stand in the way of one that may."""
    nearer = match(3, variant="trim", key="aa")
    within = match(20, key="bb")

    proposal = propose([nearer, within], Policy(), dismissed_before=False)

    assert (proposal.action, proposal.match) == (Action.SUPPRESS, within)


def test_review_names_the_nearest_match() -> None:
    """Where nothing may act, the reviewer is shown the nearest match."""
    proposal = propose([match(22), match(30, key="bb")], Policy(), dismissed_before=False)

    assert (proposal.action, proposal.match.distance_bits) == (Action.REVIEW, 22)
    assert "22 bits" in proposal.reason


@pytest.mark.parametrize("automatic_bits", [0, 31])
def test_band_follows_the_policy(automatic_bits: int) -> None:
    """The band is the policy's, 0 and 31 included."""
    assert action(match(automatic_bits), automatic_bits=automatic_bits) is Action.SUPPRESS
    if automatic_bits < 31:
        assert action(match(automatic_bits + 1), automatic_bits=automatic_bits) is Action.REVIEW


@pytest.mark.parametrize(
    "text",
    [
        "automatic_bits = 32",
        "automatic_bits = -1",
        "automatic_bits = 20.0",
        "automatic_bits = true",
        'automatic_bits = "20"',
        "min_quality = 101",
        "min_quality = -1",
        "version = 1",
        "automatic_bit = 20",
        "[policy]\nautomatic_bits = 20",
        "automatic_bits = ",
        "\x00",
    ],
)
def test_wrong_policy_file_is_refused(text: str, tmp_path: Path) -> None:
    """A policy file with an unknown key or a value out of range is no policy; the file is named."""
    path = tmp_path / "policy.toml"
    path.write_text(text)

    with pytest.raises(PolicyError, match=r"policy\.toml"):
        read_policy(path)


def test_missing_policy_file_is_refused(tmp_path: Path) -> None:
    """A policy file that is configured but missing never falls back to the built-in policy."""
    with pytest.raises(PolicyError, match="cannot read"):
        read_policy(tmp_path / "missing.toml")


def test_reasons_hold_no_secret() -> None:
    """A proposal's reason is safe to show: no key, no digest, no URL."""
    for matches in ([match(0)], [match(31)], [match(0, quality=0)]):
        for dismissed in (False, True):
            reason = propose(matches, Policy(), dismissed_before=dismissed).reason
            assert "aa" not in reason.split()
            assert "://" not in reason

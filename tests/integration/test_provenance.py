"""Marks of origin reach the store, the policy and whoever reviews."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from delist.cli import main
from delist.model import CaseState
from tests.fakes.delisting import World, digest_of, image_near

NEAR = digest_of("near")
URL, PLAIN = "https://site.example/a.jpg", "https://site.example/b.jpg"
MARKS = ("c2pa", "iptc:trainedAlgorithmicMedia")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "marks"\n[doubt]\nprovenance = ["c2pa"]\n')
    with World(tmp_path / "data", policy_file=policy) as opened:
        yield opened


def test_the_policy_may_doubt_a_mark(world: World) -> None:
    """An image with the mark waits for a person; the same without it does not."""
    world.offer(NEAR)
    world.visit(URL, replace(image_near({NEAR: 2}, name="marked"), provenance=MARKS))
    world.visit(PLAIN, image_near({NEAR: 2}, name="plain"))
    world.take_in()

    assert world.state_of(URL) is CaseState.OPEN
    assert world.state_of(PLAIN) is CaseState.SUPPRESSED


def test_a_reviewer_sees_them(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """In `cases show`."""
    world.offer(NEAR)
    world.visit(URL, replace(image_near({NEAR: 2}), provenance=MARKS))
    world.take_in()
    config = str(world.write_configuration())

    assert main(["--config", config, "--json", "cases", "show", world.case_of(URL).id]) == 0

    assert json.loads(capsys.readouterr().out)["provenance"] == list(MARKS)


def test_images_that_were_stored_before_gain_theirs(world: World) -> None:
    """When their bytes are seen again; a visit that finds nothing new leaves them."""
    hashed = image_near({}, name="old")
    world.visit(URL, hashed)
    world.visit(URL, replace(hashed, provenance=MARKS))
    world.visit(URL, None)

    record = world.delist.indexer.find_image(URL)
    assert record is not None
    assert record.provenance == MARKS

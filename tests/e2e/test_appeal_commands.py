"""Appeals as their user meets them: commands, JSON, exit codes, and what results show after."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from delist.cli import main
from delist.site_proof import FILE_PATH
from indexer.build import utc_now
from tests.fakes.delisting import World, digest_of, image_near
from tests.sites import Site, serve_site

NEAR, REF = digest_of("near"), "5f0c-mine"


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as served:
        yield served


class Place:
    """A configuration, and commands run with it."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config, self._capsys = config, capsys

    def run(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        out, _ = self.said(*arguments, "--json", code=code)
        return [json.loads(line) for line in out.splitlines()]

    def one(self, *arguments: str) -> dict[str, Any]:
        (document,) = self.run(*arguments)
        return document

    def said(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        self._capsys.readouterr()
        found = main(["--config", str(self._config), *arguments])
        captured = self._capsys.readouterr()
        assert found == code, captured.err
        assert "Traceback" not in captured.err
        return captured.out, captured.err

    def refused(self, *arguments: str, code: int) -> str:
        """Have a command refused, with one clear line; returns it."""
        out, error = self.said(*arguments, code=code)
        assert out == ""
        assert error.startswith(("delist: ", "Usage: "))
        assert "internal error" not in error
        return error

    def is_suppressed(self, url: str) -> bool:
        return bool(self.one("suppressed", url)["suppressed"])


@pytest.fixture
def place(tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]) -> Place:
    """A site with one suppressed image."""
    with World(tmp_path / "data") as world:
        world.clock.now = utc_now() - timedelta(hours=1)
        world.offer(NEAR, cases={REF: "Received"})
        world.visit(f"{site.url}/a.jpg", image_near({NEAR: 5}))
        world.take_in()
        config = world.write_configuration()
    with config.open("a") as file:
        file.write("[appeals]\nstatement_delay_hours = 0\n")
    return Place(config, capsys)


def test_a_site_owner_from_asking_to_results(place: Place, site: Site) -> None:
    """Ask, prove, read why, be heard by a person, and be shown again."""
    url = f"{site.url}/a.jpg"
    asking = ("appeal", "open", "--url", url, "--contact", "o@site", "--text", "a statue")
    asked = place.one(*asking)
    assert set(asked) == {"appeal", "token", "until", "places"}
    assert asked["places"] == [site.url + FILE_PATH, site.url + "/"]
    proving = ("appeal", "prove", asked["appeal"], "--allow-private-addresses")
    error = place.refused(*proving, code=1)
    assert "no proof of control" in error
    assert place.run("appeal", "list") == []

    site.put("/", f'<head><meta name="delist-appeal" content="{asked["token"]}"></head>')
    assert "this machine" in place.refused(*proving[:3], code=1).replace(
        "not a public address", "this machine"
    )
    proved = place.one(*proving)
    assert (proved["state"], proved["proof_method"]) == ("open", "meta")
    assert place.one("appeal", "list")["id"] == asked["appeal"]

    statement, _ = place.said("appeal", "statement", url, "--proof", asked["appeal"])
    assert "hxxp://127[.]0[.]0[.]1" in statement
    assert place.one("appeal", "statement", url, "--proof", asked["appeal"])["scope"]
    (record,) = place.run("suppressions", "list")
    by_record = place.said("appeal", "statement", "--record", record["id"], "--actor", "Kim")
    assert by_record[0] == statement

    shown = place.one("appeal", "show", asked["appeal"], "--actor", "Kim")
    assert (shown["image_url"], shown["contact"], shown["text"]) == (url, "o@site", "a statue")
    deciding = ("appeal", "decide", asked["appeal"], "--actor", "Kim", "--reason", "it is")
    decided = place.one(*deciding, "--outcome", "overturned", "--seen", shown["seen"])
    assert decided["state"] == "overturned"
    assert not place.is_suppressed(url)
    assert "decided already" in place.refused(*deciding, "--outcome", "upheld", code=2)
    assert [a["state"] for a in place.run("appeal", "list", "--all")] == ["overturned"]
    assert place.run("appeal", "list") == []
    place.said("suppressions", "verify")


def test_a_survivor_from_asking_to_results(place: Place, site: Site) -> None:
    """Dismissed, asked to keep, under review in the report, and away again."""
    url = f"{site.url}/a.jpg"
    (case,) = place.run("cases", "list")
    place.run("decide", case["id"], "--verdict", "not_ncii", "--actor", "Robin", "--reason", "r")
    code = place.one("access-code", REF)["code"]
    asking = ("appeal", "open", "--case-ref", REF, "--url", url, "--text", "t", "--asks", "keep")
    wrong = place.refused(*asking, "--access-code", "0000", code=1)
    assert wrong == place.refused(*asking, code=1)
    appeal = place.one(*asking, "--access-code", code)
    assert (appeal["state"], appeal["party"]) == ("open", "survivor")
    report = place.one("report", "survivor", REF, "--access-code", code)
    assert (report["under_review"], report["images"][0]["status"]) == (1, "under_review")

    deciding = ("appeal", "decide", appeal["id"], "--outcome", "overturned", "--reason", "r")
    assert "another person" in place.refused(*deciding, "--actor", "Robin", code=2)
    assert not place.is_suppressed(url)
    place.run(*deciding, "--actor", "Kim")
    assert place.is_suppressed(url)
    assert place.one("report", "survivor", REF)["delisted"] == 1


@pytest.mark.parametrize("path", ["/a.jpg", "/unknown.jpg"])
def test_text_says_how_to_prove(place: Place, site: Site, path: str) -> None:
    """A person is told where to put what, the same whether or not there is a record."""
    asking = ("appeal", "open", "--url", site.url + path, "--contact", "c", "--text", "t")
    out, error = place.said(*asking)
    assert error == ""
    appeal, token = (line.split()[1] for line in out.splitlines()[:2])
    assert out.count(token) == 2
    assert f"delist appeal prove {appeal}" in out
    assert len(out.splitlines()) == 11


def test_a_proof_without_record(place: Place, site: Site) -> None:
    """Only now is it said that there is nothing to look at."""
    url = f"{site.url}/unknown.jpg"
    asked = place.one("appeal", "open", "--url", url, "--contact", "c", "--text", "t")
    site.put(FILE_PATH, asked["token"].encode(), Content_Type="text/plain")
    out, error = place.said("appeal", "prove", asked["appeal"], "--allow-private-addresses")
    assert "no_record" in out
    assert "nothing to look at again" in error
    statement = ("appeal", "statement", url, "--proof", asked["appeal"])
    assert "no record in effect" in place.refused(*statement, code=1)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("open", "--url", "https://a.example/", "--text", "t"), 2),
        (("open", "--url", "https://a.example/", "--text=t", "--contact=c", "--asks=keep"), 2),
        (("open", "--url", "nonsense", "--text", "t", "--contact", "c"), 1),
        (("prove", "nonsense"), 1),
        (("show", "nonsense", "--actor", "a"), 1),
        (("decide", "x", "--outcome", "perhaps", "--actor", "a", "--reason", "r"), 2),
        (("decide", "x", "--outcome", "upheld", "--actor", "a", "--reason", "r"), 1),
        (("decide", "x", "--outcome", "upheld", "--actor", " ", "--reason", "r"), 2),
        (("statement", "https://a.example/"), 2),
        (("statement", "https://a.example/", "--proof", "x"), 1),
        (("statement", "--record", "x", "--actor", "a"), 1),
        (("statement", "--record", "x"), 2),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    place: Place, arguments: tuple[str, ...], code: int
) -> None:
    """Unknown appeal, record and outcome, and options that do not go together: one line each."""
    place.refused("appeal", *arguments, code=code)

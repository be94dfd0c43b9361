"""Policy, brakes and bank as their user meets them: JSON keys, exit codes, lines for mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest

from delist.cli import main
from delist.ops.pictures import draw_photo, encode
from delist.policy import annotated_policy
from indexer import Indexer
from indexer.hashing import hash_image

URLS = [f"https://site{n}.example/{n}.png" for n in range(3)]
ACTOR = ("--actor", "Kim", "--reason", "try")


def photo(seed: int) -> bytes:
    return encode(draw_photo(seed))


class Place:
    """A directory with a feed of one signal, three copies of its picture, and commands."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        hashed = hash_image(photo(1), max_bytes=10**8, max_pixels=10**8)
        record = {
            "signalType": "ImagePDQ",
            "hashValue": hashed.hashes[0].digest.hex(),
            "hashStatus": "Received",
            "caseNumbers": {"5f0c7d3e-0000-4000-8000-000000000001": "Received"},
            "lastModtimestamp": 1_700_000_000,
        }
        (folder / "signals.jsonl").write_text(json.dumps(record))
        (folder / "delist.toml").write_text(
            'data_dir = "data"\n[feeds.local]\ntype = "file"\npath = "signals.jsonl"\n'
        )
        with Indexer.open(folder / "delist.toml") as indexer:
            for url in URLS:
                indexer.index_image(photo(1), image_url=url)
        self.run("feed", "sync")

    def run(self, *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
        self.capsys.readouterr()
        code = main(["--config", str(self.folder / "delist.toml"), *map(str, arguments), "--json"])
        captured = self.capsys.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    def policy(self, version: str, near: int) -> Path:
        """Write the built-in policy with another version and another automatic band."""
        text = annotated_policy().replace('version = "2"', f'version = "{version}"')
        text = text.replace("to_bits = 20", f"to_bits = {near}")
        path = self.folder / "new.toml"
        path.write_text(text.replace("from_bits = 21", f"from_bits = {near + 1}"))
        return path


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capsys)


def failed(answer: tuple[int, list[dict[str, Any]], str], code: int, word: str) -> bool:
    """Whether a command ended with a code and one clear line."""
    found, documents, error = answer
    assert error.startswith("delist: ")
    assert len(error.splitlines()) == 1, error
    return (found, documents) == (code, []) and word in error


def test_a_policy_is_simulated_applied_and_explained(place: Place) -> None:
    """What simulating says is what applying does; the history names who did it."""
    path = place.policy("3", 10)
    path.write_text(path.read_text().replace("automatic_per_day = 10000", "automatic_per_day = 0"))
    path.write_text(
        path.read_text().replace("review_only_feeds = []", 'review_only_feeds = ["local"]')
    )

    _, (shown,), _ = place.run("policy", "show")
    assert (shown["version"], shown["applied_by"], shown["text"]) == (
        *("2", "configuration"),
        annotated_policy(),
    )
    code, (*changes, sums), _ = place.run("policy", "simulate", path)
    assert (code, sums["cases"], sums["lifted"]) == (0, 3, 3)
    assert sums["reasons"] == {"feed": 3}
    assert {(c["before"], c["after"]) for c in changes} == {("suppressed", "open")}
    _, short, error = place.run("policy", "simulate", path, "--limit", 1)
    assert (len(short), "2 more cases" in error) == (2, True)
    assert place.run("policy", "history")[1] == []

    code, (enacted,), _ = place.run("policy", "apply", path, *ACTOR)

    assert (code, enacted["version"], enacted["cases"], enacted["intake"]["revoked"]) == (
        *(0, "3"),
        *(3, 3),
    )
    _, (entry,), _ = place.run("policy", "history")
    assert (entry["version"], entry["applied_by"], entry["reason"]) == ("3", "Kim", "try")
    case_id = changes[0]["case_id"]
    code, (found,), _ = place.run("policy", "explain", case_id, "--actor", "Robin")
    assert (code, found["state"], found["state_now"], found["action"]) == (
        *(0, "open"),
        *("open", "review"),
    )
    assert {check["name"] for check in found["checks"]} >= {"feed", "band"}
    assert found["last_decision"]["policy_version"] == "3"
    assert "5f0c7d3e" not in json.dumps(found)
    assert "https" not in json.dumps(found)


def test_wrong_policies_are_bad_usage(place: Place) -> None:
    """A hole, the same text again, a version that is taken, no such file, no such case."""
    path = place.policy("3", 10)
    hole = place.folder / "hole.toml"
    hole.write_text(path.read_text().replace("from_bits = 11", "from_bits = 12"))
    assert failed(place.run("policy", "apply", hole, *ACTOR), 2, "no band for 11")
    assert failed(place.run("policy", "simulate", hole), 2, "no band for 11")
    assert failed(place.run("policy", "apply", place.folder / "none", *ACTOR), 2, "cannot read")
    assert place.run("policy", "apply", path, *ACTOR)[0] == 0
    assert failed(place.run("policy", "apply", path, *ACTOR), 2, "in force already")
    assert failed(place.run("policy", "apply", place.policy("3", 11), *ACTOR), 2, "new version")
    assert failed(place.run("policy", "explain", "nonsense"), 1, "no case")


def test_brakes_are_set_listed_and_released(place: Place) -> None:
    """A brake says what it holds; releasing says what comes back."""
    code, (done,), _ = place.run("brakes", "set", "feed", "local", *ACTOR)
    assert (code, done["changed"], done["cases"], done["intake"]["held"]) == (0, 1, 3, 3)
    _, (brake,), _ = place.run("brakes", "list")
    assert (brake["kind"], brake["name"], brake["code"]) == ("feed", "local", "kill_switch")
    code, (done,), _ = place.run("brakes", "release", "feed", "local", *ACTOR)
    assert (code, done["changed"], done["intake"]["suppressed"]) == (0, 1, 3)
    assert place.run("brakes", "list")[1] == []
    assert len(place.run("brakes", "list", "--all")[1]) == 1
    assert failed(place.run("brakes", "set", "feed", "nobody", *ACTOR), 2, "no feed")
    assert failed(place.run("brakes", "set", "signal", "ff", *ACTOR), 2, "no signal")
    assert failed(place.run("brakes", "release", "feed", "local", *ACTOR), 2, "no brake")


def test_the_benign_bank_names_conflicts_and_refused_files(place: Place) -> None:
    """What cannot be hashed is named, the rest goes on; exit code 3."""
    known, broken = place.folder / "known.png", place.folder / "broken.png"
    known.write_bytes(photo(1))
    broken.write_text("no image")

    code, documents, _ = place.run(
        *("bank", "add", "benign", known, broken, "--actor", "Kim", "--label", "logo")
    )

    refused, added, last = documents
    assert code == 3
    assert refused["error"]["code"]
    assert (added["added"], added["cases"], len(added["conflict"]["signals"])) == (True, 3, 1)
    assert last["intake"]["revoked"] == 3
    _, (listed,), _ = place.run("bank", "list")
    assert (listed["label"], listed["added_by"]) == ("logo", "Kim")
    assert not {"rows", "image_sha256"} & listed.keys()
    code, (removed,), _ = place.run("bank", "remove", listed["id"], *ACTOR)
    assert (code, removed["intake"]["suppressed"]) == (0, 3)
    assert failed(place.run("bank", "remove", 7, *ACTOR), 2, "no picture")

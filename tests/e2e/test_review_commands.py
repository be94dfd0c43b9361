"""The commands of reviewers: what they answer, what they refuse, and the words that they use."""

import ast
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from delist.cli import main
from tests.fakes.delisting import World, digest_of, image_near

ROOT = Path(__file__).parents[2]
NEAR = digest_of("near")
URLS = [f"https://copy{number}.example/a.jpg" for number in range(3)]
KEYS = {"id", "state", "deadline", "distance_bits", "variant"}
SAYS = ("--verdict", "ncii", "--reason", "seen")

Run = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Three near-duplicates that wait for a person; every decision is drawn for a second look."""
    with World(tmp_path / "data") as opened:
        opened.offer(NEAR)
        opened.visit_all({url: image_near({NEAR: 25}, name=url) for url in URLS})
        opened.take_in()
        yield opened


@pytest.fixture
def run(world: World, capsys: pytest.CaptureFixture[str]) -> Run:
    policy = world.delist.settings.indexer.data_dir / "policy.toml"
    policy.write_text("[people]\nblind_sample_percent = 100.0\nsecond_person_from_reach = 9\n")
    config = world.write_configuration()
    with config.open("a") as file:
        file.write('[policy]\nfile = "policy.toml"\n[review]\nundo_s = 600\n')

    def command(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        capsys.readouterr()
        code = main(["--config", str(config), *arguments, "--json"])
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return command


def one(ran: tuple[int, list[dict[str, Any]], str]) -> dict[str, Any]:
    code, documents, err = ran
    assert (code, err, len(documents)) == (0, "", 1), err
    return documents[0]


def test_the_list_shows_what_a_reviewer_sorts_by(run: Run) -> None:
    """The keys of old stay; risk, reach, claim, second person and group are new; no address."""
    _, listed, _ = run("cases", "list")
    new = {"risk", "reach", "claimed_by", "needs_second", "group_size", "pending", "disputed"}

    assert len(listed) == 3
    assert all(document.keys() >= KEYS | new for document in listed)
    assert {document["group_size"] for document in listed} == {3}
    assert "://" not in json.dumps(listed)


def test_next_shows_the_case_and_keeps_it(run: Run) -> None:
    """With a token for the decision, the group, and what the policy looked at."""
    shown = one(run("cases", "next", "--actor", "Ann"))

    assert shown.keys() >= KEYS | {"content_token", "risk", "reach", "group", "checks", "image_url"}
    assert shown["claimed_by"] == "Ann"
    assert [member.keys() for member in shown["group"]] == [{"id", "state", "verdict"}] * 2
    assert shown["checks"]
    code, _, err = run("decide", shown["id"], *SAYS, "--actor", "Bob")
    assert (code, err) == (2, "delist: Ann is at work on this case; ask them, or wait\n")
    code, _, err = run("decide", shown["id"], *SAYS, "--actor", "Ann", "--seen", "0" * 16)
    assert code == 2
    assert "changed since it was shown" in err
    token = ("--seen", shown["content_token"])
    assert one(run("decide", shown["id"], *SAYS, "--actor", "Ann", *token))["state"] == "suppressed"


def test_an_empty_queue_is_said_so(run: Run) -> None:
    """Nothing on standard output, a word on the other, exit code 0."""
    for _ in URLS:
        one(run("cases", "next", "--actor", "Ann"))

    assert run("cases", "next", "--actor", "Ann") == (
        0,
        [],
        "delist: nothing in the queue for you\n",
    )


def test_claim_and_release(run: Run) -> None:
    """Both answer with the case; what is somebody else's is refused with exit code 2."""
    case_id = run("cases", "list")[1][0]["id"]
    assert one(run("cases", "claim", case_id, "--actor", "Ann"))["claimed_by"] == "Ann"

    for command in ("claim", "release"):
        assert run("cases", command, case_id, "--actor", "Bob")[0] == 2
    assert one(run("cases", "release", case_id, "--actor", "Ann"))["claimed_by"] == ""
    assert run("cases", "claim", "none", "--actor", "Ann")[0] == 1


def test_one_decision_for_the_group_and_back(run: Run) -> None:
    """Near-duplicates are named with what became of them; undo takes all of it back."""
    case_id = run("cases", "list")[1][0]["id"]
    done = one(run("decide", case_id, *SAYS, "--actor", "Ann", "--group"))

    assert {member["verdict"] for member in done["near_duplicates"]} == {"ncii"}
    assert (len(done["near_duplicates"]), done["left_out"]) == (2, [])
    assert run("cases", "list")[1] == []
    undone = one(run("decide", case_id, "--undo", "--actor", "Ann"))
    assert (undone["verdict"], undone["awaits_person"]) == (None, True)
    assert len(run("cases", "list")[1]) == 3
    assert run("decide", case_id, "--undo", "--actor", "Ann")[0] == 2
    for wrong in (["--undo", "--verdict", "ncii"], [], ["--verdict", "ncii"], ["--reason", "x"]):
        code, _, err = run("decide", case_id, "--actor", "Ann", *wrong)
        assert code == 2
        assert len(err.splitlines()) == 1


def test_a_blind_second_look(run: Run) -> None:
    """It shows nothing that was decided, nor does ``cases show`` then; the rate is reported."""
    for _ in URLS:
        shown = one(run("cases", "next", "--actor", "Ann"))
        one(run("decide", shown["id"], *SAYS, "--actor", "Ann"))
    blind = one(run("cases", "blind", "next", "--actor", "Bob"))
    again = one(run("cases", "show", blind["id"], "--actor", "Bob"))

    hidden = {"verdict", "state", "decisions", "records", "pending", "group", "confirmed", "risk"}
    assert not hidden & (blind.keys() | again.keys())
    assert "Ann" not in json.dumps([blind, again])
    assert "ncii" not in json.dumps([blind, again])
    says = ("--verdict", "not_ncii", "--actor", "Bob", "--reason", "a flag")
    answer = one(run("cases", "blind", "decide", str(blind["blind_review"]), *says))
    assert (answer["agrees"], answer["disputed"]) == (False, True)
    assert [case["id"] for case in run("cases", "list")[1]] == [blind["id"]]
    report = one(run("review", "agreement"))
    assert (report["reviewed"], report["agreed"], report["rate"]) == (1, 0, 0.0)
    assert report["pairs"] == [{"first": "ncii", "second": "not_ncii", "count": 1}]
    assert report["waiting"] == 2
    assert one(run("review", "agreement", "--since", "2030-01-01"))["reviewed"] == 0
    assert run("cases", "blind", "decide", "99", *says)[0] == 1


def test_the_audit_log_is_listed_and_verified(run: Run, world: World) -> None:
    """Who names nobody is the account; an edit ends with exit code 1."""
    case_id = run("cases", "list")[1][0]["id"]
    run("cases", "show", case_id)
    run("cases", "show", case_id, "--actor", "Ann")
    _, entries, _ = run("audit", "list", "--subject", case_id)

    assert [entry["act"] for entry in entries] == ["case.viewed"] * 2
    assert entries[0]["actor"].startswith("account ")
    assert run("audit", "list", "--after", str(entries[0]["sequence"]))[1] == entries[1:]
    assert one(run("audit", "verify")) == {"entries": 2, "verified": True}
    path = world.delist.settings.indexer.data_dir / "delist.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("drop trigger audit_log_no_update")
        connection.execute("update audit_log set actor = 'nobody', detail = '{' where sequence = 2")
        connection.commit()
    code, _, err = run("audit", "verify")
    assert (code, err) == (1, "delist: entry 2 of the audit log was edited\n")
    assert run("audit", "list")[0] == 0


NOT_OUR_WORDS = re.compile(
    r"\b(nud\w*|naked\w*|porn\w*|explicit\w*|obscen\w*|indecen\w*|sexual\w*)"
)

# The name of somebody else's service, and texts that say so themselves.
ALLOWED = re.compile(
    r"Revenge Porn Helpline|nudity is (not what|never a)"
    r"|Whether somebody is naked (decides nothing|is never asked)",
    re.IGNORECASE,
)


def texts_for_people() -> Iterator[tuple[str, str]]:
    """Every text that somebody may be shown: strings of the code, pages, configuration."""
    for path in sorted((ROOT / "delist").rglob("*.py")):
        if "standin" in path.parts:  # the words of somebody else's service
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.name}:{node.lineno}", node.value
    for pattern in ("README.md", "config/**/*.toml", "delist/**/*.html", "delist/**/*.txt"):
        for path in sorted(ROOT.glob(pattern)):
            yield path.name, path.read_text(encoding="utf-8")


def test_no_text_judges_an_image_by_nudity(capsys: pytest.CaptureFixture[str]) -> None:
    """What is asked is whether it is an intimate image without consent: that is what texts say."""
    found = [
        where for where, text in texts_for_people() if NOT_OUR_WORDS.search(ALLOWED.sub("", text))
    ]

    assert found == []
    for command in (["decide"], ["cases", "blind", "decide"]):
        assert main([*command, "--help"]) == 0
        assert "intimate image without consent" in " ".join(capsys.readouterr().out.split())

"""Every command as its user meets it: JSON keys, exit codes, one line for whatever is wrong."""

import io
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import pytest

from delist.cli import main
from delist.ops.pictures import draw_photo, encode
from delist.ops.standin import Fault, FaultKind, StopNciiStandIn
from indexer import Indexer
from indexer.hashing import hash_image
from tests.sites import serve_site

REF = "5f0c7d3e-0000-4000-8000-000000000001"
URL, SECOND, INNOCENT = (f"https://site.example/{name}.png" for name in ("a", "b", "c"))
PAGE = "https://forum.example/page"

CASE_KEYS = {"id", "state", "deadline", "distance_bits", "variant"}
RECORD_KEYS = {
    *("sequence", "id", "action", "state", "case_id", "image_url", "document_id"),
    *("content_sha256", "scope", "reason_code", "basis", "supersedes", "effective_at"),
    *("expires_at", "recheck_at", "commitment", "previous_hash", "hash"),
}
BASIS_KEYS = {"feed", "signal", "distance_bits", "hasher", "variant", "policy_version"}
SYNC_KEYS = {
    *("feed", "pages", "records", "added", "changed", "withdrawn", "quarantined", "unknown"),
    *("active", "cursor"),
}
INTAKE_KEYS = {"matches", "cases", "suppressed", "review", "revoked"}


def photo(seed: int) -> bytes:
    return encode(draw_photo(seed))


def digest(data: bytes) -> str:
    return hash_image(data, max_bytes=10**8, max_pixels=10**8).hashes[0].digest.hex()


@dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> dict[str, Any]:
        (document,) = self.documents
        return document

    def failed(self, code: int, *words: str) -> None:
        """Check that it ended with a code and one clear line that holds some words."""
        lines = self.err.splitlines()
        assert (self.code, len(lines)) == (code, 1), (self.code, self.err)
        assert lines[0].startswith("delist: ")
        assert "Traceback" not in self.err
        assert "internal error" not in self.err
        for word in words:
            assert word in lines[0]


@dataclass
class Place:
    """A directory with a configuration, and commands run in it."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    @property
    def config(self) -> Path:
        return self.folder / "delist.toml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(self, *arguments: object, stdin: bytes = b"", json_lines: bool = True) -> Ran:
        text = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
        self.monkeypatch.setattr("sys.stdin", text)
        self.capsys.readouterr()
        line = ["--config", str(self.config), *map(str, arguments)]
        code = main([*line, "--json"] if json_lines else line)
        captured = self.capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    def child(
        self, *arguments: str | bytes, stdin: bytes = b"", prepare: Callable[[], None] | None = None
    ) -> Ran:
        command: list[str | bytes] = [sys.executable, "-m", "delist", "--config", str(self.config)]
        done = subprocess.run(
            [*command, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
            preexec_fn=prepare,
            env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        )
        return Ran(
            done.returncode,
            done.stdout.decode(),
            done.stderr.decode(),
        )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two signals; three stored images, of which one is suppressed and one waits for review."""
    folder = tmp_path_factory.mktemp("cli") / "place"
    folder.mkdir()
    near, far = digest(photo(1)), digest(photo(2))
    far = f"{int(far, 16) ^ ((1 << 25) - 1):064x}"
    records = [
        {
            "signalType": "ImagePDQ",
            "hashValue": value,
            "hashStatus": "Received",
            "caseNumbers": {REF: "Received"},
            "lastModtimestamp": 1_700_000_000,
        }
        for value in (near, far)
    ]
    (folder / "bank.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    (folder / "delist.toml").write_text(
        'data_dir = "data"\n[feeds.bank]\ntype = "file"\npath = "bank.jsonl"\n'
    )
    with Indexer.open(folder / "delist.toml") as indexer:
        for seed, url in ((1, URL), (2, SECOND), (3, INNOCENT)):
            indexer.index_image(photo(seed), image_url=url, page_urls=[PAGE])
    assert main(["--config", str(folder / "delist.toml"), "feed", "sync", "--json"]) == 0
    return folder


@pytest.fixture
def place(
    prepared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    shutil.copytree(prepared, tmp_path / "place")
    return Place(tmp_path / "place", capsys, monkeypatch)


@pytest.fixture
def bare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Place:
    """No data yet; the configuration is what the test writes."""
    (tmp_path / "delist.toml").write_text('data_dir = "data"\n')
    return Place(tmp_path, capsys, monkeypatch)


def cases(place: Place) -> list[dict[str, Any]]:
    return place.run("cases", "list").documents


# What each command answers


def test_feed_sync_answers_with_its_counts(place: Place) -> None:
    """One line a feed, with the re-scan and the intake that followed."""
    ran = place.run("feed", "sync")

    assert ran.code == 0
    assert ran.err == ""
    assert ran.document.keys() >= SYNC_KEYS
    assert (ran.document["feed"], ran.document["active"]) == ("bank", 2)
    assert ran.document["added"] == 0
    assert ran.document["intake"].keys() >= INTAKE_KEYS


def test_feed_sync_can_leave_scan_and_intake_to_others(place: Place) -> None:
    """--no-scan and --no-intake stop after each step."""
    shutil.rmtree(place.data / "store")
    (place.data / "delist.sqlite3").unlink()
    document = place.run("feed", "sync", "bank", "--full", "--no-scan", "--no-intake").document

    assert document["added"] == 2
    assert not {"scan", "intake"} & document.keys()


def test_feed_status_shows_ages_and_kinds(place: Place) -> None:
    """How far, how old, how many of which kind."""
    document = place.run("feed", "status").document

    assert (document["feed"], document["type"], document["active"]) == ("bank", "file", 2)
    assert document["kinds"] == {"ImagePDQ": 2}
    assert document["cursor"] > 0
    assert 0 <= document["age_s"] < 3600


def test_hash_answers_with_every_digest(place: Place) -> None:
    """Sixteen hashes of an image, with path, type and size; nothing is stored."""
    path = place.folder / "photo.png"
    path.write_bytes(photo(1))
    before = sorted(place.data.rglob("*"))
    document = place.run("hash", path).document

    assert document.keys() == {
        *("path", "sha256", "mime", "width", "height", "quality", "hashes"),
    }
    assert (document["path"], document["mime"]) == (str(path), "image/png")
    assert (document["width"], document["height"]) == (320, 240)
    assert len(document["hashes"]) == 16
    assert document["hashes"][0].keys() == {"hasher", "variant", "digest"}
    assert document["hashes"][0]["digest"] == digest(photo(1))
    assert sorted(place.data.rglob("*")) == before


def test_check_finds_what_matches(place: Place) -> None:
    """Files and digests are looked up; an image that matches nothing has an empty list."""
    for seed in (1, 3):
        (place.folder / f"{seed}.png").write_bytes(photo(seed))
    first, second = place.run("check", place.folder / "1.png", place.folder / "3.png").documents

    assert first.keys() == {"path", "matches"}
    (match,) = first["matches"]
    assert match.keys() == {"feed", "signal", "distance_bits", "hasher", "variant"}
    assert (match["feed"], match["distance_bits"]) == ("bank", 0)
    assert (match["hasher"], match["variant"]) == ("cpp", "upright")
    assert second["matches"] == []
    assert digest(photo(1)) not in json.dumps(first)


def test_check_takes_digests(place: Place) -> None:
    """From a file or standard input; a line that is no digest is refused, the others go on."""
    lines = f"{digest(photo(1)).upper()}\n\nnonsense\n{'0' * 63}\n{digest(photo(3))}\n"
    (place.folder / "digests").write_text(lines)
    for ran in (
        place.run("check", "--digests", place.folder / "digests"),
        place.run("check", "--digests", "-", stdin=lines.encode()),
    ):
        assert ran.code == 3
        assert [sorted(set(document) - {"digest"}) for document in ran.documents] == [
            ["matches"],
            ["error"],
            ["error"],
            ["matches"],
        ]
        assert ran.documents[0]["matches"][0]["distance_bits"] == 0
        assert ran.documents[1]["error"].keys() == {"code", "message"}
        assert ran.documents[3]["matches"] == []


def test_check_on_an_empty_store_finds_nothing(bare: Place) -> None:
    """What is missing is created; no signals, no matches, exit code 0."""
    (bare.folder / "1.png").write_bytes(photo(1))
    ran = bare.run("check", bare.folder / "1.png")

    assert (ran.code, ran.document["matches"]) == (0, [])


def test_cases_are_listed_and_shown(place: Place) -> None:
    """Both cases with what a reviewer sorts by; showing one names every address."""
    listed = cases(place)

    assert [case.keys() >= CASE_KEYS for case in listed] == [True, True]
    assert {case["state"] for case in listed} == {"open", "suppressed"}
    assert {case["distance_bits"] for case in listed} == {0, 25}
    assert "://" not in json.dumps(listed)
    (suppressed,) = (case for case in listed if case["state"] == "suppressed")
    shown = place.run("cases", "show", suppressed["id"]).document
    assert {"coherence", "z", "lattice", "signal_lattice"} <= set(shown["matches"][0]["evidence"])
    assert (shown["image_url"], shown["page_urls"], shown["alias_urls"]) == (URL, [PAGE], [])
    assert len(shown["records"]) == len(shown["decisions"]) == len(shown["matches"]) == 1


def test_decide_puts_a_verdict_into_force(place: Place) -> None:
    """The answer is the case as it stands now; it leaves the list, but not the list of all."""
    case = next(case for case in cases(place) if case["state"] == "open")
    decide = ["--verdict", "ncii", "--actor", "Robin", "--reason", "seen"]
    ran = place.run("decide", case["id"], *decide)

    assert (ran.code, ran.document["state"], ran.document["verdict"]) == (0, "suppressed", "ncii")
    assert case["id"] not in {listed["id"] for listed in cases(place)}
    assert len(place.run("cases", "list", "--all").documents) == 2
    assert place.run("suppressed", SECOND).document["suppressed"] is True


def test_suppressed_answers_for_each_url(place: Place) -> None:
    """From arguments and standard input, in order, with the records in effect."""
    ran = place.run("suppressed", URL.upper().replace("A.PNG", "a.png"), "-", stdin=b"\n")
    assert [answer["suppressed"] for answer in ran.documents] == [True]

    ran = place.run("suppressed", "-", INNOCENT, stdin=f"{URL}\n{SECOND}\n".encode())
    assert ran.code == 0
    assert [answer["url"] for answer in ran.documents] == [URL, SECOND, INNOCENT]
    assert [answer["suppressed"] for answer in ran.documents] == [True, False, False]
    assert all(answer.keys() == {"url", "suppressed", "records"} for answer in ran.documents)
    (record,) = ran.documents[0]["records"]
    assert record.keys() >= RECORD_KEYS - {"commitment", "previous_hash", "hash"}


def test_the_ledger_is_listed_exported_and_verified(place: Place) -> None:
    """Export writes whole records as JSON lines, with or without --json."""
    exported = place.run("suppressions", "export", json_lines=False)
    listed = place.run("suppressions", "list")
    verified = place.run("suppressions", "verify")

    assert exported.document.keys() == RECORD_KEYS
    assert exported.document["basis"].keys() == BASIS_KEYS
    assert exported.document["image_url"] == URL
    assert listed.document == exported.document
    assert verified.document == {"records": 1, "verified": True}
    assert place.run("suppressions", "export", "--after", 1).documents == []
    text = place.run("suppressions", "list", json_lines=False).out
    assert "://" not in text


def test_an_edited_ledger_fails_the_check(place: Place) -> None:
    """Exit code 1 and one line; the path of a person is not needed to see where."""
    with closing(sqlite3.connect(place.data / "delist.sqlite3")) as connection:
        connection.execute("update suppression_records set image_url = 'https://other.example/'")
        connection.commit()

    place.run("suppressions", "verify").failed(1, "record 1 was edited")


@pytest.mark.parametrize("column", ["action", "state", "effective_at"])
def test_a_record_that_cannot_be_read_is_one_line(place: Place, column: str) -> None:
    """What no record says any more stops whoever reads it, with a reason."""
    with closing(sqlite3.connect(place.data / "delist.sqlite3")) as connection:
        connection.execute(f"update suppression_records set {column} = 'x'")  # noqa: S608
        connection.commit()

    for command in (["list"], ["export"], ["verify"]):
        place.run("suppressions", *command).failed(1, "record")
    place.run("suppressed", URL).failed(1, "record")


def test_access_code_and_report(place: Place) -> None:
    """Without the code hosts and counts; with it the addresses; a wrong one is said so."""
    issued = place.run("access-code", REF)
    assert issued.document.keys() == {"case_ref", "code"}
    summary = place.run("report", "survivor", REF)
    full = place.run("report", "survivor", REF, "--access-code", issued.document["code"].lower())
    wrong = place.run("report", "survivor", REF, "--access-code", "0000")

    assert (summary.code, full.code, wrong.code) == (0, 0, 0)
    assert summary.document["access"] == wrong.document["access"] == "summary"
    assert "images" not in summary.document
    assert full.document["access"] == "full"
    assert {image["status"] for image in full.document["images"]} == {"delisted", "under_review"}
    assert "hxxps://site[.]example/a.png" in json.dumps(full.document)
    assert "https://" not in full.out
    assert "not valid" in wrong.err
    assert summary.err == full.err == ""


def test_report_as_a_page(place: Place) -> None:
    """HTML goes to standard output as it is; --json and JSON are the same."""
    page = place.run("report", "survivor", REF, "--format", "html", json_lines=False)
    plain = place.run("report", "survivor", REF, json_lines=False)

    assert page.out.startswith("<!doctype html>")
    assert json.loads(plain.out)["found"] == 2
    place.run("report", "survivor", REF, "--lang", "de").failed(2, "cy, en, es, ur")
    place.run("report", "survivor", REF, "--country", "Wales").failed(2, "--country")


def test_report_in_a_file(place: Place, tmp_path: Path) -> None:
    """``--out`` writes a file that only its owner can read; a language follows its tag."""
    out = tmp_path / "report.html"
    place.run("report", "survivor", REF, "--format", "html", "--lang", "ur-PK", "--out", str(out))

    assert 'lang="ur-PK" dir="rtl"' in out.read_text()
    assert out.stat().st_mode & 0o777 == 0o600
    line = ("report", "survivor", REF, "--format", "html", "--out", str(tmp_path / "no" / "where"))
    place.run(*line).failed(2, "--out")


@pytest.mark.parametrize("kind", ["delta", "full"])
def test_scans_answer_with_counts(place: Place, kind: str) -> None:
    """Signals, images, matches and seconds, then the intake that followed."""
    document = place.run("scan", kind).document

    assert document.keys() >= {"signals", "images", "matches", "seconds", "intake"}


def test_intake_answers_with_counts(place: Place) -> None:
    """Nothing new: all zero."""
    document = place.run("intake").document

    assert document.keys() >= INTAKE_KEYS
    assert {document[key] for key in INTAKE_KEYS} == {0}


def test_crawl_answers_with_counts(place: Place) -> None:
    """Pages, images, refusals by code, matches; then the site's copy is suppressed."""
    with serve_site() as site:
        site.put("/1.png", photo(1))
        site.put("/x.png", b"no picture", Content_Type="image/png")
        page = site.put("/", "<img src=1.png><img src=x.png>")
        ran = place.run("crawl", page, "no-scheme.example", "--allow-private-addresses")
        copy = f"{site.url}/1.png"

    assert ran.code == 3
    assert "no-scheme.example" in ran.err
    document = ran.document
    assert document.keys() >= {"pages", "images", "hashed", "unchanged", "refused", "matches"}
    assert (document["pages"], document["hashed"], document["matches"]) == (1, 1, 1)
    assert document["refused"].get("not_an_image") == 1
    assert place.run("suppressed", copy).document["suppressed"] is True


def test_init_writes_what_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of `init` load, the secrets are private, and nothing is overwritten."""
    folder = tmp_path / "new" / "place"
    assert main(["init", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "config": str(folder / "delist.toml"),
        "data_dir": str(folder / "delist-data"),
    }
    secrets = list((folder / "delist-data" / "secrets").iterdir())
    assert {path.name for path in secrets} == {
        "access-code-key",
        "blind-sample-key",
        "ledger-key",
        "people-key",
        "report-key",
        "signal-key",
    }
    assert {oct(path.stat().st_mode & 0o777) for path in secrets} == {"0o600"}
    monkeypatch.chdir(folder)
    assert main(["cases", "list", "--json"]) == 0
    capsys.readouterr()

    (folder / "delist.toml").write_text("# mine")
    assert main(["init", str(folder)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (folder / "delist.toml").read_text() == "# mine"


@pytest.mark.parametrize("there", ["delist.toml", "policy.toml"])
def test_init_changes_nothing_beside_a_file_that_is_there(
    there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That nothing was changed is true, whichever of the files is there."""
    (tmp_path / there).write_text("# mine")

    assert main(["init", str(tmp_path)]) == 2

    assert "nothing was changed" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_json_may_stand_anywhere(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Before, between and after; after `--` it is an argument like any other."""
    config = ["--config", str(place.config)]
    for line in (
        ["--json", *config, "suppressions", "verify"],
        [*config, "--json", "suppressions", "verify"],
        [*config, "suppressions", "--json", "verify"],
        [*config, "suppressions", "verify", "--json"],
    ):
        assert main(line) == 0
        assert json.loads(capsys.readouterr().out) == {"records": 1, "verified": True}
    assert main([*config, "suppressed", "--", "--json"]) == 3
    assert "--json" in capsys.readouterr().out


def test_the_environment_stands_in_for_options(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DELIST_CONFIG and DELIST_DATA_DIR; the options win over them."""
    monkeypatch.setenv("DELIST_CONFIG", str(place.config))
    assert main(["suppressions", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 1
    monkeypatch.setenv("DELIST_DATA_DIR", str(place.folder / "empty"))
    assert main(["suppressions", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 0
    assert main(["--data-dir", str(place.data), "suppressions", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 1


# What is wrong


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["nonsense"],
        ["decide"],
        ["decide", "abc", "--verdict", "maybe", "--actor", "R", "--reason", "x"],
        ["suppressions", "list", "--after", "-1"],
        ["suppressions", "list", "--after", "x"],
        ["crawl", "https://x.example/", "--depth", "-1"],
        ["crawl", "https://x.example/", "--max-pages", "0"],
        ["crawl"],
        ["check"],
        ["check", "a.png", "--digests", "-"],
        ["check", "a.png", "--tier", "deeper"],
        ["check", "--digests", "missing-file"],
        ["report", "survivor", "x", "--format", "doc"],
        ["report", "survivor", "x", "--lang", "xx"],
        ["feed", "sync", "nobody"],
        ["feed", "sync", "bank", "nobody"],
        ["--config", "missing.toml", "cases", "list"],
    ],
)
def test_bad_usage_is_exit_code_2(place: Place, line: list[str]) -> None:
    """Nothing on standard output, a reason on standard error."""
    ran = place.run(*line)

    assert ran.code == 2
    assert line == [] or ran.out == ""
    assert "Traceback" not in ran.err
    assert "internal error" not in ran.err
    assert line == [] or ran.err


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["cases", "show", "nobody"], 1),
        (["decide", "nobody", "--verdict", "ncii", "--actor", "R", "--reason", "x"], 1),
        (["access-code", "nobody"], 1),
        (["report", "survivor", "nobody"], 1),
        (["decide", "CASE", "--verdict", "ncii", "--actor", " ", "--reason", "x"], 2),
        (["decide", "CASE", "--verdict", "ncii", "--actor", "R", "--reason", ""], 2),
    ],
)
def test_what_is_not_there_is_one_line(place: Place, line: list[str], code: int) -> None:
    """An unknown case or reference fails with one line that says where to look."""
    known = cases(place)[0]["id"]

    place.run(*(known if word == "CASE" else word for word in line)).failed(code)


def test_refused_files_do_not_stop_the_others(place: Place) -> None:
    """Missing, no picture, no file: each with its code; exit code 3; the rest is done."""
    folder = place.folder / "pictures"
    folder.mkdir()
    (folder / "good.png").write_bytes(photo(1))
    (folder / "broken.png").write_bytes(photo(1)[:500])
    (folder / "text.png").write_text("no picture")
    (folder / "empty.png").touch()
    os.mkfifo(folder / "pipe.png")
    names = ["good", "broken", "text", "empty", "pipe", "missing"]
    for command in ("hash", "check"):
        ran = place.run(command, *(folder / f"{name}.png" for name in names))
        answers = {Path(document["path"]).stem: document for document in ran.documents}

        assert (ran.code, ran.err) == (3, "")
        assert "error" not in answers["good"]
        codes = {name: answers[name]["error"]["code"] for name in names[1:]}
        assert codes == {
            "broken": "truncated",
            "text": "not_an_image",
            "empty": "empty",
            "pipe": "unreadable",
            "missing": "unreadable",
        }
        # In a folder they were not named: they are shown, and change no exit code.
        assert place.run(command, folder).code == 0


def test_refused_urls_do_not_stop_the_others(place: Place) -> None:
    """A URL without scheme is refused, the others are answered, exit code 3."""
    ran = place.run("suppressed", "site.example/a.png", URL, "", "http://", "-", stdin=b"x\n")

    assert (ran.code, ran.err) == (3, "")
    assert [document.get("suppressed") for document in ran.documents] == [
        *(None, True, None, None, None),
    ]
    assert ran.documents[0]["error"]["code"] == "invalid_url"


def stopncii(place: Place, base_url: str, **changes: str) -> None:
    (place.folder / "key").write_text("FetchHashes-key")
    (place.folder / "subscription").write_text("subscription-key")
    lines = {
        "base_url": f'"{base_url}"',
        "subscription_key_file": '"subscription"',
        "function_key_files": '{ FetchHashes = "key" }',
        "timeout_s": "1.0",
        **changes,
    }
    text = "".join(f"{name} = {value}\n" for name, value in lines.items())
    place.config.write_text(f'data_dir = "data"\n[feeds.stopncii]\n{text}')


@pytest.fixture
def standin() -> Iterator[StopNciiStandIn]:
    with StopNciiStandIn() as serving:
        yield serving


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subscription_key_file": '"missing"'}, ["subscription_key_file", "missing"]),
        ({"subscription_key_file": '"."'}, ["subscription_key_file"]),
        ({"function_key_files": "{}"}, ["function_key_files.FetchHashes"]),
        ({"function_key_files": '{ FetchHashes = "delist.toml" }'}, ["FetchHashes"]),
        ({"function_key_files": '{ FetchHashes = "subscription" }'}, ["401"]),
    ],
)
def test_wrong_keys_are_one_line(
    bare: Place, standin: StopNciiStandIn, changes: dict[str, str], words: list[str]
) -> None:
    """Missing, a folder, several lines, another key: which file, and exit code 2."""
    stopncii(bare, standin.base_url, **changes)

    ran = bare.run("feed", "sync")

    ran.failed(2, "stopncii", *words)
    assert ran.document["feed"] == "stopncii"
    assert "error" in ran.document
    for key in ("FetchHashes-key", "subscription-key"):
        assert key not in ran.err + ran.out


@pytest.mark.parametrize("kind", [FaultKind.HTML, FaultKind.REDIRECT, FaultKind.BODY])
def test_a_feed_that_is_no_feed_is_one_line(
    bare: Place, standin: StopNciiStandIn, kind: FaultKind
) -> None:
    """A page instead of JSON, a redirect, JSON of another kind: exit code 1."""
    stopncii(bare, standin.base_url)
    standin.faults.add(Fault(kind=kind, text="[1, 2]"))

    bare.run("feed", "sync").failed(1, "stopncii", "FetchHashes")
    assert bare.run("feed", "sync").code == 0


def test_a_wrong_address_is_one_line(bare: Place, standin: StopNciiStandIn) -> None:
    """Another path answers 404: exit code 1, at once."""
    stopncii(bare, standin.base_url.removesuffix("v1") + "v9")

    bare.run("feed", "sync").failed(1, "404")


def test_one_feed_that_fails_does_not_stop_the_others(
    bare: Place, standin: StopNciiStandIn
) -> None:
    """Both feeds answer, one with its error; what the other brought is taken in."""
    stopncii(bare, standin.base_url, subscription_key_file='"missing"')
    with bare.config.open("a") as file:
        file.write('[feeds.bank]\ntype = "file"\npath = "bank"\n')
    (bare.folder / "bank").write_text(f"{digest(photo(1))}\n")

    ran = bare.run("feed", "sync")

    ran.failed(2, "subscription_key_file")
    assert [document["feed"] for document in ran.documents] == ["stopncii", "bank"]
    assert ran.documents[1]["added"] == 1


def test_no_feed_is_a_configuration_error(bare: Place) -> None:
    """Syncing nothing is a mistake, and the message says how to mend it."""
    bare.run("feed", "sync").failed(2, "[feeds.NAME]")


@pytest.mark.parametrize(
    "text",
    [
        "= nonsense",
        "colour = 1",
        "[matching]\nthreshold_bits = 32",
        '[hashing]\ntier = "deeper"',
        "[jobs]\nfeed_sync_s = 0",
        '[policy]\nfile = "missing.toml"',
        '[feeds.x]\ntype = "ftp"',
        '[feeds.stopncii]\nbase_url = "http://stopncii.example"',
        'data_dir = "delist.toml/x"',
        'data_dir = "delist.toml"',
        'data_dir = "/proc/delist-data"',
    ],
)
def test_a_corrupt_configuration_is_one_line(bare: Place, text: str) -> None:
    """Every command that needs it fails with exit code 2, or 1 where a directory cannot be had."""
    if not text.startswith("data_dir"):
        text = f'data_dir = "data"\n{text}'
    bare.config.write_text(text)
    code = 1 if text.startswith('data_dir = "delist.toml') or "/proc" in text else 2

    bare.run("intake").failed(code)


def test_a_store_of_another_version_is_one_line(place: Place) -> None:
    """LMDB or SQLite, nothing is touched, exit code 1."""
    with closing(sqlite3.connect(place.data / "delist.sqlite3")) as connection:
        connection.execute("update alembic_version set version_num = '0999'")
        connection.commit()
    place.run("cases", "list").failed(1, "newer version", "0999")

    environment = lmdb.open(str(place.data / "store"), max_dbs=32)
    meta = environment.open_db(b"meta")
    with environment.begin(db=meta, write=True) as txn:
        txn.put(b"schema", b"99")
    environment.close()
    place.run("check", "--digests", "-").failed(1, "another version", "99")


@pytest.mark.parametrize("name", ["delist.sqlite3", "store/data.mdb", "secrets/signal-key"])
def test_a_damaged_file_is_one_line(place: Place, name: str) -> None:
    """A store or secret that is no such thing any more: exit code 1, not overwritten."""
    (place.data / name).write_bytes(b"nonsense" * 1000)
    for extra in place.data.glob("delist.sqlite3-*"):
        extra.unlink()

    place.run("intake").failed(1)
    assert (place.data / name).read_bytes() == b"nonsense" * 1000


def test_a_store_that_is_full_is_one_line(place: Place) -> None:
    """The largest size of the store is reached: exit code 1, and nothing of the write was kept."""
    with place.config.open("a") as file:
        file.write("[store]\nmap_size_bytes = 1048576\n")
    shutil.rmtree(place.data / "store")
    many = (f"{int.from_bytes(os.urandom(32)):064x}" for _ in range(6_000))
    (place.folder / "bank.jsonl").write_text("".join(f"{value}\n" for value in many))

    place.run("feed", "sync").failed(1, "map_size_bytes")


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_disk_that_is_full_is_one_line(place: Place) -> None:
    """Whichever store cannot grow says so; afterwards, with room, the command is done."""
    many = "".join(f"{int.from_bytes(os.urandom(32)):064x}\n" for _ in range(5_000))
    (place.folder / "bank.jsonl").write_text(many)

    place.child("feed", "sync", prepare=_small_files).failed(1, "the store")
    assert place.run("feed", "sync").code == 0
    assert place.run("suppressions", "verify").code == 0


# The process itself


def test_a_closed_pipe_is_no_traceback(place: Place) -> None:
    """`delist … | head -1` ends quietly."""
    command = f"{sys.executable} -m delist --config {place.config} --json"
    done = subprocess.run(
        ["bash", "-c", f"yes {URL} | head -20000 | {command} suppressed - | head -1"],  # noqa: S607
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert json.loads(done.stdout)["suppressed"] is True
    assert done.stderr == b""


def test_text_that_is_no_utf8_does_not_stop_the_others(place: Place) -> None:
    """File names, arguments and lines of input may hold any byte; each has its answer."""
    folder = os.fsencode(place.folder)
    for name in (b"\xff.png", b"good.png"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(photo(1))
    names = [folder + b"/\xff.png", folder + b"/good.png"]

    odd_url, lines = b"http://x.example/\xff", b"\xff\n" + URL.encode()
    forms: list[list[str]] = [[], ["--json"]]
    for options in forms:
        ran = place.child("hash" if options else "check", *names, *options)
        assert (ran.code, ran.err) == (0, "")
        assert "good.png" in ran.out
        ran = place.child("suppressed", odd_url, "-", *options, stdin=lines)
        assert (ran.code, ran.err) == (3, "")
        assert len(ran.out.splitlines()) == 3
    assert [document.get("suppressed") for document in ran.documents] == [False, None, True]
    odd = "\udcff"
    for line in (["access-code"], ["report", "survivor"], ["cases", "show"]):
        place.run(*line, odd).failed(1)
    place.run("decide", "x", "--verdict", "ncii", "--actor", "\udcff", "--reason", "x").failed(2)
    ran = place.child("check", "--digests", "-", stdin=b"\xff\n" + digest(photo(1)).encode())
    assert ran.code == 3
    assert len(ran.out.splitlines()) == 2


def test_progress_is_for_terminals(place: Place) -> None:
    """In a pipe there is neither bar nor control character."""
    ran = place.child("scan", "full")

    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out


def test_public_reports(place: Place, tmp_path: Path) -> None:
    """Figures in three forms; exports say where the next one goes on, and wait for the delay."""
    document = place.run("report", "transparency", "--since", "2026-01-01").document
    assert document["rounded_down_to"] == 10
    out = tmp_path / "public"
    place.run("report", "transparency", "--out", str(out), json_lines=False)
    assert {path.name for path in out.iterdir()} == {
        f"transparency.{kind}" for kind in ("html", "csv", "json")
    }
    page = place.run("report", "transparency", "--format", "html", json_lines=False)
    assert page.out.startswith("<!doctype html>")
    for kind, told in (("dsa", "statements"), ("lumen", "notices")):
        path = tmp_path / f"{kind}.jsonl"
        made = place.run("report", kind, "--after", "0", "--out", str(path)).document
        assert (made[told], made["last_sequence"]) == (0, 0)  # too new to be told of
        assert path.read_text() == ""
    place.run("report", "transparency", "--since", "May").failed(2, "--since")
    place.run("report", "dsa", "--out", str(tmp_path / "no" / "where")).failed(2, "--out")

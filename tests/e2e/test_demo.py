"""The demo as a visitor runs it: outcome of every step, what is left, what is not."""

import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from delist.cli import main
from delist.ops.demo import STEPS
from delist.ops.demo.album import COPIES, EDITS, PHOTOS, Album, make_album
from delist.ops.demo.stage import Step

WITHDRAWN = 5
TIMEOUT_S = 120
BLOCK_BYTES = 64


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "delist", *words]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )


@dataclass(frozen=True, kw_only=True)
class Shown:
    folder: Path
    ended: subprocess.CompletedProcess[str]

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.ended.stdout)
        return document

    def counts(self, name: str) -> dict[str, Any]:
        [step] = [step for step in self.document["steps"] if step["name"] == name]
        counts: dict[str, Any] = step["counts"]
        return counts

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("demo") / "kept"
    return Shown(folder=folder, ended=run("demo", "--json", "--keep", str(folder)))


@pytest.fixture(scope="module")
def album() -> Album:
    return make_album()


def test_all_steps_pass(shown: Shown) -> None:
    """Every step ran in order and found nothing wrong; standard output is one document."""
    assert shown.ended.returncode == 0, shown.ended.stdout + shown.ended.stderr
    document = shown.document
    assert document["passed"] is True
    assert [step["name"] for step in document["steps"]] == [name for name, _, _ in STEPS]
    assert [step["problems"] for step in document["steps"]] == [[]] * len(STEPS)
    assert document["directory"] == str(shown.folder)
    assert sum(step["seconds"] for step in document["steps"]) <= document["seconds"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scene", {"photos": PHOTOS, "pages": 11, "copies": COPIES + 3, "odd_records": 31}),
        ("feed_sync", {"throttled": 1, "pages": 4}),
        ("crawl", {"pages": 11, "images": PHOTOS, "hashed": PHOTOS, "refused": 0, "review": 1}),
        ("suppressed", {"suppressed": COPIES, "missing": 0, "wrong": 0}),
        ("decision", {"open": 1, "suppressed": COPIES + 1, "missing": 0, "wrong": 0}),
        ("new_signal", {"added": 1, "matches": 2, "site_requests": 0, "suppressed": COPIES + 3}),
        ("withdrawal", {"lifted": WITHDRAWN, "suppressed": COPIES + 3 - WITHDRAWN, "wrong": 0}),
        ("survivor", {"found": 8, "delisted": 8, "addresses": 8, "addresses_without_code": 0}),
        ("feedback", {"words": {"PendingReview": COPIES + 2, "Blocked": 1}}),
        ("ledger", {"revoke": WITHDRAWN, "in_effect": COPIES + 3 - WITHDRAWN}),
    ],
)
def test_counts_of_a_step(shown: Shown, name: str, expected: dict[str, Any]) -> None:
    """Each step did as much as the planted pictures and records ask for."""
    assert expected.items() <= shown.counts(name).items()


def test_every_edit_is_planted_for_both_paths(album: Album) -> None:
    """Each kind of copy stands on the site twice: for a *cpp* and for a *web* hash."""
    for edit in EDITS:
        originals = [p.original for p in album.pictures if p.edit == edit and p.role == "copy"]
        assert {album.hashers[n].value for n in originals if n is not None} == {"cpp", "web"}


def here(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run a command in this process, which is quicker; returns code, output and errors."""
    capsys.readouterr()
    code = main(words)
    return code, *capsys.readouterr()


def test_what_is_kept_can_be_used(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    """The report and the export are there, and the commands named at the end work."""
    config = ("--config", str(shown.folder / "delist.toml"), "--json")
    records = (shown.folder / "suppressions.jsonl").read_text().splitlines()
    assert len(records) == shown.counts("ledger")["records"]
    assert "hxxp://127[.]0[.]0[.]1" in (shown.folder / "report.html").read_text()

    urls = (shown.folder / "images.txt").read_text().split()
    _, said, _ = here(capsys, *config, "suppressed", *urls)
    answers = [json.loads(line) for line in said.splitlines()]

    suppressed = shown.counts("ledger")["in_effect"]
    assert sum(answer["suppressed"] for answer in answers) == suppressed
    assert here(capsys, *config, "suppressions", "verify")[0] == 0


def test_no_log_names_a_digest_or_an_image(shown: Shown, album: Album) -> None:
    """Neither the demo's output nor the commands' logs hold a digest or an image's address."""
    logs = shown.ended.stderr + (shown.folder / "commands.log").read_text()

    assert not [digest for digest in album.digests if digest in logs.lower()]
    assert not [picture.path for picture in album.pictures if picture.path in logs]
    assert not [digest for digest in album.digests if digest in shown.ended.stdout.lower()]
    assert "/photos/" not in shown.ended.stdout


def blocks_of(data: bytes) -> set[bytes]:
    """Cut data into blocks; what is kept of it, if it is twice as long, holds one of them."""
    blocks = (data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES))
    return {block for block in blocks if len(block) == BLOCK_BYTES and len(set(block)) > 8}


def test_no_pixel_is_kept(shown: Shown, album: Album) -> None:
    """No part of any image, as it was served or decoded, stands in any file that is left."""
    blocks: set[bytes] = set()
    for picture in album.pictures:
        with Image.open(io.BytesIO(picture.data)) as image:
            decoded = image.convert("RGB")
        gray = decoded.convert("L")
        for data in (picture.data, decoded.tobytes(), gray.tobytes()):
            blocks |= blocks_of(data)
    files = shown.files()
    assert len(files) > 10

    for path, held in files.items():
        parts = (held[at : at + BLOCK_BYTES] for at in range(len(held)))
        assert blocks.isdisjoint(parts), path.name


def test_secrets_are_for_their_owner_alone(shown: Shown) -> None:
    """Nobody else can look into the folder or read the keys."""
    assert stat.S_IMODE(shown.folder.stat().st_mode) == 0o700
    for path in (shown.folder / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_is_not_empty_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says why, the exit code is that of bad usage, and nothing is written."""
    (tmp_path / "mine.txt").write_text("mine")

    assert here(capsys, "demo", "--keep", str(tmp_path)) == (
        2, "", f"delist: --keep: {tmp_path} is not empty; name a new or an empty directory\n",
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be a directory is refused in one line too."""
    path = tmp_path / "file"
    path.touch()

    code, _, errors = here(capsys, "demo", "--keep", str(path))

    assert code == 2
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "during"), [(signal.SIGINT, "$ delist crawl"), (signal.SIGTERM, "$ delist")]
)
def test_an_interrupted_demo_leaves_nothing(
    tmp_path: Path, number: signal.Signals, during: str
) -> None:
    """After a signal, early or late, no child runs on, and the temporary folder is gone."""
    with subprocess.Popen(
        command("demo"),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        while during not in (line := demo.stdout.readline()):
            assert line, "the demo ended before the signal"
        time.sleep(1)
        demo.send_signal(number)
        _, log = demo.communicate(timeout=TIMEOUT_S)

    assert demo.returncode not in {0, 2}
    assert "Traceback" not in log
    assert list(tmp_path.iterdir()) == []
    assert not [words for words in running() if str(tmp_path) in words]


def running() -> list[str]:
    """Return the command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_an_outcome_that_differs_is_a_problem() -> None:
    """A count that is not what it should be is named; one that is, is not."""
    step = Step(name="crawl", counts={"images": 60, "refused": 1})

    step.expect_counts(images=60, refused=0)

    assert step.problems == ["refused should be 0, and is 1"]

"""Nothing more is known than needed: no digest, address or case number in a log, no pixel on disk.

Everything is run once, errors included: sync, crawl, decisions, reports, the service. What
standard error and the logs hold is then searched for everything that is secret, in every form
that a log may show it in, and the data directory for every piece of every picture.
"""

import base64
import io
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from delist.build import Delist
from delist.cli import main
from delist.logs import configure_logs
from delist.model import Verdict
from delist.ops.pictures import draw_photo, encode
from delist.ops.standin import Fault, FaultKind, StopNciiStandIn, answer_with
from delist.review import Ruling
from delist.settings import load_settings
from indexer.errors import IndexerError
from indexer.hashing import hash_image
from tests.fakes.archives import archive_of, packed
from tests.fakes.videos import VIDEO_KIND, md5_of, video_bytes
from tests.sites import Site, serve_site

CASES = ["5f0c7d3e-1111-4000-8000-000000000001", "77aa7d3e-2222-4000-8000-000000000002"]
FORMS = ["JPEG", "PNG", "GIF", "WEBP"]


@dataclass
class Secrets:
    """What must not be seen, by what it is."""

    words: dict[str, set[str]] = field(default_factory=dict)
    pictures: list[bytes] = field(default_factory=list)

    def add(self, what: str, *words: str) -> None:
        self.words.setdefault(what, set()).update(words)

    def add_digest(self, digest: bytes) -> None:
        forms = [digest.hex(), digest.hex().upper(), base64.b64encode(digest).decode()]
        # The halves too, and the bytes as a repr would show them.
        half = len(digest)
        self.add("digest", *forms, digest.hex()[:half], digest.hex()[half:], repr(digest)[2:-1])

    def add_url(self, url: str) -> None:
        path = url.partition("://")[2].partition("/")[2]
        self.add("address", url, quote(url, safe=""), *([path] if path else []))

    def seen_in(self, text: str) -> list[str]:
        return [what for what, words in self.words.items() for word in words if word in text]


@dataclass
class Scene:
    """A site, a feed, a configuration, and what of them is secret."""

    folder: Path
    site: Site
    standin: StopNciiStandIn
    secrets: Secrets
    page: str
    log: str = ""
    answers: str = ""

    @property
    def config(self) -> Path:
        return self.folder / "delist.toml"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "delist", "--config", str(self.config), *arguments]

    def run(self, *arguments: str, stdin: str = "", code: int = 0) -> list[dict[str, Any]]:
        """Run a command in this process, which is quicker."""
        out, err = io.StringIO(), io.StringIO()
        before = sys.stdin
        sys.stdin = io.StringIO(stdin)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                left = main(["--config", str(self.config), *arguments, "--json"])
        finally:
            sys.stdin = before
        return self._heard(left, out.getvalue(), err.getvalue(), code)

    def run_child(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Run a command in a process of its own; its children write to its standard error."""
        done = subprocess.run(
            self.command(*arguments, "--json"),
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        return self._heard(done.returncode, done.stdout, done.stderr, code)

    def _heard(self, left: int, out: str, err: str, code: int) -> list[dict[str, Any]]:
        self.log += err
        self.answers += out
        assert left == code, err
        return [json.loads(line) for line in out.splitlines()]


def prepare(folder: Path, site: Site, standin: StopNciiStandIn) -> Scene:
    """Show copies of four pictures on a site, of which three are in the feed."""
    secrets = Secrets()
    secrets.add("case", *CASES)
    secrets.add("key", "FetchHashes-key", "SubmitFeedback-key", "subscription-key")
    tags = []
    for number, form in enumerate(FORMS):
        image = draw_photo(100 + number)
        data = encode(image, form)
        hashed = hash_image(data, max_bytes=10**8, max_pixels=10**8)
        for entry in hashed.hashes:
            secrets.add_digest(entry.digest)
        secrets.add("content hash", hashed.sha256.hex())
        secrets.pictures += [data, np.asarray(image).tobytes()]
        # Found by its page, by a redirect-like second name, and inline.
        url = site.put(f"/secret-picture-{number}.{form.lower()}", data)
        secrets.add_url(url)
        tags.append(f"<img src='{url}'>")
        if number == 0:
            inline = base64.b64encode(data).decode()
            tags.append(f"<img src='data:image/jpeg;base64,{inline}'>")
            secrets.pictures.append(inline.encode())
        if number < len(FORMS) - 1:
            put_record(standin, hashed.hashes[0].digest, CASES[number % 2])
    for number in range(2):
        video = video_bytes(f"private {number}")
        secrets.add_digest(bytes.fromhex(md5_of(video)))
        secrets.add("content hash", sha256(video).hexdigest())
        secrets.pictures.append(video)
        url = site.put(f"/secret-video-{number}.mp4", video)
        secrets.add_url(url)
        tags.append(f"<video src='{url}'></video>")
        if number == 0:
            put_record(standin, bytes.fromhex(md5_of(video)), CASES[0], kind=VIDEO_KIND)
    cut = site.put("/secret-video-cut.mp4", video_bytes("private 2"), Content_Encoding="gzip")
    tags.append(f"<video src='{cut}'></video>")
    broken = site.put("/secret-broken.jpg", secrets.pictures[0][:900])
    missing = f"{site.url}/secret-missing.jpg"
    page = site.put("/secret-page.html", f"{''.join(tags)}<img src={broken}><img src={missing}>")
    for url in (broken, missing, cut, page):
        secrets.add_url(url)
    for name in ("FetchHashes", "SubmitFeedback"):
        (folder / name).write_text(f"{name}-key")
    (folder / "subscription").write_text("subscription-key")
    (folder / "delist.toml").write_text(
        f"""
data_dir = "data"
[jobs]
feed_sync_s = 1
stop_s = 2
[feeds.stopncii]
base_url = "{standin.base_url}"
subscription_key_file = "subscription"
function_key_files = {{ FetchHashes = "FetchHashes", SubmitFeedback = "SubmitFeedback" }}
timeout_s = 2
"""
    )
    return Scene(folder, site, standin, secrets, page)


def put_record(
    standin: StopNciiStandIn,
    digest: bytes,
    case: str,
    word: str = "Received",
    *,
    kind: str = "ImagePDQ",
) -> None:
    standin.put(
        {
            "lastModtimestamp": int(time.time()),
            "signalType": kind,
            "hashValue": digest.hex(),
            "hashStatus": word,
            "caseNumbers": {case: word},
            "CSPFeedbacks": [],
        }
    )


def play(scene: Scene) -> None:
    """Do everything that an operator does, and everything that goes wrong."""
    run, faults = scene.run, scene.standin.faults
    faults.add(answer_with(503), Fault(kind=FaultKind.CUT_JSON))
    scene.run_child("feed", "sync")
    scene.run_child("crawl", scene.page, "--allow-private-addresses")
    archive = scene.folder / "archive.warc.gz"
    urls = [url for url in scene.secrets.words["address"] if "://" in url and "%" not in url]
    archive.write_bytes(packed(archive_of(sorted(urls))))
    elsewhere = str(scene.folder / "refused")
    run("ingest", str(archive), "--processes", "1", "--rejects", elsewhere)
    archive.unlink()
    run("export", "matches", "--to", str(scene.folder / "exported"))
    run("feed", "status")
    cases = run("cases", "list")
    assert len(cases) >= 4
    run("cases", "show", cases[0]["id"])
    (of_file,) = [case for case in cases if case["variant"] == "file"]
    run("cases", "show", of_file["id"])
    for case, verdict in zip(cases, ("ncii", "not_ncii", "unsure"), strict=False):
        run("decide", case["id"], "--verdict", verdict, "--actor", "Robin", "--reason", "seen")
    faults.add(Fault(kind=FaultKind.HTML))
    run("feed", "sync", code=1)
    faults.add(Fault(kind=FaultKind.BODY, text=json.dumps({"hashRecords": CASES})))
    run("feed", "sync", code=1)
    run("feed", "sync", "--full")
    urls = "\n".join(url for url in scene.secrets.words["address"] if "://" in url)
    run("suppressed", "-", stdin=urls)
    digests = [word for word in scene.secrets.words["digest"] if len(word) == 64]
    md5s = [md5_of(video_bytes(f"private {number}")) for number in range(2)]
    run("check", "--digests", "-", stdin="\n".join([*digests, *md5s]))
    run("check", "--digests", "-", stdin=md5s[0][:-1] + "z", code=3)
    code = run("access-code", CASES[0])[0]["code"]
    scene.secrets.add("access code", code, code.replace("-", ""))
    run("report", "survivor", CASES[0], "--access-code", code)
    run("report", "survivor", CASES[0], "--access-code", "0" * 20)
    run("report", "survivor", CASES[1])
    run("suppressions", "export")
    run("suppressions", "verify")
    run("scan", "full")
    run("doctor")


def serve(scene: Scene) -> None:
    """Let the service work beside a feed that fails, answers and hangs."""
    faults = scene.standin.faults
    faults.add(Fault(kind=FaultKind.HTML), answer_with(429), Fault(kind=FaultKind.DROP))
    with subprocess.Popen(scene.command("run"), stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            scene.log += line
            if '"feed.synced"' in line:
                break
        faults.add(Fault(kind=FaultKind.STALL))
        child.send_signal(signal.SIGTERM)
        scene.log += child.stderr.read()
        assert child.wait(20) == 0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("privacy")
    with serve_site() as site, StopNciiStandIn(token_life_s=60) as standin:
        prepared = prepare(folder, site, standin)
        play(prepared)
        serve(prepared)
        yield prepared


def test_the_scene_has_what_it_hides(scene: Scene) -> None:
    """The search finds what it looks for where that may stand: in the answers asked for."""
    assert set(scene.secrets.seen_in(scene.answers)) >= {"address", "case", "digest", "access code"}
    assert '"feed.failed"' in scene.log
    assert "delist: " in scene.log


def test_no_log_holds_a_secret(scene: Scene) -> None:
    """No digest, address, case number, key, content hash or access code on standard error."""
    assert scene.secrets.seen_in(scene.log) == []


def test_no_log_file_is_written(scene: Scene) -> None:
    """What the data directory holds are stores, locks and secrets, and nothing else."""
    data = scene.folder / "data"
    files = [path.relative_to(data) for path in data.rglob("*") if path.is_file()]
    names = {path.name for path in files if path.parts[:2] != ("ledger", "tile")}

    assert names <= {
        *(
            "data.mdb",
            "lock.mdb",
            "signal-key",
            "access-code-key",
            "run.lock",
            "images.lock",
            "blind-sample-key",
            "people-key",
            "report-key",
            "ledger-key",
            "checkpoint",
            ".lock",
        ),
        *("suppressions.snapshot", "suppressions.lock", "news"),
        *("delist.sqlite3", "delist.sqlite3-wal", "delist.sqlite3-shm", "delist.migration.lock"),
    }


def test_no_pixel_is_on_disk(scene: Scene) -> None:
    """No piece of 24 bytes of any picture, encoded or decoded, in any file."""
    held = b"".join(path.read_bytes() for path in scene.folder.rglob("*") if path.is_file())

    for picture in scene.secrets.pictures:
        steps = range(64, len(picture) - 24, max(24, len(picture) // 200))
        pieces = {picture[at : at + 24] for at in steps}
        telling = [piece for piece in pieces if len(set(piece)) > 8]
        assert telling
        assert not any(piece in held for piece in telling)


def test_case_numbers_of_others_are_in_no_sql(scene: Scene) -> None:
    """The case store knows signals by keyed hashes only: no digest and no case reference."""
    held = b"".join(path.read_bytes() for path in (scene.folder / "data").glob("delist.sqlite3*"))

    for what in ("digest", "case", "access code", "key"):
        for word in scene.secrets.words[what]:
            assert word.encode() not in held, what


def test_files_are_private(scene: Scene) -> None:
    """Only the owner enters the data directory; stores and secrets have mode 0600."""
    data = scene.folder / "data"
    for folder in (data, data / "store", data / "secrets"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in data.rglob("*"):
        published = path.relative_to(data).parts[0] == "ledger"  # commitments, for everybody
        if path.is_file() and not path.name.endswith(".lock") and not published:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
            assert path.stat().st_uid == os.getuid()


def test_messages_of_libraries_are_never_shown(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    """With every logger at DEBUG, still nothing: of libraries only name, level and error type."""
    configure_logs(logging.DEBUG)
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    noisy = ["sqlalchemy.engine", "sqlalchemy.pool", "httpx2", "httpcore2", "alembic", "PIL"]
    levels = {name: logging.getLogger(name).level for name in noisy}
    for name in noisy:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        with Delist(load_settings(scene.config)) as delist:
            scene.standin.faults.add(Fault(kind=FaultKind.HTML))
            list(delist.sync_feeds(full=True))
            list(delist.sync_feeds(full=True))
            delist.scan_full()
            delist.take_in()
            for case in delist.cases(awaiting_person=False):
                ruling = Ruling(verdict=Verdict.NCII, actor="Robin", reason=scene.page)
                delist.decide(case.id, ruling)
            delist.send_feedback()
            delist.survivor_report(CASES[0])
            with pytest.raises(IndexerError):
                delist.indexer.index_image(b"", image_url=scene.page)
            logging.getLogger("some.library").error("fetching %s", scene.page)
    finally:
        root.setLevel(before)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    said = "".join(capfd.readouterr())

    assert '"library.message"' in said
    assert scene.secrets.seen_in(said) == []

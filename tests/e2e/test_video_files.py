"""A video from a report to the result page and back, by the MD5 of its file alone."""

import io
import json
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from delist.cli import main
from delist.ops.standin import StopNciiStandIn
from tests.fakes.videos import VIDEO_KIND, md5_of, video_bytes
from tests.sites import Site, serve_site

CASE = "5f0c7d3e-1111-4000-8000-000000000001"
VIDEO, LATE, OTHER = (video_bytes(name) for name in ("reported", "reported later", "other"))


@dataclass
class Scene:
    """A site, a feed, and commands on one data directory."""

    folder: Path
    site: Site
    standin: StopNciiStandIn
    now: int

    def run(self, *arguments: object, stdin: str = "", code: int = 0) -> list[dict[str, Any]]:
        out, err = io.StringIO(), io.StringIO()
        before, sys.stdin = sys.stdin, io.StringIO(stdin)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                config = str(self.folder / "delist.toml")
                left = main(["--config", config, *map(str, arguments), "--json"])
        finally:
            sys.stdin = before
        assert left == code, err.getvalue()
        return [json.loads(line) for line in out.getvalue().splitlines()]

    def report(self, data: bytes, word: str = "Received") -> None:
        """Let a survivor report a video, or take the report back."""
        self.now += 1
        self.standin.put(
            {
                "lastModtimestamp": self.now,
                "signalType": VIDEO_KIND,
                "hashValue": md5_of(data),
                "hashStatus": word,
                "caseNumbers": {CASE: word},
                "CSPFeedbacks": [],
            }
        )
        self.run("feed", "sync")

    def suppressed(self, *urls: str) -> list[bool]:
        answers = self.run("suppressed", "-", stdin="\n".join(urls))
        return [answer["suppressed"] for answer in answers]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with serve_site() as site, StopNciiStandIn() as standin:
        for name in ("FetchHashes", "SubmitFeedback"):
            (tmp_path / name).write_text(standin.function_keys[name])
        (tmp_path / "subscription").write_text(standin.subscription_key)
        (tmp_path / "delist.toml").write_text(
            f"""
data_dir = "data"
[feeds.stopncii]
base_url = "{standin.base_url}"
subscription_key_file = "subscription"
function_key_files = {{ FetchHashes = "FetchHashes", SubmitFeedback = "SubmitFeedback" }}
"""
        )
        yield Scene(tmp_path, site, standin, int(time.time()))


def test_a_reported_video_leaves_the_results_and_comes_back(scene: Scene) -> None:
    """Visited, decided, reported on, told to the feed; found later too; lifted when withdrawn."""
    video, late, other = (
        scene.site.put(f"/{name}.mp4", data, Content_Type="video/mp4")
        for name, data in (("a", VIDEO), ("b", LATE), ("c", OTHER))
    )
    tags = "".join(f"<video src={url}></video>" for url in (video, late, other))
    page = scene.site.put("/page", tags)
    scene.report(VIDEO)
    (crawled,) = scene.run("crawl", page, "--allow-private-addresses")
    assert (crawled["videos"], crawled["matches"]) == (3, 1)
    assert crawled["intake"]["suppressed"] == 1
    assert scene.suppressed(video, late, other) == [True, False, False]

    (case,) = scene.run("cases", "list")
    assert (case["distance_bits"], case["hasher"], case["variant"]) == (0, "md5", "file")
    (file,) = scene.run("cases", "show", case["id"])
    assert (file["image_url"], file["page_urls"]) == (video, [page])
    (record,) = file["records"]
    assert (record["image_url"], record["state"]) == (video, "provisional")
    assert (record["basis"]["hasher"], record["basis"]["variant"]) == ("md5", "file")

    scene.run("decide", case["id"], "--verdict=ncii", "--actor=Robin", "--reason=seen")
    scene.run("feed", "feedback")
    told = [(item["hashValue"], item["feedbackValue"]) for item in scene.standin.feedback]
    assert told[-1] == (md5_of(VIDEO), "Blocked")

    scene.report(LATE)
    assert scene.suppressed(video, late, other) == [True, True, False]
    code = scene.run("access-code", CASE)[0]["code"]
    (survivor,) = scene.run("report", "survivor", CASE, "--access-code", code)
    assert (survivor["hashes"], survivor["found"], survivor["delisted"]) == (2, 2, 2)
    assert "a[.]mp4" not in json.dumps(survivor)
    assert any("a.mp4" in url for image in survivor["images"] for url in image["image_urls"])

    scene.report(VIDEO, "Withdrawn")
    assert scene.suppressed(video, late, other) == [False, True, False]
    assert scene.run("suppressions", "verify")


def test_hash_and_check_take_video_files(scene: Scene) -> None:
    """The MD5 beside the hashes of frames; a file larger than any image is digested whole."""
    config = scene.folder / "delist.toml"
    config.write_text(config.read_text() + "[hashing]\nmax_bytes = 15000\n")
    large, small = scene.folder / "large.mp4", scene.folder / "small.mp4"
    large.write_bytes(VIDEO)
    small.write_bytes(OTHER[:9000])
    scene.report(VIDEO)
    first, second = scene.run("hash", large, small)

    assert first["hashes"] == [{"hasher": "md5", "variant": "file", "digest": md5_of(VIDEO)}]
    assert (first["mime"], first["incomplete"]) == ("video/mp4", "too_many_bytes")
    assert second["hashes"][0]["digest"] == md5_of(OTHER[:9000])
    first, second = scene.run("check", large, small)
    (match,) = first["matches"]
    assert (match["feed"], match["distance_bits"]) == ("stopncii", 0)
    assert (match["hasher"], match["variant"]) == ("md5", "file")
    assert second["matches"] == []


def test_check_takes_md5s_among_digests(scene: Scene) -> None:
    """32 hex digits are an MD5, 64 a PDQ digest; what is neither is refused, the rest goes on."""
    scene.report(VIDEO)
    lines = [md5_of(VIDEO).upper(), "0" * 64, "zz" * 16, md5_of(OTHER), md5_of(VIDEO)[:31]]
    found = scene.run("check", "--digests", "-", stdin="\n".join(lines), code=3)

    assert [len(document.get("matches", "x" * 9)) for document in found] == [1, 0, 9, 0, 9]
    assert found[0]["matches"][0]["variant"] == "file"
    assert found[2]["error"]["code"] == found[4]["error"]["code"] == "invalid_digest"


def test_status_counts_videos_as_matched(scene: Scene) -> None:
    """What is matched is active, whatever its kind."""
    scene.report(VIDEO)
    (status,) = scene.run("feed", "status")

    assert (status["active"], status["kinds"]) == (1, {VIDEO_KIND: 1})

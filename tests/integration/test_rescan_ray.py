"""Re-scans of files on a Ray cluster of several nodes, one of which is killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from delist.errors import UsageError
from delist.rescan.on_ray import RayEngine
from indexer.model import ImageVisit
from tests.fakes.delisting import World, digest_of, image_near
from tests.fakes.exports import HereEngine, write_tables

SIGNALS = [digest_of(number) for number in range(4)]
URLS = [f"https://site.example/{number}.png" for number in range(48)]
FILES = 12


def test_killed_node_and_other_version(tmp_path: Path) -> None:
    """A node that dies and one of another version cost no file: the matches are those found here.

    What the other version refused is counted, and done elsewhere.
    """
    world = World(tmp_path / "data")
    visits = [
        ImageVisit(image_url=url, hashed=image_near({SIGNALS[n % 4]: n % 40}, name=n))
        for n, url in enumerate(URLS)
    ]
    world.delist.indexer.record_visits(visits)
    world.offer(*SIGNALS)
    tables = write_tables(world.delist.indexer.store, URLS, tmp_path / "tables", files=FILES)
    old = tmp_path / "old" / "delist-0.0.1.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: delist\nVersion: 0.0.1\n")

    ran = subprocess.run(
        [sys.executable, "-m", "tests.fakes.ray_nodes",
         tmp_path / "data", tmp_path / "tables", old.parent],
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr[-2000:]
    report = json.loads(ran.stdout.splitlines()[-1])
    assert report["killed_at"] == [FILES // 3]
    assert (report["done"], report["images"], report["refused"]) == (FILES, len(URLS), {})
    assert report["workers_refused"].keys() == {"worker_version"}
    assert report["workers"]["kept"] + report["workers"]["killed"] == FILES
    assert report["workers"]["old"] == 0
    assert report["complete"]
    again = world.delist.file_rescans.run(tables, HereEngine())
    assert (again.matches, again.matching) == (report["matches"], report["matching"])
    assert (report["logged"], again.logged) == (report["matches"], 0)
    assert world.delist.scan_full().matches == 0  # the store's own finds nothing new or other
    world.delist.close()


def test_cluster_that_is_open_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a cluster without tokens, nor one that would be sent the key in the clear."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(UsageError, match="tokens"):
        RayEngine(address="127.0.0.1:6379", workers=1)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with pytest.raises(UsageError, match="in the clear"):
        RayEngine(address="10.0.0.1:6379", workers=1)
    assert not os.environ.get("RAY_ADDRESS")

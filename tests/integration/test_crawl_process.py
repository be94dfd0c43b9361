"""The child process: killed, interrupted, left alone, misconfigured."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import pytest

from crawler import runner
from crawler.errors import CrawlFailedError
from crawler.runner import run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from crawler.worker import GRACE_S
from indexer import Indexer
from tests.fakes.crawls import crawl_pids
from tests.integration.test_crawl_hostile import slow_drip
from tests.sites import Site, draw_image, hostile, serve_site

SOAK = bool(os.environ.get("DELIST_SOAK"))
IMAGES = 60


def put_images(site: Site) -> tuple[str, list[str]]:
    urls = [site.put(f"/{n}.jpg", draw_image(n)) for n in range(IMAGES)]
    return site.put("/", "".join(f"<img src={url}>" for url in urls)), urls


def finding_packages() -> dict[str, str]:
    """Let a child find our packages, and what any child of the tests is told."""
    packages = str(Path(runner.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([packages, os.environ["PYTHONPATH"]])}


def contents(data_dir: Path, urls: list[str]) -> list[tuple[bytes, tuple[int, ...]] | None]:
    with Indexer.open(data_dir=data_dir) as indexer:
        records = [indexer.find_image(url) for url in urls]
    return [record and (record.sha256, record.rows) for record in records]


class Killer:
    """Kills the child when its site was asked for some images."""

    def __init__(self, site: Site, after: int) -> None:
        self._site, self._after = site, after
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.children: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)

    def _run(self) -> None:
        for _ in range(6000):
            if len(self._site.requests) >= self._after:
                self.children = crawl_pids()
                for pid in self.children:
                    os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.005)


@pytest.mark.parametrize("after", [2, 20, 45] if SOAK else [20])
def test_a_killed_crawl_is_run_again_to_the_same_records(tmp_path: Path, after: int) -> None:
    """Killed at any point: a clear error, no half record, and the next crawl completes the rest."""
    with serve_site() as site:
        page, urls = put_images(site)
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        with Killer(site, after), pytest.raises(CrawlFailedError, match="killed by signal 9"):
            run_crawl(job, data_dir=tmp_path / "killed")
        again = run_crawl(job, data_dir=tmp_path / "killed")
        run_crawl(job, data_dir=tmp_path / "whole")

    assert again.hashed + again.unchanged == IMAGES
    killed, whole = contents(tmp_path / "killed", urls), contents(tmp_path / "whole", urls)
    assert [entry and entry[0] for entry in killed] == [entry and entry[0] for entry in whole]
    assert None not in killed


def test_a_crawl_that_was_told_to_stop_does_not_look_done(tmp_path: Path) -> None:
    """SIGTERM to the child ends it gracefully, and the parent learns that it is not whole."""

    def terminate(_progress: dict[str, Any]) -> None:
        for pid in crawl_pids():
            os.kill(pid, signal.SIGTERM)

    with hostile(slow_drip) as server:
        job = CrawlJob(urls=(server,), allow_private_addresses=True)
        settings = CrawlSettings(timeout_s=3)
        with pytest.raises(CrawlFailedError):
            run_crawl(job, data_dir=tmp_path, crawl_settings=settings, on_progress=terminate)


def test_a_crawl_stopped_while_it_starts_ends_at_once(tmp_path: Path) -> None:
    """An end of input before the first request neither waits for the grace nor looks done."""
    with serve_site() as site:
        page, _ = put_images(site)
        order = {
            "job": asdict(CrawlJob(urls=(page,), allow_private_addresses=True)),
            "settings": asdict(CrawlSettings()),
            "config": None,
            "data_dir": str(tmp_path),
        }
        started_at = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", "crawler.worker"],
            input=json.dumps(order) + "\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=finding_packages(),
        )

    assert time.monotonic() - started_at < GRACE_S
    assert ended.returncode == 1
    assert "stopped before it was done" in ended.stdout.splitlines()[-1]
    assert "result" not in ended.stdout


def test_an_interrupted_parent_stops_its_child(tmp_path: Path) -> None:
    """An exception in the parent ends the child before it is passed on."""

    def interrupt(_progress: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with hostile(slow_drip) as server:
        job = CrawlJob(urls=(server,), allow_private_addresses=True)
        with pytest.raises(KeyboardInterrupt):
            run_crawl(job, data_dir=tmp_path, on_progress=interrupt)

    assert crawl_pids() == []


def test_a_child_whose_parent_dies_stops(tmp_path: Path) -> None:
    """Killing the parent ends the child; nobody has to look for it."""
    with hostile(slow_drip) as server:
        code = (
            "import sys, pathlib; from crawler.runner import run_crawl;"
            "from crawler.settings import CrawlJob;"
            "run_crawl(CrawlJob(urls=(sys.argv[1],), allow_private_addresses=True),"
            "data_dir=pathlib.Path(sys.argv[2]), on_progress=lambda p: print(1, flush=True))"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", code, server, str(tmp_path)],
            stdout=subprocess.PIPE,
            env=finding_packages(),
        )
        assert parent.stdout is not None
        parent.stdout.readline()
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.kill()
        parent.wait()
        parent.stdout.close()
        deadline = time.monotonic() + 60
        while any(is_running(int(pid)) for pid in children) and time.monotonic() < deadline:
            time.sleep(0.1)

    assert children
    assert not any(is_running(int(pid)) for pid in children)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_wrong_configuration_is_one_clear_line(tmp_path: Path) -> None:
    """What is wrong with the configuration comes back as the error, before any request."""
    config = tmp_path / "delist.toml"
    config.write_text("[store]\nmap_size = 1\n")
    with serve_site() as site:
        job = CrawlJob(urls=(site.url,), allow_private_addresses=True)
        with pytest.raises(CrawlFailedError, match=r"store\.map_size: unknown key"):
            run_crawl(job, config=config)

        assert site.requests == []


def test_a_full_store_ends_the_crawl_with_its_error(tmp_path: Path) -> None:
    """When nothing can be stored any more, the crawl fails instead of looking done."""
    config = tmp_path / "delist.toml"
    config.write_text("[store]\nmap_size_bytes = 1048576\n")
    with serve_site() as site:
        for n in range(1500):
            site.put(f"/{n}.jpg", draw_image(n, size=(32, 32)))
        page = site.put("/", "".join(f"<img src=/{n}.jpg>" for n in range(1500)))
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        with pytest.raises(CrawlFailedError) as failed:
            run_crawl(job, config=config, data_dir=tmp_path / "data")

    assert "\n" not in str(failed.value)
    assert "127.0.0.1" not in str(failed.value)


def test_urls_do_not_stand_in_the_argument_list(tmp_path: Path) -> None:
    """Other users of the machine cannot read what is crawled."""
    seen: list[bytes] = []

    def look(_progress: dict[str, Any]) -> None:
        seen.extend(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in crawl_pids())

    with serve_site() as site:
        page = site.put("/secret", "x")
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        run_crawl(job, data_dir=tmp_path, crawl_settings=CrawlSettings(), on_progress=look)

    assert seen
    assert not any(b"secret" in line for line in seen)

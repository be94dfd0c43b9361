"""The scene of a soak: one installation with its real processes, a site and a feed that change.

Whatever the driver keeps is bounded, and so is what is held: the same addresses show other
pictures, each new signal drives an old one out, and half of the pictures are reported, by turns.
What grows then is what is kept of the past (ledger, audit log, tombstones), or a leak.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

from delist.build import Delist
from delist.ops.standin import StopNciiStandIn
from delist.ops.standin.odd import make_case, make_digest
from delist.tokens import TokenScope
from indexer.hashing import hash_bytes
from indexer.settings import HashingSettings
from tests.sites import draw_image, serve_site

GALLERIES, IMAGES_EACH = 40, 10
PICTURES = 500
SIGNALS = 25_000
"""Enough for an index that all processes map (``indexer.view.PUBLISH_FROM``)."""
REPORTED = PICTURES // 2
"""Pictures that the feed names at any time. As many cases are open after an hour as after a few
minutes: else what a list of cases takes would grow all the time."""

ENDPOINTS = ("FetchHashes", "SubmitFeedback", "SubmitHashes")
CONSUMER = "soak"
_CONFIGURATION = """\
data_dir = "data"
[feeds.stopncii]
base_url = "{base_url}"
subscription_key_file = "keys/subscription"
function_key_files = {{ {keys} }}
[jobs]
feed_sync_s = 10
full_scan_s = 300
[store]
purge_after_s = 600
[metrics]
port = {metrics_port}
[web]
requests_per_s = 1000
checks_per_day = 1000000000
[sinks.files]
type = "files"
folder = "sink"
"""
_STOP_S = 20.0
_FIRST_SYNC_S = 120.0
_DAY_S = 24 * 3600


class Stage:
    """Folder, site, feed and processes. Use it as a context manager."""

    def __init__(self, folder: Path, *, metrics_port: int, seed: int) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.pictures = [draw_image(seed * PICTURES + number) for number in range(PICTURES)]
        self.digests = [_digest_of(picture) for picture in self.pictures]
        self.signals: deque[dict[str, Any]] = deque()
        self.reported: deque[dict[str, Any]] = deque()
        self._idle: deque[str] = deque()
        self.token = ""
        self.url = ""
        self.followed = 0
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self._metrics_port = metrics_port
        self._stack = ExitStack()
        self.processes: dict[str, subprocess.Popen[str]] = {}

    @property
    def config(self) -> Path:
        return self.folder / "delist.toml"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.site = stack.enter_context(serve_site())
            self._draw_site()
            turns = self.dice.sample(self.digests, PICTURES)
            self._idle.extend(turns[REPORTED:])
            # Older than the overlap of two syncs, which would read them again and again.
            self.reported.extend(self._record(one, age_s=_DAY_S) for one in turns[:REPORTED])
            for _ in range(SIGNALS - REPORTED):
                self.signals.append(self._record(make_digest(self.dice), age_s=_DAY_S))
            self.feed = StopNciiStandIn(
                [*self.reported, *self.signals],
                subscription_key=token_hex(16),
                function_keys={name: token_hex(16) for name in ENDPOINTS},
            )
            stack.enter_context(self.feed)
            self._configure()
            stack.callback(self.stop)
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _draw_site(self) -> None:
        links = "".join(f'<a href="/gallery/{n}">{n}</a> ' for n in range(GALLERIES))
        self.site.put("/", f"<title>Galleries</title>{links}")
        for gallery in range(GALLERIES):
            shown = "".join(f'<img src="/{gallery}/{n}.jpg">' for n in range(IMAGES_EACH))
            self.site.put(f"/gallery/{gallery}", f"<title>Gallery {gallery}</title>{shown}")
            for number in range(IMAGES_EACH):
                self.show(gallery, number, gallery * IMAGES_EACH + number)

    def show(self, gallery: int, number: int, picture: int) -> None:
        """Have an address show one of the pictures."""
        data = self.pictures[picture]
        tag = f'"{sha256(data).hexdigest()[:16]}"'
        self.site.put(f"/{gallery}/{number}.jpg", data, Content_Type="image/jpeg", ETag=tag)

    def change_site(self, share: float) -> None:
        """Have a share of all addresses show another picture."""
        for _ in range(round(share * GALLERIES * IMAGES_EACH)):
            self.show(
                self.dice.randrange(GALLERIES),
                self.dice.randrange(IMAGES_EACH),
                self.dice.randrange(PICTURES),
            )
        self.site.requests.clear()

    def change_feed(self, random_ones: int) -> None:
        """Report a picture and some hashes that nothing matches; withdraw as many, the oldest."""
        gone = self.reported.popleft()
        self._withdraw(gone)
        self._report(self.reported, self._idle.popleft())
        self._idle.append(gone["hashValue"])
        for _ in range(random_ones):
            self._withdraw(self.signals.popleft())
            self._report(self.signals, make_digest(self.dice))
        self.feed.requests.clear()
        self.feed.feedback.clear()

    def _report(self, held: deque[dict[str, Any]], digest: str) -> None:
        held.append(self._record(digest))
        self.feed.put(held[-1])

    def _withdraw(self, record: dict[str, Any]) -> None:
        ended = dict.fromkeys(record["caseNumbers"], "Withdrawn")
        changes = {"lastModtimestamp": int(time.time()), "hashStatus": "Withdrawn"}
        self.feed.put({**record, **changes, "caseNumbers": ended})

    def _record(self, digest: str, *, age_s: int = 0) -> dict[str, Any]:
        return {
            "lastModtimestamp": int(time.time()) - age_s,
            "signalType": "ImagePDQ",
            "hashValue": digest,
            "hashStatus": "Received",
            "caseNumbers": {make_case(self.dice): "Received"},
            "CSPFeedbacks": [],
            "hashRegions": ["UK"],
        }

    def _configure(self) -> None:
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        held = {"subscription": self.feed.subscription_key, **self.feed.function_keys}
        for name, key in held.items():
            (keys / name).write_text(key, encoding="ascii")
        files = ", ".join(f'{name} = "keys/{name}"' for name in ENDPOINTS)
        text = _CONFIGURATION.format(
            base_url=self.feed.base_url, keys=files, metrics_port=self._metrics_port
        )
        self.config.write_text(text, encoding="utf-8")
        with Delist.open(self.config) as delist:
            delist.create()
            scopes = frozenset(TokenScope) - {TokenScope.METRICS}
            self.token = delist.tokens.add(CONSUMER, scopes, actor="soak")[1]
            delist.sinks.followers.add(CONSUMER, actor="soak")

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Start one of our commands; its log goes to a file of its name."""
        command = [sys.executable, "-m", "delist", "--config", str(self.config), "--json"]
        with (self.folder / f"{name}.log").open("a", encoding="utf-8") as log:
            running = subprocess.Popen(
                [*command, *arguments],
                stdout=subprocess.PIPE if name == "serve" else subprocess.DEVNULL,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.processes[name] = running
        return running

    def _start(self) -> None:
        self.start("run", "run")
        # Workers that are asked before there is an index make one of their own, and what they
        # took for it would hide for hours what they grow by.
        end_s = time.monotonic() + _FIRST_SYNC_S
        while not any((self.data_dir / "index").glob("signals-*")):
            if time.monotonic() > end_s:
                raise TimeoutError("the first sync has not ended")
            time.sleep(0.2)
        serving = self.start("serve", "serve", "--port", "0", "--workers", "2")
        assert serving.stdout is not None
        self.url = str(json.loads(serving.stdout.readline())["url"])

    def crawl(self) -> subprocess.Popen[str]:
        """Start a crawl of the whole site."""
        address = f"{self.site.url}/"
        return self.start("crawl", "crawl", address, "--allow-private-addresses")

    def stop(self) -> dict[str, int]:
        """Ask all processes to end; returns their exit codes. Whoever does not is killed."""
        for running in self.processes.values():
            with suppress(ProcessLookupError):
                running.terminate()
        for running in self.processes.values():
            _wait(running)
        return {name: running.returncode for name, running in self.processes.items()}


def end(running: "subprocess.Popen[str]") -> None:
    """Ask a process to end; if it does not, it is killed."""
    with suppress(ProcessLookupError):
        running.terminate()
    _wait(running)


def _wait(running: "subprocess.Popen[str]") -> None:
    try:
        running.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        kill(running)


def kill(running: "subprocess.Popen[str]") -> None:
    """End a process of ours and all that it started, without asking."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def _digest_of(picture: bytes) -> str:
    return hash_bytes(picture, HashingSettings()).hashes[0].digest.hex()

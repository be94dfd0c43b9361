"""The world outside: a site, feeds that misbehave, a receiver that loses answers.

It lives in the process that is never killed. Both runs of a script meet the same one, at the same
addresses, so that even the keys of addresses are the same.
"""

import json
import random
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from standardwebhooks import Webhook

from delist.ops.standin import Faults, StopNciiStandIn, odd_records
from delist.ops.standin.state import FeedState
from tests.contract.sinks.webhook import SECRETS
from tests.sites import Answer, Site, serve_site
from tests.soak.script import BANK, CROWD, EXCHANGE, LIVE, Report, Round

PAGE_SIZE, CROWD_PAGE_SIZE = 5, 1000
_ROUND_S, _FEEDBACK_S = 1_000, 900
_ENDPOINTS = ("FetchHashes", "SubmitFeedback", "SubmitHashes")


class Receiver:
    """Takes webhooks whose signature holds; says so late or not at all, now and then.

    Attributes:
        arrived: records in the order in which they came, repeated ones too.
    """

    def __init__(self) -> None:
        self.arrived: list[dict[str, Any]] = []
        self._chance: random.Random | None = None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.take(dict(self.headers), body)
                if not status:  # it was taken, and nobody hears of it
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that was killed

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/delist"
        self._lock = threading.Lock()

    def begin(self, chance: random.Random | None) -> None:
        """Forget everything; fail at moments that are drawn, or never."""
        self.arrived.clear()
        self._chance = chance

    def calm(self) -> None:
        """Fail no more."""
        self._chance = None

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Take one request; returns the status, 0 for no answer."""
        # Raises where the signature does not hold: the connection ends, and nothing was taken.
        document = Webhook(SECRETS[0]).verify(body, {k.lower(): v for k, v in headers.items()})
        with self._lock:
            drawn = 1.0 if self._chance is None else self._chance.random()
            if drawn < 0.05:
                return 503
            self.arrived += document["data"]["records"]
            return 0 if drawn < 0.15 else 204

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Outside:
    """Everything outside. Use it as a context manager; ``begin`` starts a run anew."""

    def __init__(self) -> None:
        self._epoch = int(time.time()) - 100_000
        self._round = 0
        self._stack = ExitStack()
        self._lines: set[str] = set()
        self._folder = Path()

    def __enter__(self) -> Self:
        self.site: Site = self._stack.enter_context(serve_site())
        self.receiver = self._stack.enter_context(Receiver())
        self.exchange = self._stack.enter_context(StopNciiStandIn(now=self._feedback_time))
        self.crowd = self._stack.enter_context(StopNciiStandIn(now=self._feedback_time))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, folder: Path, *, chance: random.Random | None) -> None:
        """Forget everything, and configure an installation in a folder.

        Args:
            chance: what faults are drawn from; None for a world that works.
        """
        self._folder, self._round, self._lines = folder, 0, set()
        self.site.pages.clear()
        self.receiver.begin(chance)
        for standin, cap in ((self.exchange, PAGE_SIZE), (self.crowd, CROWD_PAGE_SIZE)):
            standin.state = FeedState(now=self._feedback_time, page_size_cap=cap)
            seed = 0 if chance is None else chance.getrandbits(32)
            rate = 0.0 if chance is None else 0.1
            # A word that is refused waits for half a minute: only reading the feed fails here.
            standin.faults = Faults(rate=rate, seed=seed, endpoints={"FetchHashes"})
        for record in odd_records(seed=7):
            if "lastModtimestamp" in record:
                record["lastModtimestamp"] = self._epoch
            self.exchange.put(record)
        self._configure(folder)

    def calm(self) -> None:
        """Fail no more."""
        self.receiver.calm()
        for standin in (self.exchange, self.crowd):
            standin.faults = Faults()

    def apply(self, part: Round) -> None:
        """Change what a round changes."""
        self._round += 1
        for show in part.shows:
            self.site.put(
                show.path, show.body, Content_Type="image/jpeg", ETag=f'"{crc32(show.body)}"'
            )
            if show.via:
                target = f"{self.site.url}{show.path}"
                self.site.pages[show.via] = Answer(status=302, headers={"Location": target})
            self.site.put(show.page, f'<html><img src="{show.via or show.path}"></html>')
        for at, report in enumerate(part.reports):
            self._put(report, at)
        for digest in part.crowd:
            self.crowd.put(self._record(digest, LIVE, "case-of-the-crowd", 0))

    def urls(self, paths: list[str]) -> list[str]:
        return [f"{self.site.url}{path}" for path in paths]

    def words(self) -> dict[str, list[str]]:
        """What the feed was told of each digest, without repetitions."""
        found: dict[str, list[str]] = defaultdict(list)
        for item in self.exchange.feedback:
            told = found[item["hashValue"]]
            if told[-1:] != [item["feedbackValue"]]:
                told.append(item["feedbackValue"])
        return dict(found)

    def _feedback_time(self) -> int:
        """Stand still within a round: how often a word is repeated must not show."""
        return self._epoch + self._round * _ROUND_S + _FEEDBACK_S

    def _put(self, report: Report, at: int) -> None:
        if report.feed == BANK:
            change = self._lines.add if report.status == LIVE else self._lines.discard
            change(report.digest.hex())
            self._write_bank()
            return
        record = self._record(report.digest, report.status, report.case_ref, at)
        self.exchange.put(record)

    def _record(self, digest: bytes, status: str, case_ref: str, at: int) -> dict[str, Any]:
        return {
            "lastModtimestamp": self._epoch + self._round * _ROUND_S + at,
            "signalType": "ImagePDQ",
            "hashValue": digest.hex(),
            "hashStatus": status,
            "caseNumbers": {case_ref: status},
            "CSPFeedbacks": [],
        }

    def _write_bank(self) -> None:
        """Put a new file in the place of the old one: nobody meets half of it."""
        new = self._folder / "bank.new"
        # A list of nothing holds a comment.
        new.write_text("".join(f"{line}\n" for line in ["# a bank", *sorted(self._lines)]))
        new.replace(self._folder / "bank.jsonl")

    def _configure(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hook-secret").write_text(f"{SECRETS[0]}\n")
        (folder / "backups").mkdir(exist_ok=True)
        (folder / "backup-key").write_text(f"{'5a' * 32}\n")
        (folder / "subscription").write_text("subscription-key")
        for name in _ENDPOINTS:
            (folder / name).write_text(f"{name}-key")
        # What we have told the feed ourselves is nobody else's word.
        (folder / "policy.toml").write_text('version = "soak"\n[support]\nour_names = ["Delist"]\n')
        self._write_bank()
        files = ", ".join(f'{name} = "{name}"' for name in _ENDPOINTS)
        feeds = "".join(
            f"""
[feeds.{name}]
type = "stopncii"
base_url = {json.dumps(standin.base_url)}
subscription_key_file = "subscription"
function_key_files = {{ {files} }}
page_size = {size}
timeout_s = 10
"""
            for name, standin, size in (
                (EXCHANGE, self.exchange, PAGE_SIZE),
                (CROWD, self.crowd, CROWD_PAGE_SIZE),
            )
        )
        (folder / "delist.toml").write_text(
            f"""
data_dir = "data"
{feeds}
[feeds.{BANK}]
type = "file"
path = "bank.jsonl"

[jobs]
feed_sync_s = 1
stop_s = 5

[store]
map_size_bytes = {256 << 20}
purge_after_s = 60

[policy]
file = "policy.toml"

[backup]
folder = "backups"
key_file = "backup-key"

[sinks.archive]
type = "files"
folder = "archive"
max_bytes = 4096

[sinks.hook]
type = "webhook"
url = {json.dumps(self.receiver.url)}
secret_file = "hook-secret"
timeout_s = 10
"""
        )

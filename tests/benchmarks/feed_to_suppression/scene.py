"""A large store, a feed beside it, and `delist run` as a process of its own."""

import json
import random
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

from delist.build import Delist, FailedSync
from delist.ops.standin import StopNciiStandIn
from delist.ops.standin.odd import make_case, make_digest
from delist.running.jobs import Outcome
from delist.running.work import FULL_SCAN, Work
from delist.store import jobs
from delist.store.jobs import JobState
from indexer.model import DIGEST_BITS, DIGEST_BYTES, DIGESTS_PER_ROW
from tests.benchmarks.feed_to_suppression.filling import Say, fill

ENDPOINTS = ("FetchHashes", "SubmitFeedback")
_APART_S = 600
_NEAREST_BITS, _FARTHEST_BITS = 0, 20
"""The band in which the built-in policy suppresses on its own."""
_CONFIGURATION = """\
data_dir = "data"
[feeds.stopncii]
base_url = "{base_url}"
subscription_key_file = "keys/subscription"
function_key_files = {{ {keys} }}
[jobs]
feed_sync_s = {sync_s}
[scan]
index_bytes = {index_bytes}
"""


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the log of `delist run`."""

    at: float
    name: str
    fields: dict[str, Any]


class Scene:
    """One folder, filled once and used again by later runs."""

    def __init__(self, folder: Path, *, signals: int, say: Say) -> None:
        """Serve a feed of so many signals; nothing is stored yet."""
        self.folder = folder
        self._say = say
        dice = random.Random(signals)
        self.feed = StopNciiStandIn(
            # Minutes apart, or each sync would read them all again (``overlap_s``).
            [_record(dice, make_digest(dice), age_s=(n + 1) * _APART_S) for n in range(signals)],
            subscription_key=token_hex(16),
            function_keys={name: token_hex(16) for name in ENDPOINTS},
        )
        self._dice = random.Random()

    @property
    def config(self) -> Path:
        return self.folder / "delist.toml"

    def configure(self, *, sync_s: int, index_bytes: int) -> None:
        """Write configuration and keys."""
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = {"subscription": self.feed.subscription_key, **self.feed.function_keys}
        for name, key in held.items():
            (keys / name).write_text(key, encoding="ascii")
        files = ", ".join(f'{name} = "keys/{name}"' for name in ENDPOINTS)
        text = _CONFIGURATION.format(
            base_url=self.feed.base_url, keys=files, sync_s=sync_s, index_bytes=index_bytes
        )
        self.config.write_text(text, encoding="utf-8")

    def prepare(self, images: int) -> dict[str, float]:
        """Sync the feed into an empty store, then fill it; says how long each took."""
        took: dict[str, float] = {}
        with Delist.open(self.config) as delist:
            delist.create()
            store = delist.indexer.store
            with store.read() as txn:
                held = store.images.count(txn)
            if held:
                self._say(f"{held:,} images are there")
                return took
            started = time.monotonic()
            for outcome in delist.sync_feeds():
                if isinstance(outcome, FailedSync):
                    raise outcome.error
            delist.scan_delta()
            took["first_sync_s"] = round(time.monotonic() - started, 1)
            fill(store, images, self._say)
            took["fill_s"] = round(time.monotonic() - started - took["first_sync_s"], 1)
        return took

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "delist", "--config", str(self.config), "--json", *arguments]

    def full_scan(self) -> dict[str, Any]:
        """Compare everything with everything, so that `delist run` has not to at its start."""
        done = subprocess.run(
            self.command("jobs", "run", FULL_SCAN), stdout=subprocess.PIPE, check=True, text=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def put_off_full_scan(self) -> None:
        """Have `delist run` believe that it was done just now: the first start begins with one."""
        with Delist.open(self.config) as delist, delist.database.write() as connection:
            now = delist.clock()
            done = JobState(
                id=FULL_SCAN,
                started_at=now,
                ended_at=now,
                done_at=now,
                outcome=Outcome.DONE.value,
                basis=Work(delist).jobs()[FULL_SCAN].basis(),
            )
            jobs.note(connection, done)

    def publish(self, digest: bytes) -> float:
        """Have the feed name an image from now on; returns when."""
        self.feed.put(_record(self._dice, digest.hex()))
        return time.time()

    def choose(self, delist: Delist) -> tuple[str, bytes]:
        """Choose a stored image; returns its URL, and a digest within the policy's near band."""
        store = delist.indexer.store
        with store.read() as txn:
            column = store.images.column
            number = self._dice.randrange(column.chunk_count(txn))
            chunk = column.chunk(txn, number)
            place = self._dice.randrange(column.rows_per_chunk)
            record = store.images.find(txn, chunk.owners[place].tobytes())
            assert record is not None
            held = chunk.digests[place][self._dice.randrange(DIGESTS_PER_ROW)].tobytes()
        bits = self._dice.sample(
            range(DIGEST_BITS), self._dice.randint(_NEAREST_BITS, _FARTHEST_BITS)
        )
        mask = sum(1 << bit for bit in bits)
        return record.image_url, (int.from_bytes(held) ^ mask).to_bytes(DIGEST_BYTES)


class Running:
    """`delist run`, whose log is read. Use it as a context manager."""

    def __init__(self, scene: Scene, name: str) -> None:
        self._path = scene.folder / f"run-{name}.log"
        self._command = scene.command("run")

    def __enter__(self) -> Self:
        with self._path.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=log, text=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.wait()

    def events(self) -> list[Event]:
        """Read what it has logged by now."""
        found = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                fields = json.loads(line)
                at = datetime.fromisoformat(fields.pop("timestamp")).timestamp()
                found.append(Event(at, fields.pop("event"), fields))
        return found

    def wait_for(self, name: str, *, timeout_s: float) -> None:
        """Wait until something has been logged.

        Raises:
            TimeoutError: it was not.
        """
        end = time.monotonic() + timeout_s
        while not any(event.name == name for event in self.events()):
            if time.monotonic() > end or self.process.poll() is not None:
                raise TimeoutError(f"delist run said no {name}")
            time.sleep(0.2)


def _record(dice: random.Random, digest: str, *, age_s: int = 0) -> dict[str, Any]:
    return {
        "lastModtimestamp": int(time.time()) - age_s,
        "signalType": "ImagePDQ",
        "hashValue": digest,
        "hashStatus": "Received",
        "caseNumbers": {make_case(dice): "Received"},
        "CSPFeedbacks": [],
        "hashRegions": ["UK"],
    }

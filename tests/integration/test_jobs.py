"""`delist run` as a process of its own, beside a feed that changes, hangs and fails."""

import itertools
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from delist.cli import main
from delist.ops.standin import Fault, FaultKind, StopNciiStandIn, answer_with
from delist.serving import SuppressionFilter
from indexer import Indexer
from indexer.model import ImageVisit
from tests.fakes.delisting import digest_of, image_near
from tests.fakes.postgres import PostgresServer

NEAR, OTHER, LOCAL = digest_of("near"), digest_of("other"), digest_of("local")
URL, SECOND, THIRD = (f"https://site.example/{name}.jpg" for name in "abc")
INTERVAL_S = 1
WITHIN_S = 30
"""Far more than is needed, for machines that are busy with other tests."""


def wait_until(true: Callable[[], bool], what: str = "") -> float:
    """Wait for something to become true; returns after how many seconds it was."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < WITHIN_S, what
        time.sleep(0.02)
    return time.monotonic() - started


@dataclass
class Running:
    """One `delist run`."""

    process: subprocess.Popen[bytes]
    log: Path

    def events(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def said(self, event: str) -> bool:
        return any(entry["event"] == event for entry in self.events())

    def wait_for(self, event: str) -> None:
        wait_until(lambda: self.said(event), f"{event} in {self.log.read_text()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to end, with exit code 0; returns how long it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(WITHIN_S) == 0, self.log.read_text()
        return time.monotonic() - started


@dataclass
class Deployment:
    """A configuration beside a stand-in, with three stored images."""

    folder: Path
    standin: StopNciiStandIn
    tick: Callable[[], int]
    started: int = 0

    def put(self, digest: bytes, status: str = "Received") -> None:
        record = {
            "lastModtimestamp": self.tick(),
            "signalType": "ImagePDQ",
            "hashValue": digest.hex(),
            "hashStatus": status,
            "caseNumbers": {f"case-{digest[:3].hex()}": status},
            "CSPFeedbacks": [],
        }
        self.standin.put(record)

    def configure(self, more: str = "") -> None:
        (self.folder / "subscription").write_text("subscription-key")
        for name in ("FetchHashes", "SubmitFeedback"):
            (self.folder / name).write_text(f"{name}-key")
        (self.folder / "delist.toml").write_text(
            f"""
data_dir = "data"
[jobs]
feed_sync_s = {INTERVAL_S}
stop_s = 2
[feeds.stopncii]
base_url = "{self.standin.base_url}"
subscription_key_file = "subscription"
function_key_files = {{ FetchHashes = "FetchHashes", SubmitFeedback = "SubmitFeedback" }}
timeout_s = 60
{more}
"""
        )

    def store_images(self) -> None:
        near = {URL: NEAR, SECOND: OTHER, THIRD: LOCAL}
        with Indexer.open(self.folder / "delist.toml") as indexer:
            indexer.record_visits(
                [
                    ImageVisit(image_url=url, hashed=image_near({digest: 5}, name=url))
                    for url, digest in near.items()
                ]
            )

    def results(self) -> SuppressionFilter:
        return SuppressionFilter.open(self.folder / "delist.toml")

    def fetches(self) -> int:
        return sum(request.endpoint == "FetchHashes" for request in self.standin.requests)

    @contextmanager
    def run(self) -> Iterator[Running]:
        self.started += 1
        log = self.folder / f"log-{self.started}"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "delist", "--config", "delist.toml", "run"],
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait()

    def leading(self) -> AbstractContextManager[Running]:
        @contextmanager
        def start() -> Iterator[Running]:
            with self.run() as running:
                running.wait_for("service.leading")
                yield running

        return start()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    # Each change comes a second after the last: of the same second, a withdrawal counts.
    tick = itertools.count(int(time.time()) - 10_000).__next__
    with StopNciiStandIn(now=tick) as standin:
        deployed = Deployment(tmp_path, standin, tick)
        deployed.configure()
        deployed.store_images()
        yield deployed


def test_stored_images_follow_the_feed(deployment: Deployment) -> None:
    """A new signal suppresses what is stored, a withdrawn one lifts it, within two intervals."""
    deployment.put(NEAR)
    with deployment.leading() as running, deployment.results() as results:
        wait_until(lambda: results.is_suppressed(URL), "what the feed held at the start")
        for digest, status, expected in (
            (OTHER, "Received", [True, True]),
            (NEAR, "Withdrawn", [False, True]),
            (NEAR, "Received", [True, True]),
        ):
            fetches = deployment.fetches()
            deployment.put(digest, status)
            while results.suppressed([URL, SECOND]).tolist() != expected:
                time.sleep(0.02)
                # One more fetch may have been under way when the feed changed.
                assert deployment.fetches() - fetches <= 3

        assert results.suppressed([URL, SECOND, THIRD]).tolist() == [True, True, False]
        wait_until(lambda: len(deployment.standin.feedback) >= 2, "feedback")
        told = {(item["hashValue"], item["feedbackValue"]) for item in deployment.standin.feedback}
        assert told == {(NEAR.hex(), "PendingReview"), (OTHER.hex(), "PendingReview")}
        ended_at_once(running, signal.SIGTERM)

    events = {event["event"] for event in running.events()}
    assert {"feed.synced", "scan.delta", "scan.full", "intake"} <= events
    assert {"compaction", "service.stopped"} <= events
    assert not {event["level"] for event in running.events()} & {"error", "critical", "warning"}


def ended_at_once(running: Running, number: signal.Signals) -> None:
    """Idle, it leaves with exit code 0 well within its 15 seconds, and leaves nothing behind."""
    assert running.stop(number) < 8
    assert running.events()[-1] == running.events()[-1] | {
        "event": "service.stopped",
        "in_time": True,
    }
    assert "Traceback" not in running.log.read_text()


def test_it_ends_while_the_feed_hangs(deployment: Deployment) -> None:
    """A feed that says nothing, or asks to wait for an hour, does not keep it from ending."""
    for fault in (Fault(kind=FaultKind.STALL), answer_with(503, retry_after_s=3600)):
        fetches = deployment.fetches()
        deployment.standin.faults.add(*[fault] * 50)
        with deployment.leading() as running:
            wait_until(lambda before=fetches: deployment.fetches() > before)  # type: ignore[misc]
            assert running.stop() < 15

        assert running.events()[-1]["in_time"] is False
        deployment.standin.faults._script.clear()

    # What it was doing is done by the next one.
    deployment.put(NEAR)
    with deployment.leading() as running, deployment.results() as results:
        wait_until(lambda: results.is_suppressed(URL))
        running.stop()


def test_a_second_one_stands_by(deployment: Deployment) -> None:
    """One process works; when it is killed, the next one goes on, and alone."""
    with deployment.leading() as first, deployment.run() as second:
        second.wait_for("service.standing_by")
        deployment.put(NEAR)
        with deployment.results() as results:
            wait_until(lambda: results.is_suppressed(URL))
            assert not second.said("service.leading")

            first.process.kill()
            first.process.wait()
            second.wait_for("service.leading")
            deployment.put(NEAR, "Withdrawn")
            wait_until(lambda: not results.is_suppressed(URL))
        with deployment.run() as third:
            third.wait_for("service.standing_by")
            assert third.stop() < 8
            assert not third.said("service.leading")
        second.stop()


def test_a_feed_that_fails_ends_nothing(deployment: Deployment) -> None:
    """The other feed goes on, the failure is logged, and the next interval tries again."""
    bank = deployment.folder / "bank"
    bank.write_text(f"{LOCAL.hex()}\n")
    deployment.configure(f'[feeds.bank]\ntype = "file"\npath = "{bank}"\n')
    deployment.put(NEAR)
    page = Fault(kind=FaultKind.HTML)
    deployment.standin.faults.add(page, Fault(kind=FaultKind.BODY, text="[]"))
    with deployment.leading() as running, deployment.results() as results:
        wait_until(lambda: results.is_suppressed(THIRD), "the other feed")
        assert running.said("feed.failed")
        wait_until(lambda: results.is_suppressed(URL), "the next interval")
        # Not even a key that is gone, or a store that cannot be had, ends it.
        (deployment.folder / "FetchHashes").rename(deployment.folder / "gone")
        wait_until(lambda: "FetchHashes" in str(running.events()[-4:]), "a key that is missing")
        (deployment.folder / "gone").rename(deployment.folder / "FetchHashes")
        deployment.put(NEAR, "Withdrawn")
        wait_until(lambda: not results.is_suppressed(URL), "the key that is back")
        running.stop()


def test_a_job_that_fails_ends_nothing(deployment: Deployment) -> None:
    """Whatever breaks a job is logged without a value, and mended it goes on where it was."""
    database = deployment.folder / "data" / "delist.sqlite3"

    def alter(statement: str) -> None:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(statement)

    with deployment.leading() as running, deployment.results() as results:
        running.wait_for("intake")
        alter("alter table log_positions rename to mislaid")
        deployment.put(NEAR)
        running.wait_for("job.failed")
        alter("alter table mislaid rename to log_positions")
        wait_until(lambda: results.is_suppressed(URL))
        running.stop()

    failures = [event for event in running.events() if event["event"] == "job.failed"]
    assert {failure["error"] for failure in failures} == {"DatabaseError"}
    assert all(failure["reason"] for failure in failures)


@pytest.mark.parametrize(
    ("wrong", "code"), [('[policy]\nfile = "missing.toml"', 2), ("[jobs]\nfeed_sync_s = 0", 2)]
)
def test_what_is_wrong_from_the_start_is_one_line(
    tmp_path: Path, wrong: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that cannot work does not start: one line, and the exit code of the cause."""
    config = tmp_path / "delist.toml"
    config.write_text(f'data_dir = "data"\n{wrong}\n')

    assert main(["--config", str(config), "run"]) == code
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("delist: ") for line in lines] == [True]


def test_a_sink_has_it_within_seconds(deployment: Deployment) -> None:
    """A new signal is a line in a consumer's file, while nobody does anything."""
    deployment.configure('[sinks.archive]\ntype = "files"\nfolder = "archive"\n')
    archive = deployment.folder / "archive"

    def lines() -> int:
        return sum(file.read_text().count("suppress") for file in archive.glob("*.jsonl"))

    with deployment.leading() as running:
        running.wait_for("intake")
        assert not lines()
        deployment.put(NEAR)
        assert wait_until(lambda: lines() > 0, "the record in a file") < 15
        ended_at_once(running, signal.SIGINT)


def test_a_job_that_hangs_ends_the_process(deployment: Deployment) -> None:
    """It is asked to stop; a thread cannot be ended, so the process is to be started again."""
    toml = deployment.folder / "delist.toml"
    toml.write_text(toml.read_text().replace("stop_s = 2", "stop_s = 1\nlimit_s = 3"))
    deployment.standin.faults.add(Fault(kind=FaultKind.STALL))
    with deployment.run() as running:
        assert running.process.wait(WITHIN_S) == 1
        assert running.said("job.hung")


def test_another_machine_takes_over(deployment: Deployment, postgres: PostgresServer) -> None:
    """When the first is killed, the second leads once the lease has run out."""
    name = postgres.create_store()
    deployment.configure(f'[database]\nurl = "{postgres.url(name)}"\n')
    toml = deployment.folder / "delist.toml"
    text = toml.read_text().replace("stop_s = 2", "stop_s = 1\nlease_s = 5")
    toml.write_text(text)
    with deployment.leading() as first:
        toml.write_text(text.replace('data_dir = "data"', 'data_dir = "elsewhere"'))
        with deployment.run() as second:
            second.wait_for("service.standing_by")
            assert not second.said("service.leading")
            first.process.kill()
            second.wait_for("service.leading")
            second.stop()
    postgres.drop(name)

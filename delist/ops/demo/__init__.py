"""The main job with nothing but this machine, shown and checked step by step.

A small website and a StopNCII stand-in run on loopback; the real commands run as child
processes against them. Every step says what happened and compares it with what should
have happened: a check, not a show.

::

    album.py       the pictures: originals, their copies, ordinary photos
    reports.py     who reported what: the records of the feed
    site.py        the website
    commands.py    runs `delist ...`
    telling.py     says what happened
    stage.py       all of these together, and the outcome of a step
    finding.py     steps 1 to 5        following.py   steps 6 to 10
"""

import shlex
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from delist.errors import UsageError
from delist.ops.demo import finding, following
from delist.ops.demo.commands import LOG_NAME, CommandFailedError
from delist.ops.demo.stage import URLS_NAME, Stage, Step
from delist.ops.demo.telling import Narrator

STEPS: tuple[tuple[str, str, Callable[[Stage, Step], None]], ...] = (
    ("scene", "A website and a feed of hashes", finding.set_scene),
    ("feed_sync", "The feed is read", finding.sync_feed),
    ("crawl", "The website is crawled", finding.crawl_site),
    ("suppressed", "What search results must not show", finding.ask_results),
    ("decision", "A copy that is edited further waits for a person", finding.let_person_decide),
    ("new_signal", "A report comes in after the crawl", following.report_later),
    ("withdrawal", "A survivor withdraws", following.withdraw),
    ("survivor", "A survivor asks what became of it", following.tell_survivor),
    ("feedback", "What the feed was told", following.tell_feed),
    ("ledger", "The ledger", following.read_ledger),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demo did.

    Attributes:
        directory: where everything was kept, or None.
    """

    passed: bool
    seconds: float
    directory: str | None
    steps: tuple[Step, ...]

    @property
    def document(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


def run_demo(*, keep: Path | None, quiet: bool) -> DemoReport:
    """Run the demo.

    Args:
        keep: where everything is kept: a folder that is empty or not there yet. None for
            a temporary one that is removed at the end, however that comes.
        quiet: print nothing.

    Raises:
        UsageError: the folder is not empty, or cannot be used.
    """
    started_at = time.monotonic()
    narrator = Narrator(quiet=quiet)
    with _ended_by_signals() as signals, _folder(keep) as folder:
        narrator.heading("Delist, shown on this machine alone")
        narrator.say(
            "Each line with $ is a real command, run in a process of its own, with"
            f" --config {folder / 'delist.toml'}."
        )
        with Stage(folder, narrator) as stage:
            steps = tuple(_play(stage, started_at, signals))
        report = DemoReport(
            passed=len(steps) == len(STEPS) and not any(step.problems for step in steps),
            seconds=round(time.monotonic() - started_at, 3),
            directory=None if keep is None else str(folder),
            steps=steps,
        )
        _close(stage, report)
    return report


def _play(stage: Stage, started_at: float, signals: list[int]) -> Iterator[Step]:
    """Play the steps until one cannot be played."""
    for number, (name, title, act) in enumerate(STEPS, 1):
        for sent in signals:  # Python may have swallowed what it raised, in a destructor say
            _end(sent)
        step = Step(name=name)
        stage.narrator.step(number, title)
        failed = False
        try:
            act(stage, step)
        except CommandFailedError as error:
            step.problems.append(str(error))
            failed = True
        for problem in step.problems:
            stage.narrator.problem(problem)
        step.seconds = round(time.monotonic() - started_at, 3)
        started_at += step.seconds
        stage.narrator.time(step.seconds)
        yield step
        if failed:
            return


def _close(stage: Stage, report: DemoReport) -> None:
    narrator, folder = stage.narrator, stage.folder
    narrator.heading("")
    wrong = sum(bool(step.problems) for step in report.steps)
    if report.passed:
        narrator.heading(f"All {len(STEPS)} steps as they should be, in {report.seconds:.0f} s.")
    else:
        narrator.heading(
            f"{wrong} of {len(STEPS)} steps not as they should be, after {report.seconds:.0f} s."
        )
    if report.directory is None:
        narrator.say("Everything is removed again; delist demo --keep DIR keeps it for a look.")
        return
    code = f" --access-code {stage.access_code}" if stage.access_code else ""
    delist = shlex.join(["delist", "--config", str(folder / "delist.toml")])
    narrator.say("To look at it (the website and the stand-in are gone with the demo):")
    narrator.table(
        [
            ("the survivor's report", str(folder / "report.html")),
            ("the ledger, as exported", str(folder / "suppressions.jsonl")),
            ("the commands' log (warnings)", str(folder / LOG_NAME)),
            ("every case", f"{delist} cases list --all"),
            (
                "a result page's question",
                f"{delist} suppressed - < {shlex.quote(str(folder / URLS_NAME))}",
            ),
            ("the report again", f"{delist} report survivor {stage.asker}{code}"),
            ("the ledger's check", f"{delist} suppressions verify"),
            ("an account for the console", f"{delist} account add NAME --role lead"),
            ("the console, the survivors' pages", f"{delist} serve"),
        ]
    )


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="delist-demo-") as made:
            yield Path(made)
        return
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        empty = not any(keep.iterdir())
    except OSError as error:
        raise UsageError(f"--keep: cannot use {keep}: {error.strerror}") from None
    if not empty:
        raise UsageError(f"--keep: {keep} is not empty; name a new or an empty directory")
    yield keep.absolute()


def _end(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


@contextmanager
def _ended_by_signals() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP end the demo as Ctrl-C does; yields the signals that came."""
    signals: list[int] = []

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        signals.append(number)
        _end(number)

    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in ending}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

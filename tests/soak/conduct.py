"""One long run of everything together, undisturbed or with kills, to a calm end.

In each round the world changes, then commands bring the installation up to it, while two
``delist run`` (one leads, one stands by) work on the same stores. In a disturbed run these two are
killed and started again all the time, and before each command has its way some of its kind, and
of others, are killed. A round is over when each command has come to its end once and nothing is
left to be done. At the end one calm pass, and the state is read.
"""

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.outside import Outside
from tests.soak.processes import Crew, Running, draw_doom
from tests.soak.script import Round, Script
from tests.soak.state import State, read_state

ACTOR, REASON = "Robin", "looked at it"
_WITHIN_S = 600.0
"""Far more than is needed, for machines that are busy with other things."""
_TRIES = 40
_EXTRAS: tuple[tuple[str, ...], ...] = (
    ("intake",),
    ("scan", "delta"),
    ("scan", "full"),
    ("scan", "full", "--resume"),
    ("compact",),
    ("backup",),
    ("sinks", "deliver", "--now"),
    ("suppressions", "checkpoint"),
    ("suppressions", "snapshot"),
    ("feed", "sync", "--full"),
    ("feed", "feedback"),
)
"""What is killed beside the commands that a round needs."""

_COMPLAINTS = ("job.crashed", "job.hung", "crawler.internal_error", "crawler.died")


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """How a run is disturbed.

    Attributes:
        kills: of each round: so many commands are killed, services beside them.
        longest_s: a command that is to be killed lives no longer than this.
        service_s: the same of ``delist run``.
        services: how many of those there are at a time.
    """

    seed: int
    kills: int
    longest_s: float = 1.5
    service_s: float = 4.0
    services: int = 2


@dataclass(kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        kills: by command, and by whether it was at a point or at a time.
        complaints: events that no kill excuses, and commands that failed without being killed.
    """

    state: State
    kills: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        return sum(self.kills.values())


class Run:
    """One run of a script in a folder."""

    def __init__(
        self,
        folder: Path,
        outside: Outside,
        script: Script,
        *,
        disturbance: Disturbance | None = None,
    ) -> None:
        self._folder, self._outside, self._script = folder, outside, script
        self._disturbance = disturbance
        self._chance = random.Random(disturbance.seed) if disturbance else None
        self._crew = Crew(folder, folder / "logs")
        self._ended: list[Running] = []
        self._kills: Counter[str] = Counter()
        self._complaints: list[str] = []

    def go(self) -> Outcome:
        """Run to the end."""
        began = time.monotonic()
        faults = random.Random(self._disturbance.seed) if self._disturbance else None
        self._outside.begin(self._folder, chance=faults)
        for part in self._script.rounds:
            self._outside.apply(part)
            with self._services():
                self._round(part)
        self._calm()
        state = read_state(self._folder, self._outside, self._script)
        self._look_at_logs()
        return Outcome(
            state=state,
            kills=self._kills,
            complaints=self._complaints,
            seconds=round(time.monotonic() - began, 1),
        )

    # -- a round ---------------------------------------------------------------------------------

    def _round(self, part: Round) -> None:
        left = self._disturbance.kills if self._disturbance else 0
        crawl = ("crawl", "--depth", "0", "--allow-private-addresses")
        urls = self._outside.urls(part.pages)
        needed: list[tuple[str, ...]] = [(*crawl, *urls)] if urls else []
        needed.append(("feed", "sync"))
        share = -(-left // (len(needed) + bool(part.words)))
        for command in needed:
            self._kill_some(command, share)
            self._crew.wait_until_alone()
            self._do(*command)
        self._settle()
        for word in part.words:
            url = self._outside.urls([word.path])[0]
            decide = ("decide", self._case_of(url), "--verdict", word.verdict.value)
            decide += ("--actor", ACTOR, "--reason", REASON)
            if share and self._chance and self._chance.random() < 0.5:
                self._attempt(decide)
            if not self._is_said(url):
                self._do(*decide)
        if part.words:
            self._kill_some(("intake",), share)
            self._settle()

    def _kill_some(self, command: tuple[str, ...], kills: int) -> None:
        """Start the command, or another one, and kill it, until so many were killed."""
        if self._chance is None:
            return
        done = self._killed_here
        for _ in range(3 * kills):
            if self._killed_here - done >= kills:
                return
            two = [command, self._chance.choice(_EXTRAS)]
            self._attempt(*self._chance.sample(two, self._chance.choice((1, 1, 2))))

    def _attempt(self, *commands: tuple[str, ...]) -> None:
        """Start commands at the same time, each to be killed."""
        assert self._chance is not None
        assert self._disturbance is not None
        running = [
            self._crew.start(
                *command,
                doom=draw_doom(
                    self._chance,
                    longest_s=self._disturbance.longest_s * (3 if command[0] == "crawl" else 1),
                    has_child=command[0] == "crawl",
                ),
            )
            for command in commands
        ]
        for one in running:
            one.wait(_WITHIN_S)
            self._note(one)

    def _do(self, *command: str, codes: Sequence[int] = (0,)) -> Running:
        """Run a command to its end, again where feed, sink or another process is in the way."""
        for _ in range(_TRIES):
            one = self._crew.start(*command)
            code = one.wait(_WITHIN_S)
            self._note(one)
            if code in codes:
                return one
            time.sleep(0.1)
        raise AssertionError(f"{command[:2]} fails: {one.log.read_text()[-2000:]}")

    def _settle(self) -> None:
        """Go on until nothing is left to be done."""
        end = time.monotonic() + _WITHIN_S
        while waiting := self._waiting():
            if time.monotonic() > end:
                raise AssertionError(f"never done: {waiting}")
            if waiting["feedback"]:
                self._do("feed", "feedback")
            if waiting["reassessments"]:
                self._do("intake")
            if waiting["sinks"]:
                self._do("sinks", "deliver", "--now")

    def _calm(self) -> None:
        """Let everything come to its end once, with nobody in the way."""
        self._crew.wait_until_alone()
        self._outside.calm()
        service = self._crew.start("run")
        self._do("feed", "sync")
        service.process.terminate()
        code = service.wait(_WITHIN_S)
        self._note(service)
        if code:
            self._complaints.append(f"delist run ended with {code} in calm")
        # A service that is stopped may leave a set of pages half read: what follows ends it.
        for command in (
            ("feed", "sync"),
            ("scan", "full"),
            ("intake",),
            ("sinks", "deliver", "--now"),
            ("suppressions", "checkpoint"),
            ("compact",),
        ):
            self._do(*command)
        self._settle()

    # -- services --------------------------------------------------------------------------------

    @contextmanager
    def _services(self) -> Iterator[None]:
        """Keep ``delist run`` going, and killed if the run is disturbed, while a block runs."""
        stopping = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(stopping,))
        keeper.start()
        try:
            yield
        finally:
            stopping.set()
            keeper.join()

    def _keep(self, stopping: threading.Event) -> None:
        # A source of its own: what this thread draws must not depend on the other's pace.
        seed = self._chance.getrandbits(32) if self._chance else 0
        chance = random.Random(seed) if self._chance else None
        running: dict[int, Running] = {}
        while not stopping.wait(0.02):
            for slot in range(self._disturbance.services if self._disturbance else 1):
                if slot in running:
                    if not running[slot].look(running[slot].at_work_s):
                        continue
                    self._note(running[slot])
                doom = None
                if chance is not None and self._disturbance is not None:
                    doom = draw_doom(chance, longest_s=self._disturbance.service_s)
                running[slot] = self._crew.start("run", doom=doom)
        for one in running.values():
            one.process.kill()
            one.process.join()
            one.killed = chance is not None
            self._note(one)

    # -- looking ---------------------------------------------------------------------------------

    @property
    def _killed_here(self) -> int:
        """Commands that were killed, services left out."""
        return sum(count for name, count in self._kills.items() if not name.startswith("run "))

    def _note(self, one: Running) -> None:
        self._ended.append(one)
        if one.killed:
            words = [word for word in one.arguments[:2] if not word.startswith(("-", "http"))]
            name = " ".join(words[: 2 if one.arguments[0] in {"feed", "scan", "sinks"} else 1])
            how = "at a point" if one.doom is not None and one.doom.point else "at a time"
            self._kills[f"{name} {how}"] += 1

    def _select(self, text: str, *values: str) -> list[tuple[Any, ...]]:
        path = self._folder / "data" / "delist.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(text, values).fetchall()

    def _waiting(self) -> dict[str, int]:
        """Count what is left to be done; empty when nothing is."""
        counts = {
            "feedback": "select count(*) from feedback_outbox where done_at is null",
            "reassessments": "select count(*) from reassessments",
            "sinks": "select count(*) from consumers where position <"
            " coalesce((select max(sequence) from ledger_head), 0)",
            "aside": "select count(*) from set_aside",
        }
        found = {name: int(self._select(text)[0][0]) for name, text in counts.items()}
        return found if any(found.values()) else {}

    def _case_of(self, url: str) -> str:
        return str(self._select("select id from cases where image_url = ?", url)[0][0])

    def _is_said(self, url: str) -> bool:
        """Look, as a person would, whether a decision that was cut off was taken."""
        text = (
            "select count(*) from decisions join cases on cases.id = case_id"
            " where image_url = ? and actor = ?"
        )
        return bool(self._select(text, url, ACTOR)[0][0])

    def _look_at_logs(self) -> None:
        found: Counter[str] = Counter()
        for one in self._ended:
            for event in one.events():
                if event["event"] in _COMPLAINTS:
                    details = [str(event.get(name, "")) for name in ("job", "error", "place", "at")]
                    found[f"{event['event']} {' '.join(details)}"] += 1
            # One that was killed at once has not even a log.
            text = one.log.read_text(errors="replace") if one.log.exists() else ""
            for sign in ("Traceback", "internal error"):
                if sign in text:
                    found[f"{' '.join(one.arguments[:2])}: {sign}, {one.log.name}"] += 1
        self._complaints += [f"{name} ({count} times)" for name, count in sorted(found.items())]

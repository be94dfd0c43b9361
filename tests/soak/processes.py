"""Real commands in processes of their own that start cheaply and are killed at drawn moments.

They are forked from one process that has imported the program and opened nothing, so that a kill
meets the program's work and not the interpreter's start. Crawls start their own child as ever.

Nothing of ours is changed to be killed: a moment is a time, or the n-th time that a function of
the program or a call of the system begins or ends, which Python's profiling hook says.
"""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any

MARK = "DELIST_SOAK_MARK"
PRELOADED = (
    "crawler.runner",
    "delist.build",
    "delist.cli",
    "delist.ops.exporting",
    "delist.running",
    "delist.serving",
    "delist.sinks.files",
    "delist.sinks.webhook",
)
_ROOT = Path(__file__).parents[2]
_SYSTEM = frozenset({"posix"})
_LONGEST_START_S = 30.0


class Victim(StrEnum):
    """Who is killed: the command, the process that it has started, or both."""

    COMMAND = "command"
    CHILD = "child"
    BOTH = "both"


@dataclass(frozen=True, kw_only=True)
class Point:
    """The n-th time that something happens in a process, from 1 on.

    Attributes:
        event: of ``sys.setprofile``.
        name: end of a function's qualified name, or name of a call of the system.
    """

    event: str
    name: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Doom:
    """When a process is killed: at its point, and at a time if it has not come to that."""

    after_s: float
    point: Point | None = None
    victim: Victim = Victim.COMMAND


_POINTS = (
    # Entered, left, and left for good: before, in and after a transaction of either store.
    ("call", "Environment.write"),
    ("return", "Environment.write"),
    ("call", "Database.write"),
    ("return", "Database.write"),
    ("c_call", "fsync"),
    ("c_return", "fsync"),
    ("c_call", "replace"),
    ("c_return", "replace"),
    ("c_call", "link"),
    ("c_call", "unlink"),
    ("c_call", "pwrite"),
    ("c_return", "pwrite"),
)


def draw_doom(chance: random.Random, *, longest_s: float, has_child: bool = False) -> Doom:
    """Draw a moment: half of them times, half points."""
    after_s = longest_s * chance.random()
    if chance.random() < 0.5:
        victims = tuple(Victim) if has_child else (Victim.COMMAND,)
        return Doom(after_s=after_s, victim=chance.choice(victims))
    event, name = chance.choice(_POINTS)
    # Early ones more often: they are where a process takes up what another has left.
    count = int(2 ** chance.uniform(0, 6))
    return Doom(after_s=longest_s, point=Point(event=event, name=name, count=count))


@dataclass(kw_only=True)
class Running:
    """One process, and what became of it.

    Attributes:
        log: standard error, and output in a file beside it.
    """

    process: ForkServerProcess
    arguments: Sequence[str]
    log: Path
    doom: Doom | None
    killed: bool = False
    started: float = field(default_factory=time.monotonic)
    spoke: float | None = None

    @property
    def at_work_s(self) -> float:
        """Say how long a service is at work: since it has logged something.

        On a machine that is busy its start takes longest, and nothing is to be seen by killing it.
        """
        now = time.monotonic()
        silent = not (self.log.exists() and self.log.stat().st_size)
        if self.spoke is None and (not silent or now - self.started > _LONGEST_START_S):
            self.spoke = now
        return 0.0 if self.spoke is None else now - self.spoke

    @property
    def out(self) -> Path:
        return self.log.with_suffix(".out")

    @property
    def has_ended(self) -> bool:
        return self.process.exitcode is not None

    def look(self, running_s: float) -> bool:
        """Carry the doom out if it is time; says whether the process has ended."""
        if not self.has_ended and self.doom is not None and running_s >= self.doom.after_s:
            self._strike(self.doom.victim)
        if not self.has_ended:
            return False
        self.killed = self.killed or self.process.exitcode == -signal.SIGKILL
        return True

    def wait(self, timeout_s: float) -> int:
        """Wait until the process ends or its doom comes; returns its exit code.

        Raises:
            TimeoutError: it hangs; it is killed.
        """
        began = time.monotonic()
        while not self.look(time.monotonic() - began):
            left_s = timeout_s - (time.monotonic() - began)
            if left_s <= 0:
                self.process.kill()
                raise TimeoutError(f"{' '.join(self.arguments[:2])} took {timeout_s} s")
            if self.doom is not None:
                left_s = min(left_s, max(0.0, self.doom.after_s - (time.monotonic() - began)))
            self.process.join(left_s + 0.001)
        code = self.process.exitcode
        assert code is not None
        return code

    def documents(self) -> list[dict[str, Any]]:
        """Read what was printed with --json; lines that a kill cut off are none."""
        return list(_documents(self.out))

    def events(self) -> list[dict[str, Any]]:
        """Read what was logged."""
        return [entry for entry in _documents(self.log) if "event" in entry]

    def _strike(self, victim: Victim) -> None:
        struck = False
        if victim is not Victim.COMMAND:
            for pid in _children_of(self.process.pid or 0):
                struck = _kill(pid) or struck
        if victim is not Victim.CHILD or not struck:
            self.process.kill()
            self.process.join()
        self.killed = True
        self.doom = None  # whoever has lost a child alone goes on


class Crew:
    """Starts processes in one folder, and knows which of them are still about."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder, self._logs = folder, logs
        self._mark = f"{folder.name}-{os.getpid()}-{id(self)}"
        self._started = 0
        self._lock = threading.Lock()
        logs.mkdir(parents=True, exist_ok=True)
        self._context = multiprocessing.get_context("forkserver")
        # Of what is installed alone: in Python 3.11 that process knows no other path.
        self._context.set_forkserver_preload(list(PRELOADED))

    def start(self, *arguments: str, doom: Doom | None = None) -> Running:
        """Start ``delist …``."""
        with self._lock:
            self._started += 1
            number = self._started
        log = self._logs / f"{number:04d}-{arguments[0]}.log"
        point = doom.point if doom else None
        process = self._context.Process(
            target=_be_command, args=(arguments, self._folder, log, self._mark, point), daemon=True
        )
        process.start()
        return Running(process=process, arguments=arguments, log=log, doom=doom)

    def leftovers(self) -> list[int]:
        """List the processes that commands have started and that outlived them."""
        wanted = f"{MARK}={self._mark}".encode()
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdecimal():
                with contextlib.suppress(OSError):
                    if wanted in (path / "environ").read_bytes().split(b"\0"):
                        found.append(int(path.name))
        return found

    def wait_until_alone(self, timeout_s: float = 30) -> None:
        """Wait until what outlived its command has ended too, as it should by itself.

        Raises:
            TimeoutError: it has not.
        """
        end = time.monotonic() + timeout_s
        while self.leftovers():
            if time.monotonic() > end:
                raise TimeoutError(f"{len(self.leftovers())} processes outlived their command")
            time.sleep(0.05)


def _be_command(
    arguments: Sequence[str], folder: Path, log: Path, mark: str, point: Point | None
) -> None:
    """Be ``delist …`` in this process."""
    os.chdir(folder)
    os.environ[MARK] = mark
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(_ROOT / "tests" / "children"), path])
    )
    for number, name in ((0, Path(os.devnull)), (1, log.with_suffix(".out")), (2, log)):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    from delist.cli import main  # noqa: PLC0415 - imported before this process was forked

    if point is not None:
        _watch_for(point)
    code = main(["--config", "delist.toml", "--json", *arguments])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch_for(point: Point) -> None:
    left = point.count
    in_c = point.event.startswith("c_")

    def look(frame: FrameType, event: str, argument: Any) -> None:  # noqa: ANN401 - of the hook
        nonlocal left
        if event != point.event:
            return
        if in_c:
            if argument.__name__ != point.name or argument.__module__ not in _SYSTEM:
                return
        elif not frame.f_code.co_qualname.endswith(point.name):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(look)
    sys.setprofile(look)


def _children_of(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (path / "children").read_text().split())
    return found


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                document = json.loads(line)
                if isinstance(document, dict):
                    yield document

"""A process that brings a sink what is new, and is killed at a chosen step.

Processes are forked from one that has imported everything, so that each costs milliseconds.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any

from delist.build import Delist
from delist.settings import DelistSettings, SinkTable
from delist.sinks import TYPES
from indexer.settings import IndexerSettings

_DELIST = f"{os.sep}delist{os.sep}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The n-th time that something happens in the process, from 1 on.

    Attributes:
        event: "call" or "return".
        function: the end of a function's qualified name; empty for any function of ours.
    """

    event: str
    function: str = ""
    count: int = 1


STEPS = (
    Step(event="call", function="Sink.deliver"),
    Step(event="return", function="Sink.deliver"),
    Step(event="call", function="move"),
    Step(event="return", function="move"),
    Step(event="return", count=90),
    Step(event="return", count=170),
)
"""Before and after it was handed over, before and after the position moved, and in between."""


def settings_of(data_dir: Path, sinks: Mapping[str, Mapping[str, Any]]) -> DelistSettings:
    """Make the settings of a store with these [sinks.NAME] tables."""
    tables = tuple(
        SinkTable(
            name=name,
            kind=table["type"],
            values={key: value for key, value in table.items() if key != "type"},
            base_dir=data_dir,
        )
        for name, table in sinks.items()
    )
    return DelistSettings(indexer=IndexerSettings(data_dir=data_dir), sinks=tables)


def start(data_dir: Path, sinks: Mapping[str, Mapping[str, Any]], step: Step) -> ForkServerProcess:
    """Start a process that delivers, and is killed at a step if it comes to it."""
    context = multiprocessing.get_context("forkserver")
    # Of what is installed alone: in Python 3.11 the process knows no other path.
    context.set_forkserver_preload(["delist.build", *(f"delist.sinks.{kind}" for kind in TYPES)])
    process = context.Process(target=_deliver, args=(data_dir, sinks, step))
    process.start()
    return process


def _deliver(data_dir: Path, sinks: Mapping[str, Mapping[str, Any]], step: Step) -> None:
    left = step.count

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal left
        code = frame.f_code
        if event != step.event or _DELIST not in code.co_filename:
            return
        if code.co_qualname.endswith(step.function):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    with Delist(settings_of(data_dir, sinks)) as delist:
        sinks_of = delist.sinks
        sys.setprofile(watch)
        for _ in sinks_of.deliver(force=True):
            pass
        sys.setprofile(None)

"""Processes that are killed over and over, forked from one that has imported everything."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SERVER = """
import json, os, sys
{script}
for line in sys.stdin:
    if os.fork():
        print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    else:
        print(os.getpid(), flush=True)
        run(*json.loads(line))
        os._exit(0)
"""


class Forking:
    """Runs a function in one process after the other; it may write lines and read them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._of = process.stdin, process.stdout
        self.pid = 0

    def start(self, *arguments: object) -> None:
        """Call the function in a new process."""
        self.tell(json.dumps([str(argument) for argument in arguments]))
        self.pid = int(self._of.readline())

    def tell(self, line: str = "") -> None:
        """Write a line for the function to read."""
        self._to.write(f"{line}\n")
        self._to.flush()

    def heard(self) -> str:
        """Read a line that the function has written."""
        return self._of.readline().removesuffix("\n")

    def kill(self) -> int:
        """End it as ``kill -9`` does; returns how it ended, which may have been before."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        """Return its exit code, or the signal that ended it, below zero."""
        return int(self._of.readline())


@contextmanager
def forking(script: str) -> Iterator[Forking]:
    """Start the process; ``script`` imports what is needed and defines ``run``, of strings."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER.format(script=script)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Forking(process)
        finally:
            process.kill()

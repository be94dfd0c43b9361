"""Runs real commands as child processes, as a visitor would from a shell."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from delist.errors import DelistError
from delist.ops.demo.telling import Narrator

LOG_NAME = "commands.log"
_TIMEOUT_S = 120.0
_GRACE_S = 25.0
"""A crawl that is interrupted first waits for its own child."""
_OWN_OPTIONS = ("DELIST_CONFIG", "DELIST_DATA_DIR")


class CommandFailedError(DelistError):
    """A command of the demo did not end as it should; the rest would make no sense."""


class Commands:
    """Runs ``delist`` in one folder. What commands log goes to ``commands.log`` there."""

    def __init__(self, folder: Path, narrator: Narrator) -> None:
        self.folder = folder
        self.config = folder / "delist.toml"
        self._narrator = narrator

    def run(self, *words: str, stdin: str = "", redirected: str = "") -> list[dict[str, Any]]:
        """Run a command with ``--json``; returns its documents.

        Args:
            words: the command and its arguments.
            stdin: what it reads.
            redirected: the shell's words for that, to show.

        Raises:
            CommandFailedError: it ended with another exit code than 0.
        """
        self._narrator.command(f"{shlex.join(['delist', *words])} {redirected}".rstrip())
        options = ["--config", str(self.config), "--json"]
        return [json.loads(line) for line in self._run([*options, *words], stdin).splitlines()]

    def write(self, name: str, *words: str) -> Path:
        """Run a command and keep its output as a file of the folder.

        Raises:
            CommandFailedError: as for ``run``.
        """
        path = self.folder / name
        self._narrator.command(f"{shlex.join(['delist', *words])} > {shlex.quote(str(path))}")
        path.write_text(self._run(["--config", str(self.config), *words]), encoding="utf-8")
        return path

    def start(self) -> None:
        """Run ``delist init`` on the folder.

        Raises:
            CommandFailedError: as for ``run``.
        """
        words = ["init", str(self.folder)]
        self._narrator.command(shlex.join(["delist", *words]))
        self._run(words)

    def _run(self, words: list[str], stdin: str = "") -> str:
        child = _start(words)
        try:
            output, log = child.communicate(stdin, timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _stop(child)
            raise CommandFailedError(f"a command took more than {_TIMEOUT_S:.0f} s") from None
        except BaseException:
            _stop(child)
            raise
        with (self.folder / LOG_NAME).open("a", encoding="utf-8") as file:
            file.write(log)
        if child.returncode != 0:
            last = log.strip().splitlines()[-1:] or ["it said nothing"]
            raise CommandFailedError(
                f"a command ended with exit code {child.returncode}: {last[0]}"
            )
        return output


def _start(words: list[str]) -> subprocess.Popen[str]:
    # The child loads the same packages as we do, whatever lies in the working directory,
    # and takes its configuration from us alone.
    packages = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH", "")]))
    kept = {name: value for name, value in os.environ.items() if name not in _OWN_OPTIONS}
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-P", "-m", "delist", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**kept, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C reaches us alone; we stop the child
    )


def _stop(child: subprocess.Popen[str]) -> None:
    """End a child that is no longer wanted: as Ctrl-C would first, by force if need be."""
    child.send_signal(signal.SIGINT)
    try:
        child.communicate(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()

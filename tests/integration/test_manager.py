"""What a service manager hears from `delist run`, over a socket as systemd's."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FREEZE_S = 2.0
FROZEN = """
import ctypes, sys, time
from delist.running.manager import told
with told():
    sys.stdin.readline()
    ctypes.PyDLL(None).usleep(int(sys.argv[1]))  # a library that keeps the interpreter
    sys.stdin.readline()
"""


class Manager:
    """The manager's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(30)

    def hear(self) -> str:
        return self.socket.recv(4096).decode()

    @contextmanager
    def start(self, *command: str, limit_s: float) -> "Iterator[subprocess.Popen[bytes]]":
        environment = {
            "PATH": "/usr/bin:/bin",
            "NOTIFY_SOCKET": str(self.path),
            "WATCHDOG_USEC": str(round(limit_s * 1e6)),
        }
        with subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.socket.close()


def test_run_says_that_it_works_lives_and_ends(manager: Manager, tmp_path: Path) -> None:
    """Ready first, then life within the time that was set, and the end when it is asked to."""
    command = ("-m", "delist", "--data-dir", str(tmp_path / "data"), "run")
    with manager.start(*command, limit_s=1.5) as process:
        heard = [manager.hear() for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        while heard[-1] == "WATCHDOG=1":
            heard.append(manager.hear())

        assert process.wait(30) == 0
    assert heard[:3] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
    assert heard[-1] == "STOPPING=1"


def test_a_frozen_interpreter_is_silent(manager: Manager) -> None:
    """While something keeps the interpreter, no other thread says that all is well."""
    with manager.start("-c", FROZEN, str(round(FREEZE_S * 1e6)), limit_s=0.3) as process:
        assert process.stdin is not None
        assert [manager.hear(), manager.hear()] == ["READY=1", "WATCHDOG=1"]
        process.stdin.write(b"freeze\n")
        process.stdin.flush()
        longest, last = 0.0, time.monotonic()
        for _ in range(5):
            manager.hear()
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        process.communicate(b"end\n", timeout=30)

    assert longest > FREEZE_S / 2
    assert process.returncode == 0

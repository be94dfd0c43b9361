"""What the service manager is told: that the service works, that it lives, that it ends.

systemd ends and starts again what has not said for `WatchdogSec=` that it lives. Here a thread of
its own says so, which cannot while a library keeps the interpreter to itself: then nothing else in
this process could end it either. A job that hangs beside a living interpreter is ``watching``'s.

Protocol: sd_notify(3) and sd_watchdog_enabled(3). Without a service manager nothing happens.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SOCKET, _LIMIT, _PROCESS = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
_TIMES = 3
"""How often life is shown within the time in which it has to be."""


@contextmanager
def told() -> Iterator[None]:
    """Tell the service manager that this process works, again and again that it lives, and its end.

    The variables that name it are taken away: what is started from here must not speak for us.
    """
    address = os.environ.pop(_SOCKET, "")
    limit_s = _limit_s(os.environ.pop(_LIMIT, ""), os.environ.pop(_PROCESS, ""))
    if not address:
        yield
        return
    over = threading.Event()

    def live() -> None:
        while not over.wait(limit_s / _TIMES):
            _say(address, "WATCHDOG=1")

    _say(address, "READY=1")
    if limit_s:
        threading.Thread(target=live, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        _say(address, "STOPPING=1")


def _limit_s(microseconds: str, process: str) -> float:
    """Read how long this process may be silent, in seconds; 0: for ever."""
    if process and process != str(os.getpid()):
        return 0.0
    return int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0


def _say(address: str, state: str) -> None:
    # An "@" stands for the NUL of an address that is no file. Nobody listening is no fault of ours.
    where = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaking:
        speaking.settimeout(1.0)
        speaking.sendto(state.encode(), where)

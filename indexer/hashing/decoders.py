"""Decoding processes: started when first needed, killed when they hang, replaced when they die.

One pool for the whole process, however many indexers are open in it; at most as many
decoding processes as there are processors, of about 50 MB each. They end with this process:
normally because they are told to at exit, after a crash because their socket closes.

What may become of an image, beside what ``decode`` says:

- it takes longer than ``timeout_s``: the process is killed, refusal ``timeout``;
- the process dies (a crash, no memory left): refusal ``decoder_crashed``;
- either happens after the first layer: what came so far counts, and the reason is given.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing.opening import ORIENTATIONS, Limits
from indexer.hashing.parts import Decoded, Head, Layer
from indexer.hashing.wire import READY, Kind, Message, Wire, WireError
from indexer.model import Background

START_TIMEOUT_S = 60.0
MOST_QUESTIONS = 2_000
"""Images after which a process is replaced, so that no library's leak adds up."""

_STOP_TIMEOUT_S = 2.0
_BACKGROUNDS = tuple(Background)
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


class Decoders:
    """A pool of decoding processes. Thread-safe; each process serves one thread at a time.

    Attributes:
        started: processes that were started so far.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: list[_Decoder] = []
        self.started = 0
        self._reset()

    def decode(self, data: bytes, limits: Limits, *, mime: str) -> Decoded:
        """Decode as ``decode.decode_here`` does, in another process. To be read or closed.

        Raises:
            ImageRefusedError: see above.
        """
        with self._taken() as decoder:
            yield from decoder.decode(data, limits, mime=mime)

    def close(self) -> None:
        """End all processes that are idle. They start anew when needed."""
        with self._lock:
            idle, self._idle = self._idle, []
        for decoder in idle:
            decoder.end()

    def forget(self) -> None:
        """In a forked process: let go of the parent's processes without touching them."""
        for decoder in self._idle:
            decoder.forget()
        self._idle = []
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(self._most)

    @contextmanager
    def _taken(self) -> Iterator["_Decoder"]:
        with self._free:
            decoder = self._take()
            try:
                yield decoder
            finally:
                if decoder.is_done and decoder.questions < MOST_QUESTIONS:
                    with self._lock:
                        self._idle.append(decoder)
                else:
                    decoder.end(at_once=not decoder.is_done)

    def _take(self) -> "_Decoder":
        while True:
            with self._lock:
                decoder = self._idle.pop() if self._idle else None
            if decoder is None:
                break
            if decoder.is_alive:
                return decoder
            decoder.end()
        with self._lock:
            self.started += 1
        return _Decoder()


class _Decoder:
    """One decoding process.

    Attributes:
        is_done: it has answered its last question to the end.
        questions: how many it was asked.
    """

    def __init__(self) -> None:
        """Start the process.

        Raises:
            ImageRefusedError: ``decoder_crashed``, it did not start.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _start(theirs)
            except OSError:
                ours.close()
                raise _crashed() from None
        self._wire = Wire(ours)
        self._wire.deadline_s = time.monotonic() + START_TIMEOUT_S
        self.is_done, self.questions = True, 0
        try:
            is_ready = self._wire.receive(len(READY)) == READY
        except (WireError, TimeoutError):
            is_ready = False
        if not is_ready:
            self.end(at_once=True)
            raise _crashed()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def decode(self, data: bytes, limits: Limits, *, mime: str) -> Decoded:
        """Ask one question; the time in which the answer is not waited for does not count."""
        self.is_done = False
        self.questions += 1
        has_layer, left_s = False, limits.timeout_s
        try:
            began = time.monotonic()
            self._wire.deadline_s = began + left_s
            self._wire.ask(data, limits)
            while True:
                part = self._hear(limits, mime=mime)
                left_s -= time.monotonic() - began
                if part is None:
                    return
                has_layer = has_layer or isinstance(part, Layer)
                yield part
                began = time.monotonic()
                self._wire.deadline_s = began + left_s
        except TimeoutError:
            rest = ImageRefusedError(
                Refusal.TIMEOUT, f"decoding took more than {limits.timeout_s:g} s"
            )
        except WireError:
            rest = _crashed()
        if not has_layer:
            raise rest
        yield rest.code

    def _hear(self, limits: Limits, *, mime: str) -> Head | Layer | Refusal | None:
        """Receive a part of the answer; None at its end.

        Raises:
            ImageRefusedError: the image was refused.
            WireError, TimeoutError: see ``Wire.hear``.
        """
        message = self._wire.hear()
        if message.kind is Kind.HEAD:
            return _head_of(message, mime)
        if message.kind is Kind.LAYER:
            if message.a >= len(_BACKGROUNDS):
                raise WireError("an unknown background")
            return Layer(
                frame=message.number,
                background=_BACKGROUNDS[message.a],
                partial=bool(message.b),
                pixels=self._wire.pixels(message, max_pixels=limits.max_pixels),
            )
        if message.kind is Kind.REST:
            return self._wire.text(message)[0]
        if message.kind is Kind.REFUSED:
            code, text = self._wire.text(message)
            self.is_done = True
            raise ImageRefusedError(code, text)
        self.is_done = True
        return None

    def end(self, *, at_once: bool = False) -> None:
        """End the process and wait until it has."""
        self._wire.close()
        if not at_once:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT_S)
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Let go of another process's child."""
        self._wire.close()
        self._process.returncode = 0


def _start(connection: socket.socket) -> "subprocess.Popen[bytes]":
    # The same packages as here, whatever lies in the working directory; nothing else of ours.
    packages = str(Path(__file__).resolve().parents[2])
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    path = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "indexer.hashing.child"],
        stdin=connection.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**kept, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        cwd="/",
        start_new_session=True,  # Ctrl-C reaches us alone
    )


def _head_of(message: Message, mime: str) -> Head:
    if message.a not in ORIENTATIONS:
        raise WireError("an unknown orientation")
    return Head(orientation=message.a, mime=mime, width=message.width, height=message.height)


def _crashed() -> ImageRefusedError:
    return ImageRefusedError(Refusal.DECODER_CRASHED, "the decoder's process died")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


DECODERS = Decoders(_processors())
"""The pool of this process."""

atexit.register(DECODERS.close)
os.register_at_fork(after_in_child=DECODERS.forget)

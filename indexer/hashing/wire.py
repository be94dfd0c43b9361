"""What a process and its decoding processes say to each other, over a local socket pair.

A question is a header and the encoded bytes. The answer is a sequence of messages, each a
header and, for some, bytes: head, layers (with their pixels), the reason why the rest is
missing, end; or a refusal alone. ``READY`` is said once, when a process has started.

Both ends are one version of this module. What a decoding process says is not believed: it
may have been taken over by the file it decodes, so sizes are held against the limits.
"""

import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing.modes import Pixels
from indexer.hashing.opening import Limits

READY = b"\x01"
MOST_TEXT_BYTES = 200

_QUESTION = struct.Struct("<QQQQd")
_MESSAGE = struct.Struct("<BBBxIII")
_PIXEL_BYTES = 4


class Kind(IntEnum):
    """What a message is, and what its numbers mean."""

    HEAD = 1
    """a: orientation; width, height."""
    LAYER = 2
    """a: place in ``Background``; b: partial; number: frame; width, height. Pixels follow."""
    REST = 3
    """Why the rest is missing; number: bytes of text, which follow."""
    REFUSED = 4
    """number: bytes of text, which follow: code, line feed, message."""
    END = 5


@dataclass(frozen=True, slots=True)
class Message:
    """The header of a message."""

    kind: Kind
    a: int = 0
    b: int = 0
    number: int = 0
    width: int = 0
    height: int = 0


class WireError(Exception):
    """The other end is gone, or said what it must not say."""


class Wire:
    """One end of the socket pair.

    Attributes:
        deadline_s: time of ``time.monotonic`` after which nothing is waited for; None: ever.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.deadline_s: float | None = None

    def ask(self, data: bytes, limits: Limits) -> None:
        """Send a question.

        Raises:
            WireError: the other end is gone.
            TimeoutError: it did not listen until the deadline.
        """
        self._send(
            _QUESTION.pack(
                len(data),
                limits.max_pixels,
                limits.max_frames,
                limits.max_video_frames,
                limits.timeout_s,
            )
        )
        self._send(data)

    def take_question(self) -> tuple[bytearray, Limits] | None:
        """Receive a question; None when the other end is gone."""
        try:
            header = self.receive(_QUESTION.size)
        except WireError:
            return None
        size, max_pixels, max_frames, max_video_frames, timeout_s = _QUESTION.unpack(header)
        limits = Limits(
            max_bytes=size,
            max_pixels=max_pixels,
            max_frames=max_frames,
            max_video_frames=max_video_frames,
            timeout_s=timeout_s,
        )
        return self.receive(size), limits

    def say(self, message: Message, body: bytes | memoryview = b"") -> None:
        """Send a message; see ``ask``."""
        m = message
        self._send(_MESSAGE.pack(m.kind, m.a, m.b, m.number, m.width, m.height))
        if len(body):
            self._send(body)

    def hear(self) -> Message:
        """Receive the header of a message.

        Raises:
            WireError: the other end is gone, or it is none.
            TimeoutError: nothing came until the deadline.
        """
        kind, *numbers = _MESSAGE.unpack(self.receive(_MESSAGE.size))
        try:
            return Message(Kind(kind), *numbers)
        except ValueError:
            raise WireError("no message") from None

    def pixels(self, message: Message, *, max_pixels: int) -> Pixels:
        """Receive what follows a layer's header; see ``hear``."""
        if not 0 < message.width * message.height <= max_pixels:
            raise WireError("a layer beyond the limits")
        pixels = np.empty((message.height, message.width), np.uint32)
        self._receive_into(pixels.data.cast("B"))
        return pixels

    def text(self, message: Message) -> tuple[Refusal, str]:
        """Receive what follows a refusal's header; see ``hear``."""
        if message.number > MOST_TEXT_BYTES:
            raise WireError("a text beyond the limit")
        code, _, text = self.receive(message.number).decode("ascii", "replace").partition("\n")
        try:
            return Refusal(code), text if text.isprintable() else ""
        except ValueError:
            raise WireError("an unknown refusal") from None

    def receive(self, size: int) -> bytearray:
        """Receive so many bytes; see ``hear``."""
        buffer = bytearray(size)
        self._receive_into(memoryview(buffer))
        return buffer

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _send(self, data: bytes | memoryview) -> None:
        self._set_timeout()
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            raise WireError("the other end is gone") from None

    def _receive_into(self, view: memoryview) -> None:
        while len(view):
            self._set_timeout()
            try:
                count = self._socket.recv_into(view)
            except TimeoutError:
                raise
            except OSError:
                count = 0
            if not count:
                raise WireError("the other end is gone")
            view = view[count:]

    def _set_timeout(self) -> None:
        if self.deadline_s is None:
            self._socket.settimeout(None)
            return
        left = self.deadline_s - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


def refusal_text(error: ImageRefusedError) -> bytes:
    """Write a refusal as ``Wire.text`` reads it."""
    return f"{error.code.value}\n{error}".encode("ascii", "replace")[:MOST_TEXT_BYTES]

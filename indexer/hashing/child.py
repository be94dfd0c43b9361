"""A decoding process: encoded bytes come in, pixels go out; it knows nothing else.

Started by ``decoders`` with an empty environment, one end of a socket pair as its standard
input and no other open file. It has nowhere to print to: what libtiff has to say is lost on
purpose. It holds no store and no secret, writes no file, and ends when the other end is gone.

Memory is limited by the kernel to what a picture of ``max_pixels`` can need. A request that
takes far too long ends the process, also when nobody is left to kill it.
"""

import resource
import signal
import socket
import sys
from pathlib import Path

from PIL import AvifImagePlugin

from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing.decode import decode_here
from indexer.hashing.opening import Limits
from indexer.hashing.parts import Head, Layer
from indexer.hashing.wire import READY, Kind, Message, Wire, refusal_text
from indexer.model import Background

GRACE_S = 30.0
"""Seconds beyond the limit; the other end has killed a process by then, if it is still there."""
BYTES_A_PIXEL = 32
"""What decoding may need: four bytes each for planes, picture, background, flattened copy and
array, and as much again for the decoder's own."""
BYTES_BESIDE = 512 * 1024 * 1024

_BACKGROUNDS = tuple(Background)


def main() -> int:
    """Answer questions until the other end is gone."""
    connection = socket.socket(fileno=sys.stdin.fileno())
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold pixels
    connection.sendall(READY)
    wire = Wire(connection)
    while (question := wire.take_question()) is not None:
        data, limits = question
        _limit(limits)
        answer(wire, bytes(data), limits)
        del question, data
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 0


def answer(wire: Wire, data: bytes, limits: Limits) -> None:
    """Decode an image and send what it gives."""
    try:
        for part in decode_here(data, limits, is_alone=True):
            if isinstance(part, Head):
                head = Message(Kind.HEAD, part.orientation, 0, 0, part.width, part.height)
                wire.say(head)
            elif isinstance(part, Layer):
                height, width = part.pixels.shape
                place = _BACKGROUNDS.index(part.background)
                layer = Message(Kind.LAYER, place, part.partial, part.frame, width, height)
                wire.say(layer, part.pixels.data.cast("B"))
            else:
                _say_text(wire, Kind.REST, part.value.encode())
    except ImageRefusedError as error:
        _say_text(wire, Kind.REFUSED, refusal_text(error))
    except MemoryError:
        refusal = ImageRefusedError(Refusal.UNREADABLE, "not enough memory to decode it")
        _say_text(wire, Kind.REFUSED, refusal_text(refusal))
    else:
        wire.say(Message(Kind.END))


def _say_text(wire: Wire, kind: Kind, text: bytes) -> None:
    wire.say(Message(kind, number=len(text)), text)


def _limit(limits: Limits) -> None:
    """Limit memory and time for one question; beyond its time the signal ends the process."""
    wanted = _mapped_bytes() + BYTES_BESIDE + BYTES_A_PIXEL * limits.max_pixels
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.timeout_s + GRACE_S)


def _mapped_bytes() -> int:
    """Return what is mapped already, libraries included; 0 where the kernel does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())

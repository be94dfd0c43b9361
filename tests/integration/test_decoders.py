"""Decoding processes: what hangs is killed, what dies is replaced, nothing is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from delist.ops.pictures import draw_photo, encode
from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing import decoders, hash_image
from indexer.hashing.decode import HEADER_BYTES, decode, decode_here
from indexer.hashing.decoders import DECODERS, Decoders
from indexer.hashing.opening import Limits
from indexer.hashing.parts import Layer
from indexer.model import HashedImage
from tests.benchmarks import fuzz_decode

ROOT = Path(__file__).parents[2]
SOAK = bool(os.environ.get("DELIST_SOAK"))
PHOTO = draw_photo(41, width=96, height=64)
LIMITS = Limits(max_bytes=1 << 25, max_pixels=1 << 26, max_frames=8, timeout_s=20)
ISOLATED = ["WEBP", "AVIF", "TIFF", "HEIF"]


def encoded(form: str) -> bytes:
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    return encode(PHOTO, form)


def scan_bomb(scans: int, *, side: int = 4000) -> bytes:
    """A small JPEG whose scans each cost a pass over the whole picture."""
    data = encode(Image.new("L", (side, side), 100), "JPEG", progressive=True)
    at = data.rfind(b"\xff\xda")
    header = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4])]
    return data[:-2] + header * scans + b"\xff\xd9"


def hashed(data: bytes, *, timeout_s: float = 20.0) -> HashedImage:
    return hash_image(data, max_bytes=1 << 25, max_pixels=1 << 26, timeout_s=timeout_s)


def refusal(data: bytes, *, timeout_s: float = 20.0) -> Refusal:
    with pytest.raises(ImageRefusedError) as raised:
        hashed(data, timeout_s=timeout_s)
    return raised.value.code


def children() -> list[int]:
    """List the decoding processes of this process, zombies included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == os.getpid() and (b"hashing.child" in line or stat[0] == "Z"):
                found.append(int(entry.name))
    return found


@pytest.fixture(autouse=True)
def _no_children() -> Iterator[None]:
    """Begin and end without decoding processes."""
    DECODERS.close()
    yield
    DECODERS.close()
    assert children() == []


@pytest.mark.parametrize("form", ISOLATED)
def test_isolated_formats_are_hashed_as_here(form: str) -> None:
    """A decoding process gives the very layers that this process would decode."""
    data = encoded(form)
    there, here = list(decode(data, LIMITS)), list(decode_here(data, LIMITS))

    assert there[0] == here[0]
    assert len(there) == len(here) == 2
    assert isinstance(there[1], Layer)
    assert isinstance(here[1], Layer)
    assert (there[1].pixels & 0xFFFFFF == here[1].pixels & 0xFFFFFF).all()
    assert len(children()) == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "PPM", "ICO"])
def test_the_others_are_hashed_here(form: str) -> None:
    """Formats with small decoders start no process."""
    hashed(encode(PHOTO.resize((48, 48)), form))

    assert children() == []


def test_a_process_serves_many_images() -> None:
    """It is started once, and is as good after a refusal as before."""
    started = DECODERS.started
    for _ in range(5):
        hashed(encoded("WEBP"))
        assert refusal(encoded("WEBP")[:300]) in {Refusal.CORRUPT, Refusal.TRUNCATED}

    assert DECODERS.started == started + 1


def test_a_process_is_replaced_after_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what a library leaks does not add up."""
    monkeypatch.setattr(decoders, "MOST_QUESTIONS", 2)
    before = DECODERS.started
    for _ in range(4):
        hashed(encoded("WEBP"))

    assert DECODERS.started == before + 2
    assert children() == []


def test_a_hang_is_refused_in_time() -> None:
    """82 kB that would take minutes: killed, named, and the next image is hashed."""
    bomb, started = scan_bomb(2000), time.monotonic()

    assert len(bomb) < 100_000
    assert refusal(bomb, timeout_s=1) is Refusal.TIMEOUT
    assert time.monotonic() - started < 15
    assert children() == []
    hashed(encoded("WEBP"))


@pytest.mark.parametrize(
    "data",
    [
        encode(PHOTO, "JPEG")[:2] + b"\xff\xfe\x00\x02" * 2_000_000 + encode(PHOTO, "JPEG")[2:],
        encode(PHOTO, "JPEG")[:2] + b"\xff" * 8_000_000 + encode(PHOTO, "JPEG")[2:],
        encode(PHOTO)[:33] + b"\0\0\0\0abCd\x9b\x0e\x1c\x1a" * 700_000 + encode(PHOTO)[33:],
    ],
    ids=["comments", "fill bytes", "chunks"],
)
def test_endless_headers_do_not_hold_this_process(data: bytes) -> None:
    """Millions of empty blocks are counted by another process, under the limit of time."""
    assert len(data) > HEADER_BYTES
    longest, stopped = 0.0, threading.Event()

    def tick() -> None:
        nonlocal longest
        while not stopped.is_set():
            began = time.monotonic()
            time.sleep(0.01)
            longest = max(longest, time.monotonic() - began)

    ticking = threading.Thread(target=tick)
    ticking.start()
    code: Refusal | None = None
    try:
        hashed(data, timeout_s=1)
    except ImageRefusedError as error:
        code = error.code
    finally:
        stopped.set()
        ticking.join()

    assert code in {None, Refusal.TIMEOUT, Refusal.CORRUPT}
    assert longest < 1.5  # the GIL was free


def test_large_jpegs_stay_here() -> None:
    """A large photo has a short header, and is hashed in this process."""
    data = encode(draw_photo(5, width=1600, height=1200), "JPEG", quality=100, subsampling=0)

    assert len(data) > HEADER_BYTES
    hashed(data)
    assert children() == []


def test_a_dead_process_is_replaced() -> None:
    """Killed while it waits: nobody notices."""
    hashed(encoded("WEBP"))
    (child,) = children()
    os.kill(child, signal.SIGKILL)
    time.sleep(0.1)

    hashed(encoded("WEBP"))
    assert children() != [child]


@pytest.mark.parametrize("by", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_a_named_refusal(by: signal.Signals) -> None:
    """A decoder that dies over an image costs this image alone."""
    code: list[Refusal] = []
    working = threading.Thread(target=lambda: code.append(refusal(scan_bomb(2000))))
    working.start()
    deadline = time.monotonic() + 20
    while not (found := children()) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(1)
    os.kill(found[0], by)
    working.join(20)

    assert code == [Refusal.DECODER_CRASHED]
    hashed(encoded("WEBP"))


def test_what_came_before_a_crash_counts() -> None:
    """Of an animation whose decoder dies the frames that came are kept, and it is said."""
    frames = [draw_photo(seed, width=900, height=700) for seed in range(3)]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    parts = decode(data, LIMITS)
    head, first = next(parts), next(parts)
    os.kill(children()[0], signal.SIGKILL)
    *more, rest = parts

    assert isinstance(first, Layer)
    assert len(more) < 2
    assert (head, rest) == (next(decode_here(data, LIMITS)), Refusal.DECODER_CRASHED)


def test_memory_is_limited_by_the_kernel() -> None:
    """A process cannot map more than a picture at the limit may need."""
    hashed(encoded("WEBP"))
    (child,) = children()
    limits = Path(f"/proc/{child}/limits").read_text(encoding="ascii")
    lines = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}

    assert 1 << 30 < int(lines["Max address space"]) < 1 << 33
    assert lines["Max core file size"] == "0"


def test_a_process_holds_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither environment nor open files nor standard error of ours reach it."""
    monkeypatch.setenv("DELIST_CONFIG", "secret-path")
    with (tmp_path / "store").open("wb") as held:
        os.set_inheritable(held.fileno(), True)
        hashed(encoded("TIFF"))
    (child,) = children()
    environment = Path(f"/proc/{child}/environ").read_bytes()
    files = [str(entry.readlink()) for entry in Path(f"/proc/{child}/fd").iterdir()]

    assert b"secret-path" not in environment
    assert b"DELIST" not in environment
    assert not [name for name in files if name.startswith(str(tmp_path))]
    assert Path(f"/proc/{child}/cwd").readlink() == Path("/")


def test_a_process_loads_decoders_only() -> None:
    """No store, no kernels, no feed: it starts fast and has nothing to tell."""
    script = (
        "import sys, indexer.hashing.child\n"
        "heavy = {'numba', 'lmdb', 'faiss', 'scrapy', 'structlog', 'pillow_heif', 'httpx2'}\n"
        "ours = {'indexer.store', 'indexer.build', 'indexer.hashing.image', 'delist', 'crawler'}\n"
        "sys.exit(', '.join((heavy | ours) & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, timeout=60, check=False, capture_output=True
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_libtiff_is_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    """What C libraries print about broken files goes nowhere."""
    data = bytearray(encode(PHOTO, "TIFF", compression="tiff_lzw"))
    data[8:400] = bytes(range(196)) * 2
    refusal(bytes(data))

    assert capfd.readouterr() == ("", "")


def test_threads_share_as_many_processes_as_allowed() -> None:
    """More threads than processes wait their turn, and get the same hashes."""
    expected, found = hashed(encoded("WEBP")).rows, list[object]()
    pool = Decoders(2)

    def work() -> None:
        for _ in range(5):
            head, *_ = pool.decode(encoded("WEBP"), LIMITS, mime="x")
            found.append(head)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()

    assert len(found) == 30
    assert len({repr(head) for head in found}) == 1
    assert pool.started <= 2
    assert hashed(encoded("WEBP")).rows == expected


def test_an_answer_that_is_not_read_ends_its_process() -> None:
    """Whoever stops reading leaves nothing half said to the next."""
    parts = decode(encoded("WEBP"), LIMITS)
    next(parts)
    parts.close()

    assert children() == []
    hashed(encoded("WEBP"))


def test_a_forked_process_starts_its_own() -> None:
    """A fork does not speak on its parent's socket, and the parent's goes on."""
    expected = hashed(encoded("WEBP")).rows
    before = children()
    script = (
        "import os, sys, warnings; warnings.simplefilter('ignore')\n"
        "from indexer.hashing import hash_image\n"
        "data = sys.stdin.buffer.read()\n"
        "first = hash_image(data, max_bytes=1 << 25, max_pixels=1 << 26).rows\n"
        "pid = os.fork()\n"
        "again = hash_image(data, max_bytes=1 << 25, max_pixels=1 << 26).rows\n"
        "if pid == 0: sys.exit(0 if again == first else 1)\n"
        "sys.exit(os.waitpid(pid, 0)[1] != 0 or again != first)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=encoded("WEBP"), cwd=ROOT, timeout=120, check=False
    )

    assert done.returncode == 0
    assert hashed(encoded("WEBP")).rows == expected
    assert children() == before


@pytest.mark.parametrize("how", ["sys.exit(0)", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_processes_end_with_this_one(how: str) -> None:
    """However a process ends, its decoding processes end too, also those that are at work."""
    script = (
        "import os, sys, threading, time\n"
        "from pathlib import Path\n"
        "from indexer.hashing import hash_image\n"
        "data = sys.stdin.buffer.read()\n"
        "hash_image(data, max_bytes=1 << 25, max_pixels=1 << 26)\n"
        "from indexer.hashing.decoders import DECODERS\n"
        "print(DECODERS._idle[0]._process.pid, flush=True)\n" + how + "\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        input=encoded("WEBP"), cwd=ROOT, timeout=120, check=False, capture_output=True,
    )  # fmt: skip
    child, deadline = int(done.stdout), time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert not Path(f"/proc/{child}").exists()
    assert done.stderr == b""


def test_mutated_files_are_hashed_or_refused() -> None:
    """Whatever is done to a file of any format: a hash, or a refusal with a name, in time."""
    outcome = fuzz_decode.run(100_000 if SOAK else 3_000, seed=3)

    assert outcome.failures == {}
    assert sum(outcome.counts.values()) == (100_000 if SOAK else 3_000)
    assert set(outcome.by_outcome) <= {
        *(code.value for code in Refusal), "hashed",
        *(f"hashed, then {code.value}" for code in Refusal),
    }  # fmt: skip
    assert outcome.slowest_s < fuzz_decode.TIMEOUT_S + 5
    assert outcome.grown_bytes < 64 * 2**20
    assert not [word for word in outcome.by_outcome if "crashed" in word]

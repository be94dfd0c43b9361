"""``delist.memory``: a process that runs for months has one heap."""

import subprocess
import sys

_PROGRAM = """
import os, re, sys, threading
from pathlib import Path
if sys.argv[1] == "together":
    from delist.memory import keep_together
    assert keep_together() is (len(sys.argv) == 2)
barrier = threading.Barrier(9)
def work():
    held = [bytearray(1000) for _ in range(2000)]  # too many for Python's own small blocks
    barrier.wait()
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
barrier.wait()
# A heap beside the first one is a mapping at a multiple of 64 MiB.
starts = re.findall(r"^([0-9a-f]+)-[0-9a-f]+ rw-p 00000000 00:00 0 *$",
                    Path("/proc/self/maps").read_text(), re.MULTILINE)
print(sum(int(start, 16) % (64 << 20) == 0 for start in starts))
barrier.wait()
"""


def heaps(*arguments: str, **environment: str) -> int:
    """Count the heaps beside the first one of a process with eight busy threads."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return int(done.stdout)


def test_threads_share_one_heap() -> None:
    """As it comes, eight threads have several beside the first; together they have none."""
    assert heaps("apart") > 1
    assert heaps("together") == 0


def test_who_sets_the_librarys_own_variables_is_obeyed() -> None:
    """They stay as they are set."""
    assert heaps("together", "given", MALLOC_ARENA_MAX="4") == 3

"""What is looked at every few seconds: processes, files, readers, queues."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import lmdb
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.soak.stage import Stage

_MAPPED = ("Rss", "Pss", "Private_Clean", "Private_Dirty", "Anonymous")
_KIB = 1024
_METRICS = {
    "delist_intake_waiting",
    "delist_reassessments_waiting",
    "delist_feedback_waiting",
    "delist_consumer_lag_records",
    "delist_cases_awaiting_person",
    "delist_ledger_records",
    "delist_ledger_unsigned_records",
    "delist_store_used_bytes",
    "delist_signals",
    "delist_images",
    "delist_job_failed_runs",
}
_FOLDERS = {"index": "index", "serving snapshot": "serving", "ledger files": "ledger"}

Row = dict[str, float]
"""One look: names of series to values. ``at`` is its time, in unix seconds."""


class Sampler:
    """Looks at one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        store = str(stage.data_dir / "store")
        # Beside the product: what opens the store through it clears stale readers.
        self._lmdb = lmdb.open(store, readonly=True, max_dbs=0, create=False)

    def close(self) -> None:
        self._lmdb.close()

    def look(self, *, metrics: bool) -> Row:
        """Take a look; with ``metrics`` ask ``delist run`` for its own figures too."""
        row: Row = {"at": time.time()}
        for role, process in self._processes():
            for name, value in memory_of(process.pid).items():
                key = f"{role} {name}"
                row[key] = row.get(key, 0.0) + value
        row |= self._readers() | self._files()
        if metrics:
            row |= self._metrics()
        return row

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        """Name the processes: those that live as long as the soak one by one, others by kind."""
        for name, running in list(self._stage.processes.items()):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(running.pid)
                yield name, process
                workers = 0
                for child in process.children(recursive=True):
                    role = f"{name} children"
                    # uvicorn's workers come first and stay; both spawn decoders, which do not.
                    if name == "serve" and child.ppid() == running.pid and _is_worker(child):
                        workers += 1
                        role = f"serve worker {workers}"
                    yield role, child

    def _readers(self) -> Row:
        lines = self._lmdb.readers().splitlines()[1:]
        slots = [line.split() for line in lines if len(line.split()) == 3]
        ours = str(os.getpid())
        pids = {int(pid) for pid, _, _ in slots if pid != ours}
        dead = {pid for pid in pids if not psutil.pid_exists(pid)}
        info, page_bytes = self._lmdb.info(), self._lmdb.stat()["psize"]
        newest = int(info["last_txnid"])
        held = [int(state) for pid, _, state in slots if state != "-" and pid != ours]
        return {
            "lmdb slots": sum(pid != ours for pid, _, _ in slots),
            "lmdb stale slots": sum(int(pid) in dead for pid, _, _ in slots),
            "lmdb oldest read behind": max((newest - state for state in held), default=0),
            "lmdb used bytes": (int(info["last_pgno"]) + 1) * page_bytes,
        }

    def _files(self) -> Row:
        folder = self._stage.data_dir
        row: Row = {
            "store bytes": _size(folder / "store" / "data.mdb"),
            "cases bytes": _size(folder / "delist.sqlite3"),
            "wal bytes": _size(folder / "delist.sqlite3-wal"),
        }
        for kind, name in _FOLDERS.items():
            files: list[Path] = []
            with suppress(FileNotFoundError):  # something goes while we look
                files = [path for path in (folder / name).rglob("*") if path.is_file()]
            row[f"{kind} bytes"] = sum(map(_size, files))
            row[f"{kind} files"] = len(files)
        generations = (folder / "index").glob("signals-*")
        row["index generations"] = sum(1 for _ in generations)
        return row

    def _metrics(self) -> Row:
        try:
            with urlopen(self._stage.metrics_url, timeout=10) as answer:  # noqa: S310 - loopback
                text = answer.read().decode()
        except (URLError, OSError, HTTPException):
            return {}
        row: Row = {}
        for family in text_string_to_metric_families(text):
            if family.name in _METRICS:
                row[family.name] = sum(sample.value for sample in family.samples)
        return row


def memory_of(pid: int) -> Mapping[str, float]:
    """Read memory, open files and threads of a process; nothing where it has ended.

    ``anonymous`` is what it holds beside mapped files; ``uss`` holds clean pages of files too,
    as long as nobody else maps them.
    """
    held = dict.fromkeys(_MAPPED, 0.0)
    folder = Path("/proc") / str(pid)
    try:
        for line in (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
            name, _, rest = line.partition(":")
            if name in held:
                held[name] = float(rest.split()[0]) * _KIB
        files = float(len(list((folder / "fd").iterdir())))
        threads = float(len(list((folder / "task").iterdir())))
    except OSError:
        return {}
    return {
        "rss": held["Rss"],
        "pss": held["Pss"],
        "uss": held["Private_Clean"] + held["Private_Dirty"],
        "anonymous": held["Anonymous"],
        "files": files,
        "threads": threads,
    }


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "spawn_main" in " ".join(process.cmdline())
    return False


def _size(path: Path) -> float:
    """Bytes on disk: the store's file has holes."""
    with suppress(OSError):
        return float(path.stat().st_blocks * 512)
    return 0.0

"""Rate of ``delist ingest`` beside the limit: the same images decoded and hashed, and nothing else.

    python -m tests.benchmarks.ingest_rates PHOTOS [--rows 4000] [--rounds 3]
        [--processes 1 2] [--forms warc parquet jsonl folder]

The limit is as many processes as take part, each of which hashes its share of the images out of
memory. Rounds take limit and ingestion in turn, so that what else runs on the machine slows both;
the median of the rounds' ratios is printed as JSON. A rate is images a second of wall time from a
third of the rows to the last batch, so that all processes have started and their kernels are
loaded. Beside it stand processor seconds for 1,000 images, of all processes, between the same
batches. On a machine that does much else the processors' share says more than the clock's: as many
processors as processes can do no more than that.

Of an archive stands there too what only unpacking its records takes: FastWARC reads them, and
nothing else is done. No program that reads such an archive is faster than that and the limit.

Each round stores into a new, empty store under a temporary folder. A row has an address of its own.
"""

import argparse
import base64
import gc
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from fastwarc.warc import ArchiveIterator
from pyarrow import parquet

from delist.build import Delist
from delist.ingest.reports import IngestOptions, IngestProgress
from indexer.hashing import hash_bytes
from indexer.settings import HashingSettings
from tests.fakes.archives import answer, packed, record

LEAST_MARKS = 4
FORMS = ("warc", "parquet", "jsonl", "folder")


@dataclass
class Measured:
    """What one run reached."""

    images_per_s: float
    cpu_s_per_1000: float
    start_s: float


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["warc"])
    options = parser.parse_args()
    files = sorted(path for path in options.photos.rglob("*.jp*g") if path.is_file())
    photos = [path.read_bytes() for path in files]
    report: dict[str, Any] = {
        "photos": len(photos),
        "rows": options.rows,
        "mean_bytes": round(statistics.mean(map(len, photos))),
        "results": [],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for form in options.forms:
            source = write(folder / "all", form, photos, options.rows)
            for processes in options.processes:
                report["results"].append(compare(folder, form, source, photos, options, processes))
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


def compare(
    folder: Path,
    form: str,
    source: Path,
    photos: Sequence[bytes],
    options: argparse.Namespace,
    processes: int,
) -> dict[str, Any]:
    """Measure limit and ingestion in turn."""
    limits, reached, unpacking = [], [], []
    for number in range(options.rounds):
        limits.append(limit(photos, options.rows, processes))
        unpacking.append(unpack(source) / options.rows * 1000 if form == "warc" else 0.0)
        data_dir = folder / f"data-{form}-{processes}-{number}"
        reached.append(ingest(data_dir, source, processes, options.rows))
    pairs = list(zip(reached, limits, strict=True))
    ratios = [ours.images_per_s / most.images_per_s for ours, most in pairs]
    cpu = [most.cpu_s_per_1000 / ours.cpu_s_per_1000 for ours, most in pairs]

    def median(of: Sequence[Measured], name: str) -> float:
        return round(statistics.median(getattr(each, name) for each in of), 3)

    return {
        "form": form,
        "processes": processes,
        "limit_images_per_s": median(limits, "images_per_s"),
        "images_per_s": median(reached, "images_per_s"),
        "share_of_limit": round(statistics.median(ratios), 3),
        "shares": [round(ratio, 3) for ratio in ratios],
        "limit_cpu_s_per_1000": median(limits, "cpu_s_per_1000"),
        "cpu_s_per_1000": median(reached, "cpu_s_per_1000"),
        "share_of_limit_by_processors": round(statistics.median(cpu), 3),
        "unpacking_cpu_s_per_1000": round(statistics.median(unpacking), 3),
        "start_s": median(reached, "start_s"),
    }


def unpack(source: Path) -> float:
    """Return the processor seconds that it takes to unpack the records of an archive."""
    start: float = time.process_time()
    with source.open("rb") as file:
        for found in ArchiveIterator(file, parse_http=False):
            found.reader.read()
    return time.process_time() - start


def limit(photos: Sequence[bytes], rows: int, processes: int) -> Measured:
    """Decode and hash in so many processes, out of memory."""
    context = multiprocessing.get_context("spawn")
    began = time.perf_counter()
    ready, go = context.Semaphore(0), context.Event()
    told = context.Queue()
    share = rows // processes
    children = [
        context.Process(target=hash_share, args=(photos, share, n, ready, go, told))
        for n in range(processes)
    ]
    for child in children:
        child.start()
    for _ in children:
        ready.acquire()
    start = time.perf_counter()
    go.set()
    spent = [told.get() for _ in children]
    wall = time.perf_counter() - start
    for child in children:
        child.join()
    return Measured(
        images_per_s=share * processes / wall,
        cpu_s_per_1000=sum(spent) / (share * processes) * 1000,
        start_s=start - began,
    )


def hash_share(
    photos: Sequence[bytes],
    count: int,
    first: int,
    ready: Any,  # noqa: ANN401 - multiprocessing's
    go: Any,  # noqa: ANN401
    told: Any,  # noqa: ANN401
) -> None:
    """Hash so many images, once all are ready; tell the processor seconds that it took."""
    settings = HashingSettings()
    for photo in photos[:20]:
        hash_bytes(photo, settings)
    gc.collect()
    ready.release()
    go.wait()
    start = time.process_time()
    for number in range(count):
        hash_bytes(photos[(first + number * 2) % len(photos)], settings)
    told.put(time.process_time() - start)


def ingest(data_dir: Path, source: Path, processes: int, rows: int) -> Measured:
    """Take the source in."""
    marks: list[tuple[float, float, int]] = []
    began = time.perf_counter()

    def note(progress: IngestProgress) -> None:
        marks.append((time.perf_counter(), cpu_s(), progress.images))

    with Delist.open(data_dir=data_dir) as delist:
        options = IngestOptions(processes=processes, base_url="https://bench.example/")
        report = delist.ingestion.run([source], options, on_progress=note)
    if report.hashed != rows or len(marks) < LEAST_MARKS:
        raise SystemExit(f"not all was hashed, or too few rows: {report.hashed} of {rows}")
    steady = next(mark for mark in marks if mark[2] * 3 >= rows)
    (first, first_cpu, before), (last, last_cpu, after) = steady, marks[-1]
    return Measured(
        images_per_s=(after - before) / (last - first),
        cpu_s_per_1000=(last_cpu - first_cpu) / (after - before) * 1000,
        start_s=marks[0][0] - began,
    )


def cpu_s() -> float:
    """Return processor seconds of this process and of its children that run."""
    spent = time.process_time()
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def write(folder: Path, form: str, photos: Sequence[bytes], rows: int) -> Path:
    """Write a source of a form."""
    folder.mkdir(exist_ok=True)
    path = folder / f"source.{form}"
    named = ((f"https://bench.example/{n}.jpg", photos[n % len(photos)]) for n in range(rows))
    if form == "warc":
        with path.open("wb") as file:
            for url, data in named:
                file.write(packed([record(url, answer(data, Content_Type="image/jpeg"))]))
    elif form == "parquet":
        schema = pa.schema([("url", pa.string()), ("bytes", pa.binary())])
        with parquet.ParquetWriter(path, schema, compression="none") as writer:
            for start in range(0, rows, 100):
                part = [next(named) for _ in range(min(100, rows - start))]
                columns = [[url for url, _ in part], [data for _, data in part]]
                writer.write_table(pa.table(columns, schema=schema))
    elif form == "jsonl":
        with path.open("w") as lines:
            for url, data in named:
                text = base64.b64encode(data).decode()
                lines.write(json.dumps({"url": url, "bytes": text}) + "\n")
    else:
        path.mkdir()
        for number, (_, data) in enumerate(named):
            (path / f"{number:06}.jpg").write_bytes(data)
    return path


if __name__ == "__main__":
    main()

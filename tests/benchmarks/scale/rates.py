"""What one core does here, in processor seconds."""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

from delist.build import Delist
from delist.ops.bench.exported_rows import make_job, write_exported
from delist.ops.bench.timing import machine_kind
from delist.rescan.generation import load_generation
from delist.rescan.work import scan_file
from indexer.model import (
    DIGEST_BYTES,
    DIGESTS_PER_ROW,
    ROW_BYTES,
    Background,
    HashedImage,
    ImageVisit,
)

T = TypeVar("T")
THRESHOLD_BITS = 31
_IMAGES = 62_500
_SLOW_IMAGES, _SLOW_FROM = 6_250, 1_000_000
_VISITS, _VISITS_AT_ONCE = 8_192, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Processor seconds and bytes.

    Attributes:
        compare_s: for one stored hash, reading included, by number of signals.
        load_s: until a worker has the signals, by their number; without start-up.
        generation_bytes: of the sealed file, by number of signals.
        seal_s: to index and seal that many.
        start_s: of a worker: programs and compiled code.
        table_bytes: of an exported image, what a re-scan reads of it.
        visit_s: to store and match an image that was hashed, 256 at once.
        confirm_s: to take in an image that was found.
        intake_s: from its match to its case and record.
        note: what was not measured in the same run, and where it comes from.
    """

    compare_s: dict[int, float]
    load_s: dict[int, float]
    generation_bytes: dict[int, int]
    seal_s: dict[int, float]
    start_s: float
    table_bytes: float
    visit_s: float
    confirm_s: float
    intake_s: float
    machine: str
    measured_at: str
    note: str = ""

    @classmethod
    def read(cls, path: Path) -> "Rates":
        """Read what ``write`` wrote."""
        table = json.loads(path.read_text())
        for name, value in table.items():
            if isinstance(value, dict):
                table[name] = {int(key): entry for key, entry in value.items()}
        return cls(**table)

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def measure(signals: Sequence[int], say: Callable[[str], None]) -> Rates:
    """Measure everything; some minutes, and 0.4 GB for each million signals at most."""
    compare, load, sizes, seal = {}, {}, {}, {}
    start_s = 0.0
    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory(prefix="delist-scale-") as name:
        folder = Path(name)
        many, few = folder / "many", folder / "few"
        many.mkdir()
        few.mkdir()
        exported = write_exported(many, rng, _IMAGES, threshold_bits=THRESHOLD_BITS)
        fewer = write_exported(few, rng, _SLOW_IMAGES, threshold_bits=THRESHOLD_BITS)
        table_bytes = Path(exported.files[0]).stat().st_size / _IMAGES
        for count in sorted(signals):
            used = exported if count < _SLOW_FROM else fewer
            seal[count], (job, _) = _timed(
                lambda used=used, count=count: make_job(
                    folder, rng, used, count, threshold_bits=THRESHOLD_BITS
                )
            )
            job = replace(job, threshold_bits=THRESHOLD_BITS)
            sizes[count] = job.generation_path.stat().st_size
            load[count], _ = _timed(lambda job=job: load_generation(job))
            first, _ = _timed(lambda job=job, used=used: scan_file(job, used.files[0]))
            runs = [
                _timed(lambda job=job, used=used: scan_file(job, used.files[0]))[0]
                for _ in range(3)
            ]
            compare[count] = min(runs) / used.images / DIGESTS_PER_ROW
            start_s = max(start_s, first - load[count] - min(runs))
            say(f"{count:,} signals: {compare[count] * 1e9:,.0f} ns a hash")
    stored = _store_rates(rng)
    say(f"visit {stored[0] * 1e6:,.0f} us")
    return Rates(
        compare_s=compare, load_s=load, generation_bytes=sizes, seal_s=seal, start_s=start_s,
        table_bytes=table_bytes, visit_s=stored[0], confirm_s=stored[1],
        intake_s=stored[2], machine=machine_kind(), measured_at=f"{datetime.now(UTC):%F}",
    )  # fmt: skip


def _store_rates(rng: np.random.Generator) -> tuple[float, float, float]:
    """Return seconds of a visit, to look again at a match, and to take it in."""
    with tempfile.TemporaryDirectory(prefix="delist-scale-") as name:
        folder = Path(name)
        rows = rng.integers(0, 256, (_VISITS, ROW_BYTES), dtype=np.uint8)
        near = rows[:: _VISITS // 256, :DIGEST_BYTES]
        (folder / "bank.jsonl").write_text("\n".join(row.tobytes().hex() for row in near))
        (folder / "delist.toml").write_text(
            'data_dir = "data"\n[feeds.bank]\ntype = "file"\npath = "bank.jsonl"\n'
        )
        with Delist.open(folder / "delist.toml") as delist:
            visits = [_visit(number, row.tobytes()) for number, row in enumerate(rows)]
            delist.indexer.record_visits(visits[:_VISITS_AT_ONCE])
            visit_s, _ = _timed(lambda: _record(delist, visits[_VISITS_AT_ONCE:]))
            list(delist.sync_feeds())
            keys = [
                result.image_key
                for result in delist.indexer.record_visits(visits[:: _VISITS // 256])
            ]
            confirm_s, _ = _timed(
                lambda: delist.indexer.scanner.confirm(keys, now=datetime.now(UTC))
            )
            intake_s, report = _timed(delist.take_in)
            assert report.cases == len(keys)
    return visit_s / (_VISITS - _VISITS_AT_ONCE), confirm_s / 256, intake_s / 256


def _record(delist: Delist, visits: Sequence[ImageVisit]) -> None:
    for start in range(0, len(visits), _VISITS_AT_ONCE):
        delist.indexer.record_visits(visits[start : start + _VISITS_AT_ONCE])


def _visit(number: int, row: bytes) -> ImageVisit:
    hashed = HashedImage(
        rows=((Background.WHITE, row),),
        quality=100,
        sha256=row[:32],
        size_bytes=100_000,
        mime="image/jpeg",
        width=800,
        height=600,
    )
    host = f"https://site{number % 997}.example"
    return ImageVisit(
        image_url=f"{host}/pictures/2026/{number:09}-large-picture.jpg",
        page_urls=(f"{host}/pages/{number // 3:09}.html",),
        hashed=hashed,
    )


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result

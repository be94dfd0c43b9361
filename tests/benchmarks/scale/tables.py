"""The tables of docs/scale.md, as the model makes them."""

from collections.abc import Iterator

from indexer.model import DIGESTS_PER_ROW
from tests.benchmarks.scale.model import DAY_S, STORED_IMAGE_BYTES, Load, Machine, Model

SIZES = (1e8, 1e9, 1e10)
SIGNALS = (1e6, 1e7, 1e8)


def tables(model: Model) -> Iterator[str]:
    """Yield the tables, in markdown."""
    yield _rates(model)
    yield _storage(model)
    yield _steady(model)
    yield _full(model)
    yield _delta(model)


def _rates(model: Model) -> str:
    rows = [
        (
            f"{n:,}",
            f"{model.compare_s(n) * 1e9:,.0f}",
            f"{model.generation_bytes(n) / 1e6:,.1f}",
            f"{model.seal_s(n):,.2f}",
            f"{model.load_s(n) - model.rates.start_s:,.2f}",
        )
        for n in (*sorted(model.rates.compare_s), 100_000_000)
    ]
    rates = model.rates
    more = (
        f"start of a worker {rates.start_s:.1f} s; of an exported image {rates.table_bytes:,.0f}"
        f" bytes are read; a visit {rates.visit_s * 1e6:,.0f} us; looking again at a match"
        f" {rates.confirm_s * 1e6:,.0f} us; its intake {rates.intake_s * 1e3:,.1f} ms"
    )
    head = ("signals", "ns a stored hash", "sealed MB", "sealing s", "loading s")
    return f"{more}\n\n{_table(head, rows)}"


def _storage(model: Model) -> str:
    rows = []
    for images in SIZES:
        shards = model.shards(images)
        rows.append(
            (
                f"{images:.0e}",
                f"{images * DIGESTS_PER_ROW:.1e}",
                f"{images * STORED_IMAGE_BYTES / 1e12:,.2f}",
                f"{images * model.rates.table_bytes / 1e12:,.2f}",
                f"{shards}",
                f"{images / shards:.1e}",
            )
        )
    return _table(("images", "hashes", "stores TB", "exports TB", "machines", "images each"), rows)


def _steady(model: Model) -> str:
    rows = []
    for images in SIZES:
        for signals in SIGNALS:
            load = Load(
                images=images, signals=signals, new_images=images / 100, new_signals=0, sync_s=0
            )
            rows.append(
                (
                    f"{images:.0e}",
                    f"{signals:.0e}",
                    f"{load.new_images / DAY_S:,.0f}",
                    f"{model.visit_cores(load):,.1f}",
                    f"{model.generation_bytes(signals) / 1e9:,.1f}",
                )
            )
    return _table(("images", "signals", "new images/s", "cores", "GB of signals a machine"), rows)


def _full(model: Model) -> str:
    rows = []
    for images in SIZES:
        for signals in SIGNALS:
            core_h = images * DIGESTS_PER_ROW * model.compare_s(signals) / 3600
            times = [
                f"{model.rescan_s(images, signals, machines) / 3600:,.2f}"
                for machines in (1, 10, 100, 1000)
            ]
            rows.append((f"{images:.0e}", f"{signals:.0e}", f"{core_h:,.0f}", *times))
    head = ("images", "signals", "core-hours", "1 machine h", "10", "100", "1,000")
    return _table(head, rows)


def _delta(model: Model) -> str:
    rows = []
    for images, machines in ((1e8, 1), (1e9, 3), (1e10, 20), (1e10, 100)):
        for new in (100, 1_000, 10_000):
            load = Load(images=images, signals=1e8, new_images=0, new_signals=new, sync_s=300)
            stages = model.feed_to_suppression(load, machines)
            rows.append(
                (
                    f"{images:.0e}",
                    f"{machines}",
                    f"{new:,}",
                    *(f"{seconds:,.1f}" for seconds in stages.values()),
                    f"{sum(stages.values()):,.0f}",
                )
            )
    names = list(model.feed_to_suppression(Load(
        images=1, signals=1, new_images=0, new_signals=1, sync_s=0), 1))  # fmt: skip
    return _table(("images", "machines", "new signals", *names, "sum"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("--:",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def assumed(machine: Machine) -> str:
    """Say what machines were assumed."""
    return (
        f"{machine.cores} cores, {machine.memory_bytes / 1e9:.0f} GB memory,"
        f" {machine.disk_bytes / 1e12:.0f} TB disk at {machine.disk_bytes_per_s / 1e9:.0f} GB/s,"
        f" {machine.network_bytes_per_s * 8 / 1e9:.0f} Gbit/s; shared storage"
        f" {machine.storage_bytes_per_s * 8 / 1e9:.0f} Gbit/s"
    )

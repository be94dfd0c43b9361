"""The cost model: what so many images and signals take, from rates of one core.

Everything that is said per core is a processor second measured in ``rates``; what the machines are
is assumed (``Machine``). Times between measured numbers of signals follow a power law between the
nearest two; beyond the largest, the line through the last two, which is what the index's buckets
do: they grow with the signals.
"""

from dataclasses import dataclass

import numpy as np

from indexer.model import DIGESTS_PER_ROW
from tests.benchmarks.scale.rates import Rates

DAY_S = 86_400

STORED_IMAGE_BYTES = 860
"""Of an image in the store, with its address and a page: ten million were filled through
``record_visits`` (docs/benchmarks.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of the cluster, and the network between them.

    Attributes:
        cores: that the work may use.
        disk_bytes_per_s: reading.
        network_bytes_per_s: of one machine.
        storage_bytes_per_s: of the shared storage, all readers together.
    """

    cores: int = 32
    memory_bytes: float = 256e9
    disk_bytes: float = 4e12
    disk_bytes_per_s: float = 2e9
    network_bytes_per_s: float = 10e9 / 8
    storage_bytes_per_s: float = 100e9 / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What there is to do.

    Attributes:
        images: indexed.
        signals: active.
        new_images: a day.
        new_signals: in one sync.
        sync_s: between two syncs.
        matches: that one sync leads to.
    """

    images: float
    signals: float
    new_images: float
    new_signals: float
    sync_s: float
    matches: float = 1_000


class Model:
    """Answers for one kind of machine."""

    def __init__(self, rates: Rates, machine: Machine) -> None:
        self.rates, self.machine = rates, machine

    def compare_s(self, signals: float) -> float:
        """Seconds of a core for one stored hash against so many signals."""
        return _between(self.rates.compare_s, signals)

    def load_s(self, signals: float) -> float:
        """Seconds of a core until a worker has so many signals, start-up included."""
        return self.rates.start_s + _between(self.rates.load_s, signals)

    def generation_bytes(self, signals: float) -> float:
        """Bytes of the sealed file."""
        return _between({n: float(b) for n, b in self.rates.generation_bytes.items()}, signals)

    def rescan_s(self, images: float, signals: float, machines: int) -> float:
        """Seconds of a re-scan over so many machines: the slowest of processors, disk, start.

        One worker a machine holds the signals, and its threads share them.
        """
        hashes = images * DIGESTS_PER_ROW / machines
        work_s = hashes * self.compare_s(signals) / self.machine.cores
        read_s = images / machines * self.rates.table_bytes / self.machine.disk_bytes_per_s
        return self.broadcast_s(signals, machines) + self.load_s(signals) + max(work_s, read_s)

    def broadcast_s(self, signals: float, machines: int) -> float:
        """Seconds to give the sealed signals to all machines from shared storage."""
        size = self.generation_bytes(signals)
        return max(
            size / self.machine.network_bytes_per_s,
            size * machines / self.machine.storage_bytes_per_s,
        )

    def seal_s(self, signals: float) -> float:
        """Seconds of the driver to index and seal so many signals."""
        return _between(self.rates.seal_s, signals)

    def shards(self, images: float) -> int:
        """Machines whose disks hold the stores, three quarters full, and an export beside."""
        each = STORED_IMAGE_BYTES + self.rates.table_bytes
        return max(1, int(np.ceil(images * each / (0.75 * self.machine.disk_bytes))))

    def visit_cores(self, load: Load) -> float:
        """Cores that storing and matching the new images keeps busy, without hashing."""
        lookups = DIGESTS_PER_ROW * self.compare_s(load.signals)
        return load.new_images / DAY_S * (self.rates.visit_s + lookups)

    def feed_to_suppression(self, load: Load, machines: int) -> dict[str, float]:
        """Seconds from a signal in the feed to its record, stage by stage; waits are means."""
        return {
            "waiting for the sync": load.sync_s / 2,
            "sealing": self.seal_s(load.new_signals),
            "broadcast and start": self.broadcast_s(load.new_signals, machines)
            + self.load_s(load.new_signals),
            "comparing": self.rescan_s(load.images, load.new_signals, machines)
            - self.broadcast_s(load.new_signals, machines)
            - self.load_s(load.new_signals),
            "looking again": load.matches / self.shards(load.images) * self.rates.confirm_s,
            "intake": load.matches * self.rates.intake_s,
        }


def _between(measured: dict[int, float], number: float) -> float:
    """Read a measured curve; beyond its end, a line through the last two points."""
    numbers = sorted(measured)
    if number > numbers[-1]:
        first, last = numbers[-2:]
        slope = (measured[last] - measured[first]) / (last - first)
        return measured[last] + slope * (number - last)
    curve = np.interp(
        np.log(max(number, numbers[0])),
        np.log(numbers),
        np.log([max(measured[n], 1e-12) for n in numbers]),
    )
    return float(np.exp(curve))

"""The engine of many machines: the unit of work as tasks of Ray Data.

A task is a file: its name goes to a worker, a line about what came of it comes back. Hashes and
matches never pass through Ray or its object store, which may write objects to disk. A task of a
node that dies is given to another one by Ray.

What Ray itself does not encrypt unless it is told to is what these lines are sent over, and the
key of the run with them. So a cluster that is not on this machine has to check tokens and to use
TLS (docs/scale.md).
"""

import ipaddress
import logging
import os
import secrets
import warnings
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from delist.errors import RescanError, UsageError
from delist.rescan.job import Job
from delist.rescan.work import FileOutcome, scan_file

try:
    import ray
    from ray.exceptions import RayError
    from ray.util.annotations import RayDeprecationWarning
except ImportError:
    raise UsageError(
        "--engine ray needs Ray, which is not installed: pip install 'delist[ray]'"
    ) from None

_OBJECT_STORE_BYTES = 80 << 20
"""Of a cluster that is started here: Ray's least is 75 MiB, and names of files need little."""

_TOKEN = secrets.token_hex(32)
"""Of clusters that this process starts: Ray reads it once."""

_RETRIES = 4
"""Of a task whose worker or node has died."""

_NODE_LABEL = "ray.io/node-id"


class RayEngine:
    """Runs files over the workers of a Ray cluster; to be closed."""

    def __init__(
        self, *, address: str | None = None, workers: int, trust_network: bool = False
    ) -> None:
        """Connect to a cluster, or start one on this machine.

        Args:
            address: ``host:port`` of a cluster's head; None starts one here.
            workers: most tasks at once; of a cluster that is started here its processors too.
            trust_network: says that the network between the nodes is encrypted otherwise.

        Raises:
            UsageError: the cluster would be open to anybody, or be sent the key in the clear.
            RescanError: it cannot be reached.
        """
        # Ray reads these when it starts, and hands them to what it starts.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if address is None:
            # What is started here asks for tokens unless the mode is set; this one is its own.
            os.environ.pop("RAY_AUTH_MODE", None)
            os.environ["RAY_AUTH_TOKEN"] = _TOKEN
            options: dict[str, Any] = {
                "num_cpus": workers,
                "object_store_memory": _OBJECT_STORE_BYTES,
                "include_dashboard": False,
                "address": "local",
            }
        else:
            _check_cluster(address, trust_network=trust_network)
            options = {"address": address}
        self._workers = workers
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:  # noqa: BLE001 - Ray raises bare ones, as when a node starts late
            raise RescanError(f"the Ray cluster cannot be used: {type(error).__name__}") from None
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1
        # What it says of itself is progress; errors come as errors.
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)

    def run(
        self, job: Job, files: Sequence[str], *, avoid: frozenset[str] = frozenset()
    ) -> Generator[FileOutcome, None, None]:
        """Compare files; outcomes in the order in which they come about.

        A file at which workers die again and again is refused: ``worker_died``.

        Raises:
            RescanError: the cluster failed as a whole; what was yielded counts.
        """
        names = [{"file": file} for file in files]
        rows = ray.data.from_items(names, override_num_blocks=len(files))
        with warnings.catch_warnings():
            # Nothing else bounds the tries of a file that kills its worker; the version is pinned.
            warnings.simplefilter("ignore", RayDeprecationWarning)
            outcomes = rows.map_batches(
                _scan,
                batch_size=1,
                batch_format="numpy",
                fn_kwargs={"job": job},
                num_cpus=job.threads,
                compute=ray.data.TaskPoolStrategy(size=min(self._workers, len(files))),
                label_selector={_NODE_LABEL: f"!in({','.join(sorted(avoid))})"} if avoid else None,
                max_retries=_RETRIES,
            )
        unheard = dict.fromkeys(files)
        try:
            for row in outcomes.iter_rows():
                outcome = FileOutcome.of_text(row["outcome"])
                unheard.pop(outcome.file, None)
                yield outcome
        except RayError as error:
            raise RescanError(f"the Ray cluster failed: {type(error).__name__}") from None
        for file in unheard:
            yield FileOutcome(file=file, refused="worker_died", by_worker=True)

    def has_others(self, avoid: frozenset[str]) -> bool:
        """Say whether the cluster has nodes besides those to avoid."""
        return any(node["Alive"] and node["NodeID"] not in avoid for node in ray.nodes())

    def close(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        ray.shutdown()


def _scan(batch: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """Do what a worker does, of a batch of names of files."""
    node = ray.get_runtime_context().get_node_id()
    lines = [scan_file(job, str(file), worker=node).text() for file in batch["file"]]
    return {"outcome": np.array(lines, dtype=object)}


def _check_cluster(address: str, *, trust_network: bool) -> None:
    host = address.removeprefix("ray://").rpartition(":")[0].strip("[]")
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise UsageError(
            "--address: a cluster without tokens runs what anybody sends it; set"
            " RAY_AUTH_MODE=token on every node and here (docs/scale.md)"
        )
    if _is_here(host) or trust_network or os.environ.get("RAY_USE_TLS") == "1":
        return
    raise UsageError(
        "--address: the key of the run would cross the network in the clear; set RAY_USE_TLS=1 on"
        " every node and here, or say --trust-network if it is encrypted otherwise"
    )


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

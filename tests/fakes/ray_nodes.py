"""A Ray cluster of several nodes on this machine, and a run on it in which a node is killed.

A process of its own (``python -m tests.fakes.ray_nodes DATA_DIR TABLES OLD_PROGRAM``), since Ray
starts threads and children that outlive a test. Prints one JSON document.
"""

import json
import os
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "token"  # before Ray is loaded, which reads it then
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster

from delist.build import Delist
from delist.rescan.on_ray import RayEngine

_TRIES = 3
NODE: dict[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": 80 << 20,
    "include_dashboard": False,
}


def add_node(cluster: Cluster, **options: Any) -> Any:  # noqa: ANN401 - Ray's
    """Start a node; the first is the head. Ray waits 30 s for one, which a busy machine exceeds."""
    for tries in range(_TRIES):
        try:
            return cluster.add_node(**NODE, **options)
        except Exception as error:  # Ray raises no other
            if "timed out" not in str(error) or tries + 1 == _TRIES:
                raise
    return None


def main(data_dir: Path, tables: Path, old_program: Path) -> None:
    """Run on a head that stays, a node that is killed, and one of another version."""
    cluster = Cluster()
    kept, doomed = add_node(cluster), add_node(cluster)
    old = add_node(cluster, env_vars={"PYTHONPATH": str(old_program)})
    nodes = {"kept": kept.node_id, "killed": doomed.node_id, "old": old.node_id}
    killed_at: list[int] = []

    def kill_one(done: int, files: int) -> None:
        if done == files // 3:
            cluster.remove_node(doomed, allow_graceful=False)
            killed_at.append(done)

    engine = RayEngine(address=cluster.address, workers=len(nodes), trust_network=True)
    with Delist.open(data_dir=data_dir) as delist:
        report = delist.file_rescans.run([tables], engine, on_progress=kill_one)
    engine.close()
    cluster.shutdown()
    workers = {name: report.workers.get(node, 0) for name, node in nodes.items()}
    print(json.dumps(asdict(report) | {"workers": workers, "killed_at": killed_at}))  # noqa: T201


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

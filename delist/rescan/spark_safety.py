"""Which Spark clusters may be sent the key of a run (docs/scale.md)."""

import ipaddress
from typing import Any

from delist.errors import UsageError


def check_cluster(address: str, jvm: Any, *, trust_network: bool) -> None:  # noqa: ANN401 - Py4J's
    """Check what Spark has read of its settings, before it is told to connect.

    Args:
        address: URL of a Spark master.
        jvm: Py4J's view of the JVM that has read them.
        trust_network: says that the network between the nodes is encrypted otherwise.

    Raises:
        UsageError: the cluster would be open to anybody, or be sent the key in the clear.
    """
    conf = jvm.org.apache.spark.SparkConf()

    def is_set(name: str) -> bool:
        return bool(conf.get(name, "false") == "true")

    if not is_set("spark.authenticate"):
        raise UsageError(
            "--address: a cluster without authentication runs what anybody sends it; set"
            " spark.authenticate on every node and here (docs/scale.md)"
        )
    encrypted = is_set("spark.network.crypto.enabled") or is_set("spark.ssl.rpc.enabled")
    if not (encrypted or trust_network or _is_here(address)):
        raise UsageError(
            "--address: the key of the run would cross the network in the clear; set"
            " spark.network.crypto.enabled on every node and here, or say --trust-network if it is"
            " encrypted otherwise"
        )


def _is_here(address: str) -> bool:
    """Say whether all masters that a URL names are on this machine."""
    if not address.startswith("spark://"):
        return False
    hosts = [place.rpartition(":")[0] for place in address.removeprefix("spark://").split(",")]
    return all(_is_loopback(host.strip("[]")) for host in hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Run the stand-in by hand: ``python -m delist.ops.standin --port 8099 --records FILE``."""

import argparse
import json
from pathlib import Path

from delist.ops.standin import Faults, StopNciiStandIn, odd_records
from delist.ops.standin.server import ENDPOINTS


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m delist.ops.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=8099, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--records", type=Path, help="JSON lines; without it, one of every oddity")
    parser.add_argument(
        "--keys", default="function-key,subscription-key", help="FUNCTION,SUBSCRIPTION"
    )
    parser.add_argument("--fault-rate", type=float, default=0.0, help="share of requests, 0 to 1")
    return parser.parse_args()


def main() -> None:
    """Serve until interrupted."""
    given = _parse_arguments()
    function_key, _, subscription_key = given.keys.partition(",")
    records = list(odd_records())
    if given.records is not None:
        lines = given.records.read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines if line.strip()]
    with StopNciiStandIn(
        records,
        subscription_key=subscription_key,
        function_keys=dict.fromkeys(ENDPOINTS, function_key),
        faults=Faults(rate=given.fault_rate),
        port=given.port,
    ) as standin:
        print(standin.base_url, flush=True)  # noqa: T201 - the one thing it has to say
        try:
            standin.stopping.wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()

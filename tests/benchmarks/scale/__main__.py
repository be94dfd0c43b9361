"""Measure, or model; see the package."""

# ruff: noqa: T201 - what it finds is printed

import argparse
from pathlib import Path

from tests.benchmarks.scale.model import Machine, Model
from tests.benchmarks.scale.plots import draw
from tests.benchmarks.scale.rates import Rates, measure
from tests.benchmarks.scale.tables import assumed, tables

HELD = Path(__file__).with_name("rates.json")
"""What docs/scale.md was written with."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("measure", "model"))
    parser.add_argument("--to", type=Path, default=Path("rates.json"))
    parser.add_argument("--rates", type=Path, default=HELD)
    parser.add_argument("--plots", type=Path)
    parser.add_argument(
        "--signals", type=int, nargs="+",
        default=[100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000],
    )  # fmt: skip
    given = parser.parse_args()
    if given.what == "measure":
        measure(given.signals, lambda word: print(word, flush=True)).write(given.to)
        return
    model = Model(Rates.read(given.rates), Machine())
    print(f"{model.rates.machine}, {model.rates.measured_at}; assumed: {assumed(model.machine)}")
    print(model.rates.note)
    for table in tables(model):
        print(f"\n{table}")
    if given.plots:
        draw(model, given.plots)


if __name__ == "__main__":
    main()

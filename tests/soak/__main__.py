"""The full count: ``python -m tests.soak``. Prints a table; exit code 1 where runs differ."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak.conduct import Disturbance
from tests.soak.outside import Outside
from tests.soak.report import Trial, run_trial, run_undisturbed, table, write_json
from tests.soak.script import write_script

_CROWD = (20_500, 1_100)
"""Enough that an index of signals is published, and a new one in each round."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run all trials."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--scripts", type=int, nargs="+", default=[1, 2], help="their seeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of kills, for each")
    parser.add_argument("--kills", type=int, default=12, help="commands killed in each round")
    parser.add_argument("--starts", type=int, default=3, help="rounds in which pictures appear")
    parser.add_argument("--crowds", type=int, default=1, help="scripts with 20,000 signals more")
    parser.add_argument("--json", type=Path, help="also write a JSON document there")
    parser.add_argument("--keep", type=Path, help="keep the folders of all runs there")
    given = parser.parse_args()
    trials: list[Trial] = []
    folder = given.keep or Path(tempfile.mkdtemp(prefix="delist-soak-"))
    with Outside() as outside:
        for number, name in enumerate(given.scripts):
            crowd = _CROWD if number < given.crowds else (0, 0)
            script = write_script(name, starts=given.starts, crowd=crowd)
            place = folder / str(name)
            calm = run_undisturbed(place, outside, script)
            for seed in given.seeds:
                disturbance = Disturbance(seed=seed, kills=given.kills)
                trial = run_trial(place, outside, script, disturbance, calm)
                trials.append(trial)
                found = len(trial.differences)
                say(f"script {name}, seed {seed}: {trial.killed} kills, {found} differences")
    say("\n".join(table(trials)))
    if given.json is not None:
        write_json(trials, given.json)
    if given.keep is None:
        shutil.rmtree(folder)
    return 1 if any(trial.differences for trial in trials) else 0


if __name__ == "__main__":
    sys.exit(main())

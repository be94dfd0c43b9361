"""The whole proof: scripts of several seeds, each undisturbed, then with kills; what differs."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.conduct import Disturbance, Outcome, Run
from tests.soak.outside import Outside
from tests.soak.script import Script
from tests.soak.state import differences


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One disturbed run of a script.

    Attributes:
        seed: of the script.
        disturbed_by: seed of the kills.
        records: of the ledger.
        repeated: records that the webhook's receiver was told again.
        differences: between the two runs, in words; also what should not be so in any run.
    """

    seed: int
    disturbed_by: int
    rounds: int
    records: int
    repeated: int
    kills: Counter[str]
    seconds: float
    undisturbed_seconds: float
    differences: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        return sum(self.kills.values())


def run_undisturbed(folder: Path, outside: Outside, script: Script) -> Outcome:
    """Run a script as it should be."""
    return Run(folder / "undisturbed", outside, script).go()


def run_trial(
    folder: Path, outside: Outside, script: Script, disturbance: Disturbance, calm: Outcome
) -> Trial:
    """Run a script with kills and the local secrets of the undisturbed run; compare the ends."""
    place = folder / f"disturbed-{disturbance.seed}"
    shutil.copytree(folder / "undisturbed" / "data" / "secrets", place / "data" / "secrets")
    killed = Run(place, outside, script, disturbance=disturbance).go()
    found = [f"undisturbed, {line}" for line in _faults(calm)]
    found += _faults(killed) + differences(calm.state, killed.state)
    arrived = outside.receiver.arrived
    return Trial(
        seed=script.seed,
        disturbed_by=disturbance.seed,
        rounds=len(script.rounds),
        records=sum(map(len, killed.state["ledger"].values())),
        repeated=len(arrived) - len({entry["id"] for entry in arrived}),
        kills=killed.kills,
        seconds=killed.seconds,
        undisturbed_seconds=calm.seconds,
        differences=found,
    )


def _faults(outcome: Outcome) -> list[str]:
    return [*outcome.complaints, *(f"problem: {one}" for one in outcome.state["problems"])]


def table(trials: list[Trial]) -> Iterator[str]:
    """Write trials as lines of text."""
    yield (
        f"{'script':>6} {'seed':>6} {'rounds':>7} {'records':>8} {'kills':>6} {'seconds':>8}"
        "  differences"
    )
    for trial in trials:
        yield (
            f"{trial.seed:>6} {trial.disturbed_by:>6} {trial.rounds:>7} {trial.records:>8}"
            f" {trial.killed:>6} {trial.seconds:>8.0f}  {len(trial.differences) or 'none'}"
        )
        yield from (f"        {line}" for line in trial.differences[:20])
    kills: Counter[str] = sum((trial.kills for trial in trials), Counter())
    found = sum(len(trial.differences) for trial in trials)
    yield f"{'all':>6} {'':>6} {'':>7} {'':>8} {kills.total():>6} {'':>8}  {found or 'none'}"
    yield "killed, by command and moment:"
    for name, count in kills.most_common():
        yield f"{count:>6}  {name}"


def document(trials: list[Trial]) -> dict[str, Any]:
    """Write trials as one JSON document."""
    kills: Counter[str] = sum((trial.kills for trial in trials), Counter())
    return {
        "kills": kills.total(),
        "scripts": sorted({trial.seed for trial in trials}),
        "seeds": [trial.disturbed_by for trial in trials],
        "differences": sum(len(trial.differences) for trial in trials),
        "kills_by_command": dict(kills.most_common()),
        "trials": [
            {
                "script": trial.seed,
                "seed": trial.disturbed_by,
                "rounds": trial.rounds,
                "records": trial.records,
                "webhook_repeated": trial.repeated,
                "kills": trial.killed,
                "seconds": trial.seconds,
                "undisturbed_seconds": trial.undisturbed_seconds,
                "differences": trial.differences,
            }
            for trial in trials
        ],
    }


def write_json(trials: list[Trial], path: Path) -> None:
    path.write_text(json.dumps(document(trials), indent=1) + "\n")

"""What a trust team rules: the policy, the brakes and the bank of known-benign images.

Each method is one use case; what it changes for cases is done by the next intake.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from delist.casework.views import Rules
from delist.governance import enacting, explaining, stopping, vouching
from delist.governance.enacting import Enacted, InForce
from delist.governance.explaining import Explanation
from delist.governance.simulation import Progress, Simulation, SimulationReport
from delist.governance.stopping import Switched
from delist.governance.vouching import Picture, Vouched, Vouching
from delist.model import BrakeKind
from delist.policy import Policy, annotated_policy, read_policy, read_text
from delist.settings import DelistSettings
from delist.store import Database
from delist.store.benign import BenignImage
from delist.store.brakes import Brake
from delist.store.policies import AppliedPolicy
from indexer.build import Indexer
from indexer.model import DIGEST_BYTES

RulesOf = Callable[[Policy | None], Rules]


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """The use cases on the open stores.

    Attributes:
        rules: under a policy; None for the one in force.
    """

    indexer: Indexer
    database: Database
    settings: DelistSettings
    rules: RulesOf
    clock: Callable[[], datetime]

    def in_force(self) -> InForce:
        """Show the policy in force; see ``enacting.in_force``."""
        return enacting.in_force(self.database, configured=self._configured)

    def history(self) -> list[AppliedPolicy]:
        """List the policies that were applied, the newest first."""
        return enacting.history(self.database)

    def apply(self, path: Path, *, actor: str, reason: str) -> Enacted:
        """Put a policy file in force; see ``enacting.enact``."""
        return enacting.enact(
            self.database,
            path,
            configured=self._configured,
            actor=actor,
            reason=reason,
            now=self.clock(),
        )

    def simulate(
        self,
        path: Path,
        *,
        stopped: Callable[[], bool] = lambda: False,
        on_progress: Progress = lambda _done, _all: None,
    ) -> SimulationReport:
        """Say what a policy file would do to the stored cases; see ``simulation``.

        Raises:
            PolicyError: the file is wrong.
        """
        rules = self.rules(read_policy(path))
        simulation = Simulation(self.indexer.store, self.database, rules=rules, now=self.clock())
        return simulation.run(stopped=stopped, on_progress=on_progress)

    def explain(self, case_id: str, *, actor: str) -> Explanation:
        """Say why a case stands where it stands; see ``explaining.explain``."""
        return explaining.explain(
            self.indexer.store,
            self.database,
            case_id,
            rules=self.rules(None),
            actor=actor,
            now=self.clock(),
        )

    def brakes(self, *, every: bool = False) -> list[Brake]:
        """List the brakes that are on, or all that ever were, the newest first."""
        return stopping.listed(self.database, every=every)

    def stop(self, kind: BrakeKind, name: str, *, actor: str, reason: str) -> Switched:
        """Stop a feed or a signal; see ``stopping.stop``."""
        return stopping.stop(
            self.indexer.store,
            self.database,
            kind,
            name,
            feeds=frozenset(feed.name for feed in self.settings.indexer.feeds),
            actor=actor,
            reason=reason,
            now=self.clock(),
        )

    def release(self, kind: BrakeKind, name: str, *, actor: str, reason: str) -> Switched:
        """Release what was stopped; see ``stopping.release``."""
        return stopping.release(
            self.database, kind, name, actor=actor, reason=reason, now=self.clock()
        )

    def benign_images(self) -> list[BenignImage]:
        """List the bank of known-benign images."""
        return vouching.listed(self.database)

    def add_benign(
        self, pictures: Sequence[Picture], *, label: str = "", actor: str
    ) -> list[Vouched]:
        """Add pictures to the bank; see ``vouching.Vouching.add``."""
        return self._vouching().add(pictures, label=label, actor=actor, now=self.clock())

    def remove_benign(self, image_id: int, *, actor: str, reason: str) -> Vouched:
        """Remove a picture from the bank; see ``vouching.Vouching.remove``."""
        return self._vouching().remove(image_id, actor=actor, reason=reason, now=self.clock())

    def _vouching(self) -> Vouching:
        return Vouching(
            self.indexer.store,
            self.database,
            self._near_signals,
            threshold_bits=self.settings.indexer.matching.threshold_bits,
        )

    def _near_signals(self, rows: bytes) -> list[str]:
        digests = np.frombuffer(rows, np.uint8).reshape(-1, DIGEST_BYTES)
        _, keys, _ = self.indexer.match_digests(digests)
        return sorted({key.tobytes().hex() for key in keys})

    def _configured(self) -> str:
        file = self.settings.policy_file
        return annotated_policy() if file is None else read_text(file)

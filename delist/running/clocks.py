"""What runs out, such as the 48 hours a survivor was promised: looked at, and told to the log.

``delist.monitoring`` judges; ``delist doctor``, ``/readyz`` and the metrics ask it themselves.
What stands at two looks in a row is told once, and once more when it is over: a feed that is not
synced yet when the service begins, say, is nothing to wake anybody for.
"""

from collections.abc import Mapping, Sequence

import structlog

from delist.monitoring import CODES, Condition, Health

_log = structlog.get_logger()
_Key = tuple[str, str]


class Clocks:
    """Remembers what was told. For one thread."""

    def __init__(self) -> None:
        self._seen: set[_Key] = set()
        self._told: set[_Key] = set()

    def tell(self, conditions: Sequence[Condition]) -> None:
        """Tell what has been so for two looks, and what is over.

        Args:
            conditions: what is stale or wrong now.
        """
        found: Mapping[_Key, Condition] = {
            (condition.code, condition.subject): condition for condition in conditions
        }
        for key, condition in found.items():
            if key in self._seen and key not in self._told:
                self._told.add(key)
                say = _log.error if CODES[condition.code] is Health.FAILED else _log.warning
                say(
                    "condition.standing",
                    code=condition.code,
                    subject=condition.subject,
                    detail=condition.detail,
                )
        for code, subject in sorted(self._told - set(found)):
            self._told.discard((code, subject))
            _log.info("condition.settled", code=code, subject=subject)
        self._seen = set(found)

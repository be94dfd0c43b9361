"""Periodic work: the jobs of `delist run`, and the service around them.

``jobs`` says what a job is and when it is due, ``work`` has the table of them, ``runs`` runs
them, ``leader`` decides among processes, ``watching`` looks after hangs and clocks, ``service``
holds it together.
"""

from delist.running.leader import Leader, leads_here, leads_somewhere
from delist.running.service import End, Service, run_service

__all__ = ["End", "Leader", "Service", "leads_here", "leads_somewhere", "run_service"]

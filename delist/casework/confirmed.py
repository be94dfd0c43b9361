"""What a person confirmed stays suppressed until a person has looked at what is there now.

A host may answer our crawler with another image than people see. So other bytes, or a redirect,
lift what the machine did on its own, and never what a person confirmed (ADR 0043): the case is
about the new bytes from then on, waits for a person, and the records stay as they are. It notes
the bytes that were confirmed for that (``Case.confirmed_sha256``), for as long as it suppresses.

A withdrawal is obeyed all the same: where no signal is left that stood behind the case, and the
policy does not keep what was confirmed, nothing is kept here.
"""

from dataclasses import replace

import lmdb

from delist.model import Case, CaseMatch, CaseState, Support, Verdict
from delist.policy import ConfirmedRule, Policy
from indexer.model import ImageRecord
from indexer.store import Store


def content_there(
    store: Store, txn: lmdb.Transaction, image_url: str, record: ImageRecord | None
) -> str:
    """Return the SHA-256, hex, of what a URL leads to now, by a redirect perhaps; "" if unknown.

    Args:
        record: of the image under its own URL, None where there is none any more.
    """
    found = record or store.images.find_by_url(txn, image_url)
    return "" if found is None else found.sha256.hex()


def follow_content(case: Case, content_sha256: str, policy: Policy) -> Case:
    """Have a case be about what is there now, where nothing matches that and more was confirmed.

    Args:
        case: with its matches as they are now.
        content_sha256: what is there now; empty: not known.
    """
    if policy.confirmed.after_replacement != ConfirmedRule.KEEP:
        return replace(case, confirmed_sha256="")
    if not case.confirmed_sha256 or case.active_matches:
        return case
    keeps = policy.confirmed.after_withdrawal == ConfirmedRule.KEEP
    if not keeps and all(match.support is Support.WITHDRAWN for match in case.matches):
        return replace(case, confirmed_sha256="")
    return replace(case, content_sha256=content_sha256 or case.content_sha256)


def with_confirmed(case: Case, policy: Policy) -> Case:
    """Note what is confirmed, once the verdict on what is there now is known."""
    if policy.confirmed.after_replacement != ConfirmedRule.KEEP:
        confirmed = ""
    elif case.verdict is Verdict.NCII:
        confirmed = case.content_sha256 if case.active_matches else case.confirmed_sha256
    elif case.verdict is Verdict.NOT_NCII or not case.has_changed:
        confirmed = ""
    else:
        confirmed = case.confirmed_sha256
    return replace(case, confirmed_sha256=confirmed)


def with_state(case: Case, state: CaseState) -> Case:
    """Set the state; only what is suppressed is kept."""
    confirmed = case.confirmed_sha256 if state is CaseState.SUPPRESSED else ""
    return replace(case, state=state, confirmed_sha256=confirmed)


def basis_of(case: Case) -> CaseMatch:
    """Return what a kept record rests on: the nearest match, of a live signal if there is one."""
    live = [match for match in case.matches if match.support is not Support.WITHDRAWN]
    return min(live or case.matches, key=lambda match: (match.distance_bits, match.signal_key))

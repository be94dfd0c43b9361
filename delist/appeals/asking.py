"""Asking to look again: what a site's owner and a survivor can do.

A site owner's appeal, step by step:

(1) ``open_for_site`` answers the same whatever the address is: nothing is looked up.
(2) ``prove`` looks for the token on the site. Only then is it said whether there is a record,
    and never of one that is newer than the delay: it is as if there were none.
(3) A person decides; see ``delist.appeals.deciding``.

A survivor proves who they are with their access code, so (1) and (2) are one step. Their case
reference is not kept, only its key.
"""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b

import lmdb
from sqlalchemy import Connection

from delist import access, emission
from delist.appeal_record import Appeal, AppealState, Asks, Party, Step, after, can_be_asked
from delist.appeals.desk import AppealDesk, checked_url
from delist.errors import AccessError, TriesUsedError, UsageError
from delist.reporting import is_told_of, signals_behind
from delist.site_proof import SiteFetch, find_proof, places
from delist.sites import site_of
from delist.store import appeals as table
from delist.store import audit, ledger

_MAX_CONTACT, _MAX_TEXT = 500, 4000
_MAX_UNPROVED = 100
"""Of one site; the oldest give way, so that strangers cannot fill the table."""
_MAX_TRIES = 20
"""To prove one appeal: each makes us fetch from the site."""
_PROOF_ACT = "appeal.looked_for_proof"
_NO_FIT = "case reference and access code do not fit together"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToProve:
    """What the owner of a site is told when they have asked.

    Attributes:
        token: shown this once.
        places: addresses of which one has to hold it.
    """

    appeal_id: str
    token: str
    places: Sequence[str]
    until: datetime


def open_for_site(desk: AppealDesk, url: str, *, contact: str, text: str) -> ToProve:
    """Note what a site owner asks for; says nothing about the address.

    Raises:
        InvalidUrlError: not an absolute http(s) URL.
        UsageError: contact or text is missing, too long, or holds control characters.
    """
    now, token = desk.clock(), secrets.token_urlsafe(32)
    image_url = checked_url(url)
    appeal = Appeal(
        id=secrets.token_hex(16),
        party=Party.SITE_OWNER,
        asks=Asks.LIFT,
        state=AppealState.AWAITING_PROOF,
        image_url=image_url,
        party_key=site_of(image_url),
        contact=_checked_text(contact, "--contact", _MAX_CONTACT),
        statement=_checked_text(text, "--text", _MAX_TEXT),
        opened_at=now,
        deadline_at=now + timedelta(days=desk.settings.proof_days),
    )
    appeal = replace(appeal, proof_hash=_hash(desk, appeal.id, token))
    with desk.database.write() as connection:
        table.add(connection, appeal)
        table.drop_unproved(connection, appeal.party_key, now=now, most=_MAX_UNPROVED)
        table.note(connection, appeal, "appeal.asked", now=now)
    return ToProve(
        appeal_id=appeal.id, token=token, places=places(image_url), until=appeal.deadline_at
    )


def prove(desk: AppealDesk, appeal_id: str, fetch: SiteFetch) -> Appeal:
    """Look for the token on the site, and open the appeal. One that is proved stays as it is.

    Returns:
        The appeal, ``open`` or ``no_record``.

    Raises:
        UnknownAppealError: no such appeal, or its time is over.
        ProofError: the token was not found.
        TriesUsedError: too many tries.
        UsageError: the site's quota is used up, or an appeal about the image waits already.
    """
    with desk.database.read() as connection:
        appeal = table.get(connection, appeal_id, now=desk.clock())
        tries = sum(entry.act == _PROOF_ACT for entry in audit.after(connection, subject=appeal.id))
    if appeal.state is not AppealState.AWAITING_PROOF:
        return appeal
    if tries >= _MAX_TRIES:
        raise TriesUsedError(f"looked for the proof {_MAX_TRIES} times; open another appeal")
    with desk.database.write() as connection:
        table.note(connection, appeal, _PROOF_ACT, now=desk.clock())
    found = find_proof(
        appeal.image_url,
        lambda text: hmac.compare_digest(_hash(desk, appeal.id, text), appeal.proof_hash),
        fetch,
    )
    now = desk.clock()
    with desk.database.write() as connection, desk.store.read() as txn:
        appeal = table.get(connection, appeal_id, now=now)
        if appeal.state is not AppealState.AWAITING_PROOF:
            return appeal
        appeal = replace(
            appeal, proof_method=found.method, proved_for=found.authority, proved_at=now
        )
        return _proved(desk, connection, txn, appeal, now=now)


def open_for_survivor(
    desk: AppealDesk, case_ref: str, access_code: str, url: str, *, asks: Asks, text: str
) -> Appeal:
    """Open an appeal of the holder of a case reference and its access code.

    Raises:
        AccessError: the two do not fit together, or there is no such case reference.
        InvalidUrlError: not an absolute http(s) URL.
        UsageError: no image of this case has the address, or this cannot be asked of it
            now, or is asked already, or the quota is used up.
    """
    if not access.is_valid(desk.store, desk.database, desk.secret, case_ref, access_code):
        raise AccessError(_NO_FIT)
    return open_for_holder(desk, case_ref, url, asks=asks, text=text, proof="access_code")


def open_for_holder(
    desk: AppealDesk, case_ref: str, url: str, *, asks: Asks, text: str, proof: str
) -> Appeal:
    """Open an appeal of somebody who has shown that a case is theirs.

    Args:
        proof: how: ``access_code``, or ``image`` for the image hashed on their own device.

    Raises:
        AccessError: there is no such case reference.
        InvalidUrlError, UsageError: as ``open_for_survivor`` has them.
    """
    now, image_url = desk.clock(), checked_url(url)
    text = _checked_text(text, "--text", _MAX_TEXT)
    case_key = desk.store.signals.case_key(case_ref).hex()
    with desk.database.write() as connection, desk.store.read() as txn:
        signals = desk.store.signals.signals_of_case(txn, case_ref)
        if not signals:
            raise AccessError(_NO_FIT)
        live = {key.hex() for key, is_live in signals.items() if is_live}
        case = desk.case_at(connection, txn, image_url)
        if case is None or not is_told_of(case, signals_behind(connection, sorted(live))):
            raise UsageError("no image of this case has this address")
        if not can_be_asked(asks, case.state):
            state = "is not away from results" if asks is Asks.LIFT else "was not dismissed"
            raise UsageError(f"the image {state}, so there is nothing to look at again")
        _check_quota(desk, connection, Party.SURVIVOR, case_key, case.id, now=now)
        record = emission.effective(ledger.of_case(connection, case.id)).get(image_url)
        appeal = Appeal(
            id=secrets.token_hex(16),
            party=Party.SURVIVOR,
            asks=asks,
            state=AppealState.OPEN,
            image_url=image_url,
            case_id=case.id,
            record_id="" if record is None else record.id,
            content_sha256=case.content_sha256,
            party_key=case_key,
            contact="",
            statement=text,
            proof_method=proof,
            proved_at=now,
            opened_at=now,
            deadline_at=now + timedelta(days=desk.settings.days),
        )
        table.add(connection, appeal)
        table.note(connection, appeal, "appeal.opened", now=now)
    return appeal


def _proved(
    desk: AppealDesk,
    connection: Connection,
    txn: lmdb.Transaction,
    appeal: Appeal,
    *,
    now: datetime,
) -> Appeal:
    """Open an appeal whose proof was found, if there is a record that can be told of."""
    told = desk.told(connection, txn, appeal.image_url, now=now)
    case_id = None if told is None else told.case.id
    _check_quota(desk, connection, appeal.party, appeal.party_key, case_id, now=now)
    state = after(appeal.state, Step.PROVED_WITHOUT_RECORD if told is None else Step.PROVED)
    assert state is not None  # noqa: S101 - it awaits its proof
    if told is None:
        # Nothing to answer later, so nothing to keep but that control was proved.
        appeal = replace(appeal, state=state, image_url="", contact="", statement="")
    else:
        appeal = replace(
            appeal,
            state=state,
            case_id=case_id,
            record_id=told.record.id,
            content_sha256=told.case.content_sha256,
            deadline_at=now + timedelta(days=desk.settings.days),
        )
    table.put(connection, appeal)
    table.note(connection, appeal, "appeal.opened", now=now)
    return appeal


def _check_quota(
    desk: AppealDesk,
    connection: Connection,
    party: Party,
    party_key: str,
    case_id: str | None,
    *,
    now: datetime,
) -> None:
    if case_id is not None and table.find_open(connection, party, party_key, case_id):
        raise UsageError("an appeal about this image waits for a decision already")
    day = now - timedelta(hours=24)
    if (
        table.count_open(connection, party, party_key) >= desk.settings.open_per_site
        or table.count_proved(connection, party, party_key, since=day) >= desk.settings.per_site_day
    ):
        raise UsageError("too many appeals of this site or case reference; try again later")


def _hash(desk: AppealDesk, appeal_id: str, token: str) -> str:
    offered = f"appeal\0{appeal_id}\0{token}".encode("utf-8", "surrogatepass")
    return blake2b(offered, key=desk.secret, digest_size=32).hexdigest()


def _checked_text(given: str, name: str, longest: int) -> str:
    """Trim a stranger's text; control characters could take over a reviewer's terminal."""
    given = given.strip()
    if not 0 < len(given) <= longest or not all(_is_plain(sign) for sign in given):
        raise UsageError(f"{name}: plain text of 1 to {longest} characters is needed")
    return given


def _is_plain(sign: str) -> bool:
    # A half of a pair stands for a byte of the command line that is no UTF-8.
    control, half = "\x7f" <= sign <= "\x9f", "\ud800" <= sign <= "\udfff"
    return sign == "\n" or (sign >= " " and not control and not half)

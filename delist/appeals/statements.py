"""The statement of reasons: what the owner of a site is told about a result that is not shown.

It is neutral. It names no feed, no hash, no distance, no person and nobody who reported; it
says only in general that automated means and people may have a part in a decision. So it is
the same for every record but for the address and the day: nobody learns from it whether, or
by whom, an image was reported. It is given only some time after the result went: whoever
planted a copy and watches should learn little from when it went.
"""

from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from delist import emission, review
from delist.appeal_record import Party
from delist.appeals.desk import AppealDesk, checked_url
from delist.errors import UnknownRecordError, UsageError
from delist.model import SuppressionRecord
from delist.reporting import Language, defang, language, pages
from delist.site_proof import is_covered
from delist.store import appeals as table
from delist.store import audit, ledger


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


GROUND = _(
    "Policy of this search engine on intimate images: results do not show images that are, or"
    " are taken to be, intimate and shared without the consent of a person they show. Nudity is"
    " not what this is about, and nothing is said about whoever runs the website."
)
MEANS = _(
    "Decisions of this kind may be prepared or made by automated means, by people, or by both."
    " For the safety of people who may be concerned, it is not said which it was, or what a"
    " decision rests on, in any single case."
)
_SCOPES = {
    "image": _("The image itself: it is not shown in results. Pages that hold it may be."),
    "thumbnail": _("The small preview of the image in results."),
    "cache": _("The copy of the image that this search engine holds."),
    "page": _("The page: it is not listed in results."),
}
_APPEAL = _(
    "Whoever controls the website can ask us to look again: prove control with a file or a meta"
    " element on the website, and say why. A person who has not decided on the image before looks"
    " at it and answers within %(days)s days. If the decision is reversed, results show the image"
    " again."
)
REDRESS = _(
    "Bodies for the settlement of disputes outside court and courts remain open, as the law of"
    " the place provides."
)
_TITLE = _("Statement of reasons")
_ADDRESS, _SINCE = _("Not shown in results:"), _("Since:")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOfReasons:
    """Why a result is not shown, in words for the owner of its site.

    Attributes:
        image_url: defanged.
        since: the day in UTC, no finer.
        appeal_days: that a person has to answer an appeal.
    """

    image_url: str = field(repr=False)
    scope: str
    since: date
    ground: str = GROUND
    means: str = MEANS
    appeal: str
    appeal_days: int
    redress: str = REDRESS


def statement_of(
    record: SuppressionRecord, *, since: datetime, appeal_days: int
) -> StatementOfReasons:
    """Write the statement of a record that is in effect."""
    return StatementOfReasons(
        image_url=defang(record.image_url),
        scope=_SCOPES[record.scope],
        since=since.date(),
        appeal=_APPEAL % {"days": appeal_days},
        appeal_days=appeal_days,
    )


def statement_for_owner(desk: AppealDesk, url: str, *, appeal_id: str) -> StatementOfReasons:
    """Write the statement of reasons for somebody who proved control of an address's site.

    Raises:
        UnknownAppealError: no such appeal.
        UsageError: it is no proof for this address, or an old one.
        UnknownRecordError: nothing that can be told of concerns the address.
    """
    now, image_url = desk.clock(), checked_url(url)
    with desk.database.write() as connection, desk.store.read() as txn:
        appeal = table.get(connection, appeal_id, now=now)
        until = (appeal.proved_at or now) + timedelta(days=desk.settings.days)
        if (
            appeal.party is not Party.SITE_OWNER
            or appeal.proved_at is None
            or now > until
            or not is_covered(image_url, appeal.proved_for)
        ):
            raise UsageError("this appeal is no proof of control over the address now")
        table.note(connection, appeal, "statement.asked", now=now)
        told = desk.told(connection, txn, image_url, now=now)
    if told is None:
        raise UnknownRecordError(_nothing(desk))
    return statement_of(told.record, since=told.since, appeal_days=desk.settings.days)


def statement_of_record(desk: AppealDesk, record_id: str, *, actor: str) -> StatementOfReasons:
    """Write the statement of a record in effect, for an operator to send on.

    Raises:
        UnknownRecordError: no such record, or not in effect, or too new to be told of.
    """
    actor, now = review.checked_actor(actor), desk.clock()
    with desk.database.write() as connection:
        record = ledger.find(connection, record_id)
        if record is not None:
            records = ledger.of_case(connection, record.case_id)
            since = emission.hidden_since(records, record.image_url)
            held = emission.effective(records).get(record.image_url)
            if since is not None and held == record and desk.can_tell(since, now):
                audit.append(
                    connection, actor=actor, act="statement.given", subject=record.id, now=now
                )
                return statement_of(record, since=since, appeal_days=desk.settings.days)
    raise UnknownRecordError(_nothing(desk))


def as_json(statement: StatementOfReasons, words: Language | None = None) -> dict[str, Any]:
    """Turn a statement into JSON values, sentences in a language (English by default)."""
    words = words or language("en")
    said = {
        name: words.say(getattr(statement, name))
        for name in ("scope", "ground", "means", "redress")
    }
    return asdict(statement) | {
        **said,
        "appeal": words.say(_APPEAL, days=words.number(statement.appeal_days)),
        "since": statement.since.isoformat(),
        "lang": words.tag,
    }


def as_text(statement: StatementOfReasons, words: Language | None = None) -> str:
    """Write a statement as a letter has it, in English by default."""
    words = words or language("en")
    return "\n\n".join(
        (
            words.say(_TITLE),
            f"{words.say(_ADDRESS)} {statement.image_url}",
            f"{words.say(_SINCE)} {words.day(statement.since)}",
            *(f"{label} {text}" for label, text in _parts(statement, words)),
        )
    )


def as_html(statement: StatementOfReasons, words: Language | None = None) -> str:
    """Write a statement as a page that loads nothing, in English by default."""
    words = words or language("en")
    return pages.render(
        "statement.html", words, statement=statement, parts=_parts(statement, words)
    )


def _parts(statement: StatementOfReasons, words: Language) -> list[tuple[str, str]]:
    said = as_json(statement, words)
    labels = {
        "scope": _("What this covers:"),
        "ground": _("Ground:"),
        "means": _("How such decisions are made:"),
        "appeal": _("How to appeal:"),
        "redress": _("Other ways:"),
    }
    return [(words.say(label), said[name]) for name, label in labels.items()]


def _nothing(desk: AppealDesk) -> str:
    return (
        "there is no record in effect that can be told of; one is told of when the result"
        f" has been away for {desk.settings.statement_delay_hours} hours"
    )

"""What all search engines' sinks have in common: documents are marked, never deleted.

A document that is hidden has a true ``hidden_field``, by which result pages leave it out, and in
``record_field`` the ids of the records that hide it. It may hold several: an engine may know one
image under several addresses, or a page with several images, and a document is shown again when
the last of them has ended.

Documents are found first and written by their ids, so an engine needs no way to change what a
query finds, and a value never becomes part of a query's text. What is not in the index is no
failure: there is nothing to hide.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from delist.consumers.instructions import Instruction
from delist.model import Scope
from delist.sinks.port import Held
from indexer.errors import SettingsError
from indexer.settings import setting

DOCUMENT_ID, URL, URL_KEY = "document_id", "url", "url_key"
_MATCH_BY = (DOCUMENT_ID, URL, URL_KEY)

NO_DOCUMENT_ID = "no_document_id"
TOO_LONG = "too_long_for_engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkingSettings:
    """How documents of an engine are found and marked."""

    match_by: str = setting(
        DOCUMENT_ID,
        "How an engine's document is found: by its own id, which travels with the record; by the\n"
        "canonical address in a field of it (url); or by the key of that address (url_key).",
    )
    match_field: str = setting("", "Field that holds the address or its key.")
    hidden_field: str = setting("delist_hidden", "Boolean field: true where it is to be hidden.")
    record_field: str = setting("delist_record", "Field with ids of the records that hide it.")
    scopes: tuple[str, ...] = setting(
        tuple(scope.value for scope in Scope), "Scopes of records that this index obeys."
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: one is wrong.
        """
        if self.match_by not in _MATCH_BY:
            raise SettingsError(f"match_by: must be one of {', '.join(_MATCH_BY)}")
        if (self.match_by == DOCUMENT_ID) != (not self.match_field):
            raise SettingsError(
                f'match_field: is needed where match_by is "{URL}" or "{URL_KEY}", and only there'
            )
        names = [self.hidden_field, self.record_field]
        if self.match_field:
            names.append(self.match_field)
        if not all(names) or len(set(names)) < len(names):
            raise SettingsError("hidden_field, record_field, match_field: different fields")
        if not all(name.replace("_", "").replace(".", "").isalnum() for name in names):
            raise SettingsError("hidden_field, record_field, match_field: letters, digits, . and _")
        known = {scope.value for scope in Scope}
        if not self.scopes or not known.issuperset(self.scopes):
            raise SettingsError(f"scopes: some of {', '.join(sorted(known))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A document of an engine, and how it is marked.

    Attributes:
        document: the engine's own id.
        values: what stands in ``match_field``; with ``document_id``, the id.
        records: what stands in ``record_field``.
    """

    document: str = field(repr=False)
    values: tuple[str, ...] = field(default=(), repr=False)
    records: tuple[str, ...] = ()
    hidden: bool = False


class Engine(Protocol):
    """What an engine has to be able to do. Every method raises ``SinkError``.

    What was marked shows in what is found afterwards, at once.
    """

    def cannot_find(self, value: str) -> str:
        """Say why a document could not be found by a value though it were there, or ""."""

    def find(self, values: Sequence[str]) -> Iterable[Marked]:
        """Find the documents that have one of these values, perhaps with others beside them."""

    def find_by_record(self, records: Sequence[str]) -> Iterable[Marked]:
        """Find the documents that one of these records hides, perhaps with others beside them."""

    def mark(self, marks: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
        """Set the records that hide documents; a document without any is shown.

        Returns:
            documents that the engine does not take, with a reason; those that are gone are not
            among them.
        """

    def hidden(self) -> Iterable[Marked]:
        """Iterate over documents that are hidden."""

    def close(self) -> None:
        """Close what was opened. Closing twice does nothing."""


class MarkingSink:
    """Obeys instructions by marking documents of one engine."""

    def __init__(self, engine: Engine, settings: MarkingSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._by_id = settings.match_by == DOCUMENT_ID
        self._scopes = frozenset(settings.scopes)

    def deliver(self, batch: Sequence[Instruction]) -> Mapping[int, str]:
        """Mark what instructions are about; see ``delist.sinks.port.Sink``."""
        refused: dict[int, str] = {}
        values: dict[int, str] = {}
        # What takes the place of a record, or ends it, counts: that one need not be found.
        in_the_end = {
            told.record_url: told.suppressed and bool(self._why_not(told))
            for told in batch
            if not told.erased
        }
        for told in batch:
            if told.erased or not self._obeys(told):
                continue
            reason = self._why_not(told)
            if not reason:
                values[told.sequence] = self._value(told)
            elif told.suppressed and in_the_end[told.record_url]:
                refused[told.sequence] = reason
        obeyed = [told for told in batch if self._obeys(told) and told.sequence not in refused]
        marks = _Marks(self._documents(obeyed, values), by_id=self._by_id)
        for told in obeyed:
            marks.obey(told, values.get(told.sequence), ends=self._ends(told))
        for document, reason in self._engine.mark(marks.changed()).items():
            refused.update(dict.fromkeys(marks.touched[document], reason))
        return refused

    def held(self) -> Iterator[Held]:
        """Iterate over what is hidden because of us; a document once for each record."""
        for found in self._engine.hidden():
            for record in found.records:
                yield Held(document=found.document, record_id=record)

    def lift(self, documents: Sequence[str]) -> None:
        """Show documents again."""
        if documents:
            self._engine.mark(dict.fromkeys(documents, ()))

    def close(self) -> None:
        """Close what was opened."""
        self._engine.close()

    def _obeys(self, told: Instruction) -> bool:
        # Where nothing hides an address any more, nothing of whatever scope does.
        return not told.suppressed or told.scope in self._scopes

    def _ends(self, told: Instruction) -> tuple[str, ...]:
        """Name the records that do not hide anything any more, wherever they stand."""
        if not (told.erased or self._by_id):
            return ()
        return tuple(record for record in (told.supersedes, told.id) if record)

    def _value(self, told: Instruction) -> str:
        if self._by_id:
            return told.document_id
        return told.record_url if self._settings.match_by == URL else told.url_key

    def _why_not(self, told: Instruction) -> str:
        """Say why the document of an instruction cannot be found, or ""."""
        value = self._value(told)
        return self._engine.cannot_find(value) if value else NO_DOCUMENT_ID

    def _documents(
        self, obeyed: Sequence[Instruction], values: Mapping[int, str]
    ) -> dict[str, Marked]:
        found: dict[str, Marked] = {}
        wanted = frozenset(values.values())
        if wanted:
            for marked in self._engine.find(sorted(wanted)):
                # An engine may compare words, or without case: what it proposes is compared here.
                if not wanted.isdisjoint(marked.values):
                    found[marked.document] = marked
        ended = frozenset(record for told in obeyed for record in self._ends(told))
        if ended:
            for marked in self._engine.find_by_record(sorted(ended)):
                if not ended.isdisjoint(marked.records):
                    found.setdefault(marked.document, marked)
        return found


class _Marks:
    """What the marks of some documents come to, one instruction after the other.

    Attributes:
        touched: numbers of the instructions that were about a document.
    """

    def __init__(self, found: Mapping[str, Marked], *, by_id: bool) -> None:
        self._found = found
        self._by_id = by_id
        self._records = {document: list(marked.records) for document, marked in found.items()}
        self.touched: dict[str, list[int]] = {document: [] for document in found}
        self._by_value: dict[str, list[str]] = {}
        for document, marked in found.items():
            for value in marked.values:
                self._by_value.setdefault(value, []).append(document)

    def obey(self, told: Instruction, value: str | None, *, ends: Sequence[str]) -> None:
        for document, records in self._records.items():
            if any(record in records for record in ends):
                self._records[document] = [record for record in records if record not in ends]
                self.touched[document].append(told.sequence)
        if value is None:
            return
        for document in self._by_value.get(value, ()):
            self.touched[document].append(told.sequence)
            self._records[document] = self._told(document, told)

    def _told(self, document: str, told: Instruction) -> list[str]:
        because = [told.because] if told.suppressed else []
        if not self._by_id and len(self._found[document].values) == 1:
            return because  # this address is the only one that it has
        ended = {told.supersedes, told.id, told.because}
        return [record for record in self._records[document] if record not in ended] + because

    def changed(self) -> dict[str, tuple[str, ...]]:
        """List the documents that are not as they should be, with what hides them."""
        return {
            document: tuple(records)
            for document, records in self._records.items()
            if set(records) != set(self._found[document].records)
            or bool(records) != self._found[document].hidden
        }

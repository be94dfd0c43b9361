"""Index time on a real LMDB: one URL one record, and no signal missed between two commits."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.ann import FlatIndex
from indexer.errors import InvalidUrlError, Refusal, StoreFullError
from indexer.model import (
    Background,
    HashedImage,
    Hasher,
    ImageRecord,
    ImageVisit,
    Match,
    MatchEventKind,
    VisitOutcome,
    VisitResult,
)
from indexer.ports import AnnIndex, Digests
from indexer.settings import StoreSettings
from indexer.store import Store
from indexer.url import canonical_url, url_key
from indexer.visits import VisitRecorder
from tests.fakes.signals import (
    NOW,
    add_signals,
    all_matches,
    dump,
    flip,
    key_of,
    make_digest,
    make_image,
    make_lookup,
    make_visit,
    match_log,
    open_store,
    withdraw,
)

A, B = make_digest(1), make_digest(2)
URL = "http://site.example/image.jpg"
LATER = NOW + timedelta(days=1)
MATCHED, ENDED, ALIAS = MatchEventKind.MATCHED, MatchEventKind.ENDED, MatchEventKind.ALIAS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data") as opened:
        add_signals(opened, [A, B])
        yield opened


def record(store: Store, *visits: ImageVisit, later: bool = False) -> list[VisitResult]:
    recorder = VisitRecorder(store, make_lookup(store))
    return recorder.record(visits, now=LATER if later else NOW)


def find(store: Store, url: str = URL) -> ImageRecord | None:
    with store.read() as txn:
        return store.images.find_by_url(txn, url)


def get(store: Store, url: str = URL) -> ImageRecord:
    found = find(store, url)
    assert found is not None
    return found


def stored_rows(store: Store, url: str = URL) -> tuple[tuple[Background, bytes], ...]:
    with store.read() as txn:
        return store.images.rows(txn, get(store, url))


@pytest.mark.parametrize("why", [Refusal.TIMEOUT, Refusal.DECODER_CRASHED])
def test_frames_that_were_cut_short_are_looked_for_once_more(store: Store, why: Refusal) -> None:
    """Under load later frames may be missing; the same bytes bring them at the next visit."""
    first = replace(make_image(1), incomplete=why)
    (begun,) = record(store, make_visit(URL, first))
    assert get(store).is_unfinished
    (again,) = record(store, make_visit(URL, make_image(1, black={3: A})), later=True)

    assert (begun.outcome, again.outcome) == (VisitOutcome.HASHED, VisitOutcome.HASHED)
    assert [match.signal_key for match in again.matches] == [key_of(store, A)]
    assert len(stored_rows(store)) == 2
    assert not get(store).is_unfinished


def test_what_brings_no_more_is_done_with(store: Store) -> None:
    """Looked at again in vain, or under a heavier load, the image stays as it is stored."""
    both = replace(make_image(1, black={3: A}), incomplete=Refusal.TIMEOUT)
    record(store, make_visit(URL, both))
    record(store, make_visit(URL, None))
    assert get(store).is_unfinished
    (again,) = record(store, make_visit(URL, replace(make_image(1), incomplete=Refusal.TIMEOUT)))

    assert again.outcome is VisitOutcome.UNCHANGED
    assert len(stored_rows(store)) == 2
    assert not get(store).is_unfinished


def test_a_cut_file_is_not_looked_at_again(store: Store) -> None:
    """Its bytes bring no more another time."""
    record(store, make_visit(URL, replace(make_image(1), incomplete=Refusal.TRUNCATED)))

    assert not get(store).is_unfinished


def aliases(store: Store, url: str) -> list[str]:
    with store.read() as txn:
        return store.images.aliases(txn, url_key(canonical_url(url)))


def pages(store: Store, url: str = URL) -> list[str]:
    with store.read() as txn:
        return store.images.pages(txn, url_key(canonical_url(url)))


def live_rows(store: Store) -> dict[int, tuple[bytes, int]]:
    """Map live rows of the image column to owner and flag; free rows have to be zero."""
    column = store.images.column
    found = {}
    with store.read() as txn:
        for number in range(column.chunk_count(txn)):
            chunk = column.chunk(txn, number)
            for at, flag in enumerate(chunk.flags.tolist()):
                if flag:
                    row = number * column.rows_per_chunk + at
                    found[row] = (chunk.owners[at].tobytes(), flag)
                else:
                    assert not chunk.digests[at].any()
                    assert not chunk.owners[at].any()
    return found


def words(store: Store) -> list[MatchEventKind]:
    return [event.kind for event in match_log(store)]


def test_a_new_image_is_stored_and_matched(store: Store) -> None:
    """The record, its hashes and its matches; the nearest of its variants counts."""
    image = make_image(1, {0: flip(A, 9), 9: flip(A, 4), 10: flip(A, 4), 15: flip(B, 31)})
    (result,) = record(store, make_visit(URL, image, page_urls=("http://site.example",)))

    assert result.outcome is VisitOutcome.HASHED
    assert [match.distance_bits for match in result.matches] == [4, 31]
    first = result.matches[0]
    assert (first.signal_key, first.feed, first.quality) == (key_of(store, A), "stopncii", 80)
    assert (first.hasher, first.variant) == (Hasher.WEB, "mirror")
    assert (first.image_key, first.content_sha256) == (result.image_key, image.sha256)
    assert [event.match for event in match_log(store)] == list(result.matches)
    held = get(store)
    assert (held.key, held.sha256, held.hashed_at, held.seen_at) == (
        url_key(URL),
        image.sha256,
        NOW,
        NOW,
    )
    assert stored_rows(store) == image.rows
    assert pages(store) == ["http://site.example/"]


@pytest.mark.parametrize(("bits", "matches"), [(31, True), (32, False)])
def test_the_threshold_is_inclusive(store: Store, bits: int, matches: bool) -> None:
    """31 bits match and 32 do not."""
    (result,) = record(store, make_visit(URL, make_image(1, {5: flip(A, bits)})))

    assert bool(result.matches) is matches


def test_one_url_is_one_record(store: Store) -> None:
    """URLs are compared in canonical form."""
    image = make_image(1)
    forms = (URL, "HTTP://SITE.example:80/x/../image.jpg#top", "http://site.example/%69mage.jpg")
    results = [record(store, make_visit(form, image))[0] for form in forms]

    assert len({result.image_key for result in results}) == 1
    with store.read() as txn:
        assert store.images.count(txn) == 1
    assert len(live_rows(store)) == 1


def test_unchanged_bytes_change_only_times_and_places(store: Store) -> None:
    """The same bytes again: no log entry, no hash, the same matches as result."""
    image = make_image(1, {0: A})
    (first,) = record(store, make_visit(URL, image, etag="e1", document_id="d1"))
    before, log = get(store), match_log(store)
    (again,) = record(
        store,
        make_visit(URL, image, page_urls=("http://site.example/p",), last_modified="m2"),
        later=True,
    )

    assert (again.outcome, again.matches) == (VisitOutcome.UNCHANGED, first.matches)
    assert get(store) == replace(before, seen_at=LATER, last_modified="m2")
    assert match_log(store) == log
    assert pages(store) == ["http://site.example/p"]


def test_a_visit_without_hashes_counts_as_unchanged(store: Store) -> None:
    """A 304 answer brings times and places up to date and returns what is matched."""
    (first,) = record(store, make_visit(URL, make_image(1, {0: A})))
    (again,) = record(store, make_visit(URL, None, document_id="d", etag="e"), later=True)

    assert (again.outcome, again.matches) == (VisitOutcome.UNCHANGED, first.matches)
    held = get(store)
    assert (held.document_id, held.etag, held.hashed_at, held.seen_at) == ("d", "e", NOW, LATER)


def test_called_unchanged_but_not_held(store: Store) -> None:
    """Without hashes and without a record nothing is stored; the result says so."""
    before = dump(store)
    (result,) = record(
        store, make_visit(URL, None, page_urls=("http://p/",), aliases=("http://a/",))
    )

    assert result.outcome is VisitOutcome.NOT_HELD
    assert dump(store) == before


def test_changed_bytes_replace_hashes_and_log_what_changed(store: Store) -> None:
    """New bytes: what no longer matches has ended, what matches is logged with the new content."""
    record(store, make_visit(URL, make_image(1, {0: A, 1: flip(B, 3)}), etag="e1"))
    (result,) = record(store, make_visit(URL, make_image(2, {4: flip(B, 3)})), later=True)

    assert result.outcome is VisitOutcome.HASHED
    assert list(all_matches(store)) == [(result.image_key, key_of(store, B))]
    assert result.matches[0].content_sha256 == make_image(2).sha256
    events = match_log(store)[2:]
    assert {(event.kind, event.match.signal_key) for event in events} == {
        (MATCHED, key_of(store, B)),
        (ENDED, key_of(store, A)),
    }
    held = get(store)
    assert (held.sha256, held.hashed_at, held.etag) == (make_image(2).sha256, LATER, None)
    assert stored_rows(store) == make_image(2, {4: flip(B, 3)}).rows
    assert len(live_rows(store)) == 1


def test_another_hasher_version_hashes_again(store: Store) -> None:
    """Equal bytes that an older hasher hashed are stored anew."""
    image = make_image(1, {0: A})
    record(store, make_visit(URL, make_image(1)))
    with store.write() as txn:
        store.images.put(txn, replace(get(store), hasher_version=0))
    (result,) = record(store, make_visit(URL, image))

    assert (result.outcome, len(result.matches)) == (VisitOutcome.HASHED, 1)


def test_transparent_images_have_two_rows(store: Store) -> None:
    """Both backgrounds are stored and matched; the one that is nearer names the match."""
    image = make_image(1, {0: flip(A, 9)}, black={2: flip(A, 3), 3: B})
    (result,) = record(store, make_visit(URL, image))

    assert [(match.distance_bits, match.variant) for match in result.matches] == [
        (0, "turn180+black"),
        (3, "flip+black"),
    ]
    assert stored_rows(store) == image.rows
    assert sorted(flag for _, flag in live_rows(store).values()) == [1, 2]


def test_shrinking_frees_rows(store: Store) -> None:
    """An image that is opaque now leaves its second row, zeroed, to the next that needs one."""
    record(store, make_visit(URL, make_image(1, {}, black={0: A})))
    record(store, make_visit(URL, make_image(2)))
    assert len(live_rows(store)) == 1
    assert all_matches(store) == {}
    record(store, make_visit("http://other.example/", make_image(3)))

    owners = {owner for owner, _ in live_rows(store).values()}
    assert owners == {url_key(URL), url_key("http://other.example/")}
    assert set(live_rows(store)) == {0, 1}
    record(store, make_visit(URL, make_image(4, {}, black={})))
    assert set(live_rows(store)) == {0, 1, 2}


def test_one_batch_may_hold_a_url_twice(store: Store) -> None:
    """The later visit of a batch counts, as if it had come in a batch of its own."""
    results = record(
        store,
        make_visit(URL, make_image(1, {0: A}, black={})),
        make_visit(URL, make_image(2, {0: B})),
        make_visit(URL, None),
    )

    assert [result.outcome.value for result in results] == ["hashed", "hashed", "unchanged"]
    assert list(all_matches(store)) == [(url_key(URL), key_of(store, B))]
    assert words(store) == [MATCHED, MATCHED, ENDED]
    assert len(live_rows(store)) == 1


def test_an_empty_batch_is_no_error(store: Store) -> None:
    """Nothing to record is recorded as nothing."""
    assert record(store) == []


# Other URLs that lead to an image


def test_aliases_lead_to_the_image(store: Store) -> None:
    """A URL that redirects finds the record; the image's own URL is never an alias of it."""
    visit = make_visit(URL, make_image(1), aliases=("http://go/1", "http://GO/1#x", URL))
    record(store, visit)

    assert get(store, "http://go:80/1").key == url_key(URL)
    assert aliases(store, URL) == ["http://go/1"]


def test_aliases_move_between_images(store: Store) -> None:
    """A URL leads to one image; where it moves to or from an image that matches, that is logged."""
    one, two = make_image(1, {0: A}), make_image(2)
    record(store, make_visit("http://x/1", one, aliases=("http://go/",)))
    assert words(store) == [MATCHED, ALIAS]
    record(store, make_visit("http://x/2", two, aliases=("http://go/",)))

    assert get(store, "http://go/").key == url_key("http://x/2")
    assert (aliases(store, "http://x/1"), aliases(store, "http://x/2")) == ([], ["http://go/"])
    events = match_log(store)[2:]
    assert [(event.kind, event.match.image_key) for event in events] == [
        (ALIAS, url_key("http://x/1"))
    ]
    record(store, make_visit("http://x/2", two, aliases=("http://go/",)))
    assert len(match_log(store)) == 3


def test_an_alias_that_becomes_an_image_leads_nowhere_else(store: Store) -> None:
    """A URL that answers with bytes of its own is no longer another name of an image."""
    record(store, make_visit(URL, make_image(1, {0: A}), aliases=("http://go/",)))
    record(store, make_visit("http://go/", make_image(2)))

    assert get(store, "http://go/").sha256 == make_image(2).sha256
    assert aliases(store, URL) == []
    assert words(store) == [MATCHED, ALIAS, ALIAS]


def test_an_image_whose_url_leads_elsewhere_is_forgotten(store: Store) -> None:
    """Nothing rests on bytes that cannot be had any more; what led to them leads on."""
    old = make_visit("http://x/1", make_image(1, {0: A}, black={}), aliases=("http://go/",))
    record(store, replace(old, page_urls=("http://page/",)))
    record(store, make_visit("http://x/2", make_image(2, {0: B}), aliases=("http://x/1",)))

    assert list(all_matches(store)) == [(url_key("http://x/2"), key_of(store, B))]
    assert {owner for owner, _ in live_rows(store).values()} == {url_key("http://x/2")}
    for url in ("http://x/1", "http://go/"):
        assert get(store, url).key == url_key("http://x/2")
    assert (pages(store, "http://x/1"), aliases(store, "http://x/1")) == ([], [])
    assert words(store) == [MATCHED, ALIAS, MATCHED, ENDED, ALIAS]


# Bad input


@pytest.mark.parametrize("place", ["image_url", "page_urls", "aliases"])
def test_an_invalid_url_records_nothing_of_the_batch(store: Store, place: str) -> None:
    """One URL that is none, wherever it stands, and nothing of the batch is stored."""
    before = dump(store)
    wrong: dict[str, Any] = {"image_url": "no url", "page_urls": ("http://ok/", "no url")}
    wrong["aliases"] = wrong["page_urls"]
    bad = replace(make_visit("http://x/2", make_image(2)), **{place: wrong[place]})

    with pytest.raises(InvalidUrlError):
        record(store, make_visit(URL, make_image(1, {0: A})), bad)
    assert dump(store) == before


def test_a_full_store_records_nothing_of_the_batch(tmp_path: Path) -> None:
    """A batch that does not fit is undone as a whole; smaller ones before it stay."""
    with open_store(tmp_path, StoreSettings(map_size_bytes=1 << 20)) as store:
        record(store, make_visit(URL, make_image(0)))
        before = dump(store)
        batch = [make_visit(f"http://x/{n}", make_image(n)) for n in range(1, 1500)]
        with pytest.raises(StoreFullError):
            record(store, *batch, later=True)

        assert dump(store) == before
        assert record(store, make_visit(URL, make_image(0)))[0].outcome is VisitOutcome.UNCHANGED


# Signals that are committed meanwhile


class Interrupted:
    """Makes flat indexes; before the first one is used, something happens."""

    def __init__(self, happen: Callable[[], object]) -> None:
        self._happen = [happen]
        self.built = 0

    def __call__(self, digests: Digests) -> AnnIndex:
        self.built += 1
        if self._happen:
            self._happen.pop()()
        return FlatIndex(digests)


def test_a_signal_committed_while_matching_is_not_missed(store: Store) -> None:
    """What is committed between matching and writing is matched inside the write transaction."""
    new = make_digest(7)
    make_index = Interrupted(lambda: add_signals(store, [new]))
    recorder = VisitRecorder(store, make_lookup(store, make_index))
    (result,) = recorder.record([make_visit(URL, make_image(1, {6: flip(new, 31)}))], now=NOW)

    assert [match.signal_key for match in result.matches] == [key_of(store, new)]
    assert make_index.built == 2


def test_a_signal_withdrawn_while_matching_is_not_matched(store: Store) -> None:
    """What is withdrawn between matching and writing leaves no match."""
    make_index = Interrupted(lambda: withdraw(store, A))
    recorder = VisitRecorder(store, make_lookup(store, make_index))
    (result,) = recorder.record([make_visit(URL, make_image(1, {6: A}))], now=NOW)

    assert result.matches == ()
    assert all_matches(store) == {}
    assert match_log(store) == []


def test_a_lookup_sees_every_change_at_once(store: Store) -> None:
    """One Lookup over many changes: after each it answers from the newest state."""
    lookup, new = make_lookup(store), make_digest(7)
    row = make_image(1, {0: new}).rows
    answers = []
    steps: tuple[Callable[[], None], ...] = (
        lambda: None,
        lambda: add_signals(store, [new]),
        lambda: withdraw(store, new),
        lambda: add_signals(store, [new], feed="bank"),
    )
    for step in steps:
        step()
        near = lookup.nearest(lookup.views.newest(), [row])[0]
        with store.read() as txn:
            answers.append([key for key in near if store.signals.find(txn, key)])

    assert answers == [[], [key_of(store, new)], [], [key_of(store, new, feed="bank")]]


def test_a_view_is_kept_while_nothing_changes(store: Store) -> None:
    """The index is built once a version of the signals, not once a look-up."""
    make_index = Interrupted(lambda: None)
    lookup = make_lookup(store, make_index)
    views = [lookup.views.newest() for _ in range(3)]

    assert make_index.built == 1
    assert views[0] is views[2]


# Against a simple model

near_sets = st.dictionaries(
    st.integers(0, 15), st.tuples(st.sampled_from([A, B]), st.sampled_from([0, 31, 32])), max_size=2
).map(lambda near: {at: flip(digest, bits) for at, (digest, bits) in near.items()})
images = st.builds(make_image, st.integers(1, 50), near_sets, black=st.one_of(st.none(), near_sets))
urls = st.sampled_from([f"http://x/{number}" for number in range(4)])
visits = st.builds(
    make_visit,
    urls,
    st.one_of(st.none(), images),
    page_urls=st.lists(urls, max_size=2).map(tuple),
    aliases=st.lists(urls, max_size=2).map(tuple),
)


def expected_matches(store: Store, image: HashedImage) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for digest in (A, B):
        distances = [
            (int.from_bytes(entry.digest) ^ int.from_bytes(digest)).bit_count()
            for entry in image.hashes
        ]
        if min(distances) <= 31:
            found[key_of(store, digest)] = min(distances)
    return found


class Model:
    """A URL holds the image that it showed last, or leads to another that does."""

    def __init__(self) -> None:
        self.images: dict[str, HashedImage] = {}
        self.leads: dict[str, str] = {}

    def visit(self, visit: ImageVisit) -> VisitOutcome:
        hashed, held = visit.hashed, self.images.get(visit.image_url)
        if hashed is None and held is None:
            return VisitOutcome.NOT_HELD
        self.leads.pop(visit.image_url, None)
        moved = set(visit.aliases) - {visit.image_url}
        moved |= {url for url, target in self.leads.items() if target in moved}
        for url in moved:
            self.images.pop(url, None)
            self.leads[url] = visit.image_url
        if hashed is None or (held is not None and held.sha256 == hashed.sha256):
            return VisitOutcome.UNCHANGED
        self.images[visit.image_url] = hashed
        return VisitOutcome.HASHED


def replay(store: Store) -> dict[tuple[bytes, bytes], Match]:
    """Tell from the match log alone what matches now."""
    found: dict[tuple[bytes, bytes], Match] = {}
    for event in match_log(store):
        pair = (event.match.image_key, event.match.signal_key)
        if event.kind is MATCHED:
            found[pair] = event.match
        elif event.kind is ENDED:
            del found[pair]
    return found


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(visits, min_size=1, max_size=4), max_size=5))
def test_visits_equal_a_model(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[ImageVisit]]
) -> None:
    """Any visits in any batches: records, rows, aliases, matches and a replay of the log agree."""
    model = Model()
    with open_store(tmp_path_factory.mktemp("visits")) as store:
        add_signals(store, [A, B])
        for batch in batches:
            outcomes = [result.outcome for result in record(store, *batch)]
            assert outcomes == [model.visit(visit) for visit in batch]
        assert {url for target in model.images for url in aliases(store, target)} == set(
            model.leads
        )
        for url, target in model.leads.items():
            assert get(store, url).key == url_key(target)
        for url, image in model.images.items():
            assert stored_rows(store, url) == image.rows
        rows = live_rows(store)
        assert len(rows) == sum(len(image.rows) for image in model.images.values())
        assert {owner for owner, _ in rows.values()} == {url_key(url) for url in model.images}
        held = all_matches(store)
        assert {pair: match.distance_bits for pair, match in held.items()} == {
            (url_key(url), signal_key): distance
            for url, image in model.images.items()
            for signal_key, distance in expected_matches(store, image).items()
        }
        assert replay(store) == held

"""The public Python API: ``Indexer`` on a real store, alone and from several processes."""

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import indexer
from delist.ops.pictures import draw_photo, encode
from indexer import Indexer
from indexer.errors import (
    ImageRefusedError,
    InvalidDigestError,
    InvalidUrlError,
    SettingsError,
    StoreError,
)
from indexer.model import HashedImage, MatchEventKind
from indexer.ports import Digests
from indexer.url import canonical_url, url_key
from tests.fakes.signals import (
    NOW,
    add_signals,
    all_matches,
    flip,
    key_of,
    make_digest,
    make_image,
    make_record,
    match_log,
    signals,
    sync,
    withdraw,
)

ROOT = Path(__file__).parents[2]
URL = "http://site.example/photo.png"


@pytest.fixture(scope="module")
def photo() -> bytes:
    return encode(draw_photo(1))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Indexer]:
    with Indexer.open(data_dir=tmp_path / "data") as held:
        yield held


def digest_of(hashed: HashedImage, position: int = 0) -> bytes:
    return hashed.hashes[position].digest


def test_the_package_exports_it_lazily() -> None:
    """``import indexer`` and its core load no LMDB, no faiss, no Pillow and no HTTP client."""
    script = (
        "import sys, indexer, indexer.settings, indexer.model, indexer.match, indexer.url\n"
        "heavy = {'lmdb', 'faiss', 'PIL', 'httpx2', 'scrapy', 'sqlalchemy', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "from indexer import Indexer\n"
        "assert {'lmdb', 'faiss', 'PIL'} <= set(sys.modules)\n"
        "assert not {'scrapy', 'sqlalchemy', 'delist'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, cwd=ROOT)
    assert indexer.Indexer is Indexer
    with pytest.raises(AttributeError, match="no attribute"):
        _ = indexer.Nothing


def test_opening_creates_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a configuration file, from a folder, and with the defaults beside the caller."""
    config = tmp_path / "delist.toml"
    config.write_text('data_dir = "here"\n[matching]\nthreshold_bits = 5\n')
    with Indexer.open(str(config)) as held:
        assert held.settings.matching.threshold_bits == 5
        assert held.find_image(URL) is None
    assert (tmp_path / "here" / "store" / "data.mdb").is_file()
    with Indexer.open(config, data_dir=tmp_path / "there") as held:
        assert held.settings.data_dir == tmp_path / "there"
    monkeypatch.chdir(tmp_path)
    with Indexer.open() as held:
        assert held.settings.data_dir == tmp_path / "delist-data"


@pytest.mark.parametrize("text", ["[matching]\nthreshold_bits = 32\n", "x", "[store]\nnew = 1\n"])
def test_a_wrong_configuration_opens_nothing(tmp_path: Path, text: str) -> None:
    """A wrong value is a SettingsError, and nothing is created."""
    (tmp_path / "delist.toml").write_text(text)
    with pytest.raises(SettingsError):
        Indexer.open(tmp_path / "delist.toml")
    with pytest.raises(SettingsError):
        Indexer.open(tmp_path / "missing.toml")

    assert [path.name for path in tmp_path.iterdir()] == ["delist.toml"]


def test_an_image_is_hashed_and_looked_up(opened: Indexer, photo: bytes) -> None:
    """``hash_image`` and ``match`` store nothing; the nearest signal comes first."""
    hashed = opened.hash_image(photo)
    assert opened.match(hashed) == []
    near, far = flip(digest_of(hashed, 3), 4), flip(digest_of(hashed), 20)
    add_signals(opened.store, [far, near])
    matches = opened.match(hashed)

    assert [match.signal_key for match in matches] == [
        key_of(opened.store, near),
        key_of(opened.store, far),
    ]
    assert [match.distance_bits for match in matches] == [4, 20]
    assert (matches[0].variant, matches[0].image_key) == (hashed.hashes[3].variant, b"")
    assert opened.find_image(URL) is None
    assert match_log(opened.store) == []
    withdraw(opened.store, near)
    assert len(opened.match(hashed)) == 1


def test_an_image_is_indexed(tmp_path: Path, photo: bytes) -> None:
    """``index_image`` stores, matches and logs; it is durable and found by any form of the URL."""
    config = {"data_dir": tmp_path / "data"}
    with Indexer.open(**config) as held:
        hashed = held.hash_image(photo)
        add_signals(held.store, [flip(digest_of(hashed), 31)])
        matches = held.index_image(
            photo, image_url=URL, page_urls=["http://site.example"], document_id="doc-1"
        )
        assert matches == held.index_image(photo, image_url=URL.replace("http://s", "HTTP://S"))
    with Indexer.open(**config) as held:
        record = held.find_image("http://SITE.example:80/./photo.png#x")
        assert record is not None
        assert (record.document_id, record.sha256) == ("doc-1", hashed.sha256)
        assert (record.mime, record.width, record.height) == ("image/png", 320, 240)
        assert [event.kind for event in match_log(held.store)] == [MatchEventKind.MATCHED]
        assert list(all_matches(held.store).values()) == matches
    assert [(match.distance_bits, match.variant) for match in matches] == [(31, "upright")]


def test_times_are_those_of_the_clock(tmp_path: Path, photo: bytes) -> None:
    """Nothing but the given clock tells the time."""
    settings = Indexer.open(data_dir=tmp_path)
    settings.close()
    with Indexer(settings.settings, clock=lambda: NOW) as held:
        held.index_image(photo, image_url=URL)
        record = held.find_image(URL)
    assert record is not None
    assert record.hashed_at == record.seen_at == NOW
    assert datetime.now(UTC) > NOW or record.hashed_at.tzinfo is UTC


def test_bad_images_and_urls_store_nothing(opened: Indexer, photo: bytes) -> None:
    """Bytes that are no image and URLs that are none: an error of ours, nothing stored."""
    with pytest.raises(ImageRefusedError):
        opened.index_image(b"not an image", image_url=URL)
    for image_url, page_urls in (("photo.png", []), (URL, ["no url"])):
        with pytest.raises(InvalidUrlError):
            opened.index_image(photo, image_url=image_url, page_urls=page_urls)
    with pytest.raises(InvalidUrlError):
        opened.find_image("photo.png")

    assert opened.find_image(URL) is None


def test_digests_are_looked_up_in_bulk(opened: Indexer) -> None:
    """``match_digests``: one entry a match, by row, then by distance; every feed's signal."""
    held = [make_digest(seed) for seed in range(4)]
    add_signals(opened.store, held)
    add_signals(opened.store, held[:1], feed="bank")
    asked = [flip(held[0], 3), make_digest(99), held[1], flip(held[2], 31), flip(held[3], 32)]
    queries = np.frombuffer(b"".join(asked), np.uint8).reshape(-1, 32)
    rows, keys, distances = opened.match_digests(queries)

    assert rows.tolist() == [0, 0, 2, 3]
    assert distances.tolist() == [3, 3, 0, 31]
    assert keys.shape == (4, 16)
    assert {key.tobytes() for key in keys[:2]} == {
        key_of(opened.store, held[0]),
        key_of(opened.store, held[0], feed="bank"),
    }
    lists = opened.match_digest_list(asked)
    assert [len(found) for found in lists] == [2, 0, 1, 1, 0]
    assert [match.distance_bits for found in lists for match in found] == [3, 3, 0, 31]
    assert {match.feed for match in lists[0]} == {"stopncii", "bank"}
    assert lists[0][0].hasher is None


def test_an_empty_store_finds_nothing(opened: Indexer) -> None:
    """No signals, no queries, or neither: empty answers of the right shape."""
    for count in (0, 3):
        rows, keys, distances = opened.match_digests(np.zeros((count, 32), np.uint8))
        assert (rows.shape, keys.shape, distances.shape) == ((0,), (0, 16), (0,))
    assert opened.match_digest_list([]) == []
    assert opened.match(make_image(1)) == []
    assert opened.record_visits([]) == []


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 31), np.uint8), np.zeros((1, 32), np.int64), np.zeros(32, np.uint8), None],
)
def test_wrong_digests_are_refused(opened: Indexer, wrong: Digests) -> None:
    """Other shapes and types are an error, never "no match"."""
    with pytest.raises(InvalidDigestError):
        opened.match_digests(wrong)
    with pytest.raises(InvalidDigestError):
        opened.match_digest_list([bytes(32), bytes(31)])


def test_feeds_are_known_by_name(tmp_path: Path) -> None:
    """A feed is prepared from its settings; a name that is not configured is an error."""
    config = tmp_path / "delist.toml"
    config.write_text('[feeds.bank]\ntype = "file"\npath = "bank.txt"\n[feeds.stopncii]\n')
    (tmp_path / "bank.txt").write_text(make_digest(1).hex())
    with Indexer.open(config) as held:
        assert held.feed_names() == ["bank", "stopncii"]
        assert held.feed_names(["stopncii"]) == ["stopncii"]
        assert held.feed_sync("bank").run(now=NOW).active == 1
        assert list(held.feedback_receivers()) == ["stopncii"]
        for ask in (held.feed_sync, lambda name: held.feed_names([name])):
            with pytest.raises(SettingsError, match="bank, stopncii"):
                ask("other")


def test_two_in_one_process_share_the_store(tmp_path: Path, photo: bytes) -> None:
    """Opened twice in one process, both see each other's changes; closing one leaves the other."""
    one, two = (Indexer.open(data_dir=tmp_path / "data") for _ in range(2))
    hashed = one.hash_image(photo)
    assert two.match(hashed) == []
    add_signals(one.store, [digest_of(hashed)])
    assert len(two.match(hashed)) == 1
    one.close()
    one.close()
    assert len(two.index_image(photo, image_url=URL)) == 1
    two.close()
    with pytest.raises(StoreError):
        two.find_image(URL)


def test_threads_share_one_indexer(opened: Indexer) -> None:
    """Look-ups from several threads, while signals come and go, answer from whole states."""
    digests = [make_digest(seed) for seed in range(12)]
    images = [make_image(seed, {0: digest}) for seed, digest in enumerate(digests)]
    add_signals(opened.store, digests[:6])
    seen: dict[int, set[tuple[int, ...]]] = {number: set() for number in range(12)}
    done = threading.Event()

    def look_up() -> None:
        while not done.is_set():
            for number, image in enumerate(images):
                seen[number].add(tuple(match.distance_bits for match in opened.match(image)))

    threads = [threading.Thread(target=look_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for step in range(30):
        withdraw(opened.store, *digests[3:6], at=6000 + 2 * step)
        again = [make_record(digest, modified_at=6001 + 2 * step) for digest in digests[3:6]]
        sync(opened.store, again, [make_record(digests[6])], name="stopncii")
    done.set()
    for thread in threads:
        thread.join()

    assert all(seen[number] == {(0,)} for number in range(3))
    assert all(seen[number] <= {(0,), ()} for number in range(3, 7))
    assert all(seen[number] == {()} for number in range(7, 12))


def draw_image(rng: random.Random, name: int) -> HashedImage:
    """Make an image that matches the signal of its name, and up to four others."""
    near = {rng.randrange(16): make_digest(100 * other + rng.randrange(12)) for other in range(4)}
    return make_image(name, {**near, 0: make_digest(name)})


WORKER = """
import json, random, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from indexer import Indexer
from tests.fakes.signals import add_signals, make_digest, make_visit, withdraw
from tests.integration.test_indexer import draw_image

folder, number = Path(sys.argv[1]), int(sys.argv[2])
rng = random.Random(number)
seen = 0
with Indexer.open(data_dir=folder) as held:
    print("open", flush=True)
    sys.stdin.readline()
    for step in range(12):
        name = 100 * number + step
        add_signals(held.store, [make_digest(name)])
        visit = make_visit(f"http://x/{{name}}", draw_image(rng, name))
        (result,) = held.record_visits([visit])
        seen += len(result.matches)
        if step % 4 == 3:
            withdraw(held.store, make_digest(name))
        if step % 5 == 4:
            held.scanner.delta(now=held.clock())
print(json.dumps(seen))
"""


def test_processes_read_and_write_at_once(tmp_path: Path) -> None:
    """Four processes index, sync, withdraw and scan at once: no match is missed or doubled.

    At the end, after one more delta scan, the matches are those of brute force.
    """
    folder = tmp_path / "data"
    script = WORKER.format(root=str(ROOT))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(folder), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "open\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        with worker:
            answer, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
        assert json.loads(answer) >= 12

    with Indexer.open(data_dir=folder) as held:
        held.scanner.delta(now=NOW)
        live = {digest for _, _, digest in signals(held.store)}
        assert live == {
            make_digest(100 * number + step)
            for number in range(4)
            for step in range(12)
            if step % 4 != 3
        }
        expected = set()
        for number in range(4):
            rng = random.Random(number)
            for step in range(12):
                image = draw_image(rng, 100 * number + step)
                key = url_key(canonical_url(f"http://x/{100 * number + step}"))
                expected |= {
                    (key, key_of(held.store, entry.digest))
                    for entry in image.hashes
                    if entry.digest in live
                }
        assert set(all_matches(held.store)) == expected
        events = match_log(held.store)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        pairs = [(event.match.image_key, event.match.signal_key) for event in events]
        assert len(pairs) == len(set(pairs))
        assert set(pairs) >= expected

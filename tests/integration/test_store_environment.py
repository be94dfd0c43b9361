"""The environment on disk: versions, secrets, a full map, damage, several processes."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from indexer.errors import StoreDamagedError, StoreError, StoreFullError, StoreVersionError
from indexer.settings import StoreSettings
from indexer.store import Store, load_or_create_secret
from indexer.store.environment import Environment
from tests.fakes.signals import (
    NOW,
    SETTINGS,
    add_signals,
    dump,
    make_digest,
    make_record,
    open_store,
    signals,
    sync,
)

ROOT = Path(__file__).parents[2]
SMALL = StoreSettings(map_size_bytes=1 << 20, max_readers=16)
DIGESTS = [make_digest(seed) for seed in range(5)]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_created_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    """Folders have mode 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        with open_store(tmp_path / "deep" / "data"):
            pass
    finally:
        os.umask(before)
    data = tmp_path / "deep" / "data"

    assert [mode(data / name) for name in (".", "store", "secrets")] == [0o700] * 3
    files = [path for path in data.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"data.mdb", "lock.mdb", "signal-key"}
    assert {mode(path) for path in files} == {0o600}


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    """A store that is closed and opened again holds the same, byte for byte."""
    with open_store(tmp_path) as store:
        add_signals(store, DIGESTS)
        before = dump(store)
    with open_store(tmp_path) as store:
        assert dump(store) == before
        assert len(signals(store)) == 5


@pytest.mark.parametrize("schema", [b"0", b"2", b"", b"\xff\x00"])
def test_another_version_is_refused_and_not_touched(tmp_path: Path, schema: bytes) -> None:
    """A store of another version: an error that names it, and not one byte changes."""
    with open_store(tmp_path) as store:
        add_signals(store, DIGESTS)
        meta = store._environment.database(b"meta")
        with store.write() as txn:
            txn.put(b"schema", schema, db=meta)
    data = tmp_path / "store" / "data.mdb"
    before = data.read_bytes()

    with pytest.raises(StoreVersionError, match="another version") as raised:
        open_store(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert data.read_bytes() == before
    with pytest.raises(StoreVersionError):  # and not "already open in this process"
        open_store(tmp_path)


@pytest.mark.parametrize("content", [b"not a store at all" * 1000, b"", b"\0" * 8192])
def test_a_file_that_is_no_store(tmp_path: Path, content: bytes) -> None:
    """Garbage in place of the store is an error of one line; an empty file is a new store."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "data.mdb").write_bytes(content)
    if not content:
        with open_store(tmp_path) as store:
            assert signals(store) == {}
        return
    with pytest.raises(StoreError) as raised:
        open_store(tmp_path)

    assert "\n" not in str(raised.value)
    assert (tmp_path / "store" / "data.mdb").read_bytes() == content


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A file where a folder should be is named in one line."""
    (tmp_path / "data").write_text("x")
    with pytest.raises(StoreError, match="data"):
        open_store(tmp_path / "data")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "store").write_text("x")
    with pytest.raises(StoreError, match="open the store"):
        open_store(tmp_path / "other")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    """Bytes that break their layout are an error, wherever they are read."""
    with open_store(tmp_path) as store:
        add_signals(store, DIGESTS)
        database = store._environment.database(b"signals")
        with store.write() as txn, txn.cursor(db=database) as cursor:
            cursor.first()
            cursor.put(bytes(cursor.key()), b"\x09" + bytes(cursor.value())[1:])
        with pytest.raises(StoreDamagedError, match="Signal"):
            signals(store)


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_a_secret_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    """A cut or foreign secret is never taken nor replaced: no key would be found again."""
    path = tmp_path / "secrets" / "signal-key"
    path.parent.mkdir()
    path.write_bytes(b"s" * length)

    with pytest.raises(StoreError, match=f"holds {length}"):
        open_store(tmp_path)
    assert path.read_bytes() == b"s" * length
    assert not (tmp_path / "store").exists()


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """32 random bytes, the same ever after; nothing else is left in the folder."""
    path = tmp_path / "secrets" / "one"
    secret = load_or_create_secret(path)

    assert load_or_create_secret(path) == secret
    assert len(secret) == 32
    assert load_or_create_secret(tmp_path / "secrets" / "two") != secret
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["one", "two"]


def test_a_secret_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder where the secret should be is named in one line."""
    (tmp_path / "secrets" / "signal-key").mkdir(parents=True)
    with pytest.raises(StoreError, match="signal-key"):
        open_store(tmp_path)


def test_other_secrets_give_other_keys(tmp_path: Path) -> None:
    """A key tells nothing without the secret; parts of it cannot be shifted into each other."""
    with open_store(tmp_path / "one") as one, open_store(tmp_path / "two") as two:
        names = [
            store.signals.key(feed=feed, kind=kind, value=value)
            for store in (one, two)
            for feed, kind, value in (("a", "b", b"c"), ("ab", "", b"c"), ("a", "", b"bc"))
        ]
        names += [one.signals.case_key("c"), two.signals.case_key("c")]

    assert len(set(names)) == 8
    assert {len(name) for name in names} == {16}


def test_a_full_map_keeps_what_was_there(tmp_path: Path) -> None:
    """A page that does not fit: one line that names the setting, and nothing of it is kept."""
    with open_store(tmp_path, SMALL) as store:
        add_signals(store, DIGESTS)
        before = dump(store)
        many = [make_record(make_digest(seed)) for seed in range(10, 4000)]
        with pytest.raises(StoreFullError, match=r"store\.map_size_bytes") as raised:
            sync(store, many)
        assert "\n" not in str(raised.value)
        assert dump(store) == before
    with open_store(tmp_path, SETTINGS) as store:  # raised, as the message says
        assert dump(store) == before
        assert sync(store, many).added == len(many)


def test_a_map_that_is_too_small_from_the_start(tmp_path: Path) -> None:
    """A map that cannot even hold the databases is a full store, and can be tried again."""
    settings = StoreSettings(map_size_bytes=8 * 4096)
    for _ in range(2):
        with pytest.raises(StoreFullError):
            open_store(tmp_path, settings)
    with open_store(tmp_path) as store:
        assert signals(store) == {}


def test_odd_map_sizes_are_taken(tmp_path: Path) -> None:
    """A map size need not be a multiple of the page size, and may shrink later."""
    with open_store(tmp_path, StoreSettings(map_size_bytes=(8 << 20) + 1)) as store:
        add_signals(store, DIGESTS)
    with open_store(tmp_path, SMALL) as store:
        assert len(signals(store)) == 5


def test_readers_beyond_the_limit_are_told_so(tmp_path: Path) -> None:
    """Too many readers at once: an error that names the setting, and the next one works."""
    settings = StoreSettings(map_size_bytes=1 << 20, max_readers=8)
    with open_store(tmp_path, settings) as store:
        opened = [store.read() for _ in range(8)]
        for reader in opened:
            reader.__enter__()
        with pytest.raises(StoreError, match="max_readers"), store.read():
            pass
        for reader in opened:
            reader.__exit__(None, None, None)
        assert signals(store) == {}


def test_errors_of_the_caller_pass_through(tmp_path: Path) -> None:
    """What a caller's own code raises inside a transaction is not taken for the store's."""
    with Environment(tmp_path / "store", SMALL) as environment:
        for enter in (environment.read, environment.write):
            with pytest.raises(BrokenPipeError), enter():
                raise BrokenPipeError
            with pytest.raises(ZeroDivisionError), enter():
                raise ZeroDivisionError


def test_a_transaction_that_fails_keeps_nothing(tmp_path: Path) -> None:
    """An error inside the block undoes all of it."""
    with Environment(tmp_path / "store", SMALL) as environment:
        database = environment.database(b"x")

        def fail() -> None:
            with environment.write() as txn:
                txn.put(b"a", b"1", db=database)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        with environment.read() as txn:
            assert txn.get(b"a", db=database) is None


OPEN = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.fakes.signals import add_signals, make_digest, open_store, signals
number = int(sys.argv[2])
sys.stdin.readline()
with open_store(Path(sys.argv[1])) as store:
    for step in range(5):
        add_signals(store, [make_digest(100 * number + step)])
    print(store.signals.key(feed="f", kind="k", value=b"v").hex())
"""


def test_processes_that_start_together_share_one_store(tmp_path: Path) -> None:
    """Several processes create the store at once: one secret, one store, nothing lost."""
    script = OPEN.format(root=str(ROOT))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "data"), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    answers = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        with process:
            answer, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        answers.append(answer)

    assert len(set(answers)) == 1
    with open_store(tmp_path / "data") as store:
        assert len(signals(store)) == 20
        with store.read() as txn:
            assert store.signals.version(txn) == 20
            assert store.feed_cursors.load(txn, "stopncii").synced_at == NOW


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.fakes.signals import open_store
store = open_store(Path(sys.argv[1]))
with store.read() as txn, store.write() as writing:
    writing.put(b"x" * 16, b"", db=store.signals._tombstones)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_no_lock_and_no_reader(tmp_path: Path) -> None:
    """Killed inside both transactions: the next one writes at once and clears the reader."""
    with open_store(tmp_path) as store:
        before = dump(store)
    for _ in range(3):
        script = KILLED.format(root=str(ROOT))
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60, check=False)
    with open_store(tmp_path) as store:
        assert dump(store) == before
        readers = store._environment._env.readers()
        assert readers.count(str(os.getpid())) == readers.count("\n") - 1
        add_signals(store, DIGESTS)


def test_a_process_of_the_same_number_elsewhere_is_told_of(tmp_path: Path) -> None:
    """Two containers have each a process 7; LMDB knows them by that alone, and takes one in."""
    with open_store(tmp_path):
        pass
    lock = tmp_path / "store" / "lock.mdb"
    holding = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b');"
        " fcntl.lockf(file, fcntl.LOCK_EX, 1, int(sys.argv[2]));"
        " print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(lock), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match="another container"):
            open_store(tmp_path)
        other.communicate()
    with open_store(tmp_path):
        pass


def test_another_mapping_that_grew_is_followed(tmp_path: Path) -> None:
    """A process with a smaller map goes on after another has grown the store beyond it."""
    with open_store(tmp_path, SMALL) as store:
        code = OPEN.format(root=str(ROOT)).replace(
            "print(", "add_signals(store, [make_digest(n) for n in range(9000, 13000)]); print("
        )
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), "1"],
            input="go\n",
            text=True,
            timeout=60,
            check=True,
            capture_output=True,
        )
        with pytest.raises(StoreError) as raised:
            signals(store)

    assert "\n" not in str(raised.value)
    with Store(tmp_path, SMALL) as store:
        assert len(signals(store)) == 4005


def test_lmdb_errors_become_ours(tmp_path: Path) -> None:
    """A key beyond LMDB's limit is a StoreError, not one of LMDB's classes."""
    with Environment(tmp_path / "store", SMALL) as environment:
        database = environment.database(b"x")

        def put(key: bytes) -> None:
            with environment.write() as txn:
                txn.put(key, b"", db=database)

        for key in (b"", b"k" * 600):
            with pytest.raises(StoreError) as raised:
                put(key)
            assert not isinstance(raised.value, lmdb.Error)
            assert "\n" not in str(raised.value)


BESIDE_WRITERS = """
import sys, threading
sys.path.insert(0, {root!r})
from pathlib import Path
from indexer.store.environment import Environment
from tests.fakes.signals import SETTINGS

with Environment(Path(sys.argv[1]), SETTINGS) as environment:
    known = environment.database(b"known")
    opened = threading.Event()

    def write():
        while not opened.is_set():
            with environment.write() as txn:
                txn.put(b"key", b"value", db=known)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for number in range(30):
        environment.database(b"name %d" % number)
        environment.database(b"known")
    opened.set()
    for writer in writers:
        writer.join()
"""


def test_databases_are_opened_beside_writers(tmp_path: Path) -> None:
    """Opening one waits for writers of the same process without keeping them from going on."""
    script = BESIDE_WRITERS.format(root=str(ROOT))
    command = [sys.executable, "-c", script, str(tmp_path / "store")]
    subprocess.run(command, timeout=60, check=True)  # it would hang for ever, and no thread run

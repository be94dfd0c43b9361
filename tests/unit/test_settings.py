"""Typed settings: unknown keys, wrong types and values out of range fail in one clear line."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.errors import SettingsError
from indexer.settings import (
    STOPNCII_URL,
    FeedSettings,
    HashingSettings,
    IndexerSettings,
    MatchingSettings,
    StoreSettings,
    read_indexer_settings,
    read_toml,
)

BASE = Path("/etc/delist")


def read(table: dict[str, Any], *, data_dir: Path | None = None) -> IndexerSettings:
    return read_indexer_settings(table, base_dir=BASE, data_dir=data_dir)


def read_feed(**table: Any) -> FeedSettings:  # noqa: ANN401 - unchecked TOML
    return read({"feeds": {"feed": table}}).feeds[0]


def test_an_empty_file_gives_the_defaults() -> None:
    """Every setting has a default; data lies beside the configuration file."""
    settings = read({})

    assert settings.data_dir == BASE / "delist-data"
    assert settings.matching.threshold_bits == 31
    assert settings.feeds == ()


def test_the_given_data_dir_wins() -> None:
    """--data-dir takes the place of what the file says."""
    assert read({"data_dir": "a"}, data_dir=Path("/b")).data_dir == Path("/b")


def test_relative_paths_are_relative_to_the_file() -> None:
    """Paths in a configuration file are relative to that file; ~ is the home directory."""
    feed = read_feed(type="file", path="bank.jsonl")

    assert feed.path == BASE / "bank.jsonl"
    assert read({"data_dir": "x/y"}).data_dir == BASE / "x/y"
    assert read({"data_dir": "~/x"}).data_dir == Path.home() / "x"


def test_stopncii_is_known_by_its_name() -> None:
    """[feeds.stopncii] needs no type and no address."""
    (feed,) = read({"feeds": {"stopncii": {}}}).feeds

    assert (feed.name, feed.type, feed.base_url) == ("stopncii", "stopncii", STOPNCII_URL)


@pytest.mark.parametrize("cls", [StoreSettings, MatchingSettings, HashingSettings])
def test_every_setting_is_explained_and_in_range(cls: type) -> None:
    """Each default has an explanation that ends as a sentence, and lies in its own range."""
    for entry in fields(cls):
        assert entry.metadata["doc"].endswith("."), entry.name
        low, high = entry.metadata["low"], entry.metadata["high"]
        assert low is None or entry.default >= low
        assert high is None or entry.default <= high


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ({"data_dir": 5}, "data_dir"),
        ({"data_dir": ""}, "data_dir"),
        ({"data_dir": "~no-such-user/x"}, "data_dir"),
        ({"data_dir": "a\0b"}, "data_dir"),
        ({"store": 5}, "store"),
        ({"store": {"mapsize": 5}}, "store.mapsize"),
        ({"store": {"map_size_bytes": "5"}}, "store.map_size_bytes"),
        ({"store": {"map_size_bytes": 1.5}}, "store.map_size_bytes"),
        ({"store": {"map_size_bytes": True}}, "store.map_size_bytes"),
        ({"store": {"map_size_bytes": 1}}, "store.map_size_bytes"),
        ({"store": {"map_size_bytes": 1 << 63}}, "store.map_size_bytes"),
        ({"store": {"max_readers": 1 << 40}}, "store.max_readers"),
        ({"matching": {"threshold_bits": 32}}, "matching.threshold_bits"),
        ({"matching": {"threshold_bits": -1}}, "matching.threshold_bits"),
        ({"hashing": {"tier": "deeper"}}, "hashing.tier"),
        ({"hashing": {"max_bytes": 0}}, "hashing.max_bytes"),
        ({"feeds": []}, "feeds"),
        ({"feeds": {"bank": 5}}, "feeds.bank"),
        ({"feeds": {"bank": {}}}, "feeds.bank.type"),
        ({"feeds": {"bank": {"type": "ftp"}}}, "feeds.bank.type"),
        ({"feeds": {"bank": {"type": ["file"]}}}, "feeds.bank.type"),
        ({"feeds": {"bank": {"type": "file"}}}, "feeds.bank.path"),
        ({"feeds": {"bank": {"type": "file", "path": ""}}}, "feeds.bank.path"),
        ({"feeds": {"bank": {"type": "file", "path": "a\0"}}}, "feeds.bank.path"),
        ({"feeds": {"bank": {"type": "file", "path": "~no-such-user/x"}}}, "feeds.bank.path"),
        ({"feeds": {"bank": {"type": "file", "path": "a", "page_size": 0}}}, "feeds.bank"),
        ({"feeds": {"bank": {"type": "file", "path": "a", "name": "other"}}}, "feeds.bank.name"),
        ({"feeds": {"": {"type": "file", "path": "a"}}}, "feeds"),
        ({"feeds": {"x" * 600: {"type": "file", "path": "a"}}}, "feeds"),
        ({"feeds": {"a\0b": {"type": "file", "path": "a"}}}, "feeds"),
        ({"feeds": {"stopncii": {"page_size": 0}}}, "feeds.stopncii"),
        ({"feeds": {"stopncii": {"timeout_s": 0}}}, "feeds.stopncii"),
        ({"feeds": {"stopncii": {"timeout_s": float("nan")}}}, "feeds.stopncii.timeout_s"),
        ({"feeds": {"stopncii": {"timeout_s": float("inf")}}}, "feeds.stopncii.timeout_s"),
        ({"feeds": {"stopncii": {"timeout_s": 10**400}}}, "feeds.stopncii.timeout_s"),
        ({"feeds": {"stopncii": {"overlap_s": -1}}}, "feeds.stopncii"),
        ({"feeds": {"stopncii": {"function_key_files": {"Fetch": "a"}}}},
         "feeds.stopncii.function_key_files.Fetch"),
        ({"feeds": {"stopncii": {"function_key_files": "a"}}},
         "feeds.stopncii.function_key_files"),
        ({"feeds": {"stopncii": {"base_url": "http://api.example"}}}, "feeds.stopncii.base_url"),
        ({"feeds": {"stopncii": {"base_url": "api.example"}}}, "feeds.stopncii.base_url"),
        ({"feeds": {"stopncii": {"base_url": "https://[::1"}}}, "feeds.stopncii.base_url"),
        ({"feeds": {"stopncii": {"base_url": "https://a:99999"}}}, "feeds.stopncii.base_url"),
    ],
)  # fmt: skip
def test_wrong_values_fail_and_name_the_key(table: dict[str, Any], where: str) -> None:
    """A wrong value is a SettingsError of one line that begins with the key."""
    with pytest.raises(SettingsError) as raised:
        read(table)

    assert str(raised.value).startswith(where)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8099/v1", "http://localhost/v1", "http://[::1]"])
def test_plain_http_is_for_loopback(url: str) -> None:
    """Keys may travel in the clear to this machine only."""
    assert read_feed(type="stopncii", base_url=url).base_url == url


toml_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["file", "stopncii", "~x", "\0"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
toml_tables = st.dictionaries(
    st.sampled_from(["data_dir", "store", "matching", "hashing", "feeds", "other"]),
    toml_values
    | st.dictionaries(
        st.sampled_from(["map_size_bytes", "threshold_bits", "tier", "stopncii", "bank"]),
        toml_values
        | st.dictionaries(
            st.sampled_from([entry.name for entry in fields(FeedSettings)]), toml_values
        ),
    ),
)


@given(toml_tables)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_table_is_read_or_refused(table: dict[str, Any]) -> None:
    """Whatever stands in the file, the answer is settings or a SettingsError."""
    try:
        read_settings = read(table)
    except SettingsError:
        return
    assert read_settings.data_dir.is_absolute()


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """A missing file, a directory, text that is not TOML or not UTF-8: each names the file."""
    (tmp_path / "broken.toml").write_text("[store\n")
    (tmp_path / "latin.toml").write_bytes(b'data_dir = "\xe9"')

    for name in ("missing.toml", ".", "broken.toml", "latin.toml"):
        with pytest.raises(SettingsError, match=str(tmp_path)):
            read_toml(tmp_path / name)

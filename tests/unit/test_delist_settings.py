"""One configuration file for everything, and that file written out with its explanations."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from crawler.settings import CrawlSettings
from delist.errors import PolicyError
from delist.policy import Policy, annotated_policy, read_policy
from delist.settings import (
    AppealSettings,
    DatabaseSettings,
    DelistSettings,
    JobSettings,
    ReviewSettings,
    annotated_configuration,
    load_settings,
)
from indexer.errors import SettingsError
from indexer.settings import IndexerSettings

CONFIG = Path(__file__).parents[2] / "config"

INTERFACE_EXAMPLE = """
data_dir = "/var/lib/delist"

[feeds.stopncii]                       # type = "stopncii" is the default for this name
base_url = "https://api.stopncii.org/v1"
subscription_key_file = "/run/secrets/stopncii-subscription"
function_key_files = { FetchHashes = "f", SubmitFeedback = "b", SubmitHashes = "s" }

[feeds.bank]                           # a local bank of signals
type = "file"
path = "bank.jsonl"                    # 64-hex digests, one a line, or records

[matching]
threshold_bits = 31                    # inclusive; deep variants have thresholds of their own

[hashing]
tier = "fast"                          # or "deep", or "policy" (policy picks the images)

[policy]
file = "policy.toml"
"""


def load(tmp_path: Path, text: str) -> DelistSettings:
    path = tmp_path / "delist.toml"
    path.write_text(text)
    return load_settings(path)


def uncommented(text: str) -> str:
    """Put every commented-out key of an annotated file into force."""
    return re.sub(r"^# (?=[a-z_0-9]+ = |\[feeds)", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "written"),
    [("delist.toml", annotated_configuration()), ("policy.toml", annotated_policy())],
)
def test_annotated_files_are_what_the_code_writes(name: str, written: str) -> None:
    """config/ and the built-in defaults cannot differ; `delist init` writes the same."""
    assert (CONFIG / name).read_text(encoding="utf-8") == written


def test_the_annotated_file_gives_the_defaults(tmp_path: Path) -> None:
    """As written, the file changes nothing."""
    settings = load(tmp_path, annotated_configuration())

    assert settings == DelistSettings(indexer=IndexerSettings(data_dir=tmp_path / "delist-data"))
    assert settings == load(tmp_path, "")
    assert settings.load_policy() == Policy()


def test_the_annotated_keys_are_all_there_with_their_defaults(tmp_path: Path) -> None:
    """Every key that can be set stands in the file; put into force, it gives its default."""
    text = uncommented(annotated_configuration())
    table = tomllib.loads(text)

    for name, cls in (
        ("crawler", CrawlSettings),
        ("database", DatabaseSettings),
        ("review", ReviewSettings),
        ("appeals", AppealSettings),
        ("jobs", JobSettings),
        ("store", type(IndexerSettings(data_dir=tmp_path).store)),
        ("matching", type(IndexerSettings(data_dir=tmp_path).matching)),
        ("hashing", type(IndexerSettings(data_dir=tmp_path).hashing)),
    ):
        assert set(table[name]) == {entry.name for entry in fields(cls)}
    settings = load(tmp_path, text)
    assert settings.policy_file == tmp_path / "policy.toml"
    assert {feed.name for feed in settings.indexer.feeds} == {"stopncii", "bank"}
    assert (settings.crawler, settings.jobs) == (CrawlSettings(), JobSettings())


def test_the_annotated_policy_gives_the_built_in_policy(tmp_path: Path) -> None:
    """The policy file as written is the policy in force without one."""
    (tmp_path / "policy.toml").write_text(annotated_policy())

    assert read_policy(tmp_path / "policy.toml") == Policy()


def test_the_example_of_the_interface_loads(tmp_path: Path) -> None:
    """What others have written their files after goes on to load."""
    settings = load(tmp_path, INTERFACE_EXAMPLE)

    assert settings.indexer.data_dir == Path("/var/lib/delist")
    stopncii, bank = settings.indexer.feeds
    assert stopncii.type == "stopncii"
    assert stopncii.subscription_key_file == Path("/run/secrets/stopncii-subscription")
    assert stopncii.function_key_files["SubmitHashes"] == tmp_path / "s"
    assert (bank.type, bank.path) == ("file", tmp_path / "bank.jsonl")
    assert settings.policy_file == tmp_path / "policy.toml"


def test_relative_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the command runs; without a file, data lies in the working directory."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "delist.toml").write_text('data_dir = "../data"\n[policy]\nfile = "p/policy.toml"')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    settings = load_settings(Path("../etc/delist.toml"))

    assert settings.indexer.data_dir.resolve() == tmp_path / "data"
    assert settings.policy_file is not None
    assert settings.policy_file.resolve() == folder / "p" / "policy.toml"
    assert load_settings(None).indexer.data_dir == tmp_path / "elsewhere" / "delist-data"
    given = load_settings(folder / "delist.toml", data_dir=Path("mine"))
    assert given.indexer.data_dir == tmp_path / "elsewhere" / "mine"


def wrong_values() -> Iterator[tuple[str, str]]:
    """Configuration texts, and the key that each message has to name."""
    yield from [
        ("colour = 1", "colour"),
        ("[feed.stopncii]", "feed"),
        ("[polices]", "polices"),
        ("[review]\nhour = 48", "review.hour"),
        ("[policy]\nfile = 3", "policy.file"),
        ('[policy]\nfile = ""', "policy.file"),
        ("[policy]\nautomatic_bits = 20", "policy.automatic_bits"),
        ("[jobs]\nstop_s = 15", "jobs.stop_s"),
        ("[jobs]\nstop_s = 0", "jobs.stop_s"),
        ("review = 48", "review"),
        ("[[jobs]]\nfeed_sync_s = 1", "jobs"),
        ('[crawler]\nobey_robots = "no"', "crawler.obey_robots"),
        ("[crawler]\nuser_agent = 1", "crawler.user_agent"),
        ("[crawler]\ndelay_s = -0.1", "crawler.delay_s"),
    ]
    for section, cls in (
        ("crawler", CrawlSettings),
        ("review", ReviewSettings),
        ("appeals", AppealSettings),
        ("jobs", JobSettings),
    ):
        for entry in fields(cls):
            for value in ("[1]", "{ a = 1 }", "1979-05-27", "nan", "-5", "-inf"):
                yield f"[{section}]\n{entry.name} = {value}", f"{section}.{entry.name}"


@pytest.mark.parametrize(("text", "where"), list(wrong_values()))
def test_a_wrong_value_is_one_clear_line(tmp_path: Path, text: str, where: str) -> None:
    """The message begins with the key and fits on a line; nothing falls back to a default."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)

    assert str(caught.value).startswith(where)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["feed_sync_s", "full_scan_s"])
def test_intervals_that_no_calendar_has_are_refused(tmp_path: Path, key: str) -> None:
    """A number with too many digits is a slip; the service would not start with it."""
    with pytest.raises(SettingsError, match=f"jobs.{key}: must be at most"):
        load(tmp_path, f"[jobs]\n{key} = {10**15}")


def test_a_folder_for_backups_needs_a_key(tmp_path: Path) -> None:
    """Said when the configuration is read, not by a job a day later."""
    with pytest.raises(SettingsError, match=r"backup\.key_file: is missing"):
        load(tmp_path, '[backup]\nfolder = "backups"')
    load(tmp_path, '[backup]\nfolder = "backups"\nkey_file = "key"')


@pytest.mark.parametrize("content", [b"= 1", b"\xff\xfe", b"a = 1\na = 2", b'data_dir = "x', b"\0"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    """The file's name stands in the one line of the message."""
    path = tmp_path / "delist.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=r"delist\.toml") as caught:
        load_settings(path)

    assert "\n" not in str(caught.value)


def test_a_policy_that_cannot_be_read_is_no_policy(tmp_path: Path) -> None:
    """A configured policy never gives way to the built-in one."""
    settings = load(tmp_path, '[policy]\nfile = "policy.toml"')

    with pytest.raises(PolicyError):
        settings.load_policy()


def test_sections_do_not_share_defaults(tmp_path: Path) -> None:
    """Keys of one section mean nothing in another."""
    values: dict[str, Any] = {"review": "hours = 12", "jobs": "feed_sync_s = 5"}
    text = "\n".join(f"[{name}]\n{line}" for name, line in values.items())

    settings = load(tmp_path, text)

    assert (settings.review.hours, settings.jobs.feed_sync_s) == (12, 5)


def test_the_policy_that_init_writes_is_in_force(tmp_path: Path) -> None:
    """``delist init`` writes both files; an edit of the policy beside the configuration counts."""
    (tmp_path / "policy.toml").write_text('version = "mine"\nautomatic_bits = 7')
    settings = load(tmp_path, annotated_configuration(policy_beside=True))

    assert settings.load_policy().bands[0].to_bits == 7

"""The contract of ``ports.Feed``, on both feeds; StopNCII over HTTP on loopback."""

import json
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from delist.ops.standin import Record, StopNciiStandIn, make_records, name_odd_records
from indexer.errors import FeedProtocolError, FeedSettingsError, PageTokenExpiredError
from indexer.feed import FileFeed, StopNciiFeed, open_feed
from indexer.model import FeedPage, FeedRecord
from indexer.ports import Feed
from indexer.settings import FeedSettings
from indexer.tls import public_tls

COUNT = 25


@dataclass(frozen=True, kw_only=True)
class Source:
    """A feed with pages of at most ten records, and what makes its tokens expire."""

    feed: Feed
    expire: Callable[[], None]
    break_settings: Callable[[], None]


def write_lines(path: Path, records: list[Record]) -> None:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


def stopncii_settings(standin: StopNciiStandIn, folder: Path) -> FeedSettings:
    (folder / "subscription").write_text(standin.subscription_key + "\n")
    for endpoint, key in standin.function_keys.items():
        (folder / endpoint).write_text(key)
    return FeedSettings(
        name="stopncii",
        type="stopncii",
        base_url=standin.base_url,
        subscription_key_file=folder / "subscription",
        function_key_files={endpoint: folder / endpoint for endpoint in standin.function_keys},
        page_size=10,
        timeout_s=5.0,
    )


@pytest.fixture(params=["stopncii", "lines", "document"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    records = make_records(COUNT)
    if request.param == "stopncii":
        with StopNciiStandIn(records) as standin:
            settings = stopncii_settings(standin, tmp_path)
            key_file = settings.subscription_key_file
            assert key_file is not None
            yield Source(
                feed=open_feed(settings),
                expire=standin.expire_tokens,
                break_settings=key_file.unlink,
            )
        return
    path = tmp_path / "signals"
    write_lines(path, records)
    if request.param == "document":
        path.write_text(json.dumps({"hashRecords": records}, indent=1))
    yield Source(
        feed=open_feed(FeedSettings(name="ours", type="file", path=path, page_size=1)),
        expire=lambda: os.utime(path, ns=(1, 1)),
        break_settings=path.unlink,
    )


def read_set(feed: Feed, since: int = 0) -> list[FeedPage]:
    pages = [feed.fetch_page(since=since, token=None)]
    while not pages[-1].last:
        pages.append(feed.fetch_page(since=since, token=pages[-1].next_token))
    return pages


def by_value(pages: list[FeedPage]) -> dict[tuple[str, str], FeedRecord]:
    return {(record.kind, record.value): record for page in pages for record in page.records}


def test_pages_end_and_hold_every_record(source: Source) -> None:
    """A set is several pages, the last says so, and together they hold every record."""
    pages = read_set(source.feed)

    assert len(pages) == 3
    assert {value for _, value in by_value(pages)} == {
        record["hashValue"] for record in make_records(COUNT)
    }
    assert not any(page.refused for page in pages)


def test_only_the_last_page_is_without_token(source: Source) -> None:
    """Every page but the last names the next one; the last names none."""
    pages = read_set(source.feed)

    assert [page.next_token is None for page in pages] == [False, False, True]
    assert [page.last for page in pages] == [False, False, True]
    assert pages[-1].cursor is not None


def test_a_set_reads_the_same_twice(source: Source) -> None:
    """Reading a set again gives the same snapshots: re-reading is harmless."""
    assert by_value(read_set(source.feed)) == by_value(read_set(source.feed))


def test_a_page_reads_the_same_twice(source: Source) -> None:
    """A token can be used again, as after a crash between two pages."""
    token = source.feed.fetch_page(since=0, token=None).next_token

    first = source.feed.fetch_page(since=0, token=token)
    second = source.feed.fetch_page(since=0, token=token)

    assert by_value([first]) == by_value([second])


def test_an_expired_token_restarts_the_set(source: Source) -> None:
    """A token that is no longer valid is an error of its own; a new set can be read."""
    token = source.feed.fetch_page(since=0, token=None).next_token
    source.expire()

    with pytest.raises(PageTokenExpiredError):
        source.feed.fetch_page(since=0, token=token)

    assert len(by_value(read_set(source.feed))) == COUNT


def test_a_made_up_token_is_an_expired_one(source: Source) -> None:
    """A token of another program or version restarts the set."""
    made_up = "1:2:3:4:5+/="

    with pytest.raises(PageTokenExpiredError):
        source.feed.fetch_page(since=0, token=made_up)


def test_broken_settings_are_named(source: Source) -> None:
    """What a person has to mend is an error that names the configuration key and the file."""
    source.break_settings()

    with pytest.raises(FeedSettingsError, match=rf"^feeds\.{source.feed.name}\.[a-z_]+: /"):
        source.feed.fetch_page(since=0, token=None)


def test_open_feed_chooses_by_type(tmp_path: Path) -> None:
    """The type in the configuration chooses the adapter; another type is an error."""
    stopncii = open_feed(FeedSettings(name="a", type="stopncii", base_url="https://x.test"))
    file = open_feed(FeedSettings(name="b", type="file", path=tmp_path))

    assert isinstance(stopncii, StopNciiFeed)
    assert isinstance(file, FileFeed)
    assert (stopncii.lists_everything, file.lists_everything) == (False, True)
    with pytest.raises(FeedSettingsError, match=r"feeds\.c\.type"):
        open_feed(FeedSettings(name="c", type="carrier-pigeon"))


# --- what holds of a file alone ---


def file_feed(tmp_path: Path, content: bytes, *, page_size: int = 800) -> FileFeed:
    path = tmp_path / "signals"
    path.write_bytes(content)
    return FileFeed(FeedSettings(name="ours", type="file", path=path, page_size=page_size))


DIGEST = "ab" * 32


def test_digest_lines(tmp_path: Path) -> None:
    """One digest a line is an active PDQ signal; blank lines and comments are skipped."""
    content = f"\ufeff# ours\n\n{DIGEST}\r\n  {DIGEST.upper()}  # why\n#end\n{'cd' * 32}".encode()
    page = file_feed(tmp_path, content).fetch_page(since=0, token=None)

    assert [record.value for record in page.records] == [DIGEST, DIGEST.upper(), "cd" * 32]
    assert {(record.kind, record.status) for record in page.records} == {("ImagePDQ", "Active")}
    assert page.refused == ()


def test_one_broken_line_costs_no_other(tmp_path: Path) -> None:
    """Lines that cannot be read are refused with a reason; all others count."""
    lines = [DIGEST.encode(), b"\xff\xfe\x00", b"hello", b'{"hashValue":', b"9" * (2**20 + 9)]
    content = b"\n".join([*lines, b"7", json.dumps(make_records(1)[0]).encode()])

    page = file_feed(tmp_path, content).fetch_page(since=0, token=None)

    reasons = [refused.reason for refused in page.refused]
    assert reasons == ["not_utf8", "not_a_digest", "broken_json", "line_too_long"]
    assert [record.value for record in page.records] == [
        DIGEST,
        "7",
        make_records(1)[0]["hashValue"],
    ]


def test_63_digits_are_handed_on(tmp_path: Path) -> None:
    """A digest of the wrong length goes to the sync, which quarantines it by its reason."""
    page = file_feed(tmp_path, f"{DIGEST[:63]}\n".encode()).fetch_page(since=0, token=None)

    assert [record.value for record in page.records] == [DIGEST[:63]]


@pytest.mark.parametrize("form", ["list", "one_line", "indented", "lines"])
def test_odd_records_come_through_a_file(tmp_path: Path, form: str) -> None:
    """Each form of a file of StopNCII records keeps every odd record."""
    odd = list(name_odd_records().values())
    document = {"count": len(odd), "hashRecords": odd}
    content = {
        "list": json.dumps(odd),
        "one_line": json.dumps(document),
        "indented": json.dumps(document, indent=2),
        "lines": "\n".join(json.dumps(record) for record in odd),
    }[form]

    pages = read_set(file_feed(tmp_path, content.encode(), page_size=1))

    assert [record.value for page in pages for record in page.records] == [
        record["hashValue"] for record in odd
    ]


def test_a_broken_first_line_does_not_make_a_document(tmp_path: Path) -> None:
    """JSON lines of which the first is broken are still read line by line."""
    content = '{"hashValue": "a\n' + json.dumps(make_records(1)[0])

    page = file_feed(tmp_path, content.encode()).fetch_page(since=0, token=None)

    assert (len(page.records), len(page.refused)) == (1, 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"hashRecords": [\n {"hashValue": "',
        b"[",
        b'{\n"hashRecords": null}',
        "ab\n".encode("utf-16"),
        b"<html>\n",
    ],
)
def test_a_file_that_is_doubtful_as_a_whole_withdraws_nothing(
    tmp_path: Path, content: bytes
) -> None:
    """Empty, cut or of another format: an error, for a listing of nothing withdraws all."""
    with pytest.raises(FeedProtocolError, match=r"^feeds\.ours\.path: /"):
        file_feed(tmp_path, content).fetch_page(since=0, token=None)


def test_an_intended_empty_list_holds_a_comment(tmp_path: Path) -> None:
    """A file of comments alone lists nothing, on purpose."""
    page = file_feed(tmp_path, b"# all withdrawn\n").fetch_page(since=0, token=None)

    assert page.last
    assert page.records == ()


@pytest.mark.parametrize("change", ["replaced", "grown", "touched"])
def test_a_file_that_changes_between_pages_restarts_the_set(tmp_path: Path, change: str) -> None:
    """Size, time and inode are part of the token: pages of two files never mix."""
    feed = file_feed(tmp_path, f"{DIGEST}\n".encode() * 11, page_size=1)
    token = feed.fetch_page(since=0, token=None).next_token
    path, other = tmp_path / "signals", tmp_path / "other"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    if change == "grown":
        path.write_bytes(path.read_bytes() + b"ab\n")
        os.utime(path, ns=times)
    elif change == "replaced":
        other.write_bytes(path.read_bytes())
        os.utime(other, ns=times)
        other.replace(path)
    else:
        os.utime(path, ns=(times[0], times[1] + 1))

    with pytest.raises(PageTokenExpiredError):
        feed.fetch_page(since=0, token=token)


def test_a_full_last_page_ends(tmp_path: Path) -> None:
    """A file of exactly one page ends, at the latest with an empty page."""
    pages = read_set(file_feed(tmp_path, f"{DIGEST}\n".encode() * 10, page_size=1))

    assert sum(len(page.records) for page in pages) == 10
    assert pages[-1].last


def test_the_cursor_is_the_time_of_the_file(tmp_path: Path) -> None:
    """The cursor of the last page is the file's modification time in whole seconds."""
    feed = file_feed(tmp_path, DIGEST.encode())
    os.utime(tmp_path / "signals", ns=(0, 1_700_000_000_999_999_999))

    assert feed.fetch_page(since=0, token=None).cursor == 1_700_000_000


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """A path that is no regular file is a matter of settings, and withdraws nothing."""
    feed = FileFeed(FeedSettings(name="ours", type="file", path=tmp_path))

    with pytest.raises(FeedSettingsError, match=r"feeds\.ours\.path"):
        feed.fetch_page(since=0, token=None)


def test_certificates_are_read_once_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``delist run`` asks every few seconds, for years, with a feed made anew each time."""
    read: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, *where: str | None, **named: str | None) -> None:
        read.append(context)
        load(context, *where, **named)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    public_tls.cache_clear()
    with StopNciiStandIn(make_records(COUNT)) as standin:
        settings = stopncii_settings(standin, tmp_path)
        pages = [open_feed(settings).fetch_page(since=0, token=None) for _ in range(3)]
    assert [len(page.records) for page in pages] == [10, 10, 10]
    assert len(read) == 1

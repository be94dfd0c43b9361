"""[database]: an address in the file or in a file of its own; passwords in the latter alone."""

from pathlib import Path

import pytest

from delist.settings import DatabaseSettings, load_settings
from indexer.errors import SettingsError


def load(tmp_path: Path, *lines: str) -> DatabaseSettings:
    path = tmp_path / "delist.toml"
    path.write_text("\n".join(["[database]", *lines]))
    return load_settings(path).database


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user@db.example/delist?sslmode=verify-full",
        "postgres://user@db.example:5433/delist",
        "postgresql+psycopg:///delist?host=/run/postgresql",
        "postgresql://user:@db.example/delist",
        "postgresql://a.example:1,b.example:2/delist?passfile=/run/secrets/pgpass",
    ],
)
def test_an_address_without_a_password(tmp_path: Path, url: str) -> None:
    """It may stand in the configuration as libpq reads it."""
    assert load(tmp_path, f'url = "{url}"').load_url() == url


def test_without_an_address_it_is_sqlite(tmp_path: Path) -> None:
    """No section, an empty one and an empty address say the same."""
    assert load(tmp_path) == load(tmp_path, 'url = ""') == DatabaseSettings()
    assert DatabaseSettings().load_url() == ""


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cr3t@db.example/delist",
        "postgresql://:s3cr3t@/delist",
        "postgresql://user@db.example/delist?password=s3cr3t",
        "postgresql://user@db.example/delist?sslmode=require&pass%77ord=s3cr3t",
        "postgresql:///delist?sslpassword=s3cr3t",
        "postgresql:///delist?PASSWORD=s3cr3t",
        "postgresql://user@db.example/delist#?password=s3cr3t",
        "mysql://user:s3cr3t@db.example/delist",
        "sqlite:///s3cr3t",
        "s3cr3t",
        " postgresql://user:s3cr3t@db.example/delist",
        "postgresql://user:s3cr3t@[db.example/delist",
    ],
)
def test_a_password_belongs_into_a_file(tmp_path: Path, url: str) -> None:
    """Any place where one can stand is refused, in a line that does not repeat it."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, f'url = "{url}"')

    assert str(caught.value).startswith("database.url: ")
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_file_may_hold_a_password(tmp_path: Path) -> None:
    """One line, its path relative to the configuration, which shows the path alone."""
    (tmp_path / "url").write_text("postgresql://user:s3cr3t@db.example/delist\n")

    settings = load(tmp_path, 'url_file = "url"')

    assert settings.load_url() == "postgresql://user:s3cr3t@db.example/delist"
    assert "s3cr3t" not in repr(settings)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"s3cr3t",
        b"mysql://user:s3cr3t@db.example/delist",
        b"postgresql://user:s3cr3t@a.example/x\npostgresql://user:s3cr3t@b.example/x",
        b"\xff s3cr3t",
        None,
    ],
)
def test_a_file_that_holds_no_address(tmp_path: Path, content: bytes | None) -> None:
    """The file is named, what it holds is not; nobody falls back to SQLite."""
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    settings = load(tmp_path, 'url_file = "url"')

    with pytest.raises(SettingsError, match=r"database\.url_file: .*/url ") as caught:
        settings.load_url()

    assert "s3cr3t" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_one_of_them_counts(tmp_path: Path) -> None:
    """Two addresses would leave open which database is the right one."""
    with pytest.raises(SettingsError, match=r"database\.url: "):
        load(tmp_path, 'url = "postgresql:///x"', 'url_file = "url"')


@pytest.mark.parametrize("line", ["url = 1", 'url_file = ""', "path = 'x'", "url_file = ['x']"])
def test_a_wrong_value_names_its_key(tmp_path: Path, line: str) -> None:
    """As in every other section."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, line)

    assert str(caught.value).startswith(f"database.{line.partition(' ')[0]}")

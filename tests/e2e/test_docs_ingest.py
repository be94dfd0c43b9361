"""What docs/ingest.md shows works as shown: its commands in their order, and its Python."""

import json
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from delist.build import Delist
from delist.cli import main
from indexer.tables import images_schema
from tests.fakes.archives import answer, packed, record
from tests.fakes.delisting import World, digest_of
from tests.sites import draw_image

TEXT = (Path(__file__).parents[2] / "docs" / "ingest.md").read_text(encoding="utf-8")
BASE = "https://images.example"


def put_sources(folder: Path) -> None:
    """Write what the page speaks of."""
    (folder / "thumbnails").mkdir()
    (folder / "thumbnails" / "1.jpg").write_bytes(draw_image(1))
    row = {"url": f"{BASE}/2.jpg", "path": "thumbnails/1.jpg"}
    (folder / "index.jsonl").write_text(json.dumps(row) + "\n")
    table = pa.table({"url": [f"{BASE}/3.jpg"], "bytes": [draw_image(3)]})
    parquet.write_table(table, folder / "index.parquet")
    table = pa.table({"url": [f"{BASE}/4.jpg"], "pdq": [digest_of(4)], "quality": [80]})
    parquet.write_table(table, folder / "hashes.parquet")
    image = answer(draw_image(5), Content_Type="image/jpeg")
    page = answer(b"<img src=5.jpg>", Content_Type="text/html")
    records = [record(f"{BASE}/", page), record(f"{BASE}/5.jpg", image)]
    (folder / "crawl.warc.gz").write_bytes(packed(records))


def test_the_commands_and_the_python_of_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ends with exit code 0, and what was taken in comes out again."""
    monkeypatch.chdir(tmp_path)
    put_sources(tmp_path)
    with World(tmp_path / "data"):
        (tmp_path / "delist.toml").write_text('data_dir = "data"\n')
    blocks = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    counts: list[tuple[str, int]] = []
    for line in "".join(blocks).splitlines():
        arguments = shlex.split(line.removeprefix("$ delist "))
        if arguments[0] == "ingest":
            arguments += ["--processes", "1"]
        code = main([*arguments, "--json"])
        said = capsys.readouterr()
        assert code == 0, (line, said.err)
        document = json.loads(said.out)
        counts.append((" ".join(arguments[:2]), document["rows"]))

    assert counts == [
        ("ingest thumbnails", 1), ("ingest index.jsonl", 1), ("ingest index.parquet", 2),
        ("ingest crawl.warc.gz", 2), ("export images", 5), ("export matches", 0),
        ("export suppressions", 0), ("ingest exported/images", 5),
    ]  # fmt: skip
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(example.replace("processes=4", "processes=1"), "docs", "exec"), {})  # noqa: S102 - our own documentation
    with Delist.open(Path("delist.toml")) as delist:
        actors = [entry.actor for entry in delist.audit_entries() if entry.act == "export.images"]
    assert actors[-1] == "nightly job"
    assert actors[0].startswith("account ")


def test_the_page_names_every_column() -> None:
    """What an export of images has stands on the page, and nothing else does."""
    (row,) = re.findall(r"^\| `images` \| (.*?) \|", TEXT, re.MULTILINE)
    shown = set(re.findall(r"`(\w+)`", row))
    inside = {field.name for field in images_schema().field("rows").type.value_type}

    assert shown == set(images_schema().names) | inside

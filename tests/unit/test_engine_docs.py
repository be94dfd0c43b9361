"""What docs/engines.md shows can be used as it stands."""

import re
import tomllib
from pathlib import Path

import pytest

from delist.settings import SinkTable
from delist.sinks import read_sink

TEXT = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
TABLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", TABLES)
def test_configurations_are_read(block: str) -> None:
    """Every key is known and every value is in range."""
    ((name, table),) = tomllib.loads(block)["sinks"].items()
    kind = table.pop("type")
    assert read_sink(SinkTable(name=name, kind=kind, values=table, base_dir=Path("/"))).kind == kind


def test_every_engine_has_a_configuration() -> None:
    """Elasticsearch shares that of OpenSearch."""
    kinds = {tomllib.loads(block)["sinks"]["pages"]["type"] for block in TABLES}
    assert kinds == {"typesense", "tantivy", "opensearch", "solr"}

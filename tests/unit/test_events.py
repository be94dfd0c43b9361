"""What is logged: constant names, each with its level and meaning in docs/events.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error"}
LOGGERS = {"_log", "log"}
NEVER = {"url", "digest", "ref", "case", "address", "host", "contact", "body", "key"}


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Iterate over all calls of a logger: place, call and level."""
    for package in ("indexer", "crawler", "delist"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id in LOGGERS
                    and node.func.attr in {*LEVELS, "log", "exception", "critical"}
                ):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node, node.func.attr
                elif (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "say"
                    and path.parent.name == "running"
                ):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node, "as judged"


def test_events_are_constants_and_listed() -> None:
    """The table has exactly the events of the source, each with its levels."""
    found: dict[str, set[str]] = {"library.message": {"as logged"}}
    for place, call, level in calls():
        name = call.args[0]
        assert isinstance(name, ast.Constant), place
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", name.value), (place, name.value)
        found.setdefault(name.value, set()).add(level)
    text = (ROOT / "docs" / "events.md").read_text()
    listed = {
        event: set(levels.split(", "))
        for event, levels in re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", text, re.MULTILINE)
    }

    assert listed == found


def test_events_have_no_fields_that_identify() -> None:
    """A field's name tells: no address, no digest, no case reference."""
    wrong = [
        (place, keyword.arg)
        for place, call, _ in calls()
        for keyword in call.keywords
        if keyword.arg and NEVER & set(keyword.arg.split("_"))
    ]

    assert wrong == []

"""What an operator copies: alert rules, dashboard, configurations, units. Held to the program."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import typer
import yaml

from delist.cli import app
from delist.monitoring import CODES
from delist.settings import load_settings
from delist.sinks import read_sink
from delist.web.app import create_app
from tests.fakes.delisting import World, digest_of, image_near

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "config" / "deploy"
RUNBOOKS = ROOT / "docs" / "operations.md"
NAME = re.compile(r"\b(delist_\w+)")
SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
}
UNASKED = ("_sum", "_gsum", "_count")
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def rules() -> list[dict[str, object]]:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[str]:
    """Iterate over every PromQL expression of alerts and dashboard."""
    yield from (str(rule["expr"]) for rule in rules())
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel["targets"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Name all series of an installation that has seen work."""
    with World(tmp_path_factory.mktemp("deploy") / "data") as world:
        signal = digest_of("signal")
        world.offer(signal)
        world.visit("https://site.example/a.jpg", image_near({signal: 5}))
        world.take_in()
        web = create_app(world.delist)
        found: set[str] = set()
        for family in web.state.metrics.families():
            found |= {family.name + suffix for suffix in SUFFIXES.get(family.type, ("",))}
        web.state.results.close()
        return found


def test_every_expression_is_promql_of_metrics_that_exist(exported: set[str]) -> None:
    """A rule about a metric that is not there never fires."""
    named = set()
    for query in queries():
        promql_parser.parse(query)
        named |= set(NAME.findall(query))

    assert named <= exported
    assert {name for name in exported - named if not name.endswith(UNASKED)} == set()


def test_metrics_are_named_by_convention(exported: set[str]) -> None:
    """Base units at the end, counters end in _total."""
    assert all(re.fullmatch(r"delist_[a-z0-9_]+", name) for name in exported)
    assert not [
        name for name in exported if re.search(r"_(ms|minutes|hours|mb|gib|percent)$", name)
    ]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """A person who is woken up finds what it means, what to look at, what to do, whom to call."""
    alerts = [str(rule["alert"]) for rule in rules()]
    text = RUNBOOKS.read_text()
    books = dict(re.findall(r"^### (Delist\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))

    assert len(set(alerts)) == len(alerts)
    assert sorted(books) == sorted(alerts)
    parts = ("**For a survivor:**", "**Look:**", "**Do:**", "**Call:**")
    assert {name: [p for p in parts if p not in book] for name, book in books.items()} == {
        name: [] for name in books
    }
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}  # type: ignore[index] # YAML
        anchor = f"docs/operations.md#{str(rule['alert']).lower()}"
        assert rule["annotations"]["runbook"] == anchor  # type: ignore[index] # YAML


def test_runbooks_name_commands_that_exist() -> None:
    """At three in the morning nobody wants to guess what was meant."""
    every = getattr(typer.main.get_command(app), "commands", {})
    groups = {name: getattr(found, "commands", {}) for name, found in every.items()}
    named = re.findall(r"`delist ([a-z-]+)(?: ([a-z-]+))?", RUNBOOKS.read_text())
    wrong = [
        (first, second)
        for first, second in named
        if first not in groups or (groups[first] and second not in {"", *groups[first]})
    ]

    assert len(named) > 30
    assert wrong == []


def test_alerts_name_conditions_that_exist() -> None:
    """A label that nothing has matches nothing."""
    named = set(re.findall(r'code="(\w+)"', "\n".join(queries())))

    assert named
    assert named <= set(CODES)


@pytest.mark.parametrize("name", ["one-machine.toml", "production.toml", "crawler.toml"])
def test_configurations_are_accepted(name: str) -> None:
    """Also the settings of their sinks, and every path is absolute."""
    settings = load_settings(DEPLOY / name)
    for sink in settings.sinks:
        read_sink(sink)

    assert str(settings.indexer.data_dir) == "/var/lib/delist"
    assert not re.findall(r'_file = "(?!/)', (DEPLOY / name).read_text())


def test_the_image_has_what_the_configurations_ask_for() -> None:
    """A queue, a server's database, traces: each needs an extra, which a container cannot add."""
    settings = load_settings(DEPLOY / "production.toml")
    found = re.search(r"'\.\[(.*)\]'", (DEPLOY / "Containerfile").read_text())
    assert found is not None
    extras = set(found[1].split(","))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert settings.queue.servers
    assert settings.tracing.endpoint
    assert settings.database.url_file
    assert {"cluster", "otel", "postgres"} <= extras <= set(project["optional-dependencies"])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_units_are_valid(tmp_path: Path) -> None:
    """As systemd reads them; with a program that exists here."""
    copies = []
    for unit in UNITS:
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace("/opt/delist/bin/delist", "/bin/true"))
        copies.append(str(copy))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *copies],  # noqa: S607 - found above
        capture_output=True,
        text=True,
        check=False,
    )

    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_are_hardened(unit: Path) -> None:
    """No core dumps, no swap, nothing writable but the data, no privileges to be had."""
    lines = set(unit.read_text().splitlines())

    assert lines >= {
        "LimitCORE=0",
        "MemorySwapMax=0",
        "NoNewPrivileges=true",
        "ProtectSystem=strict",
        "PrivateTmp=true",
        "CapabilityBoundingSet=",
        "User=delist",
        "UMask=0077",
    }

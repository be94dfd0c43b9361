"""``delist bench serving``: figures beside others, and every answer checked."""

import json
from pathlib import Path

import pytest

from delist.cli import main


def test_serving_is_measured_beside_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a size; each contestant with times, rates and memory; all answers are right."""
    plot = tmp_path / "serving.png"
    sizes = ("--urls", "50", "--urls", "3000")
    options = ("--rounds", "1", "--batch", "1000", "--plot", str(plot), "--json")
    assert main(["bench", "serving", *sizes, *options]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["urls"] for line in lines] == [50, 3000]
    for line in lines:
        names = [result["name"] for result in line["results"]]
        assert names == ["delist", "Python set", "LMDB", "SQLite"]
        assert list(line["peers"]) == list(line["ratios"]) == names[1:]
        assert {"machine", "measured_at", "versions"} <= set(line)
        assert line["right"]
        for result in line["results"]:
            for kind in ("miss", "hit", "raw_miss"):
                assert 0 < result[kind]["p50_us"] <= result[kind]["p99_us"]
            assert min(result["rate"]["low"], result["raw_rate"]["low"], result["build_s"]) > 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_text_output_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Without ``--json`` each size is a headline and a line for each contestant."""
    assert main(["bench", "serving", "--urls", "20", "--rounds", "1", "--batch", "1000"]) == 0

    headline, names, *lines = capsys.readouterr().out.rstrip().splitlines()
    assert headline.startswith("20 suppressed URLs, batches of 1,000, one thread")
    assert "bytes/URL" in names
    assert [line.split("  ")[0] for line in lines] == ["delist", "Python set", "LMDB", "SQLite"]

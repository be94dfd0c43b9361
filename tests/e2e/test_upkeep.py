"""``delist doctor``, ``delist compact`` and ``delist bench``."""

import json
from pathlib import Path

import pytest

from delist.cli import main
from delist.ops.standin import StopNciiStandIn
from tests.fakes.signals import make_digest


def configure(folder: Path, base_url: str) -> Path:
    (folder / "key").write_text("FetchHashes-key")
    (folder / "subscription").write_text("subscription-key")
    config = folder / "delist.toml"
    config.write_text(
        f'data_dir = "data"\n[feeds.stopncii]\nbase_url = "{base_url}"\n'
        'subscription_key_file = "subscription"\nfunction_key_files = { FetchHashes = "key" }\n'
    )
    return config


def documents(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_doctor_finds_a_working_installation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every check of a sound installation is named; a feed that was never synced is a warning."""
    with StopNciiStandIn() as standin:
        code = main(["--config", str(configure(tmp_path, standin.base_url)), "doctor", "--json"])

    health = {str(check["name"]): check["health"] for check in documents(capsys)}
    assert code == 0
    assert set(health) == {
        *("installation", "clock", "store", "index", "cases", "policy", "permissions", "disk"),
        "memory",
        "feed stopncii",
    }
    assert health.pop("feed stopncii") == "warning"
    assert "failed" not in health.values()


def test_doctor_says_how_to_mend_what_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong key and an open secret are found together; a failure ends with exit code 1."""
    with StopNciiStandIn() as standin:
        config = configure(tmp_path, standin.base_url)
        assert main(["--config", str(config), "intake"]) == 0
        (tmp_path / "subscription").write_text("another-key")
        (tmp_path / "data" / "secrets" / "signal-key").chmod(0o644)
        capsys.readouterr()
        code = main(["--config", str(config), "doctor", "--json"])

    checks = {str(check["name"]): check for check in documents(capsys)}
    assert code == 1
    assert checks["feed stopncii"]["health"] == "failed"
    assert checks["permissions"]["health"] == "warning"
    assert all(check["mend"] for check in checks.values() if check["health"] != "ok")


def test_compact_takes_what_was_withdrawn_out_of_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A digest that left the bank is in no file any more; the answer holds counts only."""
    gone, kept = make_digest(1).hex(), make_digest(2).hex()
    bank, config = tmp_path / "bank", tmp_path / "delist.toml"
    config.write_text('data_dir = "data"\n[feeds.bank]\ntype = "file"\npath = "bank"\n')
    for lines in ([gone, kept], [kept]):
        bank.write_text("\n".join(lines))
        assert main(["--config", str(config), "feed", "sync"]) == 0
    capsys.readouterr()
    code = main(["--config", str(config), "compact", "--json"])

    (report,) = documents(capsys)
    assert code == 0
    assert set(report) == {
        *("moved", "chunks_dropped", "pages_overwritten", "pages_pinned"),
        *("index_republished", "indexes_dropped", "scan_open"),
    }
    assert (report["pages_pinned"], report["scan_open"]) == (0, False)
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert bytes.fromhex(kept) in raw
    assert not any(form in raw for form in (bytes.fromhex(gone), gone.encode()))


def test_bench_lookup_compares_with_the_peer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each size gives a rate here, the peer's in the same run, and their ratio."""
    arguments = ["bench", "lookup", "--signals", "300", "--batch", "4", "--rounds", "1"]
    code = main(["--data-dir", str(tmp_path), *arguments, "--seconds", "0.01", "--json"])

    (comparison,) = documents(capsys)
    assert code == 0
    assert "threatexchange PDQIndex" in comparison["peers"]  # type: ignore[operator] # by name
    for peer, rate in comparison["peers"].items():  # type: ignore[attr-defined] # by name
        assert comparison["ratios"][peer] == pytest.approx(  # type: ignore[index] # by peer
            comparison["rate"] / rate
        )


def test_bench_crawl_visits_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second visit of the same site is timed apart."""
    code = main(["--data-dir", str(tmp_path), "bench", "crawl", "--images", "3", "--json"])

    rates = [comparison["rate"] for comparison in documents(capsys)]
    assert code == 0
    assert len(rates) == 2
    assert all(isinstance(rate, float) and rate > 0 for rate in rates)

"""``delist bench hash``, ``lookup`` and ``rescan``: figures, their proof, plots and wrong options.

How fast anything is is not asserted: that is for a calm machine and a person.
"""

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from delist.cli import main
from delist.errors import UsageError
from delist.ops.bench.digests import KINDS, load_digests, make_lookups
from delist.ops.bench.flat_scan import FlatScan
from delist.ops.bench.lookups import LookupOptions, compare_lookups, recalls
from delist.ops.bench.peers import FLAT, faiss_flat, in_order
from delist.ops.bench.stored_rows import make_signals
from indexer.ann import FlatIndex
from indexer.ports import Found

HASH_RIVALS = ["delist, fast", "delist, deep", "threatexchange PdqSignal", "decoding alone"]
QUICK = ("--rounds", "1", "--seconds", "0.01")
LOOKUP_RIVALS = [
    *("delist", "threatexchange PDQIndex", "faiss multi-hash"),
    *("faiss flat", "flat scan"),
]
RESCAN_RIVALS = [
    *("delist, streaming", "delist, kept index"),
    *("faiss flat", "flat scan", "faiss multi-hash"),
]


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["bench", *arguments, *QUICK, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def random_digests(count: int, seed: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


@pytest.mark.parametrize("kind", KINDS[:2])
def test_lookups_are_measured_beside_others(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a size; each contestant with rates, ratio and recall; all are exact."""
    sizes = ("--signals", "40", "--signals", "2500")
    lines = bench(capsys, "lookup", *sizes, "--batch", "16", "--kind", kind)

    assert [line["signals"] for line in lines] == [40, 2500]
    for line in lines:
        assert (line["kind"], line["batch"], line["threads"], line["rounds"]) == (kind, 16, 1, 1)
        assert line["exact"]
        assert line["checked"] >= 256
        assert {"machine", "measured_at", "versions"} <= set(line)
        assert [result["name"] for result in line["results"]] == LOOKUP_RIVALS
        assert line["rate"] == line["results"][0]["rate"]["median"]
        assert line["results"][0]["ratio"] == {"median": 1, "low": 1, "high": 1}
        assert list(line["peers"]) == list(line["ratios"]) == LOOKUP_RIVALS[1:]
        for result in line["results"]:
            assert result["exact"]
            assert result["recall"] == 1
            assert result["rate"]["low"] <= result["rate"]["median"] <= result["rate"]["high"]
            assert min(result["rate"]["low"], result["single_p50_us"], result["build_s"]) > 0


def test_lookups_without_the_peer_on_two_threads(capsys: pytest.CaptureFixture[str]) -> None:
    """``--no-peer`` leaves the public client out; threads are the same for all others."""
    (line,) = bench(capsys, "lookup", "--signals", "300", "--no-peer", "--threads", "2")

    assert line["threads"] == 2
    assert list(line["peers"]) == ["faiss flat", "flat scan"]


@pytest.mark.parametrize("form", ["npy", "txt"])
def test_lookups_in_digests_of_ones_own(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of digests is as many signals as it has, unless others are asked for."""
    path = tmp_path / f"digests.{form}"
    digests = random_digests(500)
    if form == "npy":
        np.save(path, digests)
    else:
        path.write_text("\n".join(digest.tobytes().hex() for digest in digests) + "\n\n")

    (line,) = bench(capsys, "lookup", "--digests", str(path), "--no-peer")
    (more,) = bench(capsys, "lookup", "--digests", str(path), "--no-peer", "--signals", "2000")

    assert np.array_equal(load_digests(path), digests)
    assert (line["kind"], line["signals"], line["exact"]) == ("file", 500, True)
    assert (more["signals"], more["exact"]) == (2000, True)


def test_text_output_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Without ``--json`` each size is a headline and a line for each contestant."""
    assert main(["bench", "lookup", "--signals", "50", *QUICK]) == 0

    headline, names, *lines = capsys.readouterr().out.rstrip().splitlines()
    assert headline.startswith("look-ups in 50 random signals, batches of 64")
    assert "look-ups/s" in names
    assert [line.split("  ")[0] for line in lines] == LOOKUP_RIVALS


def test_an_index_that_misses_a_match_is_told() -> None:
    """Its recall falls below 1, and it is not exact; nor is one that finds too much."""
    lookups = make_lookups("random", 50, 256, given=None, seed=1)
    honest = faiss_flat(lookups.held, 31)
    forgetful = replace(
        honest, name="forgetful", found=lambda queries: without_first(honest.found(queries))
    )
    greedy = replace(faiss_flat(lookups.held, 120), name="greedy")

    told = recalls([forgetful, greedy, honest], lookups.queries)

    assert told["forgetful"][0] < 1
    assert [told[name][1] for name in ("forgetful", "greedy", FLAT)] == [False, False, True]
    assert told["greedy"][0] == told[FLAT][0] == 1


def without_first(found: Found) -> Found:
    rows, positions, distances = found
    return rows[1:], positions[1:], distances[1:]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_rescans_are_measured_beside_others(
    threads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each number of rows and signals; every way finds just what was planted."""
    sizes = ("--rows", "100", "--rows", "20000", "--signals", "1", "--signals", "30")
    lines = bench(capsys, "rescan", *sizes, "--threads", threads)

    found = [(line["rows"], line["signals"], line["planted"]) for line in lines]
    assert found == [(112, 1, 1), (112, 30, 4), (20_000, 1, 1), (20_000, 30, 15)]
    for line in lines:
        assert line["exact"]
        assert [result["name"] for result in line["results"]] == RESCAN_RIVALS
        assert list(line["seconds"]) == list(line["ratios"]) == RESCAN_RIVALS
        assert line["ratios"]["faiss flat"] == 1
        for result in line["results"]:
            assert result["exact"]
            assert 0 < result["share"] <= 1
            assert result["seconds"]["low"] > 0
    kept = lines[-1]["results"][1]
    assert kept["build_s"] > 0
    assert kept["bytes_per_row"] > 32


def test_hashing_is_measured_beside_the_peer(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a size: both tiers and the peer, with rates, ratios and numbers of digests."""
    sizes = ("--size", "40x30", "--size", "200x150", "--size", "40x30")
    options = ("--repeats", "2", "--seconds", "0.001", "--json")
    assert main(["bench", "hash", *sizes, *options]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["width"], line["height"]) for line in lines] == [(40, 30), (200, 150)]
    for line in lines:
        names = [result["name"] for result in line["results"]]
        assert names == HASH_RIVALS
        assert list(line["peers"]) == list(line["ratios"]) == HASH_RIVALS[2:]
        fast, deep, peer, decoding = line["results"]
        assert line["tiers"] == {"fast": line["rate"], "deep": deep["rate"]["median"]}
        assert line["rate"] == fast["rate"]["median"]
        assert (fast["digests"], peer["digests"], decoding["digests"]) == (16, 1, 0)
        assert deep["digests"] > 500
        assert fast["ratio"] == {"median": 1, "low": 1, "high": 1}
        assert all(
            0 < result["rate"]["low"] <= result["rate"]["high"] for result in line["results"]
        )
        assert line["size_bytes"] > 100
        assert {"machine", "measured_at", "versions"} <= set(line)


def test_hashing_without_the_peer_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """``--no-peer`` leaves the public client out; without ``--json`` each size is a table."""
    options = ("--repeats", "1", "--seconds", "0.001", "--no-peer")
    assert main(["bench", "hash", "--size", "64x48", *options]) == 0

    headline, names, *lines = capsys.readouterr().out.rstrip().splitlines()
    assert headline.startswith("hash JPEG 64x48, ")
    assert "images/s" in names
    assert [line.split("  ")[0] for line in lines] == [*HASH_RIVALS[:2], HASH_RIVALS[3]]


def test_plots_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plot is a PNG file of 1000 by 700 pixels, small enough to be committed."""
    lookups, rescans, hashing = (
        tmp_path / name for name in ("lookups.png", "rescans.png", "hashing.png")
    )

    bench(capsys, "lookup", "--signals", "50", "--signals", "900", "--plot", str(lookups))
    bench(capsys, "rescan", "--rows", "64", "--signals", "2", "--signals", "4",
          "--plot", str(rescans))  # fmt: skip
    hash_options = ("--repeats", "1", "--seconds", "0.001", "--plot", str(hashing))
    assert main(["bench", "hash", "--size", "40x30", "--size", "90x80", *hash_options]) == 0

    for path in (lookups, rescans, hashing):
        assert png_size(path) == (1000, 700)
        assert 10_000 < path.stat().st_size < 150_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lookup", "--signals", "0"], "--signals: has to be 1 or more"),
        (["lookup", "--signals", "-5"], "--signals: has to be 1 or more"),
        (["lookup", "--batch", "0"], "--batch"),
        (["lookup", "--rounds", "0"], "--rounds"),
        (["lookup", "--threads", "5000"], "--threads"),
        (["lookup", "--seconds", "nan"], "--seconds"),
        (["lookup", "--kind", "real"], "--kind: this version knows random, clustered, file, not"),
        (["lookup", "--kind", "file"], "--kind file and --digests FILE go together"),
        (["lookup", "--kind", "random", "--digests", "x.npy"], "go together"),
        (["lookup", "--digests", "absent.npy"], "cannot read absent.npy: No such file"),
        (["lookup", "--digests", "absent.txt"], "cannot read absent.txt: No such file"),
        (["lookup", "--digests", "empty.txt"], "holds no digest"),
        (["lookup", "--digests", "short.txt"], "line 2 is not 64 hex digits"),
        (["lookup", "--digests", "wide.npy"], "digests must be uint8[n, 32]"),
        (["lookup", "--digests", "text.npy"], "not a .npy file of digests"),
        (["lookup", "--digests", "objects.npy"], "not a .npy file of digests"),
        (["lookup", "--plot", "plot.pdf"], "has to end in .png"),
        (["lookup", "--plot", "absent/plot.png"], "there is no folder absent"),
        (["lookup", "--plot", "folder.png"], "is a folder"),
        (["hash", "--size", "800"], "--size: has to be like 800x600"),
        (["hash", "--size", "-3x9"], "--size: has to be like 800x600"),
        (["hash", "--size", "16x600"], "--size: sides of 17 pixels or more"),
        (["hash", "--size", "90000x9000"], "--size: sides of 17 pixels or more, 64 megapixels"),
        (["hash", "--seconds", "0"], "--seconds: has to be more than 0"),
        (["hash", "--plot", "plot.pdf"], "has to end in .png"),
        (["rescan", "--rows", "0"], "--rows: has to be 1 or more"),
        (["rescan", "--signals", "0"], "--signals: has to be 1 or more"),
        (["rescan", "--plot", "plot"], "has to end in .png"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What makes no sense is said in one line before anything is measured; exit code 2."""
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n")
    Path("short.txt").write_text(f"{'00' * 32}\n{'00' * 31}\n")
    np.save("wide.npy", np.zeros((2, 33), np.uint8))
    Path("text.npy").write_text("nothing of the kind")
    np.save("objects.npy", np.array([{}], dtype=object))
    Path("folder.png").mkdir()

    code = main(["bench", *arguments])

    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1


WITHOUT_MATPLOTLIB = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.partition(".")[0] == "matplotlib" else found(name, package)
)
sys.modules["matplotlib"] = None
from delist.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("plot", [True, False])
def test_matplotlib_is_only_needed_for_plots(plot: bool, tmp_path: Path) -> None:
    """Without it ``--plot`` is refused in one line, and all else works."""
    options = ["--plot", "plot.png"] if plot else []
    result = subprocess.run(
        [
            *(sys.executable, "-c", WITHOUT_MATPLOTLIB, "bench", "lookup", "--signals", "20"),
            *(*QUICK, "--no-peer", *options),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert result.returncode == (2 if plot else 0), result.stderr
    assert result.stderr.count("\n") == plot
    assert ("--plot needs matplotlib" in result.stderr) is plot


@pytest.mark.parametrize("count", [1, 7, 8, 9, 300])
@pytest.mark.parametrize("kind", KINDS[:2])
def test_the_flat_scan_equals_faiss_flat(count: int, kind: str) -> None:
    """It finds the same matches with the same distances, whatever is left over of its groups."""
    lookups = make_lookups(kind, count, 133, given=None, seed=count)
    for threshold_bits in (0, 15, 31):
        wanted = FlatIndex(lookups.held).find(lookups.queries, threshold_bits=threshold_bits)
        found = FlatScan(lookups.held).find(lookups.queries, threshold_bits=threshold_bits)
        for ours, theirs in zip(in_order(*found), wanted, strict=True):
            assert np.array_equal(ours, theirs)


def test_the_flat_scan_makes_room_for_long_answers() -> None:
    """Thousands of matches a query are all there."""
    held = np.zeros((3_000, 32), np.uint8)
    rows, positions, distances = FlatScan(held).find(held[:3], threshold_bits=0)

    assert len(rows) == len(set(zip(rows.tolist(), positions.tolist(), strict=True))) == 9_000
    assert not distances.any()


def test_planted_signals_are_as_far_as_they_say() -> None:
    """One lies just at the threshold, some just beyond it, and nothing else is near a row."""
    stored = random_digests(1_600)
    signals = make_signals(np.random.default_rng(2), stored, 100, threshold_bits=31)

    rows, positions, distances = FlatIndex(stored).find(signals.digests, threshold_bits=32)
    within = {
        (int(row), int(position))
        for row, position, distance in zip(rows, positions, distances, strict=True)
        if distance <= 31
    }
    assert within == {(place, row) for place, row in enumerate(signals.rows.tolist()) if row >= 0}
    assert len(within) == len(signals.near) == 50
    assert 31 in distances
    assert (distances == 32).sum() == 16


def test_lookups_are_the_same_in_every_run() -> None:
    """What is measured does not depend on the run; half of what is asked is near a signal."""
    one, two = (make_lookups("random", 1_000, 2_000, given=None, seed=1) for _ in range(2))

    assert (one.held == two.held).all()
    assert (one.queries == two.queries).all()
    near = FlatIndex(one.held).find(one.queries, threshold_bits=40)[0]
    assert len(set(near.tolist())) == 1_000


def test_reports_come_one_by_one() -> None:
    """A size is reported when it is done, not when all are."""
    options = LookupOptions(batch=4, rounds=1, seconds=0.01, with_peer=False)
    words: list[str] = []
    reports = compare_lookups([10, 20], options, words.append)

    assert next(reports).signals == 10
    assert not any(word.startswith("20 ") for word in words)


def test_a_file_that_is_no_digests_is_refused(tmp_path: Path) -> None:
    """Spaces inside a line do not make it another digest."""
    (tmp_path / "odd.txt").write_text("zz" * 32)

    with pytest.raises(UsageError, match="line 1 is not 64 hex digits"):
        load_digests(tmp_path / "odd.txt")

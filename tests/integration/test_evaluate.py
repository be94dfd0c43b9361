"""``delist evaluate`` on drawn photos: what it measures, what it writes, what it keeps quiet."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from delist.cli import main
from delist.ops.evaluate.edits import EDITS, LONGEST_SIDE, Edit, prepared
from delist.ops.pictures import draw_photo, encode
from indexer.hashing import hash_image
from tests.fakes.signals import make_digest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secret-folder")
    for seed in range(3):
        (folder / f"secret-name-{seed}.png").write_bytes(
            encode(draw_photo(seed, width=420, height=360))
        )
    return folder


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_evaluate(*words: object) -> tuple[int, str, str]:
        code = main(["--data-dir", str(tmp_path / "data"), "evaluate", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_evaluate


@pytest.fixture(scope="module")
def report(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluate once; the report's folder."""
    out = tmp_path_factory.mktemp("report") / "new"
    others = out.parent / "others.npy"
    np.save(others, np.frombuffer(b"".join(map(make_digest, range(300))), np.uint8).reshape(-1, 32))
    arguments = ["evaluate", str(photos), "--out", str(out), "--others", str(others)]
    assert main(["--data-dir", str(out.parent / "data"), *arguments]) == 0
    return out


def test_every_edit_is_measured(report: Path) -> None:
    """The document has each edit with the recall of both tiers, and no stranger is matched."""
    document = json.loads((report / "report.json").read_text())

    assert [edit["name"] for edit in document["edits"]] == [edit.name for edit in EDITS]
    assert document["photos"] == 3
    assert document["copies"] == 3 * len(EDITS)
    assert document["signals_looked_at"] == 303
    assert document["signals_extrapolated_to"] == 1_000_000
    by_name = {edit["name"]: edit for edit in document["edits"]}
    for name in ("unchanged", "mirror", "quarter-turn", "exif", "quarter"):
        assert by_name[name]["recall_fast"] == 1
    for name in ("crop95", "border", "letter-box", "rotation"):
        assert by_name[name]["recall_deep"] == 1
    for edit in document["edits"]:
        assert edit["recall_fast"] <= edit["recall_deep"]
        assert list(edit["recall_deep_at"].values()) == sorted(edit["recall_deep_at"].values())
        assert edit["strangers_matched"] == 0
    for one in (*document["false_matches"]["fast"], *document["false_matches"]["deep"]):
        assert one["low"] <= one["high"]
        assert one["rate"] <= one["high"]


def test_the_report_shows_nothing_of_a_photo(report: Path, photos: Path) -> None:
    """No name, path, digest or picture of a photo is written; and nothing but the two files."""
    assert sorted(path.name for path in report.iterdir()) == ["report.html", "report.json"]
    for written in report.iterdir():
        text = written.read_text()
        assert "secret" not in text
        assert not re.search(r"[0-9a-f]{64}", text)
        assert "base64" not in text
        for photo in photos.iterdir():
            hashed = hash_image(photo.read_bytes(), max_bytes=10**8, max_pixels=10**8)
            assert all(entry.digest.hex() not in text for entry in hashed.hashes)


def test_the_page_stands_alone(report: Path) -> None:
    """The page has its plots in it, runs no script and may fetch nothing."""
    page = (report / "report.html").read_text()

    assert "default-src 'none'" in page
    assert page.count("<svg") == 3
    assert not re.search(r"<script|<img|<link|src=|url\(|https?://(?!www\.w3\.org/2000/svg)", page)


def test_names_are_given_on_request(photos: Path, run: Run) -> None:
    """With --names the files of missed copies are named, without their folders."""
    code, out, _ = run(photos, "--names", "--json")

    document = json.loads(out)
    assert code == 0
    assert all(set(one) == {"file", "edit"} for one in document["missed"])
    assert "secret-folder" not in out
    assert "missed" not in json.loads(run(photos, "--limit", 1, "--json")[1])


def test_a_file_that_is_no_image_is_named_and_the_others_go_on(
    photos: Path, tmp_path: Path, run: Run
) -> None:
    """Exit 3 where the user named the file, 0 where it lay in a folder."""
    broken = tmp_path / "folder" / "broken.jpg"
    broken.parent.mkdir()
    broken.write_bytes(b"no image")
    good = photos / "secret-name-0.png"

    code, out, err = run(good, broken, "--limit", 2)
    assert code == 3
    assert "broken.jpg: refused" in err
    assert "1 photos" in out
    assert run(good, broken.parent)[0] == 0


def test_every_format_that_is_hashed_is_measured_and_what_says_nothing_left_out(
    tmp_path: Path, run: Run
) -> None:
    """HEIC as telephones write it, and text with a wrong checksum; not flat, cut or moving ones."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    photo = draw_photo(4, width=320, height=240)
    png = encode(photo)
    (tmp_path / "a.heic").write_bytes(encode(photo, "HEIF", quality=90))
    (tmp_path / "b.png").write_bytes(png[:33] + b"\0\0\0\1tEXtaXXXX" + png[33:])
    (tmp_path / "cut.jpg").write_bytes(encode(photo, "JPEG", progressive=True)[:-900])
    (tmp_path / "flat.png").write_bytes(encode(Image.new("RGB", (200, 200), "white")))

    code, out, err = run(tmp_path, "--limit", 2)
    assert (code, "2 photos" in out) == (0, True)
    assert "cut.jpg" not in err  # behind the limit
    code, _, err = run(tmp_path / "b.png", tmp_path / "cut.jpg", tmp_path / "flat.png")
    assert code == 3
    assert "cut.jpg: refused (truncated)" in err
    assert "flat.png: left out" in err


def test_without_a_photo_there_is_nothing_to_measure(tmp_path: Path, run: Run) -> None:
    """Wrong use is one line and exit 2."""
    code, _, err = run(tmp_path / "missing.jpg")
    assert code == 2
    assert "none of the files" in err
    assert run(tmp_path, "--hasher", "other")[0] == 2


def test_the_feeds_other_path_may_be_chosen(photos: Path, run: Run) -> None:
    """Either path's hash stands for the feed's."""
    code, out, _ = run(photos, "--limit", 1, "--hasher", "web", "--json")

    assert code == 0
    assert json.loads(out)["settings"]["hasher"] == "web"


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_is_the_same_in_every_run(edit: Edit) -> None:
    """Each edit makes a readable JPEG, and the same one again for the same seed and photo."""
    photo = prepared(draw_photo(7, width=300, height=200))

    copy = edit.copy_of(photo, seed=3, number=5)

    assert copy == edit.copy_of(photo, seed=3, number=5)
    with Image.open(io.BytesIO(copy)) as opened:
        assert opened.format == "JPEG"
        assert min(opened.size) >= 20


def test_large_photos_are_edited_as_sites_keep_them() -> None:
    """A copy starts from the photo scaled down, upright and in RGB."""
    large = Image.new("L", (4000, 1000))

    assert prepared(large).size == (LONGEST_SIDE, LONGEST_SIDE // 4)
    assert prepared(large).mode == "RGB"

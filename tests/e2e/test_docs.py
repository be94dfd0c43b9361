"""The commands that README.md shows work as shown, in the order shown."""

import functools
import io
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from delist.cli import main
from delist.ops.pictures import draw_photo, encode
from delist.ops.standin import StopNciiStandIn
from indexer.hashing import hash_image

ROOT = Path(__file__).parents[2]
SITE_IN_DOCS = "https://photos.example"
CASE_REF = "5f0c7d3e-0000-4000-8000-000000000001"
SERVICES = {"run": ([], "service.leading"), "serve": (["--port", "0"], "listening on")}
"""What is started and stopped: options that a test adds, and what is said when it works."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's signature
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A page with two pictures, of which the feed knows one."""
    folder = tmp_path / "site"
    folder.mkdir()
    for seed, name in ((1, "one.jpg"), (2, "two.jpg")):
        (folder / name).write_bytes(encode(draw_photo(seed), "JPEG", quality=80))
    (folder / "index.html").write_text('<img src="one.jpg"><img src="two.jpg">')
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def feed() -> Iterator[StopNciiStandIn]:
    original = hash_image(encode(draw_photo(1)), max_bytes=10**8, max_pixels=10**8)
    record = {
        "lastModtimestamp": 1_700_000_000,
        "signalType": "ImagePDQ",
        "hashValue": original.hashes[0].digest.hex(),
        "hashStatus": "Active",
        "caseNumbers": {CASE_REF: "Active"},
    }
    with StopNciiStandIn([record]) as standin:
        yield standin


def commands_of(path: Path) -> list[str]:
    """Read the commands of a document: lines that begin with ``$`` in console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def configure(folder: Path, standin: StopNciiStandIn) -> None:
    """Fill in the feed, as the README tells the reader to."""
    (folder / "subscription").write_text(standin.subscription_key)
    for endpoint, key in standin.function_keys.items():
        (folder / endpoint).write_text(key)
    with (folder / "delist.toml").open("a") as file:
        file.write(
            f'\n[feeds.stopncii]\nbase_url = "{standin.base_url}"\n'
            'subscription_key_file = "subscription"\n'
            'function_key_files = { FetchHashes = "FetchHashes", '
            'SubmitFeedback = "SubmitFeedback" }\n'
        )


def test_make_targets_of_the_readme_exist() -> None:
    """The two commands of a fresh machine are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    targets = [line.split()[1] for line in commands_of(ROOT / "README.md") if line[:4] == "make"]

    assert targets == ["demo", "test"]
    assert all(f"\n{target}:" in makefile for target in targets)


def test_commands_of_the_readme_work(
    tmp_path: Path,
    site: str,
    feed: StopNciiStandIn,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each command ends with exit code 0 (``run``, ``serve``: when they are asked to stop)."""
    monkeypatch.chdir(tmp_path)
    lines = [line for line in commands_of(ROOT / "README.md") if line.startswith("delist ")]
    copy = draw_photo(1).crop((16, 10, 306, 230))
    (tmp_path / "photo.jpg").write_bytes(encode(copy, "JPEG", quality=80))
    known = {"CASE_REF": CASE_REF}
    shown: dict[str, str] = {}
    for line in lines:
        for name, value in known.items():
            line = re.sub(rf"\b{name}\b", value, line)  # noqa: PLW2901 - the same line, filled in
        arguments = shlex.split(line.replace(SITE_IN_DOCS, site))[1:]
        if arguments[0] == "crawl":
            arguments.append("--allow-private-addresses")
        if arguments[0] in SERVICES:
            assert runs_until_asked_to_stop(tmp_path, arguments[0])
            continue
        if arguments[:2] == ["account", "add"]:
            monkeypatch.setattr(sys, "stdin", io.StringIO("a long pass phrase\n"))
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        assert code == 0, (line, err)
        shown[" ".join(arguments[:2])] = out
        if arguments[0] == "init":
            configure(tmp_path, feed)
        if arguments[:2] == ["cases", "list"]:
            known["CASE"] = out.split()[0]
        if arguments[:2] == ["appeal", "list"]:
            known["APPEAL"] = out.split()[0]
        if arguments[0] == "access-code":
            known["CODE"] = out.strip()

    assert "deep:upright:" in shown["check --tier"]
    one, two = shown[f"suppressed {site}/one.jpg"].splitlines()
    assert one.endswith(" suppressed")
    assert two.endswith("not suppressed")
    records = [json.loads(line) for line in io.StringIO(shown["suppressions export"])]
    assert [record["state"] for record in records] == ["provisional", "confirmed"]
    assert "hxxp://127[.]0[.]0[.]1" in shown["report survivor"]


def runs_until_asked_to_stop(folder: Path, command: str) -> bool:
    """Start a service, wait until it says that it works, ask it to stop; whether it ended well."""
    options, said = SERVICES[command]
    with subprocess.Popen(
        [sys.executable, "-m", "delist", command, *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        working = any(said in line for line in iter(child.stdout.readline, ""))
        child.terminate()
        return working and child.wait(15) == 0

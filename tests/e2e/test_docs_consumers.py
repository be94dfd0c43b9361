"""What docs/consumers.md shows works as shown: its examples, and its commands in their order."""

import json
import os
import re
import shlex
import shutil
import subprocess
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from delist.cli import main
from delist.model import Verdict
from tests.fakes.delisting import World, digest_of, image_near

TEXT = (Path(__file__).parents[2] / "docs" / "consumers.md").read_text(encoding="utf-8")
RUN = "<!-- run by tests -->\n"
ONE, TWO = "https://site.example/1.jpg", "https://site.example/2.jpg"


def example(language: str, holding: str) -> str:
    """Find the one example in a language that holds some text."""
    found = re.findall(rf"{RUN}```{language}\n(.*?)```", TEXT, re.DOTALL)
    (code,) = [code for code in found if holding in code]
    return str(code)


def loaded(holding: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(example("python", holding), "docs/consumers.md", "exec"), names)  # noqa: S102 - our own documentation
    return names


def test_the_commands_and_the_obeying_consumer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A consumer that does as it is told hides what the ledger hides, however often it reads."""
    with World(tmp_path / "data") as world:
        one, two = digest_of("one"), digest_of("two")
        world.offer(one, two)
        world.visit_all({ONE: image_near({one: 3}), TWO: image_near({two: 4}, name="two")})
        world.settle()
        world.decide(world.case_of(ONE), Verdict.NOT_NCII)
        config = world.write_configuration()
        still_hidden = [bool(answer) for answer in world.results.suppressed([ONE, TWO])]
    blocks = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    shown: dict[str, str] = {}
    for line in "".join(blocks).splitlines():
        arguments = shlex.split(line.removeprefix("$ delist "))
        code = main(["--config", str(config), *arguments])
        said = capsys.readouterr()
        assert code == 0, (line, said.err)
        shown[arguments[1]] = said.out

    secret, url_key = shown["add"].strip(), loaded("def url_key")["url_key"]
    place = "https://photos.example/a%20b.jpg?size=2"
    assert shown["url-key"].strip() == url_key(secret, place)
    records = [json.loads(line) for line in shown["read"].splitlines()]
    consumer = loaded("class Hidden")["Hidden"]()
    for record in [*records, *records[:2]]:
        consumer.obey(record)
    now = datetime.now(tz=UTC).isoformat()
    assert still_hidden == [False, True]
    assert [consumer.is_hidden(url_key(secret, url), now) for url in (ONE, TWO)] == still_hidden
    with pytest.raises(ValueError, match="unknown version"):
        consumer.obey(records[0] | {"version": 2})


def test_the_example_checks_a_webhook_signature() -> None:
    """It agrees with the package; another body, an old request or another secret does not pass."""
    is_signed = loaded("def is_signed")["is_signed"]
    secret, other = (f"whsec_{b64encode(bytes([n]) * 24).decode()}" for n in (1, 2))
    now = datetime.now(tz=UTC)
    signatures = [Webhook(one).sign("msg_1", now, "{}") for one in (other, secret)]
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }

    assert is_signed(secret, headers, b"{}")
    assert is_signed(other, headers, b"{}")
    assert not is_signed(secret, headers, b"{ }")
    assert not is_signed(secret, headers, b"{}", now=now.timestamp() + 400)
    assert not is_signed(secret, headers | {"webhook-signature": signatures[0]}, b"{}")


@pytest.mark.skipif(
    not (shutil.which("node") or os.environ.get("CI")), reason="Node.js is not installed"
)
def test_the_example_in_javascript_makes_the_same_key() -> None:
    """Node.js comes to the key that Python comes to; each example checks itself."""
    code = example("javascript", "urlKey")
    subprocess.run(["node", "-e", code], check=True, capture_output=True, timeout=60)  # noqa: S607 - whichever node there is

    assert loaded("def url_key")["secret"] in code

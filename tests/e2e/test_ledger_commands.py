"""The ledger as a log, as its user meets it: ``suppressions checkpoint|prove|erase|…``."""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from delist.cli import main
from delist.model import Verdict
from tests.fakes.delisting import World, digest_of, image_near

ONE, TWO = "https://site.example/1.jpg", "https://site.example/2.jpg"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Two records in effect, and a third that ended the first."""
    with World(tmp_path / "data") as world:
        one, two = digest_of("one"), digest_of("two")
        world.offer(one, two)
        world.visit_all({ONE: image_near({one: 3}), TWO: image_near({two: 4}, name="two")})
        world.settle()
        assert len(world.ledger()) == 2
        world.decide(world.case_of(ONE), Verdict.NOT_NCII)
        config = world.write_configuration()

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["--config", str(config), *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def document(said: tuple[int, str, str]) -> dict[str, object]:
    code, out, err = said
    assert code == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def test_checkpoint_prove_and_check(run: Run, tmp_path: Path) -> None:
    """A record's holder checks it with the log's key alone; the log's growth as well."""
    key = run("suppressions", "key")[1].strip()
    assert document(run("suppressions", "checkpoint", "--json"))["size"] == 3
    code, proof, _ = run("suppressions", "prove", "2")
    assert code == 0
    (tmp_path / "2.tlog-proof").write_text(proof)

    found = document(
        run("suppressions", "check-proof", str(tmp_path / "2.tlog-proof"), "--key", key, "--json")
    )
    assert (found["verified"], found["sequence"], found["size"]) == (True, 2, 3)
    assert isinstance(found["record"], dict)
    assert found["record"]["image_url"] in {ONE, TWO}

    (tmp_path / "bad").write_text(proof.replace("index 1", "index 2"))
    code, _, err = run("suppressions", "check-proof", str(tmp_path / "bad"), "--key", key)
    assert (code, len(err.splitlines())) == (1, 1)
    for wrong in (("--key", "x"), ("--key", key, "--witness", "y")):
        assert run("suppressions", "check-proof", str(tmp_path / "bad"), *wrong)[0] == 2
    assert run("suppressions", "check-proof", str(tmp_path / "none"), "--key", key)[0] == 2

    older = tmp_path / "data" / "ledger" / "checkpoint"
    growth = run("suppressions", "prove", "--from", "3")[1]
    (tmp_path / "growth").write_text(growth)
    said = run(
        "suppressions", "check-proof", str(tmp_path / "growth"), "--key", key, "--older", str(older)
    )
    assert (said[0], "from 3 to 3" in said[1]) == (0, True)
    for wrong in ((), ("1", "--from", "1"), ("9",)):
        assert run("suppressions", "prove", *wrong)[0] == 2


def test_a_witness_is_required(run: Run, tmp_path: Path) -> None:
    """`verify --witness` fails before the witness has cosigned, and holds after."""
    key = run("suppressions", "key")[1].strip()
    run("suppressions", "checkpoint")
    folder, own = str(tmp_path / "data/ledger"), str(tmp_path / "w")
    told = ("suppressions", "cosign", folder, "--log", key, "--name", "w.example", "--key", own)
    witness = str(document(run(*told, "--json"))["key"])
    assert run("suppressions", "verify", "--witness", witness)[0] == 0
    (tmp_path / "other").mkdir()
    other = (*told[:-1], str(tmp_path / "other/w"))
    (tmp_path / "data/ledger/checkpoint").unlink()
    assert run(*other)[0] == 1
    run("suppressions", "checkpoint")
    code, _, err = run("suppressions", "verify", "--witness", witness)
    assert (code, "not cosigned" in err) == (1, True)


def test_erase(run: Run, tmp_path: Path) -> None:
    """Not what is in effect; else it is gone, the export says so, and the ledger verifies."""
    records = [json.loads(line) for line in run("suppressions", "export")[1].splitlines()]
    ended = [r["sequence"] for r in records if r["image_url"] == ONE]
    (kept,) = [r["sequence"] for r in records if r["image_url"] == TWO]
    why = ("--actor", "Kim", "--reason", "her wish")
    code, _, err = run("suppressions", "erase", str(kept), *why)
    assert (code, "is in effect: revoke it first" in err) == (2, True)

    assert document(run("suppressions", "erase", *map(str, ended), *why, "--json"))["erased"] == 2

    assert run("suppressions", "verify")[0] == 0
    out = run("suppressions", "export")[1]
    assert ONE not in out
    assert TWO in out
    assert run("suppressions", "list")[1].count("erased") == 2
    schema = jsonschema.Draft202012Validator(json.loads(run("suppressions", "schema")[1]))
    for line in [*out.splitlines(), *map(json.dumps, records)]:
        schema.validate(json.loads(line))
    acts = [json.loads(line) for line in run("audit", "list", "--json")[1].splitlines()]
    assert [act["act"] for act in acts].count("record.erased") == 2
    held = b"".join(path.read_bytes() for path in (tmp_path / "data/ledger").rglob("*.*"))
    assert b"site.example" not in held
    assert run("suppressions", "erase", "99", *why)[0] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "poster"},
        {"sequence": 0},
        {"effective_at": "yesterday"},
        {"more": 1},
        {"basis": {}},
        {"expires_at": ""},
    ],
)
def test_the_schema_refuses(run: Run, change: dict[str, object]) -> None:
    """What no record says is not valid."""
    schema = jsonschema.Draft202012Validator(json.loads(run("suppressions", "schema")[1]))
    record = json.loads(run("suppressions", "export")[1].splitlines()[0])
    schema.validate(record)

    assert not schema.is_valid(record | change)

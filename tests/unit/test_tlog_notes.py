"""Notes, keys, checkpoints, cosignatures and proofs as text: vectors, and what is refused."""

import base64
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.errors import LogProofError
from delist.tlog import merkle, tiles
from delist.tlog.checkpoints import (
    Checkpoint,
    cosign,
    cosigned_at,
    open_checkpoint,
    sign_checkpoint,
)
from delist.tlog.notes import KeyKind, Note, SigningKey, VerifierKey
from delist.tlog.proofs import ConsistencyProof, InclusionProof

LOG = SigningKey(name="example.com/log", secret=b"\1" * 32)
WITNESS = SigningKey(name="witness.example/w1", secret=b"\2" * 32)
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"  # noqa: E501
)
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"  # noqa: E501
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"  # noqa: E501
)


def head(size: int = 3, root: bytes = b"\7" * 32) -> Checkpoint:
    return Checkpoint(origin=LOG.name, size=size, root=root)


def test_the_note_that_go_documents() -> None:
    """Key and note from the documentation of golang.org/x/mod/sumdb/note."""
    key = VerifierKey.parse(PETER)

    assert str(key) == PETER
    Note.parse(PETER_NOTE).check(key)
    with pytest.raises(LogProofError):
        Note.parse(PETER_NOTE.replace("answer", "Answer")).check(key)


def test_the_example_of_the_specification_is_read() -> None:
    """The checkpoint in c2sp.org/tlog-cosignature: its parts, and its cosignature's time."""
    note = Note.parse(EXAMPLE)
    read = Checkpoint.parse(note.text)

    assert str(note) == EXAMPLE
    assert str(read) == note.text
    assert (read.origin, read.size) == ("example.com/behind-the-sofa", 20852163)
    assert int.from_bytes(note.signatures[1].value[:8]) == 1679315147


def test_key_ids_are_made_as_specified() -> None:
    """SHA-256 over name, newline, kind and key, four bytes; both kinds of one key differ."""
    for kind in KeyKind:
        key = LOG.verifier(kind)
        material = b"example.com/log\n" + bytes([kind]) + key.public
        assert key.id == sha256(material).digest()[:4]
        assert VerifierKey.parse(str(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AQ==",
        PETER.replace("c74f", "c74e"),
        PETER.replace("Peter", "Petra"),
        PETER.replace("ARpc", "Ahpc"),
        PETER + "\nx",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_keys_that_are_none(text: str) -> None:
    """Another name, id, kind or length is refused."""
    with pytest.raises(LogProofError):
        VerifierKey.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n\n",
        "text\n\n\u2014 name AAAAAAA=",
        "text\n\n- name AAAAAAA=\n",
        "text\n\n\u2014 name AAAA\n",
        "text\n\n\u2014 na+me AAAAAAA=\n",
        "text\n\n\u2014 name AAAAAAB=\n",
        "text\r\n\n\u2014 name AAAAAAA=\n",
        "text\n\n" + "\u2014 name AAAAAAA=\n" * 65,
    ],
)
def test_notes_that_are_none(text: str) -> None:
    """No signature, one that is none, control characters, too many: refused."""
    with pytest.raises(LogProofError):
        Note.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "a\n3\n",
        "a\n03\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        "a\n-3\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        "a\n9223372036854775808\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        "a\n3\nBwc=\n",
        "a\n3\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
        "\n3\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
    ],
)
def test_checkpoints_that_are_none(text: str) -> None:
    """Sizes and heads have one spelling."""
    with pytest.raises(LogProofError):
        Checkpoint.parse(text)


def test_a_checkpoint_is_signed_and_cosigned() -> None:
    """Log and witness sign; who else signs does not matter; what is missing does."""
    witness = WITNESS.verifier(KeyKind.COSIGNATURE)
    note = sign_checkpoint(head(), LOG)
    once = cosign(note, WITNESS, at_s=1)
    twice = cosign(once, WITNESS, at_s=2)

    assert open_checkpoint(str(note), LOG.verifier())[0] == head()
    assert open_checkpoint(str(twice), LOG.verifier(), witnesses=[witness])[0] == head()
    assert (cosigned_at(once, witness), cosigned_at(twice, witness)) == (1, 2)
    assert len(twice.signatures) == 2
    for bad in (
        str(note),
        str(once).replace("\n3\n", "\n4\n"),
        str(cosign(sign_checkpoint(head(4), LOG), WITNESS, at_s=1)).replace("\n4\n", "\n3\n"),
    ):
        with pytest.raises(LogProofError):
            open_checkpoint(bad, LOG.verifier(), witnesses=[witness])
    other = SigningKey(name=LOG.name, secret=b"\3" * 32).verifier()
    with pytest.raises(LogProofError, match="not signed"):
        open_checkpoint(str(note), other)
    with pytest.raises(LogProofError, match="cosignature"):
        open_checkpoint(str(note), LOG.verifier(), witnesses=[LOG.verifier()])


def made_proofs() -> tuple[InclusionProof, bytes, ConsistencyProof, bytes]:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(11)]
    growth = tiles.Growth()
    held = {(lv, n): h for lv, n, h in [*growth.append(b"".join(leaves)), *growth.edge()]}
    node = tiles.nodes_of(lambda lv, n, _w: held[lv, n], 11)
    note = str(sign_checkpoint(head(11, merkle.root_of(node, 0, 11)), LOG))
    inclusion = InclusionProof(
        index=6, hashes=merkle.inclusion_proof(node, 6, 11), checkpoint=note, extra=b"more"
    )
    growth_proof = ConsistencyProof(
        old=7, hashes=merkle.consistency_proof(node, 7, 11), checkpoint=note
    )
    return inclusion, leaves[6], growth_proof, merkle.root_of(node, 0, 7)


INCLUSION, LEAF, CONSISTENCY, OLD_ROOT = made_proofs()


def test_proofs_come_back_from_text() -> None:
    """What is written is read, and holds."""
    assert InclusionProof.parse(str(INCLUSION)).check(LEAF, LOG.verifier()).size == 11
    assert ConsistencyProof.parse(str(CONSISTENCY)).check(OLD_ROOT, LOG.verifier()).size == 11
    assert str(InclusionProof.parse(str(INCLUSION))) == str(INCLUSION)
    assert str(ConsistencyProof.parse(str(CONSISTENCY))) == str(CONSISTENCY)


@given(st.data())
def test_no_changed_byte_of_a_proof_holds(data: st.DataObject) -> None:
    """Any byte of the text changed: no longer a proof, or one of something else."""
    for proof, kind, subject in (
        (INCLUSION, InclusionProof, LEAF),
        (CONSISTENCY, ConsistencyProof, OLD_ROOT),
    ):
        text = bytearray(str(proof).encode())
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] ^= data.draw(st.integers(1, 255))
        try:
            changed = kind.parse(text.decode())
            changed.check(subject, LOG.verifier())
        except (LogProofError, UnicodeDecodeError):
            continue
        assert changed.extra != proof.extra, "only what proves nothing may differ"


def test_extra_data_proves_nothing_and_is_there() -> None:
    """Base64 of the extra data stands in its own line."""
    assert f"extra {base64.b64encode(b'more').decode()}\n" in str(INCLUSION)
    assert InclusionProof.parse(str(INCLUSION)).extra == b"more"

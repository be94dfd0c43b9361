"""One of every odd record that StopNCII is known or expected to send, with made-up hashes."""

import random
import uuid
from collections.abc import Iterator
from typing import Any

Record = dict[str, Any]

FIRST_CHANGE_S = 1_625_167_804
"""Time of the first record in the public fixture."""


def make_digest(rng: random.Random) -> str:
    """Make a digest as 64 hex digits with 128 of 256 bits set, as PDQ's median rule gives."""
    return f"{sum(1 << bit for bit in rng.sample(range(256), 128)):064x}"


def make_record(rng: random.Random, **changes: Any) -> Record:  # noqa: ANN401 - JSON values
    """Make an ordinary record with one case; a change to ``...`` leaves that field out."""
    record: Record = {
        "lastModtimestamp": FIRST_CHANGE_S + rng.randrange(100_000),
        "signalType": "ImagePDQ",
        "hashValue": make_digest(rng),
        "hashStatus": "Received",
        "caseNumbers": {make_case(rng): "Received"},
        "CSPFeedbacks": [],
        "hashRegions": ["UK"],
    }
    changed = {**record, **changes}
    return {name: value for name, value in changed.items() if value is not ...}


def make_case(rng: random.Random) -> str:
    """Make a case number of the form that the feed uses."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def name_odd_records(seed: int = 0) -> dict[str, Record]:
    """Make one of every odd record, by the name of its oddity. Equal seeds give equal records."""
    rng = random.Random(seed)  # noqa: S311 - made-up data

    def case() -> str:
        return make_case(rng)

    def odd(**changes: Any) -> Record:  # noqa: ANN401 - JSON values
        return make_record(rng, **changes)

    def feedback(word: str) -> list[Record]:
        return [{"source": "Facebook", "feedbackValue": word, "tags": ["Nude", "Objectionable"]}]

    return {
        "case_numbers_empty_list": odd(caseNumbers=[]),
        "case_numbers_null": odd(caseNumbers=None),
        "case_numbers_missing": odd(caseNumbers=...),
        "case_numbers_list_of_strings": odd(caseNumbers=[case(), case()]),
        "case_numbers_list_of_objects": odd(
            caseNumbers=[{"caseNumber": case(), "status": "Received"}]
        ),
        "four_cases": odd(caseNumbers={case(): "Received" for _ in range(4)}),
        "feedback_missing": odd(CSPFeedbacks=...),
        "feedback_null": odd(CSPFeedbacks=None),
        "feedback_blocked": odd(CSPFeedbacks=feedback("Blocked")),
        "feedback_undefined": odd(CSPFeedbacks=feedback("Undefined")),
        "feedback_without_tags": odd(
            CSPFeedbacks=[{"source": "Reddit", "feedbackValue": "NotBlocked", "tags": None}]
        ),
        "withdrawn_with_undefined_feedback": odd(
            hashStatus="Withdrawn",
            caseNumbers={case(): "Withdrawn"},
            CSPFeedbacks=feedback("Undefined"),
        ),
        "new_signal_type": odd(signalType="ImagePhotoDNA", hashValue="AAECAwQFBgcICQ=="),
        "signal_type_missing": odd(signalType=...),
        "video": odd(signalType="VideoMD5", hashValue=f"{rng.getrandbits(128):032x}"),
        "withdrawn": odd(hashStatus="Withdrawn", caseNumbers={case(): "Withdrawn"}),
        "deleted": odd(hashStatus="Deleted", caseNumbers={case(): "Deleted"}),
        "withdrawn_without_cases": odd(hashStatus="Withdrawn", caseNumbers=[]),
        "new_hash_status": odd(hashStatus="Escalated"),
        "hash_status_missing": odd(hashStatus=...),
        "new_case_status": odd(caseNumbers={case(): "Paused"}),
        "one_live_one_withdrawn": odd(caseNumbers={case(): "Received", case(): "Withdrawn"}),
        "all_zero_digest": odd(hashValue="0" * 64),
        "upper_case_digest": odd(hashValue=make_digest(rng).upper()),
        "digest_of_63_digits": odd(hashValue=make_digest(rng)[:63]),
        "time_as_fraction": odd(lastModtimestamp=FIRST_CHANGE_S + 0.75),
        "time_as_text": odd(lastModtimestamp=str(FIRST_CHANGE_S + 1)),
        "time_missing": odd(lastModtimestamp=...),
        "time_out_of_order": odd(lastModtimestamp=FIRST_CHANGE_S - 86_400),
        "new_field": odd(severity={"level": 3}),
        "regions_missing": odd(hashRegions=...),
    }


def odd_records(seed: int = 0) -> Iterator[Record]:
    """Yield one of every odd record; ``name_odd_records`` says which is which."""
    yield from name_odd_records(seed).values()


def make_records(count: int, seed: int = 0) -> list[Record]:
    """Make ordinary records. Equal seeds give equal records."""
    rng = random.Random(seed)  # noqa: S311 - made-up data
    return [make_record(rng) for _ in range(count)]

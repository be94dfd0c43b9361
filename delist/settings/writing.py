"""The configuration file written out with its explanations."""

from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from delist.settings.reading import SECTIONS

_EXAMPLES = {
    "file": "policy.toml",
    "url_file": "/run/secrets/delist-database",
    "folder": "/mnt/backups/delist",
    "key_file": "/etc/delist/backup-key",
    "client_secret_file": "/run/secrets/delist-oidc",
    "token_file": "/run/secrets/delist-queue-token",
    "password_file": "/run/secrets/delist-cluster-password",
    "ca_file": "/etc/delist/cluster-ca.pem",
    "certificate_file": "/run/secrets/delist-cluster.pem",
}
_POLICY_LINE = 'file = "policy.toml"'

_HEAD = """\
# Configuration of Delist. Every key may be left out; the values that are commented out
# are the built-in defaults. Relative paths are relative to this file.

# Where the stores and the local secrets live.
data_dir = "delist-data"

# The feed of StopNCII.org. Each key is a file that holds one line; the endpoints have
# different function keys.
# [feeds.stopncii]
# base_url = "https://api.stopncii.org/v1"
# subscription_key_file = "/run/secrets/stopncii-subscription"
# function_key_files = { FetchHashes = "/run/secrets/stopncii-fetch", \
SubmitFeedback = "/run/secrets/stopncii-feedback", \
SubmitHashes = "/run/secrets/stopncii-hashes" }
# page_size = 800          # records in a page
# timeout_s = 60.0         # longest that one answer may take
# overlap_s = 600          # seconds before the cursor that each sync reads again

# A local bank of signals: 64-hex digests, one a line, or records as StopNCII writes them.
# What disappears from the file is withdrawn.
# [feeds.bank]
# type = "file"
# path = "bank.jsonl"
"""


def annotated_configuration(*, policy_beside: bool = False) -> str:
    """Write the configuration file with every key, its explanation and its default.

    Args:
        policy_beside: whether ``policy.toml`` stands beside it and is to be in force.
    """
    parts = [_HEAD]
    for name, cls in SECTIONS:
        summary = (cls.__doc__ or "").partition(": ")[2]
        parts.append(f"\n# {summary[:1].upper()}{summary[1:]}\n[{name}]\n")
        parts.extend(f"{line}\n" for line in _setting_lines(cls))
    text = "".join(parts)
    return text.replace(f"# {_POLICY_LINE}", _POLICY_LINE) if policy_beside else text


def _setting_lines(cls: Any) -> Iterator[str]:  # noqa: ANN401 - a dataclass
    for entry in fields(cls):
        yield ""
        yield from (f"# {line}" for line in entry.metadata["doc"].splitlines())
        default = _EXAMPLES[entry.name] if entry.default is None else entry.default
        assert default is not MISSING  # noqa: S101 - every setting has a default
        yield f"# {entry.name} = {_toml(default)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)

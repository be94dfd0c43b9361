"""What `delist doctor` says of the machine."""

from pathlib import Path

import pytest

from delist.ops.machine import modes
from delist.settings import DelistSettings, load_settings

CONFIGURATION = """
data_dir = "data"
[database]
url_file = "database"
[backup]
folder = "backups"
key_file = "backup-key"
[queue]
servers = ["tls://nats.example:4222"]
key_file = "queue-key"
password_file = "queue-password"
user = "delist"
[sinks.engine]
type = "webhook"
url = "https://index.example/delist"
secret_file = "webhook-secret"
ca_file = "ca.pem"
"""
SECRETS = ("database", "backup-key", "queue-key", "queue-password", "webhook-secret")


@pytest.fixture
def settings(tmp_path: Path) -> DelistSettings:
    """A configuration whose files are their owner's alone, but for the certificates."""
    (tmp_path / "delist.toml").write_text(CONFIGURATION)
    (tmp_path / "data").mkdir(mode=0o700)
    for name in SECRETS:
        (tmp_path / name).touch(0o600)
    (tmp_path / "ca.pem").touch(0o644)
    return load_settings(tmp_path / "delist.toml")


@pytest.mark.parametrize("secret", SECRETS)
def test_every_key_that_others_can_read_is_named(
    tmp_path: Path, settings: DelistSettings, secret: str
) -> None:
    """Whoever reads the key of the backups reads everything; certificates are for anybody."""
    assert not modes(tmp_path / "data", settings).mend
    (tmp_path / secret).chmod(0o640)

    found = modes(tmp_path / "data", settings)

    assert secret in found.detail
    assert found.mend

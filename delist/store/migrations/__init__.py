"""Layouts of the SQL store, oldest first; alembic applies what is missing."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

KNOWN = ("0001", "0002")
"""Every released layout that can be brought up to date, the newest last."""


def upgrade(connection: Connection, *, to: str = "head") -> None:
    """Bring the store of an open transaction up to a layout, by default the newest."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, to)

"""Who stands behind a command."""

import os
import pwd
from typing import Annotated

import typer

Actor = Annotated[str, typer.Option(help="Who you are, a name that colleagues know.")]


def operator() -> str:
    """Name the account of the machine that runs the command: whoever names no person."""
    uid = os.getuid()
    try:
        return f"account {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"account {uid}"

"""Whose configuration is followed where nobody has named one: it says which programs print secrets, and which servers
get the data. A `/tmp/kos.toml` may be anybody's."""

from __future__ import annotations

import os
from pathlib import Path

from kos.errors import ConfigUntrusted

SUDO = "SUDO_UID"


def require_own(path: Path, meant: str) -> Path:
    """`path`, which was found on the way up, if it is this user's or root's.

    Under sudo, what belongs to the user who called it is followed too, as git does. Root follows nobody else's: whoever
    may write a file anywhere above would have root run programs.

    Raises:
        ConfigUntrusted: it is somebody else's. `meant` is what KOS_CONFIG has to be for it to be followed all the same.
    """
    found = [path.lstat()]  # a link says where to look, and is somebody's as well
    if path.exists():
        found.append(path.stat())
    for each in found:
        if each.st_uid not in _followed():
            from kos.topology.embedded.account import name_of

            raise ConfigUntrusted(path, name_of(each.st_uid), meant)
    return path


def _followed() -> set[int]:
    mine = os.geteuid()
    caller = os.environ.get(SUDO, "") if mine == 0 else ""
    return {0, mine, *([int(caller)] if caller.isdecimal() else [])}

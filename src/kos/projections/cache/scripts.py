"""The Lua scripts that the cache runs: each is one step that nothing comes between."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files


@dataclass(frozen=True)
class Script:
    """One script. It has its first `keys` arguments as keys."""

    name: str
    keys: int

    @cached_property
    def text(self) -> str:
        return files("kos.projections.cache").joinpath("lua", f"{self.name}.lua").read_text(encoding="utf-8")

    @cached_property
    def sha(self) -> bytes:
        """What the server knows it by."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest().encode()


READ = Script("read", 1)
FILL = Script("fill", 1)
BEGIN = Script("begin", 1)
APPLY = Script("apply", 2)
SWITCH = Script("switch", 2)
MARK = Script("mark", 1)

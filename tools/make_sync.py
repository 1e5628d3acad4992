"""Write the synchronous twins of the asynchronous modules, so that no logic is kept twice by hand.

`make_sync.py` writes them; `make_sync.py --check` fails where a file is not what would be written.
In a source, a line `# sync: TEXT` becomes TEXT.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src/kos"
TWINS = {
    "tenancy/async_session.py": "tenancy/session.py",
    "tenancy/async_store.py": "tenancy/store.py",
    "projections/cache/async_reading.py": "projections/cache/reading.py",
    "projections/graph/async_reading.py": "projections/graph/reading.py",
}

REPLACEMENTS = (
    (r"^( *)# sync: (.*)$", r"\1\2"),
    (r"from asyncio import Lock$", "from threading import Lock"),
    (r"from asyncio import Lock, sleep$", "from threading import Lock\nfrom time import sleep"),
    (r"from asyncio import sleep$", "from time import sleep"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\basync_(session|store|wire|reading)\b", r"\1"),
    (r"\b(open|connect|pool_options)_async\b", r"\1"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
)


def twin(text: str, source: str) -> str:
    """The synchronous text of an asynchronous module."""
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    docstring, rest = text.split("\n", 1)
    text = f"{docstring}\n\n# Written by tools/make_sync.py from {Path(source).name}: change that file.\n{rest}"
    for command in (
        ["ruff", "check", "--select", "I", "--fix", "--quiet", "-"],
        ["ruff", "format", "--quiet", "-"],
    ):
        where = ["--stdin-filename", str(SOURCE / TWINS[source])]
        run = subprocess.run(
            [sys.executable, "-m", *command, *where], input=text, capture_output=True, text=True, check=True
        )
        text = run.stdout
    return text


def main() -> int:
    """Write or check all twins; the number of files that differ."""
    differing = 0
    for source, target in TWINS.items():
        text = twin((SOURCE / source).read_text(encoding="utf-8"), source)
        path = SOURCE / target
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        differing += 1
        if "--check" in sys.argv:
            sys.stderr.write(f"{path} is not what tools/make_sync.py writes from {source}\n")
        else:
            path.write_text(text, encoding="utf-8")
    return differing if "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())

"""The recipe for Node, with its driver."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples/node"


@pytest.fixture(scope="module")
def node_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe with its packages installed, in a copy that all test workers share."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed (Debian: apt-get install nodejs npm)")
    base = tmp_path_factory.getbasetemp()
    # Without workers the parent is that of all runs, whose copy would be of an older recipe.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "node"
    with (shared / "node.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
            if re.search("EINTEGRITY|EUSAGE", done.stderr):
                pytest.fail(f"package-lock.json does not fit: {done.stderr}")
            if done.returncode != 0:
                pytest.skip(f"npm can't install what the recipe needs: {done.stderr.strip()[-500:]}")
            (folder / "installed").touch()
    return folder

